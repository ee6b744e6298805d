//! What the folios of a pool are on, by the number that they carry: [`Counted`].
//!
//! ```text
//!   insert --> lives --free, the last--> dead --take_dead--> (gone, its number free)
//! ```
//!
//! A thing has one reference for each range of it that is handed out, be it a folio or not formed yet (I7): a split
//! adds as many as there are further pieces, a collapse takes them off again, and each free takes one. The ranges
//! themselves are in a table ([`HandedOut`]).
//!
//! A free, split or collapse is *refused* if the range is not one of the thing, or is not handed out at that order: it
//! was freed before, or the caller has a wrong order or number. Nothing is changed then, so the memory stays with its
//! thing and no page ever gets a second owner; refusals are counted, and [`Counted::check_consistency`] tells the first.
//!
//! Nothing here takes a lock, and freeing allocates no memory: the list of the dead goes through the things
//! themselves. So a dead thing can stay until a caller that may take time removes it (I15).

use bifolio_folio::{DATA_MAX, Order, Pfn};
use slab::Slab;

use crate::handed_out::HandedOut;

/// A thing that ranges are handed out of.
pub(crate) trait Covers {
    /// Tells whether the range may be one of this thing.
    fn covers(&self, head: Pfn, order: Order) -> bool;
}

/// Things with references, each under a number that a folio can carry as its `data`.
#[derive(Clone, Debug)]
pub(crate) struct Counted<T> {
    pub(crate) things: Slab<Thing<T>>,
    pub(crate) handed_out: HandedOut,
    /// The references of all things.
    references: u64,
    pub(crate) last_dead: Option<u32>,
    refusals: u64,
    first_refused: Option<Refused>,
}

/// What became of a thing when a range of it was freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freed {
    /// Other ranges of it are handed out.
    Lives,
    /// The range was the last one.
    Dies,
    /// The range is none of it, and nothing was changed.
    Refused,
}

/// A call that was refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    call: &'static str,
    number: u32,
    head: Pfn,
    order: Order,
}

#[derive(Clone, Debug)]
pub(crate) struct Thing<T> {
    pub(crate) what: T,
    /// 0 once it is dead.
    pub(crate) references: u32,
    /// The thing that died before this one.
    pub(crate) died_before: Option<u32>,
}

impl<T: Covers> Counted<T> {
    /// Makes an empty table of things on `pages` pages from page 0; `None` if memory is short.
    pub(crate) fn new(pages: u64) -> Option<Counted<T>> {
        let handed_out = HandedOut::new(pages)?;
        Some(Counted {
            things: Slab::new(),
            handed_out,
            references: 0,
            last_dead: None,
            refusals: 0,
            first_refused: None,
        })
    }

