//! Migrations: what they name, take, wait for and leave: I12, I13, I14, I18, I19, I23, I24, I26, I28.

use core::array;

use super::Verdict;
use crate::{Info, Pages};

pub(super) const I12: Info = Info {
    short: "finalize is total",
    sentence: "after finalize each slot is mapped to one of source and destination, all locks and references returned, whatever failed",
    source: "protocol of migrate_vma (7.3.4)",
};

/// I12: a transaction that ended left no page out of the CPU's view, and no folio that holds no page.
#[inline]
pub fn i12_finalized(out_of_view: u64, leaked_folios: u64) -> Verdict {
    Verdict::new(12, out_of_view == 0 && leaked_folios == 0)
}

/// I12: a page that can be seen is seen where it is.
#[inline]
pub fn i12_view<S: Copy + PartialEq>(seen: Option<S>, is: S) -> Verdict {
    Verdict::new(12, seen.is_none_or(|seen| seen == is))
}

/// I12: a block that compared its pieces with its sets of pages found no fault: each page is in one place.
#[inline]
pub fn i12_consistent<F: Copy>(fault: Option<F>) -> Verdict {
    Verdict::new(12, fault.is_none())
}

pub(super) const I13: Info = Info {
    short: "pages with pages",
    sentence: "migration compares numbers of pages with numbers of pages, never with slots",
    source: "large-folio migration before drm_pagemap_cpages: 1 slot of 512 pages gave a spurious EBUSY",
};

/// I13: a count of pages went up by the pages that came and down by those that left.
#[inline]
pub fn i13_pages(change: i64, came: u64, left: u64) -> Verdict {
    Verdict::new(13, i128::from(change) == i128::from(came) - i128::from(left))
}

pub(super) const I14: Info = Info {
    short: "granularity agrees",
    sentence: "large source with small destination: split the source or refuse; small with large: refuse",
    source: "as read in 7.3.4: eviction of a Nouveau chunk without the compound flag",
};

/// I14: a folio moves to or from a run of pages of its own order. Without a folio there is nothing to move.
#[inline]
pub fn i14_orders(folio: Option<u8>, run: u8) -> Verdict {
    Verdict::new(14, folio == Some(run))
}

pub(super) const I18: Info = Info {
    short: "exits release",
    sentence: "every way out releases locks, page tables and references of the address space",
    source: "fixed by 63451de16e0a (May 2026) and 847b371debf3",
};

/// What a transaction took for its time and still has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Locks of folios.
    pub locks: u64,
    /// Folios that no page is on.
    pub folios: u64,
    /// Runs of pages that are out of the CPU's view.
    pub staged: u64,
    /// Pages of system memory that are counted and not used, or used and not counted.
    pub reserved: u64,
}

/// I18: when it is over, what was taken for the time of a transaction has been returned.
#[inline]
pub fn i18_returned(kept: &Kept) -> Verdict {
    Verdict::new(18, *kept == Kept::default())
}

/// I18: of what a way out has to give back - locks, page tables, references of the address space - it kept so many.
#[inline]
pub fn i18_held(kept: u64) -> Verdict {
    Verdict::new(18, kept == 0)
}

pub(super) const I19: Info = Info {
    short: "4 KiB when 2 MiB fails",
    sentence: "what fails at 2 MiB must be able to succeed at 4 KiB, in both directions",
    source: "as read in 7.0: SIGBUS when no large page is left; repaired in drm_pagemap by 7.3.4",
};

/// I19: a transaction gives up for want of memory only after it asked for the smallest order that it may use.
#[inline]
pub fn i19_gave_up(for_memory: bool, asked_last: u8, smallest: u8) -> Verdict {
    Verdict::new(19, !for_memory || asked_last <= smallest)
}

pub(super) const I23: Info = Info {
    short: "partial success",
    sentence: "after partial success moved pages keep the backing and unmoved ones do not",
    source: "drm_pagemap (7.0): EBUSY is returned though part of the range moved",
};

