//! A folio is split, put for the last time, and its memory handed back: I4, I5, I10, I15, I17.

use super::Verdict;
use crate::{Info, Pages};

pub(super) const I4: Info = Info {
    short: "order is told once",
    sentence: "the order at which a folio was freed reaches its owner exactly once",
    source: "review of v3: folio_free of Nouveau reads folio_order",
};

/// I4: the owner is told of the folio that is freed, once, with its first page and its order; and of none if none is.
#[inline]
pub fn i4_told<P: Copy + PartialEq>(
    freed: Option<(P, u8)>,
    told: impl IntoIterator<Item = (P, u8)>,
) -> Verdict {
    Verdict::new(4, told.into_iter().eq(freed))
}

/// I4: a pool refused no free, split or collapse because no such range was handed out at that order.
#[inline]
pub fn i4_accepted(refusals: u64) -> Verdict {
    Verdict::new(4, refusals == 0)
}

pub(super) const I5: Info = Info {
    short: "hands off after free",
    sentence: "once folio_free has handed the memory back, the freeing path touches nothing of the folio",
    source: "came with 6.19-rc1, fixed by commit 39928984956037 (April 2026)",
};

/// I5: memory of a device is used only while it is held: handed out, or formed. Whether all of it is held is judged by I21.
#[inline]
pub fn i5_memory<P: Pages>(used: P, held: Option<P>) -> Verdict {
    Verdict::new(5, held.is_some_and(|held| used.meets(held)))
}

pub(super) const I10: Info = Info {
    short: "frozen is not free",
    sentence: "frozen (being split) and free (the allocator's) can be told apart by what the page holds",
    source: "the thread, where it is debated: Zi Yan asks for it, Gunthorpe says that nothing correct can rely on it",
};

/// I10: no free page looks as if it were part of a frozen folio.
#[inline]
pub fn i10_frozen<P: Pages>(like_frozen: P, free: P) -> Verdict {
    Verdict::new(10, !like_frozen.meets(free))
}

pub(super) const I15: Info = Info {
    short: "last put does not sleep",
    sentence: "the last put may come in atomic context: what may sleep is deferred",
    source: "asynchronous release of zdd and svm_bo (7.0)",
};

/// I15: a last put releases no object, for that may sleep. `released`: objects that went, or pages that came free by it.
#[inline]
pub fn i15_put(released: u64) -> Verdict {
    Verdict::new(15, released == 0)
}

pub(super) const I17: Info = Info {
    short: "no read after put",
    sentence: "a folio is not read after the caller's last reference was dropped",
    source: "as read in 7.0, repaired by 7.3.4: error path that populates system memory in drm_pagemap",
};

/// I17: what a step names, or a reference leads to, is a live folio.
#[inline]
pub fn i17_lives<F: Copy>(folio: Option<F>) -> Verdict {
    Verdict::new(17, folio.is_some())
}

/// I17: by the number of a page one finds the folio that covers it, and no other.
#[inline]
pub fn i17_found<F: Copy + PartialEq>(found: Option<F>, covers: Option<F>) -> Verdict {
    Verdict::new(17, found == covers)
}

/// I17: what only a sole holder may do is done if and only if there are no references of others.
#[inline]
pub fn i17_alone(done: bool, references_of_others: u64) -> Verdict {
    Verdict::new(17, done == (references_of_others == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_wants_one_call_with_page_and_order() {
        assert!(i4_told(Some((16_u64, 9)), [(16, 9)]).kept);
        assert!(!i4_told(Some((16_u64, 9)), [(16, 0)]).kept);
        assert!(!i4_told(Some((16_u64, 9)), [(16, 9), (16, 9)]).kept);
        assert!(!i4_told(Some((16_u64, 9)), []).kept);
        assert!(!i4_told(None, [(16_u64, 9)]).kept);
        assert!(i4_told::<u64>(None, []).kept);
    }

    #[test]
    fn i4_wants_no_call_that_a_pool_refuses() {
        assert!(i4_accepted(0).kept && !i4_accepted(1).kept);
    }

    #[test]
    fn i5_wants_a_holder_of_what_is_used() {
        assert!(i5_memory(0x03_u8, Some(0x0f)).kept);
        assert!(!i5_memory(0x03_u8, None).kept);
        assert!(!i5_memory(0x03_u8, Some(0xf0)).kept);
    }

    #[test]
    fn i10_wants_free_pages_to_look_free() {
        assert!(i10_frozen(0xf0_u8, 0x0f).kept);
        assert!(!i10_frozen(0x01_u8, 0x0f).kept);
    }

    #[test]
    fn i15_wants_release_elsewhere() {
        assert!(i15_put(0).kept && !i15_put(1).kept);
    }

    #[test]
    fn i17_wants_a_live_folio_and_that_of_the_page() {
        assert!(i17_lives(Some(8)).kept && !i17_lives::<u64>(None).kept);
        assert!(i17_found(Some(8), Some(8)).kept && i17_found::<u64>(None, None).kept);
        assert!(!i17_found(Some(8), None).kept && !i17_found(None, Some(8)).kept);
    }

    #[test]
    fn i17_wants_shared_folios_left_alone() {
        assert!(i17_alone(true, 0).kept && i17_alone(false, 2).kept);
        assert!(!i17_alone(true, 2).kept && !i17_alone(false, 0).kept);
    }
}