    /// Puts a thing into the table, of which a range is handed out, and returns its number.
    ///
    /// # Errors
    /// Gives it back if no number is left that a folio could carry.
    pub(crate) fn insert(&mut self, what: T, head: Pfn, order: Order) -> Result<u32, T> {
        match u32::try_from(self.things.vacant_key()) {
            Ok(number) if number <= DATA_MAX => {
                self.handed_out.insert(head, order);
                self.references += 1;
                self.things.insert(Thing { what, references: 1, died_before: None });
                Ok(number)
            }
            _ => Err(what),
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        Some(&self.things.get(number as usize)?.what)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        Some(&mut self.things.get_mut(number as usize)?.what)
    }

    /// Hands out one more range of a thing that lives.
    ///
    /// # Panics
    /// If nothing that covers the range lives under this number.
    pub(crate) fn hand_out(&mut self, number: u32, head: Pfn, order: Order) {
        let thing =
            covering(&mut self.things, number, head, order).expect("ranges are handed out of what lives");
        thing.references += 1;
        self.references += 1;
        self.handed_out.insert(head, order);
    }

    /// Takes a range back.
    pub(crate) fn free(&mut self, number: u32, head: Pfn, order: Order) -> Freed {
        let thing = covering(&mut self.things, number, head, order);
        let Some(thing) = thing.filter(|_| self.handed_out.remove(head, order).is_ok()) else {
            self.refuse(Refused { call: "free", number, head, order });
            return Freed::Refused;
        };
        thing.references -= 1;
        self.references -= 1;
        if thing.references > 0 {
            return Freed::Lives;
        }
        thing.died_before = self.last_dead.replace(number);
        Freed::Dies
    }

    /// Notes that a range becomes ranges of order `to`.
    pub(crate) fn split(&mut self, number: u32, head: Pfn, from: Order, to: Order) {
        let thing = covering(&mut self.things, number, head, from);
        let Some(thing) = thing.filter(|_| self.handed_out.split(head, from, to).is_ok()) else {
            return self.refuse(Refused { call: "split", number, head, order: from });
        };
        let more = further_pieces(from, to);
        thing.references += more;
        self.references += u64::from(more);
    }

    /// Notes that ranges of order `from`, the first at `head`, become one of order `to`. The reference of that one
    /// stays, so the thing lives on.
    pub(crate) fn collapse(&mut self, number: u32, head: Pfn, from: Order, to: Order) {
        let thing = covering(&mut self.things, number, head, to);
        let Some(thing) = thing.filter(|_| self.handed_out.collapse(head, from, to).is_ok()) else {
            return self.refuse(Refused { call: "collapse", number, head, order: to });
        };
        let fewer = further_pieces(to, from);
        thing.references -= fewer;
        self.references -= u64::from(fewer);
    }

    #[cold]
    fn refuse(&mut self, refused: Refused) {
        self.refusals += 1;
        self.first_refused.get_or_insert(refused);
    }

    /// Removes the thing that died last.
    pub(crate) fn take_dead(&mut self) -> Option<T> {
        let thing = self.things.remove(self.last_dead? as usize);
        self.last_dead = thing.died_before;
        Some(thing.what)
    }

    /// Returns the references of all things.
    pub(crate) fn references(&self) -> u64 {
        self.references
    }

    /// Returns how many calls were refused.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Returns how many things there are, dead ones included.
    pub(crate) fn len(&self) -> u64 {
        self.things.len() as u64
    }

    /// Iterates over the things that live.
    pub(crate) fn living(&self) -> impl Iterator<Item = (u32, &T)> {
        // Numbers are at most DATA_MAX, which `insert` sees to.
        let living = self.things.iter().filter(|(_, thing)| thing.references > 0);
        living.filter_map(|(number, thing)| Some((u32::try_from(number).ok()?, &thing.what)))
    }

    /// Tells of refused calls, and compares the sum of references with a walk over all things, and with one over all
    /// ranges.
    pub(crate) fn check_consistency(&self) -> Result<(), String> {
        if let Some(Refused { call, number, head, order }) = self.first_refused {
            return Err(format!(
                "{} calls were refused; the first is a {call} of order {order} at page {head}, which is not handed out \
                 like this of object {number}",
                self.refusals
            ));
        }
        let sum: u64 = self.things.iter().map(|(_, thing)| u64::from(thing.references)).sum();
        let (counted, ranges) = (self.references, self.handed_out.ranges().count() as u64);
        match sum == counted && ranges == counted {
            true => Ok(()),
            false => Err(format!(
                "{counted} references are counted, {sum} are held, {ranges} ranges are handed out"
            )),
        }
    }
}

/// Returns how many pieces more than one there are after a folio of order `from` is split to order `to`.
fn further_pieces(from: Order, to: Order) -> u32 {
    (1 << (from.get() - to.get())) - 1
}

/// Finds the thing that lives under a number and covers a range.
fn covering<T: Covers>(
    things: &mut Slab<Thing<T>>,
    number: u32,
    head: Pfn,
    order: Order,
) -> Option<&mut Thing<T>> {
    let thing = things.get_mut(number as usize)?;
    (thing.references > 0 && thing.what.covers(head, order)).then_some(thing)
}