/// Where the pages of a 2 MiB block are: bit i of the 512 for page i.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Residency {
    /// Pages in system memory.
    pub ram: [u64; 8],
    /// Pages on a device.
    pub device: [u64; 8],
}

/// I23: what a transaction moved that failed is consistent. Pages that it had committed to its folio are on a device, pages
/// that it had brought home are in system memory, and all others are where they were. Pages that left a device, or moved
/// on it to another folio, are those of the folios that it released: `released` pages.
#[inline]
pub fn i23_failed(before: &Residency, now: &Residency, committed: &[u64; 8], released: u64) -> Verdict {
    let home: [u64; 8] = array::from_fn(|at| now.ram[at] & before.device[at] & !committed[at]);
    let moved_so = |at: usize| {
        now.ram[at] == before.ram[at] & !committed[at] | home[at]
            && now.device[at] == before.device[at] & !home[at] | committed[at]
    };
    let left = |at: usize| u64::from((before.device[at] & (home[at] | committed[at])).count_ones());
    Verdict::new(23, (0..8).all(moved_so) && (0..8).map(left).sum::<u64>() == released)
}

/// I23: pages that are said to have moved are where they were to go.
#[inline]
pub fn i23_moved<P: Pages>(moved: P, there: P) -> Verdict {
    Verdict::new(23, moved.is_within(there))
}

/// I23: pages on a device have a folio, the one that the block knows: same first page, same order, or same holders.
#[inline]
pub fn i23_piece<F: Copy + PartialEq>(folio: Option<F>, known: F) -> Verdict {
    Verdict::new(23, folio == Some(known))
}

pub(super) const I24: Info = Info {
    short: "no waiting on locks",
    sentence: "two transactions never wait on each other's folio locks",
    source: "collect takes folio locks by trylock only (7.1)",
};

/// I24: no wait leads back to where it began. `waits_for` says for each which one it waits for.
#[inline]
pub fn i24_no_cycle(waits_for: &[Option<usize>]) -> Verdict {
    let next = |at: usize| waits_for.get(at).copied().flatten();
    let ends = |from: usize| {
        let mut at = Some(from);
        waits_for.iter().for_each(|_| at = at.and_then(next));
        at.is_none()
    };
    Verdict::new(24, (0..waits_for.len()).all(ends))
}

/// I24, where it is not known which waits for which: none waits for a block that holds another.
#[inline]
pub fn i24_holding(held_while_waiting: u64) -> Verdict {
    Verdict::new(24, held_while_waiting == 0)
}

pub(super) const I26: Info = Info {
    short: "looked at again",
    sentence: "an entry found without the page-table lock is compared again after taking it",
    source: "fixes of page_vma_mapped, May and June 2026",
};

/// I26: what is worked on under the lock is what was looked for without it.
#[inline]
pub fn i26_rechecked<T: Copy + PartialEq>(wanted: T, found: Option<T>) -> Verdict {
    Verdict::new(26, found == Some(wanted))
}

pub(super) const I28: Info = Info {
    short: "retired is no source",
    sentence: "a folio whose bytes went home while it is still held is never a source again",
    source: "the flag MIGRATED that drm_pagemap of 7.3.4 sets in the driver's word",
};

