//! What was seen at one transition, and one small function per rule that judges it.
//!
//! Sets of pages are [`Pages`]: bit i is page i of the world.

/// A set of pages of a world, bit i for page i.
pub type Pages = u16;

/// A folio was formed of free pages.
#[derive(Clone, Copy, Debug)]
pub struct Formed {
    /// Pages of the new folio.
    pub range: Pages,
    /// Pages of folios that truly were at that time.
    pub live: Pages,
    /// Pages that were part of a compound by what they held when they were joined.
    pub compound: Pages,
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
pub struct Touched {
    /// The pages.
    pub pages: Pages,
    /// Pages among all that belong to somebody else.
    pub of_others: Pages,
}

/// A counter was compared with what it counts.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Its value.
    pub counter: i32,
    /// What there is.
    pub truth: i32,
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
pub struct Looked {
    /// Pages that are free.
    pub free: Pages,
    /// Pages that a scanner would take for part of a frozen folio.
    pub like_frozen: Pages,
}

/// Teardown of the pagemap was asked whether it may end.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Whether it would end.
    pub ends: bool,
    /// Pages in live folios.
    pub live: u8,
}

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
pub struct Removed {
    /// The pages named.
    pub named: Pages,
    /// Pages that were in the table by the same entry or entries.
    pub entered: Pages,
}

/// Device memory was read, written or mapped.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// The device pages.
    pub pages: Pages,
    /// Pages of the folio that was named, within its backing.
    pub own: Pages,
}

/// Memory was handed to a client.
#[derive(Clone, Copy, Debug)]
pub struct HandedOut {
    /// Pages said to be zero.
    pub said_clear: Pages,
    /// Pages that still hold what a former client wrote.
    pub holding: Pages,
}

/// I1: only pages that are in no compound are joined, and nothing is formed over a live folio.
#[must_use]
pub fn i1(formed: &Formed) -> bool {
    let joined = formed.range.count_ones() > 1;
    formed.range & formed.live == 0 && !(joined && formed.range & formed.compound != 0)
}

/// I2: the words after init come from the arguments alone.
#[must_use]
pub fn i2(formed: &Formed) -> bool {
    formed.as_from_nothing
}

/// I3: init works on the right pagemap.
#[must_use]
pub fn i3(formed: &Formed) -> bool {
    formed.pagemap_right
}

/// I4: the owner learned the order the folio had.
#[must_use]
pub fn i4(freed: &Freed) -> bool {
    freed.told == Some(freed.order)
}

/// I5: after handing back, nothing that may be another's is touched.
#[must_use]
pub fn i5(touched: &Touched) -> bool {
    touched.pages & touched.of_others == 0
}

/// I6: init and reset stay away from the pages of others.
#[must_use]
pub fn i6(touched: &Touched) -> bool {
    touched.pages & touched.of_others == 0
}

/// I7: an object has a reference for each folio on it.
#[must_use]
pub fn i7(counted: &Counted) -> bool {
    counted.counter == counted.truth
}

/// I8: the pagemap counts the pages in live folios.
#[must_use]
pub fn i8(counted: &Counted) -> bool {
    counted.counter == counted.truth
}

/// I9: a request is refused only if no free block is large enough.
#[must_use]
pub fn i9(asked: &Asked) -> bool {
    asked.granted || asked.free.is_none_or(|free| free < asked.order)
}

/// I10: no free page looks like part of a frozen folio.
#[must_use]
pub fn i10(looked: &Looked) -> bool {
    looked.free & looked.like_frozen == 0
}

/// I11: a new folio is locked and has one reference.
#[must_use]
pub fn i11_born(formed: &Formed) -> bool {
    formed.locked && formed.references == 1
}

/// I11: a freed folio is unlocked, unmapped, uncharged, without references.
#[must_use]
pub fn i11_freed(freed: &Freed) -> bool {
    freed.clean
}

/// I12: a transaction that ended left nothing out of view, reserved or held.
#[must_use]
pub fn i12(finalized: &Finalized) -> bool {
    finalized.out_of_view == 0 && finalized.leaked == 0
}

/// I13: what is counted in pages is the number of pages.
#[must_use]
pub fn i13(counted: &Counted) -> bool {
    counted.counter == counted.truth
}

/// I14: a folio moves to or from a span of its own order; without a folio there is nothing to move.
#[must_use]
pub fn i14(folio: Option<u8>, span: u8) -> bool {
    folio == Some(span)
}

/// I16: nothing is formed after the kill.
#[must_use]
pub fn i16_formed(formed: &Formed) -> bool {
    !formed.after_kill
}

/// I16: teardown ends if and only if no page is live.
#[must_use]
pub fn i16_ended(ended: &Ended) -> bool {
    ended.ends == (ended.live == 0)
}

/// I18: when nothing is under way, what was taken for the time of a transaction has been returned.
#[must_use]
pub fn i18(kept: u8) -> bool {
    kept == 0
}

/// I19: memory is lacking only where not even one page was to be had.
#[must_use]
pub fn i19(gave_up: &GaveUp) -> bool {
    !gave_up.for_memory || gave_up.order == 0
}

/// I20: only what was entered is removed.
#[must_use]
pub fn i20(removed: &Removed) -> bool {
    removed.named & !removed.entered == 0
}

/// I21: the pages used are those of the folio.
#[must_use]
pub fn i21(used: &Used) -> bool {
    used.pages & !used.own == 0
}

/// I22: memory said to be clear holds nothing of former clients.
#[must_use]
pub fn i22(handed: &HandedOut) -> bool {
    handed.said_clear & handed.holding == 0
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

/// I26: what is worked on under the lock is what was looked for without it.
#[must_use]
pub fn i26(wanted: u8, found: Option<u8>) -> bool {
    found == Some(wanted)
}

/// I27: what is read is what was written.
#[must_use]
pub fn i27(read: u8, written: u8) -> bool {
    read == written
}
