//! A folio is formed of free pages, locked and unlocked, and in the end freed: I1, I2, I3, I6, I11, I16.

use super::Verdict;
use crate::{Info, Pages};

pub(super) const I1: Info = Info {
    short: "no forming twice",
    sentence: "a range is formed into a compound only if no page of it is part of a compound",
    source: "the thread: Nouveau of 6.19-rc1 forms a folio over its own stale head, hidden because only order 9 exists",
};

/// I1: a pool hands out no page that is in use.
#[inline]
pub fn i1_handed_out<P: Pages>(range: P, in_use: P) -> Verdict {
    Verdict::new(1, !range.meets(in_use))
}

/// I1: no folio is formed over a live one, and no page is joined to others that was part of a compound by what its
/// words said. A single page joins nothing.
#[inline]
pub fn i1_formed<P: Pages>(range: P, live: P, compound: P) -> Verdict {
    let over = range.meets(live) || (range.count() > 1 && range.meets(compound));
    Verdict::new(1, !over)
}

pub(super) const I2: Info = Info {
    short: "init is total",
    sentence: "after init(p, k) every metadata field of the 2^k pages is a function of p, k and pagemap only",
    source: "changelogs of v5 and v6: hang on the next lock, crashes; 7.3.4 keeps the flags above bit 7",
};

/// I2: the words of a new folio are those that page, order and pagemap give.
#[inline]
pub fn i2_words<W: PartialEq>(
    found: impl IntoIterator<Item = W>,
    given: impl IntoIterator<Item = W>,
) -> Verdict {
    Verdict::new(2, found.into_iter().eq(given))
}

pub(super) const I3: Info = Info {
    short: "pagemap known",
    sentence: "every page's pagemap can be found at all times; init gets it from the caller, never from the page",
    source: "reason for the pagemap argument of v5",
};

/// I3: the pagemap that a page leads to is the one that the caller named.
#[inline]
pub fn i3_pagemap<M: Copy + PartialEq>(found: M, named: M) -> Verdict {
    Verdict::new(3, found == named)
}

pub(super) const I6: Info = Info {
    short: "own range only",
    sentence: "init and reset touch only their own range",
    source: "the thread: two threads that allocate two parts of one old large folio; why folio_reset_order was no help",
};

/// Which code touches the words of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// That which forms a folio or resets its words.
    Forming,
    /// That which has handed the memory of a freed folio back.
    HandedBack,
}

/// I5, I6: no path touches words that belong to others. Which of the two rules depends on the path.
#[inline]
pub fn words_of_others<P: Pages>(path: Path, touched: P, of_others: P) -> Verdict {
    let number = match path {
        Path::Forming => 6,
        Path::HandedBack => 5,
    };
    Verdict::new(number, !touched.meets(of_others))
}

/// I6: the words of a page next to a new folio lead to the folio that was known there before. Pages of which no folio
/// is known may be in any state: their owner may be at work.
#[inline]
pub fn i6_neighbour<F: Copy + PartialEq>(known: Option<F>, found: Option<F>) -> Verdict {
    Verdict::new(6, known.is_none() || known == found)
}

pub(super) const I11: Info = Info {
    short: "born locked, dies clean",
    sentence: "a new folio leaves init locked with one reference; a freed one is unlocked, unmapped, uncharged, without references",
    source: "assertions in v4 to v6",
};

/// I11: a new folio is locked and has one reference. Where `others_may_look`, they may have found it by its page number
/// already, and have more.
#[inline]
pub fn i11_born(locked: bool, references: u64, others_may_look: bool) -> Verdict {
    let one = references == 1 || (others_may_look && references > 1);
    Verdict::new(11, locked && one)
}

/// I11: a lock is had by one at a time, and can be had when none has it.
#[inline]
pub fn i11_lock(taken: bool, was_locked: bool) -> Verdict {
    Verdict::new(11, taken != was_locked)
}

/// What is left of a folio when its memory is handed back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Remains {
    /// Whether it is locked.
    pub locked: bool,
    /// References of all its pages.
    pub references: u64,
    /// Pages of it that a page table has.
    pub mapped: u64,
    /// Whether a memory cgroup is charged for it.
    pub charged: bool,
}

/// I11: nothing is left of a folio that is handed back.
#[inline]
pub fn i11_freed(remains: &Remains) -> Verdict {
    Verdict::new(11, *remains == Remains::default())
}

