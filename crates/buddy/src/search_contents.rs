//! Where to cut by contents: searches of one region for cleared pages, or for dirty ones.

use crate::block::BuddyBlock;
use crate::leaf::GROUP_ORDER;
use crate::region::{Found, Region};
use crate::search::{Cut, Wanted};
use core::ops::Range;

impl Region {
    /// The first run of dirty pages in a free block, at or behind page `from`, and the block.
    pub(crate) fn next_dirty_free(&self, from: u64) -> Option<(BuddyBlock, Range<u64>)> {
        let mut at = from.max(self.range().start);
        while at < self.range().end {
            if let Some(dirty) = &self.dirty {
                // Groups without dirty pages are passed over.
                at = at.max(dirty.next(at >> GROUP_ORDER)? << GROUP_ORDER);
            }
            let Found { block, used } = self.block_at(at);
            let dirty = if used { block.end() } else { self.cleared.next_dirty(at) };
            if dirty < block.end() {
                let end = self.cleared.next(0, dirty).map_or(block.end(), |cleared| cleared.min(block.end()));
                return Some((block, dirty..end));
            }
            at = block.end();
        }
        None
    }

    /// The place for a block, all pages of which are free and dirty: the lowest one, or the highest if it is wanted
    /// top-down. The caller takes it.
    pub(crate) fn find_dirty(&mut self, wanted: &Wanted) -> Option<Cut> {
        let order = wanted.pages.ilog2();
        if wanted.is_plain() {
            let (from, page) = self.find_dirty_block(order)?;
            return Some(Cut { from, pages: page..page + wanted.pages });
        }
        if !self.tracked {
            return self.find_within(wanted);
        }
        self.count_dirty_pages();
        if order > GROUP_ORDER {
            return self.find_dirty_groups(wanted);
        }
        let mut next = self.group_after(wanted, None);
        while let Some(number) = next {
            if self.dirty.as_ref()?.may_have(number, order)
                && let Some(cut) = self.find_dirty_in(number, wanted)
            {
                return Some(cut);
            }
            next = self.group_after(wanted, Some(number));
        }
        None
    }

    /// A place for a block that is free and dirty, and the free block that has it. The caller takes it.
    /// Remembers what was found, so that the next search is short.
    pub(crate) fn find_dirty_block(&mut self, order: u32) -> Option<(BuddyBlock, u64)> {
        if !self.tracked {
            return self.find(order).map(|block| (block, block.page));
        }
        self.count_dirty_pages();
        if order > GROUP_ORDER {
            let cut = self.find_dirty_groups(&Wanted::block(order, order))?;
            return Some((cut.from, cut.pages.start));
        }
        while let Some(number) = self.dirty.as_ref()?.candidate(order) {
            let found = self.first_dirty_in(number, order);
            let dirty = self.dirty.as_mut()?;
            match found {
                Some((_, page)) => {
                    dirty.note_first_taken(page + (1 << order), order);
                    return found;
                }
                None => dirty.note_none(number, order),
            }
        }
        None
    }

    /// The first dirty place for a block in a group, and the free block that has it.
    fn first_dirty_in(&self, number: u64, order: u32) -> Option<(BuddyBlock, u64)> {
        let group = self.group(number);
        let begin = self.dirty.as_ref()?.begin(number, order);
        let mut at = group.start.max((number << GROUP_ORDER) + begin);
        while at < group.end {
            let page = self.cleared.next_dirty_run(order, &(at..group.end))?;
            let Found { block, used } = self.block_at(page);
            if !used && block.order >= order {
                return Some((block, page));
            }
            at = block.end();
        }
        None
    }

    /// The group with dirty pages to look at after this one, or the first.
    fn group_after(&self, wanted: &Wanted, after: Option<u64>) -> Option<u64> {
        let dirty = self.dirty.as_ref()?;
        let (low, high) =
            (wanted.within.start >> GROUP_ORDER, wanted.within.end.checked_sub(1)? >> GROUP_ORDER);
        let next = match after {
            None if wanted.top_down => dirty.previous(high),
            None => dirty.next(low),
            Some(number) if wanted.top_down => dirty.previous(number.checked_sub(1)?),
            Some(number) => dirty.next(number + 1),
        };
        next.filter(|number| (low..=high).contains(number))
    }

