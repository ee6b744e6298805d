//! Cleared and dirty pages of one region: keeping what is known of them true as blocks come and go.
//!
//! [`Cleared`] holds the cleared pages, all of them free but while a request is under way; [`Dirty`] counts the others by
//! group. All changes of either go through here, so that they agree.

use crate::dirty::Dirty;
use crate::leaf::{GROUP_ORDER, GROUP_PAGES};
use crate::region::{Found, Region};
use core::ops::Range;

/// The pages of a range by group: each group's number and its part.
fn by_group(range: &Range<u64>) -> impl Iterator<Item = (u64, Range<u64>)> + use<> {
    let Range { start, end } = *range;
    (start >> GROUP_ORDER..end.div_ceil(GROUP_PAGES)).map(move |number| {
        let group = number << GROUP_ORDER;
        (number, start.max(group)..end.min(group + GROUP_PAGES))
    })
}

impl Region {
    /// Tells whether pages may be cleared. If not, all free pages are dirty.
    #[inline]
    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked
    }

    /// Tells whether there may be a block of `2^order` free dirty pages; `false` is certain.
    #[inline]
    pub(crate) fn may_have_dirty(&self, order: u32) -> bool {
        self.dirty.as_ref().is_none_or(|dirty| dirty.may_have_any(order))
    }

    /// Tells whether any page of the range is cleared.
    #[inline]
    pub(crate) fn touches_cleared(&self, range: &Range<u64>) -> bool {
        self.tracked && self.cleared.touches(range)
    }

    /// Records that pages were allocated, which were free; tells whether all of them were cleared.
    #[inline]
    pub(crate) fn note_taken(&mut self, range: &Range<u64>) -> bool {
        self.tracked && self.take_tracked(range)
    }

    #[inline(never)]
    fn take_tracked(&mut self, range: &Range<u64>) -> bool {
        let mut cleared = 0;
        for (number, part) in by_group(range) {
            let of_part = self.take_part(number, &part);
            if let Some(dirty) = &mut self.dirty {
                dirty.sub(number, part.end - part.start - of_part);
            }
            cleared += of_part;
        }
        cleared == range.end - range.start
    }

    /// Records the pages of a group that are allocated as dirty; returns how many were cleared.
    #[inline]
    fn take_part(&mut self, number: u64, part: &Range<u64>) -> u64 {
        let (cleared, lost) = self.cleared.remove_in_group(part);
        if lost {
            self.recount(number);
        }
        cleared
    }

    /// Records that pages were allocated, none of which is cleared.
    #[inline]
    pub(crate) fn note_taken_dirty(&mut self, range: &Range<u64>) {
        if let Some(dirty) = &mut self.dirty {
            by_group(range).for_each(|(number, part)| dirty.sub(number, part.end - part.start));
        }
    }

    /// Records that pages were allocated, by a request that may still fail: pages of a range that was cleared in part
    /// stay in the set of cleared ones until [`Region::forget_cleared`]. Tells whether all of them were cleared.
    pub(crate) fn note_taken_for_now(&mut self, range: &Range<u64>) -> bool {
        let mut cleared = 0;
        for (number, part) in by_group(range) {
            let of_part = self.cleared.count_in(&part);
            cleared += of_part;
            if let Some(dirty) = &mut self.dirty {
                dirty.sub(number, part.end - part.start - of_part);
            }
        }
        let all = cleared == range.end - range.start;
        if all {
            self.forget_cleared(range);
        }
        all
    }

    /// Records allocated pages as dirty.
    pub(crate) fn forget_cleared(&mut self, range: &Range<u64>) {
        if self.cleared.touches(range) {
            for (number, part) in by_group(range) {
                self.take_part(number, &part);
            }
        }
    }

    /// Records that pages were freed, with unknown contents.
    #[inline]
    pub(crate) fn note_freed(&mut self, range: &Range<u64>) {
        if self.dirty.is_some() {
            self.add_dirty(range);
        }
    }

    #[inline(never)]
    fn add_dirty(&mut self, range: &Range<u64>) {
        let Some(dirty) = &mut self.dirty else { return };
        by_group(range).for_each(|(_, part)| dirty.add(part.start, part.end - part.start));
    }

    /// Records that pages were freed, as a request that failed found them.
    pub(crate) fn note_untaken(&mut self, range: &Range<u64>, cleared: bool) {
        if cleared {
            return self.note_cleared(range);
        }
        let Some(dirty) = &mut self.dirty else { return };
        for (_, part) in by_group(range) {
            dirty.add(part.start, part.end - part.start - self.cleared.count_in(&part));
        }
    }

    /// Records that pages were freed which are cleared, as far as there is memory for it.
    pub(crate) fn note_cleared(&mut self, range: &Range<u64>) {
        self.tracked = true;
        if self.dirty.is_none() {
            return self.cleared.insert(range);
        }
        for (number, part) in by_group(range) {
            let expected = self.cleared.pages() + (part.end - part.start);
            self.cleared.insert(&part);
            // Without memory the whole group becomes dirty.
            if self.cleared.pages() != expected {
                self.recount(number);
            }
        }
    }

    /// Declares free pages to be cleared, as far as there is memory to record it.
    pub(crate) fn declare_cleared(&mut self, range: &Range<u64>) {
        self.tracked = true;
        for (number, part) in by_group(range) {
            let more = part.end - part.start - self.cleared.count_in(&part);
            let expected = self.cleared.pages() + more;
            self.cleared.insert(&part);
            match &mut self.dirty {
                Some(dirty) if self.cleared.pages() == expected => dirty.sub(number, more),
                // Without memory the whole group becomes dirty.
                _ => self.recount(number),
            }
        }
    }

    /// Declares all free pages to be dirty.
    pub(crate) fn forget_all_cleared(&mut self) {
        let all = self.range().clone();
        self.cleared.remove(&all);
        (self.dirty, self.tracked) = (None, false);
    }

    /// Counts the free dirty pages of all groups; `None` if memory is short.
    fn counted_dirty(&self) -> Option<Dirty> {
        let mut dirty = Dirty::new(self.range())?;
        for number in dirty.numbers() {
            dirty.set(number, self.count_dirty(number));
        }
        Some(dirty)
    }

    #[cold]
    fn recount(&mut self, number: u64) {
        if self.dirty.is_some() {
            let pages = self.count_dirty(number);
            self.dirty.as_mut().into_iter().for_each(|dirty| dirty.set(number, pages));
        }
    }

    /// Counts the free dirty pages of a group, by a walk over its blocks.
    pub(crate) fn count_dirty(&self, number: u64) -> u64 {
        let group = self.group(number);
        let (mut at, mut pages) = (group.start, 0);
        while at < group.end {
            let Found { block, used } = self.block_at(at);
            let end = block.end().min(group.end);
            if !used {
                pages += end - at - self.cleared.count_in(&(at..end));
            }
            at = end;
        }
        pages
    }

    /// The pages of a group that are of this region.
    pub(crate) fn group(&self, number: u64) -> Range<u64> {
        let (start, range) = (number << GROUP_ORDER, self.range());
        start.max(range.start)..(start + GROUP_PAGES).min(range.end)
    }

    /// Makes the index of dirty pages, if there is memory for it.
    pub(crate) fn count_dirty_pages(&mut self) {
        if self.dirty.is_none() {
            self.dirty = self.counted_dirty();
        }
    }
}
