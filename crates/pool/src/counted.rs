//! What folios are on, by the number that they carry: [`Counted`].
//!
//! ```text
//!   allocate --insert--> lives --put, the last--> dead --take_dead--> (gone, its number free)
//! ```
//!
//! One reference for each live folio, and one for each range handed out that is not a folio yet (I7): a split adds
//! as many as there are further pieces, a collapse takes them off again, and each free takes one.
//!
//! Nothing here takes a lock, and putting a reference allocates no memory: the list of the dead goes through the
//! things themselves. So a thing can be left dead until somebody who may take his time removes it (I15).

use bifolio_folio::{DATA_MAX, Order};
use slab::Slab;

/// Things with references, each under a number that a folio can carry as its `data`.
#[derive(Clone, Debug)]
pub(crate) struct Counted<T> {
    pub(crate) things: Slab<Thing<T>>,
    /// The references of all of them.
    references: u64,
    pub(crate) last_dead: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Thing<T> {
    pub(crate) what: T,
    /// 0 once it is dead.
    pub(crate) references: u32,
    /// The thing that died before this one.
    pub(crate) died_before: Option<u32>,
}

impl<T> Counted<T> {
    pub(crate) fn new() -> Counted<T> {
        Counted { things: Slab::new(), references: 0, last_dead: None }
    }

    /// Puts a thing into the table, with some references, and returns its number.
    ///
    /// # Errors
    /// Gives it back if no number is left that a folio could carry.
    pub(crate) fn insert(&mut self, what: T, references: u32) -> Result<u32, T> {
        match u32::try_from(self.things.vacant_key()) {
            Ok(number) if number <= DATA_MAX => {
                self.references += u64::from(references);
                self.things.insert(Thing { what, references, died_before: None });
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

    /// Takes `more` references of a thing that lives. A number that nothing has is the caller's mistake, and harms
    /// nobody else.
    pub(crate) fn take(&mut self, number: u32, more: u32) {
        let Some(thing) = self.things.get_mut(number as usize) else { return unknown(number) };
        debug_assert!(thing.references > 0, "{more} references taken of dead thing {number}");
        thing.references += more;
        self.references += u64::from(more);
    }

    /// Puts `fewer` references; tells whether they were the last, so that the thing is dead.
    pub(crate) fn put(&mut self, number: u32, fewer: u32) -> bool {
        let left = |thing: &Thing<T>| thing.references.checked_sub(fewer);
        let Some(thing) = self.things.get_mut(number as usize).filter(|thing| left(thing).is_some()) else {
            unknown(number);
            return false;
        };
        thing.references -= fewer;
        self.references -= u64::from(fewer);
        if thing.references == 0 {
            thing.died_before = self.last_dead.replace(number);
        }
        thing.references == 0
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

    /// Compares the sum with a walk over all.
    pub(crate) fn check_consistency(&self) -> Result<(), String> {
        let sum: u64 = self.things.iter().map(|(_, thing)| u64::from(thing.references)).sum();
        match sum == self.references {
            true => Ok(()),
            false => Err(format!("{} references are counted, {sum} are held", self.references)),
        }
    }
}

/// Returns how many pieces more than one there are after a folio of order `from` is split to order `to`.
pub(crate) fn further_pieces(from: Order, to: Order) -> u32 {
    (1 << (from.get() - to.get())) - 1
}

fn unknown(number: u32) {
    debug_assert!(false, "nothing that lives, or too few references, under the number of a folio: {number}");
}
