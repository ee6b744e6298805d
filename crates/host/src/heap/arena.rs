//! Address space for blocks of a program: where they are, how long, and which pages of them are still in use.
//!
//! ```text
//!   [ reservation: pages taken from the allocator ............................ ]
//!   [ live part ][ unmapped by the program ][ live part ]   freed when no part is left
//! ```
//!
//! Pages that the program took over by other means (protected, locked, mapped over) are *lost* to the engine: their
//! addresses are never given out again.

use std::collections::BTreeMap;
use std::ops::Range;

use bifolio_buddy::{Buddy, NewError};
use bifolio_sys::PAGE;

/// A range of the allocator and what of it is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reservation {
    /// Pages taken from the allocator.
    pages: usize,
    /// Pages of them that the block had when it was made or last resized.
    used_pages: usize,
    /// Pages of those that are in use still.
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
    /// Lengths of lost parts in bytes, by address.
    lost: BTreeMap<usize, usize>,
}

impl Arena {
    /// Manages `len` bytes from `start`, both aligned to a page.
    ///
    /// # Errors
    /// What the allocator refuses.
    pub fn new(start: usize, len: usize) -> Result<Arena, NewError> {
        let pages = Buddy::new((len / PAGE) as u64)?;
        Ok(Arena {
            start,
            pages,
            reservations: BTreeMap::new(),
            live: BTreeMap::new(),
            lost: BTreeMap::new(),
        })
    }

    /// Takes `bytes`, rounded up to pages, at a multiple of `align` bytes, and as much address space as `capacity`
    /// bytes need. `None` if no range is long enough.
    pub fn reserve(&mut self, bytes: usize, align: usize, capacity: usize) -> Option<usize> {
        let used_pages = pages_of(bytes)?;
        // Ranges are aligned to the next power of two of their size; the start of the arena to any order.
        let pages = used_pages.max(pages_of(capacity)?).max(align.div_ceil(PAGE));
        let range = self.pages.allocate_contiguous(pages as u64).ok()?;
        let address = self.start + usize::try_from(range.start).ok()? * PAGE;
        let reservation = Reservation { pages, used_pages, live_pages: used_pages, lost: false };
        self.reservations.insert(address, reservation);
        self.live.insert(address, used_pages * PAGE);
        Some(address)
    }

    /// The bytes of the block that begins at `address`.
    #[must_use]
    pub fn len_at(&self, address: usize) -> Option<usize> {
        self.reservations.get(&address).map(|reservation| reservation.used_pages * PAGE)
    }

    /// Lengthens the block at `address` to `bytes` in place. Returns the addresses that came to it; `None` if it was
    /// cut before, or its capacity does not suffice.
    pub fn lengthen(&mut self, address: usize, bytes: usize) -> Option<Range<usize>> {
        let pages = pages_of(bytes)?;
        let reservation = self.reservations.get_mut(&address)?;
        let Reservation { used_pages, live_pages, .. } = *reservation;
        if reservation.lost || live_pages != used_pages || pages < used_pages || pages > reservation.pages {
            return None;
        }
        (reservation.used_pages, reservation.live_pages) = (pages, pages);
        self.live.insert(address, pages * PAGE);
        Some(address + used_pages * PAGE..address + pages * PAGE)
    }

    /// Shortens the block at `address` to `bytes`; the rest must be retired by the caller. Returns the rest.
    pub fn shorten(&mut self, address: usize, bytes: usize) -> Option<Range<usize>> {
        let pages = pages_of(bytes)?;
        let reservation = self.reservations.get_mut(&address).filter(|r| pages <= r.used_pages)?;
        let rest = address + pages * PAGE..address + reservation.used_pages * PAGE;
        reservation.used_pages = pages;
        Some(rest)
    }

    /// The parts of `range` that are in use, in order.
    #[must_use]
    pub fn live_in(&self, range: Range<usize>) -> Vec<Range<usize>> {
        parts_in(&self.live, range)
    }

    /// The part in use that holds `address`.
    #[must_use]
    pub fn live_around(&self, address: usize) -> Option<Range<usize>> {
        let (&start, &len) = self.live.range(..=address).next_back()?;
        (address < start + len).then_some(start..start + len)
    }