pub(super) const I16: Info = Info {
    short: "teardown",
    sentence: "no init after kill; teardown ends if and only if no page is live",
    source: "memunmap_pages; in 7.3.4 init only warns once the count of the pagemap has reached 0",
};

/// How far the teardown of a pagemap is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Teardown {
    /// It has not begun.
    #[default]
    Alive,
    /// The pagemap was killed.
    Killed,
    /// Teardown has ended.
    Ended,
}

/// I16: a folio is formed only on a pagemap that was alive when forming began.
#[inline]
pub fn i16_formed(at_begin: Teardown) -> Verdict {
    Verdict::new(16, at_begin == Teardown::Alive)
}

/// I16: teardown ends if and only if no page is live.
#[inline]
pub fn i16_ended(ends: bool, live_pages: u64) -> Verdict {
    Verdict::new(16, ends == (live_pages == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i1_wants_neither_pages_in_use_nor_compound_pages() {
        assert!(i1_handed_out(0xf0_u8, 0x0f).kept);
        assert!(!i1_handed_out(0xf0_u8, 0x10).kept);
        assert!(i1_formed(0xf0_u8, 0x0f, 0x0f).kept);
        assert!(!i1_formed(0xf0_u8, 0x10, 0).kept);
        assert!(!i1_formed(0xf0_u8, 0, 0x80).kept);
        assert!(i1_formed(0x10_u8, 0, 0x10).kept, "a single page joins nothing");
    }

    #[test]
    fn i2_wants_as_many_words_as_were_given_and_the_same() {
        assert!(i2_words([1, 2], [1, 2]).kept);
        assert!(!i2_words([1, 2], [1, 3]).kept);
        assert!(!i2_words([1, 2], [1]).kept);
    }

    #[test]
    fn i3_wants_the_named_pagemap() {
        assert!(i3_pagemap(Some(1), Some(1)).kept);
        assert!(!i3_pagemap(None, Some(1)).kept);
    }

    #[test]
    fn words_of_others_are_i6_while_forming_and_i5_after_the_hand_back() {
        assert!(words_of_others(Path::Forming, 0x0f_u8, 0xf0).kept);
        assert_eq!(words_of_others(Path::Forming, 0x1f_u8, 0xf0), Verdict::new(6, false));
        assert_eq!(words_of_others(Path::HandedBack, 0x10_u8, 0xf0), Verdict::new(5, false));
    }

    #[test]
    fn i6_wants_known_neighbours_unchanged() {
        assert!(i6_neighbour(Some((8, 2)), Some((8, 2))).kept);
        assert!(!i6_neighbour(Some((8, 2)), None).kept);
        assert!(i6_neighbour(None, Some((8, 2))).kept);
    }

    #[test]
    fn i11_wants_one_reference_at_birth() {
        assert!(i11_born(true, 1, false).kept && i11_born(true, 2, true).kept);
        assert!(!i11_born(false, 1, true).kept);
        assert!(!i11_born(true, 2, false).kept && !i11_born(true, 0, true).kept);
    }

    #[test]
    fn i11_wants_a_lock_to_have_one_holder() {
        assert!(i11_lock(true, false).kept && i11_lock(false, true).kept);
        assert!(!i11_lock(true, true).kept && !i11_lock(false, false).kept);
    }

    #[test]
    fn i11_wants_nothing_left_of_a_freed_folio() {
        let clean = Remains::default();
        assert!(i11_freed(&clean).kept);
        assert!(!i11_freed(&Remains { locked: true, ..clean }).kept);
        assert!(!i11_freed(&Remains { references: 1, ..clean }).kept);
        assert!(!i11_freed(&Remains { mapped: 4, ..clean }).kept);
        assert!(!i11_freed(&Remains { charged: true, ..clean }).kept);
    }

    #[test]
    fn i16_wants_no_folio_after_the_kill_and_the_end_with_the_last_page() {
        assert!(i16_formed(Teardown::Alive).kept);
        assert!(!i16_formed(Teardown::Killed).kept && !i16_formed(Teardown::Ended).kept);
        assert!(i16_ended(true, 0).kept && i16_ended(false, 3).kept);
        assert!(!i16_ended(true, 3).kept && !i16_ended(false, 0).kept);
    }
}
