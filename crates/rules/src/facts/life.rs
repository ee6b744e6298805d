//! The life of a folio: formed of free pages, referenced, put for the last time, given back.

use super::{PageSet, Pages};

/// A folio was formed of free pages.
#[derive(Clone, Copy, Debug)]
pub struct Formed<P = Pages> {
    /// Pages of the new folio.
    pub range: P,
    /// Pages of folios that truly were at that time.
    pub live: P,
    /// Pages that were part of a compound by what they held when they were joined.
    pub compound: P,
    /// Whether every word of the range is what page, order and pagemap alone would give.
    pub as_from_nothing: bool,
    /// Whether the pagemap that was used is the right one.
    pub pagemap_right: bool,
    /// References of the new folio.
    pub references: u8,
    /// Whether it is locked.
    pub locked: bool,
    /// Whether the pagemap had been killed.
    pub after_kill: bool,
}

/// A folio without references was given back to its owner.
#[derive(Clone, Copy, Debug)]
pub struct Freed {
    /// Order it had.
    pub order: u8,
    /// Order that its owner learned.
    pub told: Option<u8>,
    /// Whether it was unlocked, unmapped, uncharged and without references.
    pub clean: bool,
}

/// Words of pages were read or written.
#[derive(Clone, Copy, Debug)]
pub struct Touched<P = Pages> {
    /// The pages.
    pub pages: P,
    /// Pages among all that belong to somebody else.
    pub of_others: P,
}

/// Free memory was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Order wanted.
    pub order: u8,
    /// Largest order of a free block.
    pub free: Option<u8>,
    /// Whether it was granted.
    pub granted: bool,
}

/// A scanner looked at pages that the allocator owns.
#[derive(Clone, Copy, Debug)]
pub struct Looked<P = Pages> {
    /// Pages that are free.
    pub free: P,
    /// Pages that a scanner would take for part of a frozen folio.
    pub like_frozen: P,
}

/// A last put was under way.
#[derive(Clone, Copy, Debug)]
pub struct Put {
    /// Work done in it that may sleep: the release of objects is.
    pub may_sleep: bool,
}

/// I1: only pages that are in no compound are joined, and nothing is formed over a live folio.
#[must_use]
pub fn i1<P: PageSet>(formed: &Formed<P>) -> bool {
    let joined = formed.range.count() > 1;
    let over = formed.range.meets(formed.live) || (joined && formed.range.meets(formed.compound));
    !over
}

/// I2: the words after init come from the arguments alone.
#[must_use]
pub fn i2<P: PageSet>(formed: &Formed<P>) -> bool {
    formed.as_from_nothing
}

/// I3: init works on the right pagemap.
#[must_use]
pub fn i3<P: PageSet>(formed: &Formed<P>) -> bool {
    formed.pagemap_right
}

/// I4: the owner learned the order the folio had.
#[must_use]
pub fn i4(freed: &Freed) -> bool {
    freed.told == Some(freed.order)
}

/// I5: after handing back, nothing that may be another's is touched.
#[must_use]
pub fn i5<P: PageSet>(touched: &Touched<P>) -> bool {
    !touched.pages.meets(touched.of_others)
}

/// I6: init and reset stay away from the pages of others.
#[must_use]
pub fn i6<P: PageSet>(touched: &Touched<P>) -> bool {
    !touched.pages.meets(touched.of_others)
}

/// I9: a request is refused only if no free block is large enough.
#[must_use]
pub fn i9(asked: &Asked) -> bool {
    asked.granted || asked.free.is_none_or(|free| free < asked.order)
}

/// I10: no free page looks like part of a frozen folio.
#[must_use]
pub fn i10<P: PageSet>(looked: &Looked<P>) -> bool {
    !looked.free.meets(looked.like_frozen)
}

/// I11: a new folio is locked and has one reference.
#[must_use]
pub fn i11_born<P: PageSet>(formed: &Formed<P>) -> bool {
    formed.locked && formed.references == 1
}

/// I11: a freed folio is unlocked, unmapped, uncharged, without references.
#[must_use]
pub fn i11_freed(freed: &Freed) -> bool {
    freed.clean
}

/// I15: no last put does what may sleep.
#[must_use]
pub fn i15(put: &Put) -> bool {
    !put.may_sleep
}

