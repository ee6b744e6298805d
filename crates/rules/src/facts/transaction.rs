//! Transactions: what they name, take, wait for and leave.

use super::{PageSet, Pages};

/// A transaction came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Finalized {
    /// Pages taken out of view and never restored.
    pub out_of_view: u8,
    /// Folios and reservations that nothing accounts for.
    pub leaked: u8,
    /// Whether the folios are those, and only those, that hold pages.
    pub folios_hold_pages: bool,
}

/// A transaction gave up.
#[derive(Clone, Copy, Debug)]
pub struct GaveUp {
    /// Whether for want of memory.
    pub for_memory: bool,
    /// Order that it asked for last.
    pub order: u8,
}

/// Pages were removed from a device's page table.
#[derive(Clone, Copy, Debug)]
pub struct Removed<P = Pages> {
    /// The pages named.
    pub named: P,
    /// Pages that were in the table by the same entry or entries.
    pub entered: P,
}

/// Device memory was read, written or mapped.
#[derive(Clone, Copy, Debug)]
pub struct Used<P = Pages> {
    /// The device pages.
    pub pages: P,
    /// Pages of the folio that was named, within its backing; for I25 those of the pagemap.
    pub own: P,
}

/// I12: a transaction that ended left nothing out of view, reserved or held.
#[must_use]
pub fn i12(finalized: &Finalized) -> bool {
    finalized.out_of_view == 0 && finalized.leaked == 0
}

/// I14: a folio moves to or from a span of its own order; without a folio there is nothing to move.
#[must_use]
pub fn i14(folio: Option<u8>, span: u8) -> bool {
    folio == Some(span)
}

/// I19: memory is lacking only where not even one page was to be had.
#[must_use]
pub fn i19(gave_up: &GaveUp) -> bool {
    !gave_up.for_memory || gave_up.order == 0
}

/// I20: only what was entered is removed.
#[must_use]
pub fn i20<P: PageSet>(removed: &Removed<P>) -> bool {
    removed.named.is_within(removed.entered)
}

/// I21: the pages used are those of the folio.
#[must_use]
pub fn i21<P: PageSet>(used: &Used<P>) -> bool {
    used.pages.is_within(used.own)
}

/// I23: whatever part succeeded, folios live exactly as long as they hold pages.
#[must_use]
pub fn i23(finalized: &Finalized) -> bool {
    finalized.folios_hold_pages
}

/// I24: nobody waits for himself, be it through others. `waits_for` says of each who it waits for.
#[must_use]
pub fn i24(waits_for: &[Option<usize>]) -> bool {
    let next = |at: usize| waits_for.get(at).copied().flatten();
    let ends = |from: usize| {
        let mut at = Some(from);
        waits_for.iter().for_each(|_| at = at.and_then(next));
        at.is_none()
    };
    (0..waits_for.len()).all(ends)
}

/// I24, where it is not known who waits for whom: nobody waits at all who holds what others wait for.
#[must_use]
pub fn i24_holding(waits: impl Into<u64>) -> bool {
    waits.into() == 0
}

/// I25: the device pages of a mapped range are pages of one pagemap.
#[must_use]
pub fn i25<P: PageSet>(used: &Used<P>) -> bool {
    used.pages.is_within(used.own)
}

/// I28: what is copied from a folio is for pages that are on it.
#[inline]
pub fn i28(on_it: bool) -> bool {
    on_it
}

/// I26: what is worked on under the lock is what was looked for without it.
#[must_use]
pub fn i26<T: Copy + PartialEq>(wanted: T, found: Option<T>) -> bool {
    found == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Finalized = Finalized { out_of_view: 0, leaked: 0, folios_hold_pages: true };

    #[test]
    fn i12_wants_everything_back_in_view_and_nothing_leaked() {
        assert!(i12(&GOOD));
        assert!(!i12(&Finalized { out_of_view: 1, ..GOOD }));
        assert!(!i12(&Finalized { leaked: 1, ..GOOD }));
    }

    #[test]
    fn i14_wants_equal_orders() {
        assert!(i14(Some(9), 9));
        assert!(!i14(Some(9), 0) && !i14(None, 0));
    }

    #[test]
    fn i19_wants_the_smallest_order_to_be_tried() {
        assert!(i19(&GaveUp { for_memory: true, order: 0 }));
        assert!(i19(&GaveUp { for_memory: false, order: 9 }));
        assert!(!i19(&GaveUp { for_memory: true, order: 9 }));
    }

    #[test]
    fn i20_wants_no_more_removed_than_was_entered() {
        assert!(i20::<Pages>(&Removed { named: 0x0f, entered: 0xff }));
        assert!(!i20::<Pages>(&Removed { named: 0x0f, entered: 0x01 }));
    }

    #[test]
    fn i21_and_i25_want_pages_of_the_owner() {
        let (inside, outside): (Used, Used) =
            (Used { pages: 0x0c, own: 0x0f }, Used { pages: 0x1c, own: 0x0f });
        assert!(i21(&inside) && i25(&inside));
        assert!(!i21(&outside) && !i25(&outside));
    }

    #[test]
    fn i23_wants_folios_for_pages_and_pages_for_folios() {
        assert!(i23(&GOOD));
        assert!(!i23(&Finalized { folios_hold_pages: false, ..GOOD }));
    }

    #[test]
    fn i24_wants_no_circle() {
        assert!(i24(&[Some(1), Some(2), None]));
        assert!(!i24(&[Some(1), Some(0)]));
        assert!(i24_holding(0_u8) && !i24_holding(1_u8));
    }

    #[test]
    fn i26_wants_what_was_looked_for() {
        assert!(i26(7_u64, Some(7)));
        assert!(!i26(7_u64, Some(8)) && !i26(7_u64, None));
    }
}
