//! Counters against what they count: I7 and I8.

use super::Verdict;
use crate::pages::pages_of;
use crate::{Info, Pages};

pub(super) const I7: Info = Info {
    short: "object references",
    sentence: "references of an object = live folios on it + holders in flight",
    source: "reason for folio_split of drm_pagemap (7.0)",
};

/// I7: an object has a reference for each folio on it, and one for each other holder: a range that is handed out and not
/// formed, a range of a buffer.
#[inline]
pub fn i7_references(references: u64, folios: u64, holders: u64) -> Verdict {
    Verdict::new(7, references == folios + holders)
}

/// I7: an object is told of a change of what it has: the first page, the order, and its own number are those known.
#[inline]
pub fn i7_belongs<R: Copy + PartialEq>(told: R, known: Option<R>) -> Verdict {
    Verdict::new(7, known == Some(told))
}

/// I7: a collapse from order `from` to order `to` joins as many folios of one object as it takes.
#[inline]
pub fn i7_joined(folios: u64, from: u8, to: u8) -> Verdict {
    Verdict::new(7, from < to && folios == pages_of(to - from))
}

/// I7: an object is there as long as any range is on it.
#[inline]
pub fn i7_outlives(exists: bool, ranges_left: u64) -> Verdict {
    Verdict::new(7, exists || ranges_left == 0)
}

/// I7: no page that is in use is free: its object holds it.
#[inline]
pub fn i7_used_is_not_free<P: Pages>(used: P, free: P) -> Verdict {
    Verdict::new(7, !used.meets(free))
}

/// I7: a pool that compared its objects with each other and with its lists found no fault.
#[inline]
pub fn i7_consistent<F: Copy>(fault: Option<F>) -> Verdict {
    Verdict::new(7, fault.is_none())
}

pub(super) const I8: Info = Info {
    short: "pagemap references",
    sentence: "references of the pagemap = pages in live folios; a split does not change them",
    source: "the page count of init and free (7.3.4)",
};

/// I8: a pagemap counts the pages in its live folios.
#[inline]
pub fn i8_counted(counted: u64, live_pages: u64) -> Verdict {
    Verdict::new(8, counted == live_pages)
}

/// I8: while others form and free folios, a pagemap counts no fewer pages than are live: it counts before a folio lives,
/// and takes off after it is freed.
#[inline]
pub fn i8_at_least(counted: u64, live_pages: u64) -> Verdict {
    Verdict::new(8, counted >= live_pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i7_wants_a_reference_for_each_folio_and_holder() {
        assert!(i7_references(512, 512, 0).kept && i7_references(3, 2, 1).kept);
        assert!(!i7_references(1, 512, 0).kept);
    }

    #[test]
    fn i7_wants_objects_told_of_what_they_have() {
        assert!(i7_belongs((16, 4, 1), Some((16, 4, 1))).kept);
        assert!(!i7_belongs((16, 4, 1), Some((16, 4, 2))).kept);
        assert!(!i7_belongs((16, 4, 1), None).kept);
    }

    #[test]
    fn i7_wants_all_pieces_of_a_collapse() {
        assert!(i7_joined(2, 3, 4).kept && i7_joined(512, 0, 9).kept);
        assert!(!i7_joined(1, 3, 4).kept && !i7_joined(1, 4, 4).kept && !i7_joined(2, 4, 3).kept);
    }

    #[test]
    fn i7_wants_objects_to_outlive_their_ranges() {
        assert!(i7_outlives(true, 3).kept && i7_outlives(false, 0).kept);
        assert!(!i7_outlives(false, 1).kept);
        assert!(i7_used_is_not_free(0x0f_u8, 0xf0).kept && !i7_used_is_not_free(0x0f_u8, 0x08).kept);
    }

    #[test]
    fn i7_wants_pools_without_a_fault() {
        assert!(i7_consistent::<()>(None).kept && !i7_consistent(Some("a page on two lists")).kept);
    }

    #[test]
    fn i8_wants_the_pages_of_live_folios() {
        assert!(i8_counted(512, 512).kept && !i8_counted(1, 512).kept);
        assert!(i8_at_least(513, 512).kept && !i8_at_least(511, 512).kept);
    }
}