/// I28: a folio from which a migration takes bytes has them; those of a retired folio are in system memory.
#[inline]
pub fn i28_source(retired: bool) -> Verdict {
    Verdict::new(28, !retired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i12_wants_everything_in_view_where_it_is_and_nothing_leaked() {
        assert!(i12_finalized(0, 0).kept);
        assert!(!i12_finalized(1, 0).kept && !i12_finalized(0, 1).kept);
        assert!(i12_view(Some(3), 3).kept && i12_view(None, 3).kept && !i12_view(Some(4), 3).kept);
    }

    #[test]
    fn i12_wants_blocks_without_a_fault() {
        assert!(i12_consistent::<()>(None).kept && !i12_consistent(Some("a page in two pieces")).kept);
    }

    #[test]
    fn i13_wants_pages_counted_as_pages() {
        assert!(i13_pages(512, 512, 0).kept && i13_pages(-8, 8, 16).kept);
        assert!(!i13_pages(1, 512, 0).kept);
    }

    #[test]
    fn i14_wants_equal_orders() {
        assert!(i14_orders(Some(9), 9).kept);
        assert!(!i14_orders(Some(9), 0).kept && !i14_orders(None, 0).kept);
    }

    #[test]
    fn i18_wants_all_returned() {
        let none = Kept::default();
        assert!(i18_returned(&none).kept);
        assert!(!i18_returned(&Kept { locks: 1, ..none }).kept);
        assert!(!i18_returned(&Kept { folios: 1, ..none }).kept);
        assert!(!i18_returned(&Kept { staged: 1, ..none }).kept);
        assert!(!i18_returned(&Kept { reserved: 1, ..none }).kept);
    }

    #[test]
    fn i19_wants_the_smallest_order_to_be_tried() {
        assert!(
            i19_gave_up(true, 0, 0).kept && i19_gave_up(true, 4, 4).kept && i19_gave_up(false, 9, 0).kept
        );
        assert!(!i19_gave_up(true, 9, 0).kept);
    }

    #[test]
    fn i23_wants_a_failure_to_move_what_it_committed_and_no_more() {
        let bits = |low| [low, 0, 0, 0, 0, 0, 0, 0];
        let at = |ram, device| Residency { ram: bits(ram), device: bits(device) };
        let before = at(0x0f, 0xf0);
        assert!(i23_failed(&before, &before, &bits(0), 0).kept);
        assert!(i23_failed(&before, &at(0x0c, 0xf3), &bits(0x03), 0).kept);
        assert!(!i23_failed(&before, &at(0x0c, 0xf3), &bits(0x01), 0).kept);
        assert!(!i23_failed(&before, &at(0x0c, 0xf0), &bits(0), 0).kept);
        assert!(!i23_failed(&before, &at(0x10f, 0xf0), &bits(0), 1).kept, "from nowhere");
    }

    #[test]
    fn i23_wants_pages_that_came_home_to_have_left_their_folio() {
        let bits = |low| [low, 0, 0, 0, 0, 0, 0, 0];
        let at = |ram, device| Residency { ram: bits(ram), device: bits(device) };
        let (before, now) = (at(0x0f, 0xf0), at(0x3f, 0xc0));
        assert!(i23_failed(&before, &now, &bits(0), 2).kept);
        assert!(!i23_failed(&before, &now, &bits(0), 0).kept);
        assert!(!i23_failed(&before, &before, &bits(0), 2).kept);
        // From one device to another.
        assert!(i23_failed(&before, &before, &bits(0x30), 2).kept);
    }

    #[test]
    fn i23_wants_folios_for_pages_and_pages_where_they_went() {
        assert!(i23_piece(Some((16, 4)), (16, 4)).kept);
        assert!(!i23_piece(Some((16, 3)), (16, 4)).kept && !i23_piece(None, (16, 4)).kept);
        assert!(i23_moved(0x03_u8, 0x0f).kept && !i23_moved(0x11_u8, 0x0f).kept);
    }

    #[test]
    fn i24_wants_no_circle() {
        assert!(i24_no_cycle(&[Some(1), Some(2), None]).kept);
        assert!(!i24_no_cycle(&[Some(1), Some(0)]).kept);
        assert!(i24_holding(0).kept && !i24_holding(1).kept);
    }

    #[test]
    fn i26_wants_what_was_looked_for() {
        assert!(i26_rechecked(7_u64, Some(7)).kept);
        assert!(!i26_rechecked(7_u64, Some(8)).kept && !i26_rechecked(7_u64, None).kept);
    }
}
