//! One walk, and which faults belong to it.
//!
//! ```text
//!   pages:    |       |       |       |       |       |       |       |       |
//!   touched:      ####            ####           ##|##            ###|#          a stride that is no whole number of pages
//!                 a step                         a step, and a later part of it
//! ```
//!
//! A strided walk goes on at the page that its stride leads to. If the stride is no whole number of pages, the address tells more: chance
//! hardly hits one that is a whole number of strides away. What a step touches may reach into the next page, whose fault is then
//! at the very beginning of that page: a part of the step, not a walk of its own.

use core::ops::Range;

use bifolio_folio::PAGE_SHIFT;

/// Bytes of a page.
pub(super) const PAGE: u64 = 1 << PAGE_SHIFT;
/// Trust grows no further.
pub(super) const TRUST_MAX: u8 = 8;

/// Pages that a dense walk may leave out at a step, or one in so many of what it brought, if that is more. If it could leave out
/// as much as it brings, scattered faults would look like walks once much is brought.
const SLACK: u64 = 4;
const SLACK_PART: u64 = 4;
/// Where a forward walk leaves pages out, it touches the next one within so many bytes of its beginning.
const BEGIN: u64 = 512;
/// A walk that passes pages which are there already goes on after at most so many steps, and before so many other faults: scattered
/// ones hit one of so many places by chance.
const PASSED: u64 = 64;
pub(super) const PASSED_LATELY: u64 = 8;
/// The same for addresses that are exactly so many steps away.
const PASSED_EXACTLY: u64 = 4096;
/// What reaches into a page from the one before touches it within so many bytes of its beginning.
const CROSSED: u64 = 64;
/// A part of a step is looked for among so many steps on either side of the last one.
const PARTS_NEAR: u64 = 64;
/// Bytes that a step may touch.
const WIDTH_MOST: u64 = 2 * PAGE;
/// A walk begins again at most so many pages from where it began: the next column of a matrix, the next pass of a loop.
const NEAR: u64 = 2;
/// Trust that a dense walk needs to begin again where it began. Chance makes pairs of neighbours.
const TRUST_TO_RETURN: u8 = 3;

/// One walk.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) unit: u32,
    /// The address of the last step.
    pub(super) last: u64,
    /// The address where it began.
    pub(super) first: u64,
    /// From one step to the next, in bytes: a page for a dense walk, 0 while there was only one step.
    pub(super) stride: i64,
    /// Bytes that a step touches, as far as faults at later pages have told.
    pub(super) width: u64,
    /// Pages that the last fault brought, or steps of the stride.
    pub(super) brought: Range<u64>,
    pub(super) ahead: u64,
    pub(super) trust: u8,
    /// When it last went on, in faults.
    pub(super) used: u64,
}

/// Whether a stride leaves no page out.
pub(super) fn is_dense(stride: i64) -> bool {
    stride.unsigned_abs() == PAGE
}

/// The number of the page at an address.
pub(super) fn page_of(address: u64) -> u64 {
    address >> PAGE_SHIFT
}

impl Stream {
    /// A walk that is one fault so far.
    pub(super) fn new(unit: u32, address: u64, now: u64) -> Stream {
        let brought = page_of(address)..page_of(address) + 1;
        Stream {
            unit,
            last: address,
            first: address,
            stride: 0,
            width: 1,
            brought,
            ahead: 0,
            trust: 0,
            used: now,
        }
    }

    /// The last step is at an address, and has brought no more than its page.
    pub(super) fn go_to(&mut self, address: u64) {
        self.last = address;
        (self.brought, self.ahead) = (page_of(address)..page_of(address) + 1, 0);
    }

    /// The distance of a step that begins where the last one ended; or leaves out a little, if that was lately.
    pub(super) fn dense_step(&self, address: u64, lately: bool, blind: bool) -> Option<i64> {
        let page = page_of(address);
        let Range { start, end } = self.brought;
        let most = if blind { SLACK } else { SLACK.max((end - start) / SLACK_PART) };
        let slack = if lately { most.min(end - start) } else { 1 };
        // A step that leaves out as little, of a walk that leaves something out at each, begins anywhere in its page.
        let forward = if address % PAGE < BEGIN { slack } else { 1 };
        if (end..end.saturating_add(forward)).contains(&page) {
            return Some(PAGE.cast_signed());
        }
        (start.saturating_sub(slack)..start).contains(&page).then_some(-PAGE.cast_signed())
    }

