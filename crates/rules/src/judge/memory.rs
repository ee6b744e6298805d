//! What pools hand out, what devices map, and what pages hold: I9, I20, I21, I22, I25, I27.

use core::ops::BitOr;

use super::Verdict;
use crate::{Info, PageRange, Pages};

pub(super) const I9: Info = Info {
    short: "any order from free",
    sentence: "free memory can be handed out at any order up to its free block, in clean state",
    source: "the thread: an order-4 folio out of a free order-9 one",
};

/// I9: an order is refused only if every free block is smaller.
#[inline]
pub fn i9_refused(wanted: u8, largest_free: Option<u8>) -> Verdict {
    Verdict::new(9, largest_free.is_none_or(|free| free < wanted))
}

/// I9: what is granted is of the order that was wanted.
#[inline]
pub fn i9_granted(wanted: u8, granted: u8) -> Verdict {
    Verdict::new(9, granted == wanted)
}

/// I9: no page is lost: each is in use or free.
#[inline]
pub fn i9_whole<P: Pages + BitOr<Output = P>>(used: P, free: P, all: P) -> Verdict {
    Verdict::new(9, all.is_within(used | free))
}

pub(super) const I20: Info = Info {
    short: "unmap as mapped",
    sentence: "DMA is unmapped with the address and size it was mapped with",
    source: "as read in 6.19, repaired by 7.3.4: Nouveau unmaps a 2 MiB mapping as 4 KiB",
};

/// I20: only what was entered is removed. `entered`: the pages, from the first one named, that entries had.
#[inline]
pub fn i20_unmapped<P: Pages>(named: P, entered: P) -> Verdict {
    Verdict::new(20, named.is_within(entered))
}

/// I20: what is unmapped has the size, or the pages, of what was mapped.
#[inline]
pub fn i20_whole<P: Copy + PartialEq>(unmapped: P, mapped: P) -> Verdict {
    Verdict::new(20, unmapped == mapped)
}

/// I20: the device's page table has of a page what the block says: the same device page, or none.
#[inline]
pub fn i20_entry<E: Copy + PartialEq>(table: Option<E>, block: Option<E>) -> Verdict {
    Verdict::new(20, table == block)
}

/// I20: an entry leads to a live folio: it was removed before its folio went.
#[inline]
pub fn i20_live<F: Copy>(folio: Option<F>) -> Verdict {
    Verdict::new(20, folio.is_some())
}

pub(super) const I21: Info = Info {
    short: "inside the backing",
    sentence: "page number to device address stays inside the owner's backing",
    source: "as read in 6.19, repaired by 7.3.4: Nouveau registers 128 x 2 MiB of pages over one pinned object of 2 MiB",
};

/// I21: the device pages that are used are those of the folio that was named, within its backing.
#[inline]
pub fn i21_backing<P: Pages>(used: P, backing: P) -> Verdict {
    Verdict::new(21, used.is_within(backing))
}

/// I21: a range of order `order` is aligned to it, and inside of the device.
#[inline]
pub fn i21_aligned(head: u64, order: u8, device: PageRange) -> Verdict {
    let range = PageRange::of_order(head, order);
    let aligned = range.pages > 0 && head.is_multiple_of(range.pages);
    Verdict::new(21, aligned && range.is_within(device))
}

pub(super) const I22: Info = Info {
    short: "lost records fail safe",
    sentence: "bookkeeping that is lost for want of memory fails to the safe side",
    source: "as read in a series of mid 2026, not in 7.3.4: dirty tracker of the kernel's buddy allocator",
};

/// I22: memory that is said to be clear, or is shown to a new owner, holds nothing of former owners.
#[inline]
pub fn i22_clear<P: Pages>(said_clear: P, stale: P) -> Verdict {
    Verdict::new(22, !said_clear.meets(stale))
}

pub(super) const I25: Info = Info {
    short: "one pagemap a range",
    sentence: "all device pages of one mapped range come from one pagemap",
    source: "gpusvm (7.0) answers EOPNOTSUPP to a second one",
};

/// I25: the device pages of a range that is formed or mapped for a node are pages of that node's pagemap. A node that is
/// not known has none.
#[inline]
pub fn i25_pagemap<P: Pages>(pages: P, of_node: Option<P>) -> Verdict {
    Verdict::new(25, of_node.is_some_and(|pagemap| pages.is_within(pagemap)))
}