    /// [`Region::find_dirty`] in one group.
    fn find_dirty_in(&self, number: u64, wanted: &Wanted) -> Option<Cut> {
        let (group, order) = (self.group(number), wanted.pages.ilog2());
        let mut low = group.start.max(wanted.within.start);
        let mut high = group.end.min(wanted.within.end);
        while low < high {
            let Found { block, used } = self.block_at(if wanted.top_down { high - 1 } else { low });
            let part = block.page.max(low)..block.end().min(high);
            if !used
                && block.order >= order
                && let Some(page) = self.dirty_place(&part, wanted)
            {
                return Some(Cut { from: block, pages: page..page + wanted.pages });
            }
            if wanted.top_down { high = part.start } else { low = part.end }
        }
        None
    }

    /// The place for a block within a part of a free block, all of it dirty.
    fn dirty_place(&self, free: &Range<u64>, wanted: &Wanted) -> Option<u64> {
        if !wanted.top_down && 1 << wanted.align_order == wanted.pages {
            return self.cleared.next_dirty_run(wanted.align_order, free);
        }
        let mut rest = free.clone();
        loop {
            let place = wanted.place(&rest)?;
            if !self.cleared.touches(&place) {
                return Some(place.start);
            }
            if wanted.top_down {
                rest.end = self.cleared.previous(0, place.end)?;
            } else {
                let cleared = self.cleared.next(0, place.start)?;
                rest.start = self.cleared.next_dirty(cleared);
            }
        }
    }

    /// [`Region::find_dirty`] for blocks of several groups, all of which must be dirty as a whole.
    fn find_dirty_groups(&self, wanted: &Wanted) -> Option<Cut> {
        let dirty = self.dirty.as_ref()?;
        let numbers = dirty.numbers();
        let mut rest = numbers.start << GROUP_ORDER..numbers.end << GROUP_ORDER;
        loop {
            let place = wanted.place(&rest)?;
            let gap =
                (place.start >> GROUP_ORDER..place.end >> GROUP_ORDER).find(|number| !dirty.is_full(*number));
            match gap {
                None => return Some(Cut { from: self.block_at(place.start).block, pages: place }),
                Some(_) if wanted.top_down => rest.end = place.end - 1,
                Some(number) => rest.start = (number + 1) << GROUP_ORDER,
            }
        }
    }

    /// The place for a block, all pages of which are cleared: the lowest one, or the highest if it is wanted top-down.
    pub(crate) fn find_cleared(&self, wanted: &Wanted) -> Option<u64> {
        let (order, align) = (wanted.pages.ilog2(), 1u64 << wanted.align_order.min(63));
        let Range { start: mut low, end: mut high } = wanted.within;
        loop {
            let page = match wanted.top_down {
                true => self.cleared.previous(order, high)?,
                false => self.cleared.next(order, low)?,
            };
            if page < low || page + wanted.pages > high {
                return None;
            }
            // What this request took, and was cleared in part, is in the set until the request has succeeded.
            let Found { block, used } = self.block_at(page);
            match (used, wanted.top_down) {
                (false, _) if page.is_multiple_of(align) => return Some(page),
                (false, true) => high = (page & !(align - 1)) + wanted.pages,
                (false, false) => low = page.checked_next_multiple_of(align)?,
                (true, true) => high = block.page,
                (true, false) => low = block.end(),
            }
        }
    }

    /// A run of free dirty pages. O(blocks in groups that have dirty pages).
    pub(crate) fn find_dirty_run(&self, wanted: &Wanted) -> Option<Range<u64>> {
        let (mut run, mut best) = (0..0, None);
        let mut from = self.range().start;
        loop {
            let next = self.next_dirty_free(from).map(|(_, extent)| extent);
            if let Some(extent) = next.clone().filter(|extent| extent.start == run.end) {
                run.end = extent.end;
            } else {
                best = wanted.place(&run).or(best);
                run = next.clone().unwrap_or(0..0);
            }
            let Some(extent) = next.filter(|_| best.is_none() || wanted.top_down) else { return best };
            from = extent.end;
        }
    }

    /// A run of cleared pages. O(extents of cleared pages).
    pub(crate) fn find_cleared_run(&self, wanted: &Wanted) -> Option<Range<u64>> {
        let mut places = self.cleared.extents().filter_map(|extent| wanted.place(&extent));
        if wanted.top_down { places.last() } else { places.next() }
    }
}
