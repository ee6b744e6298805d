//! Address space for blocks of a program: where they are, how long, and which pages of them are still in use.
//!
//! ```text
//!   [ reservation: pages taken from the allocator ............................ ]
//!   [ live part ][ unmapped by the program ][ live part ]   freed when no part is left
//! ```
//!
//! Pages that the program took over by other means (`MAP_FIXED`) are *lost*: their reservation is never given out again.

use std::collections::BTreeMap;
use std::ops::Range;

use bifolio_buddy::{Buddy, NewError};
use bifolio_sys::PAGE;

/// A range of the allocator and what of it is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reservation {
    pages: usize,
    live_pages: usize,
    lost: bool,
}

/// Who has which addresses.
#[derive(Debug)]
pub struct Arena {
    start: usize,
    pages: Buddy,
    /// By address.
    reservations: BTreeMap<usize, Reservation>,
    /// Lengths of live parts in bytes, by address. Each lies in one reservation.
    live: BTreeMap<usize, usize>,
}

impl Arena {
    /// Manages `len` bytes from `start`, both aligned to a page.
    ///
    /// # Errors
    /// What the allocator refuses.
    pub fn new(start: usize, len: usize) -> Result<Arena, NewError> {
        let pages = Buddy::new((len / PAGE) as u64)?;
        Ok(Arena { start, pages, reservations: BTreeMap::new(), live: BTreeMap::new() })
    }

    /// Takes `bytes`, rounded up to pages, at a multiple of `align` bytes. `None` if no range is long enough.
    pub fn reserve(&mut self, bytes: usize, align: usize) -> Option<usize> {
        let pages = bytes.max(1).div_ceil(PAGE);
        // Ranges are aligned to the next power of two of their size; the start of the arena to any order.
        let taken = pages.max(align.div_ceil(PAGE));
        let range = self.pages.allocate_contiguous(taken as u64).ok()?;
        let address = self.start + usize::try_from(range.start).ok()? * PAGE;
        self.reservations.insert(address, Reservation { pages: taken, live_pages: pages, lost: false });
        self.live.insert(address, pages * PAGE);
        Some(address)
    }

    /// The bytes in use from `address` on, if a live part begins there.
    #[must_use]
    pub fn len_at(&self, address: usize) -> Option<usize> {
        self.live.get(&address).copied()
    }

    /// The live parts of `range`, in order.
    #[must_use]
    pub fn live_in(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let before = self.live.range(..range.start).next_back();
        let inside = self.live.range(range.start..range.end.max(range.start));
        let clip = |(&start, &len): (&usize, &usize)| start.max(range.start)..(start + len).min(range.end);
        before.into_iter().chain(inside).map(clip).filter(|part| !part.is_empty()).collect()
    }

    /// The pages that belong to a reservation of which nothing or something lives, around `address`.
    #[must_use]
    pub fn is_taken(&self, address: usize) -> bool {
        self.reservation_of(address).is_some()
    }

    /// Takes page-aligned `range` out of use. The addresses stay taken until [`Arena::settle`].
    pub fn retire(&mut self, range: Range<usize>) {
        for part in self.live_in(range) {
            let start = self.live.range(..=part.start).next_back().map(|(start, _)| *start);
            let start = start.expect("a live part was just found there");
            let end = start + self.live.remove(&start).expect("found");
            if start < part.start {
                self.live.insert(start, part.start - start);
            }
            if part.end < end {
                self.live.insert(part.end, end - part.end);
            }
            let reservation = self.reservation_of(part.start).expect("live parts lie in reservations");
            let reservation = self.reservations.get_mut(&reservation).expect("found");
            reservation.live_pages -= part.len() / PAGE;
        }
    }

    /// Gives the addresses of reservations that touch `range` and are out of use back to the allocator.
    pub fn settle(&mut self, range: Range<usize>) {
        let first = self.reservation_of(range.start).unwrap_or(range.start);
        let over: Vec<usize> = self
            .reservations
            .range(first..range.end)
            .filter(|(_, reservation)| reservation.live_pages == 0 && !reservation.lost)
            .map(|(address, _)| *address)
            .collect();
        for address in over {
            let Reservation { pages, .. } = self.reservations.remove(&address).expect("just found");
            let first = ((address - self.start) / PAGE) as u64;
            let freed = self.pages.free_range(first..first + pages as u64);
            debug_assert!(freed.is_ok(), "a reservation is freed as it was made: {freed:?}");
        }
    }

    /// Never gives the addresses of `range` out again.
    pub fn lose(&mut self, range: Range<usize>) {
        let first = self.reservation_of(range.start).unwrap_or(range.start);
        self.reservations.range_mut(first..range.end).for_each(|(_, reservation)| reservation.lost = true);
        self.retire(range);
    }

    fn reservation_of(&self, address: usize) -> Option<usize> {
        let (start, reservation) = self.reservations.range(..=address).next_back()?;
        (address < start + reservation.pages * PAGE).then_some(*start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: usize = 1 << 30;

    fn arena() -> Arena {
        Arena::new(START, 64 * PAGE).expect("an arena")
    }

    #[test]
    fn partial_retirement_keeps_the_rest_and_the_addresses() {
        let mut arena = arena();
        let block = arena.reserve(8 * PAGE, 1).expect("room");
        let middle = block + 2 * PAGE..block + 4 * PAGE;
        arena.retire(middle.clone());
        arena.settle(middle.clone());
        let parts = arena.live_in(block..block + 8 * PAGE);
        assert_eq!(parts, [block..middle.start, middle.end..block + 8 * PAGE]);
        assert!(arena.is_taken(middle.start));
        arena.retire(block..block + 8 * PAGE);
        arena.settle(block..block + 8 * PAGE);
        assert!(!arena.is_taken(block));
        assert_eq!(arena.reserve(64 * PAGE, 1), Some(START), "all is free again");
    }

    #[test]
    fn lost_addresses_are_never_given_out_again() {
        let mut arena = arena();
        let block = arena.reserve(32 * PAGE, 1).expect("room");
        arena.lose(block + PAGE..block + 2 * PAGE);
        arena.retire(block..block + 32 * PAGE);
        arena.settle(block..block + 32 * PAGE);
        assert!(arena.is_taken(block));
        assert_ne!(arena.reserve(32 * PAGE, 1), Some(block));
    }

    #[test]
    fn alignment_beyond_the_size_is_honoured() {
        let mut arena = arena();
        let _page = arena.reserve(1, 1).expect("room");
        let aligned = arena.reserve(PAGE, 8 * PAGE).expect("room");
        assert_eq!((aligned - START) % (8 * PAGE), 0);
        assert_eq!(arena.len_at(aligned), Some(PAGE));
    }
}