pub(super) const I27: Info = Info {
    short: "bytes",
    sentence: "the bytes at an address are those last written, across migrate, split, evict, fork, fault and free",
    source: "the oracle of Bifolio",
};

/// I27: what is read is what was written: bytes, or digests of them.
#[inline]
pub fn i27_bytes<B: Copy + PartialEq>(read: B, written: B) -> Verdict {
    Verdict::new(27, read == written)
}

/// I27, page by page: each page reads as what was written to it, where that is known.
#[inline]
pub fn i27_pages<B: Copy + PartialEq>(pages: impl IntoIterator<Item = (B, Option<B>)>) -> Verdict {
    let right = |(read, written): (B, Option<B>)| written.is_none_or(|written| read == written);
    Verdict::new(27, pages.into_iter().all(right))
}

/// I27, where reads and writes overlap in time and the writes of one place are numbered: a read returns a write that is
/// no older than the last one that had ended when the read began, and no newer than the last one that had begun when the
/// read ended.
#[inline]
pub fn i27_recent(read: u64, ended_before: u64, begun: u64) -> Verdict {
    Verdict::new(27, ended_before <= read && read <= begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i9_wants_a_refusal_to_have_a_reason() {
        assert!(i9_refused(4, Some(3)).kept && i9_refused(0, None).kept);
        assert!(!i9_refused(4, Some(4)).kept && !i9_refused(4, Some(9)).kept);
        assert!(i9_granted(4, 4).kept && !i9_granted(4, 3).kept);
    }

    #[test]
    fn i9_wants_every_page_to_be_used_or_free() {
        assert!(i9_whole(0x0f_u8, 0xf0, 0xff).kept);
        assert!(!i9_whole(0x0f_u8, 0xe0, 0xff).kept);
    }

    #[test]
    fn i20_wants_no_more_removed_than_was_entered() {
        assert!(i20_unmapped(0x0f_u8, 0xff).kept && !i20_unmapped(0x0f_u8, 0x01).kept);
        assert!(i20_entry(Some(3), Some(3)).kept && i20_entry::<u8>(None, None).kept);
        assert!(!i20_entry(Some(3), None).kept && !i20_entry(None, Some(3)).kept);
        assert!(i20_live(Some(0)).kept && !i20_live::<u8>(None).kept);
    }

    #[test]
    fn i21_wants_pages_of_the_folio_and_aligned_ranges_of_the_device() {
        assert!(i21_backing(0x0c_u8, 0x0f).kept && !i21_backing(0x1c_u8, 0x0f).kept);
        let device = PageRange { first: 64, pages: 64 };
        assert!(i21_aligned(112, 4, device).kept);
        assert!(!i21_aligned(120, 4, device).kept, "not aligned");
        assert!(!i21_aligned(128, 0, device).kept && !i21_aligned(0, 0, device).kept, "outside");
        assert!(!i21_aligned(64, 200, device).kept, "no order");
    }

    #[test]
    fn i22_wants_nothing_of_former_owners() {
        assert!(i22_clear(0x03_u8, 0x0c).kept && !i22_clear(0x03_u8, 0x02).kept);
    }

    #[test]
    fn i25_wants_pages_of_the_node_that_maps() {
        let pagemap = PageRange { first: 64, pages: 64 };
        let mapped = PageRange { first: 124, pages: 4 };
        assert!(i25_pagemap(mapped, Some(pagemap)).kept);
        assert!(!i25_pagemap(PageRange { pages: 8, ..mapped }, Some(pagemap)).kept);
        assert!(!i25_pagemap(mapped, None).kept);
    }

    #[test]
    fn i27_wants_the_bytes_that_were_written() {
        assert!(i27_bytes(7_u8, 7).kept && !i27_bytes([7_u64, 8], [7, 9]).kept);
        assert!(i27_pages([(7, Some(7)), (8, None)]).kept && !i27_pages([(7, Some(7)), (8, Some(9))]).kept);
        assert!(i27_recent(3, 3, 5).kept && i27_recent(5, 3, 5).kept);
        assert!(!i27_recent(2, 3, 5).kept && !i27_recent(6, 3, 5).kept);
    }
}
