//! What folios are on, by the number that they carry, until its last reference is put: [`Counted`].
//!
//! One reference for each live folio, and one for each range handed out that is not a folio yet (I7): a split adds
//! as many as there are further pieces, a collapse takes them off again, and each free takes one.

use bifolio_folio::{DATA_MAX, Order};
use slab::Slab;

/// Things with references, each under a number that a folio can carry as its `data`.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    things: Slab<Thing<T>>,
    /// The references of all of them.
    references: u64,
}

#[derive(Debug)]
struct Thing<T> {
    what: T,
    /// At least 1.
    references: u32,
}

impl<T> Counted<T> {
    pub(crate) fn new() -> Counted<T> {
        Counted { things: Slab::new(), references: 0 }
    }

    /// Puts a thing into the table, with one reference, and returns its number.
    ///
    /// # Errors
    /// Gives it back if no number is left.
    pub(crate) fn insert(&mut self, what: T) -> Result<u32, T> {
        match u32::try_from(self.things.vacant_key()) {
            Ok(number) if number <= DATA_MAX => {
                self.references += 1;
                self.things.insert(Thing { what, references: 1 });
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

    /// Takes `more` references. A number that nothing has is the caller's mistake, and harms nobody else.
    pub(crate) fn take(&mut self, number: u32, more: u32) {
        let Some(thing) = self.things.get_mut(number as usize) else { return unknown(number) };
        thing.references += more;
        self.references += u64::from(more);
    }

    /// Puts `fewer` references; returns the thing if they were its last.
    pub(crate) fn put(&mut self, number: u32, fewer: u32) -> Option<T> {
        let Some(thing) = self.things.get_mut(number as usize) else {
            unknown(number);
            return None;
        };
        debug_assert!(thing.references >= fewer, "{fewer} of {} references put", thing.references);
        let fewer = fewer.min(thing.references);
        thing.references -= fewer;
        self.references -= u64::from(fewer);
        (thing.references == 0).then(|| self.things.remove(number as usize).what)
    }

    /// Returns the references of all things.
    pub(crate) fn references(&self) -> u64 {
        self.references
    }

    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        // Numbers are at most DATA_MAX, which `insert` sees to.
        self.things.iter().filter_map(|(number, thing)| Some((u32::try_from(number).ok()?, &thing.what)))
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
    debug_assert!(false, "a folio carries the number of nothing: {number}");
}