/// I16: nothing is formed after the kill.
#[must_use]
pub fn i16_formed<P: PageSet>(formed: &Formed<P>) -> bool {
    !formed.after_kill
}

/// I17: who works on a folio holds a reference of it; `references` are those it has by what was taken and put.
#[must_use]
pub fn i17(references: impl Into<u64>) -> bool {
    references.into() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Stretch;

    /// Pages 4 to 7 formed as they should be.
    const GOOD: Formed = Formed {
        range: 0xf0,
        live: 0x0f,
        compound: 0x0f,
        as_from_nothing: true,
        pagemap_right: true,
        references: 1,
        locked: true,
        after_kill: false,
    };

    #[test]
    fn i1_wants_neither_live_nor_compound_pages() {
        assert!(i1(&GOOD));
        assert!(!i1(&Formed { live: 0x10, ..GOOD }));
        assert!(!i1(&Formed { compound: 0x80, ..GOOD }));
        // A single page joins nothing.
        assert!(i1(&Formed { range: 0x10, compound: 0x10, ..GOOD }));
    }

    #[test]
    fn i1_judges_stretches_too() {
        let stretch = |first, pages| Stretch { first, pages };
        let formed = |live| Formed {
            range: stretch(512, 512),
            live,
            compound: Stretch::NONE,
            as_from_nothing: true,
            pagemap_right: true,
            references: 1,
            locked: true,
            after_kill: false,
        };
        assert!(i1(&formed(stretch(0, 512))));
        assert!(!i1(&formed(stretch(1023, 1))));
    }

    #[test]
    fn i2_and_i3_want_words_and_pagemap_from_the_arguments() {
        assert!(i2(&GOOD) && i3(&GOOD));
        assert!(!i2(&Formed { as_from_nothing: false, ..GOOD }));
        assert!(!i3(&Formed { pagemap_right: false, ..GOOD }));
    }

    #[test]
    fn i4_wants_the_order_that_was() {
        assert!(i4(&Freed { order: 9, told: Some(9), clean: true }));
        assert!(!i4(&Freed { order: 9, told: Some(0), clean: true }));
        assert!(!i4(&Freed { order: 9, told: None, clean: true }));
    }

    #[test]
    fn i5_and_i6_want_hands_off_the_pages_of_others() {
        let own: Touched = Touched { pages: 0x0f, of_others: 0xf0 };
        let others = Touched { pages: 0x1f, of_others: 0xf0 };
        assert!(i5(&own) && i6(&own));
        assert!(!i5(&others) && !i6(&others));
    }

    #[test]
    fn i9_wants_a_refusal_to_have_a_reason() {
        assert!(i9(&Asked { order: 4, free: Some(9), granted: true }));
        assert!(i9(&Asked { order: 4, free: Some(3), granted: false }));
        assert!(!i9(&Asked { order: 4, free: Some(9), granted: false }));
    }

    #[test]
    fn i10_wants_free_pages_to_look_free() {
        assert!(i10::<Pages>(&Looked { free: 0x0f, like_frozen: 0xf0 }));
        assert!(!i10::<Pages>(&Looked { free: 0x0f, like_frozen: 0x01 }));
    }

    #[test]
    fn i11_wants_one_reference_at_birth_and_nothing_at_the_end() {
        assert!(i11_born(&GOOD));
        assert!(!i11_born(&Formed { locked: false, ..GOOD }));
        assert!(!i11_born(&Formed { references: 2, ..GOOD }));
        assert!(i11_freed(&Freed { order: 0, told: Some(0), clean: true }));
        assert!(!i11_freed(&Freed { order: 0, told: Some(0), clean: false }));
    }

    #[test]
    fn i15_wants_release_elsewhere() {
        assert!(i15(&Put { may_sleep: false }));
        assert!(!i15(&Put { may_sleep: true }));
    }

    #[test]
    fn i16_wants_no_folio_after_the_kill() {
        assert!(i16_formed(&GOOD));
        assert!(!i16_formed(&Formed { after_kill: true, ..GOOD }));
    }

    #[test]
    fn i17_wants_a_reference() {
        assert!(i17(1_u8));
        assert!(!i17(0_u8));
    }
}