    /// Whether a fault begins this walk again, near where it began before.
    pub(super) fn returns_to(&self, unit: u32, address: u64) -> bool {
        // The page that faulted last faults again if what was brought ahead took its place. That must end.
        let (page, is_new) = (page_of(address), page_of(address) != page_of(self.last));
        let is_trusted = self.trust >= if is_dense(self.stride) { TRUST_TO_RETURN } else { 1 };
        self.unit == unit && is_trusted && is_new && page_of(self.first).abs_diff(page) <= NEAR
    }

    /// Whether a fault is a step of this walk's stride: the next one, or the first that was not brought, or one behind it. A walk
    /// that is trusted, and went on lately, also goes on behind pages that are there already.
    pub(super) fn is_step(&self, unit: u32, address: u64, lately: bool) -> bool {
        let (page, last, stride) = (page_of(address), page_of(self.last), self.stride.unsigned_abs());
        if self.unit != unit || stride <= PAGE || page == last || (page > last) != (self.stride > 0) {
            return false;
        }
        let steps = ((page.abs_diff(last) << PAGE_SHIFT) + stride / 2) / stride;
        let passed = if self.trust > 1 && lately { PASSED } else { 2 };
        let is_so_far = (1..=2).contains(&steps) || (1..=passed).contains(&steps.saturating_sub(self.ahead));
        let offset = i64::try_from(steps).ok().and_then(|steps| self.stride.checked_mul(steps));
        let led_to = offset.and_then(|offset| self.last.checked_add_signed(offset));
        is_so_far && led_to.is_some_and(|address| page_of(address) == page)
    }

    /// Whether an address is exactly a few steps away, of a walk whose stride is no whole number of pages; or any number, if the
    /// walk is trusted.
    pub(super) fn is_exact_step(&self, unit: u32, address: u64) -> bool {
        let (apart, stride) = (address.abs_diff(self.last), self.stride.unsigned_abs());
        let same_way = self.unit == unit && (address > self.last) == (self.stride > 0);
        let most = if self.trust > 0 { PASSED_EXACTLY } else { 2 };
        same_way && self.is_uneven() && apart.is_multiple_of(stride) && (1..=most).contains(&(apart / stride))
    }

    /// Where the step begins that a fault is a later part of: it touches a page first at its beginning, and the walk is trusted.
    pub(super) fn start_of_part(&self, unit: u32, address: u64) -> Option<u64> {
        let stride = self.stride.unsigned_abs();
        let is_crossing = self.unit == unit && address % PAGE < CROSSED;
        if !is_crossing || self.trust == 0 || stride < 2 * PAGE || !self.is_uneven() {
            return None;
        }
        let apart = address.abs_diff(self.last);
        let (steps, rest) = (apart / stride, apart % stride);
        let behind = if address >= self.last { rest } else { (stride - rest) % stride };
        let is_ahead = (address > self.last) == (self.stride > 0);
        let is_near = steps <= PARTS_NEAR && behind < WIDTH_MOST.min(stride / 2);
        let is_expected = steps <= PASSED_EXACTLY && behind < self.width && is_ahead;
        let start = address.checked_sub(behind)?;
        ((is_near || is_expected) && page_of(start) < page_of(address)).then_some(start)
    }

    /// Learns from a later part, at an address, of the step that begins at `start`, how wide steps are, and how far the walk is.
    pub(super) fn take_part(&mut self, start: u64, address: u64) {
        self.width = self.width.max(address - start + 1);
        if start != self.last && (start > self.last) == (self.stride > 0) {
            self.trust = (self.trust + 1).min(TRUST_MAX);
            self.go_to(start);
        }
    }

    /// Whether it leaves pages out, by no whole number of pages.
    fn is_uneven(&self) -> bool {
        let stride = self.stride.unsigned_abs();
        stride > PAGE && !stride.is_multiple_of(PAGE)
    }
}