    /// The parts of `range` that are lost, in order.
    #[must_use]
    pub fn lost_in(&self, range: Range<usize>) -> Vec<Range<usize>> {
        parts_in(&self.lost, range)
    }

    /// Tells whether `address` belongs to a block, or did and is not free again.
    #[must_use]
    pub fn is_taken(&self, address: usize) -> bool {
        self.reservation_of(address).is_some()
    }

    /// Takes page-aligned `range` out of use. The addresses stay taken until [`Arena::settle`].
    pub fn retire(&mut self, range: Range<usize>) {
        for part in self.live_in(range) {
            cut(&mut self.live, &part);
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

    /// Takes the parts of `range` that are in use out of the engine's hands: their addresses are never given out again.
    pub fn lose(&mut self, range: Range<usize>) {
        let first = self.reservation_of(range.start).unwrap_or(range.start);
        self.reservations.range_mut(first..range.end).for_each(|(_, reservation)| reservation.lost = true);
        let parts = self.live_in(range.clone());
        self.lost.extend(parts.into_iter().map(|part| (part.start, part.len())));
        self.retire(range);
    }

    /// Forgets that parts of `range` are lost: nobody uses them any more. Their addresses stay taken.
    pub fn bury(&mut self, range: Range<usize>) {
        self.lost_in(range).iter().for_each(|part| cut(&mut self.lost, part));
    }

    fn reservation_of(&self, address: usize) -> Option<usize> {
        let (start, reservation) = self.reservations.range(..=address).next_back()?;
        (address < start + reservation.pages * PAGE).then_some(*start)
    }
}

/// Pages of `bytes`, at least one.
fn pages_of(bytes: usize) -> Option<usize> {
    (bytes <= isize::MAX.cast_unsigned()).then(|| bytes.max(1).div_ceil(PAGE))
}

/// The parts of `range` that are in `parts`, lengths by address.
fn parts_in(parts: &BTreeMap<usize, usize>, range: Range<usize>) -> Vec<Range<usize>> {
    let before = parts.range(..range.start).next_back();
    let inside = parts.range(range.start..range.end.max(range.start));
    let clip = |(&start, &len): (&usize, &usize)| start.max(range.start)..(start + len).min(range.end);
    before.into_iter().chain(inside).map(clip).filter(|part| !part.is_empty()).collect()
}

/// Takes `part`, which lies within one of `parts`, out of it.
fn cut(parts: &mut BTreeMap<usize, usize>, part: &Range<usize>) {
    let Some((&start, &len)) = parts.range(..=part.start).next_back() else { return };
    parts.remove(&start);
    if start < part.start {
        parts.insert(start, part.start - start);
    }
    if part.end < start + len {
        parts.insert(part.end, start + len - part.end);
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
        let block = arena.reserve(8 * PAGE, 1, 0).expect("room");
        let middle = block + 2 * PAGE..block + 4 * PAGE;
        arena.retire(middle.clone());
        arena.settle(middle.clone());
        let parts = arena.live_in(block..block + 8 * PAGE);
        assert_eq!(parts, [block..middle.start, middle.end..block + 8 * PAGE]);
        assert!(arena.is_taken(middle.start));
        arena.retire(block..block + 8 * PAGE);
        arena.settle(block..block + 8 * PAGE);
        assert!(!arena.is_taken(block));
        assert_eq!(arena.reserve(64 * PAGE, 1, 0), Some(START), "all is free again");
    }

    #[test]
    fn lost_addresses_are_never_given_out_again() {
        let mut arena = arena();
        let block = arena.reserve(32 * PAGE, 1, 0).expect("room");
        arena.lose(block + PAGE..block + 2 * PAGE);
        arena.retire(block..block + 32 * PAGE);
        arena.settle(block..block + 32 * PAGE);
        assert!(arena.is_taken(block));
        assert_ne!(arena.reserve(32 * PAGE, 1, 0), Some(block));
    }

    #[test]
    fn alignment_beyond_the_size_is_honoured() {
        let mut arena = arena();
        let _page = arena.reserve(1, 1, 0).expect("room");
        let aligned = arena.reserve(PAGE, 8 * PAGE, 0).expect("room");
        assert_eq!((aligned - START) % (8 * PAGE), 0);
        assert_eq!(arena.len_at(aligned), Some(PAGE));
    }
}
