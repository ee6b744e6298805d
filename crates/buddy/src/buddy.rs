//! The allocator: its regions, and the two calls that must be fast.

use crate::block::BuddyBlock;
use crate::check::{self, Inconsistency};
use crate::error::{AllocateError, FreeError, NewError};
use crate::free_index::MAX_ORDER;
use crate::recent::{DEPTH, RECENT_ORDERS, Recent};
use crate::region::Region;
use crate::request::Grant;
use crate::search::{Cut, Wanted};
use alloc::vec::Vec;
use core::ops::Range;

/// A buddy allocator over page numbers.
///
/// It hands out naturally aligned blocks of `2^order` pages and never touches what the page numbers stand for. Its
/// bookkeeping is a few bitmaps made once, less than 2 bits a page, plus up to about 1 bit for each page of which it
/// is known in part whether it is cleared. The same calls return the same pages.
///
/// Free buddies merge. The last few blocks freed of each small order merge later, on demand; no figure shows that,
/// and no request fails because of it.
#[derive(Clone, Debug)]
pub struct Buddy {
    /// In address order, disjoint, never empty.
    pub(crate) regions: Vec<Region>,
    pub(crate) recent: Recent,
}

/// Where to take a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Number of the region.
    pub(crate) region: usize,
    /// The free block to cut.
    pub(crate) from: BuddyBlock,
    /// First page of the part to take.
    pub(crate) page: u64,
    /// Some of the pages are cleared.
    pub(crate) cleared: bool,
}

/// Number of the region that holds `page`, if any does.
#[inline]
pub(crate) fn region_of(regions: &[Region], page: u64) -> usize {
    if regions.len() == 1 {
        return 0;
    }
    regions.partition_point(|region| region.range().end <= page)
}

impl Buddy {
    /// Makes an allocator of the pages `0..pages`, all free and dirty. O(pages / 128).
    ///
    /// # Errors
    ///
    /// [`NewError`] if there are no pages, too many, or no memory for the bookkeeping.
    pub fn new(pages: u64) -> Result<Self, NewError> {
        Self::with_regions(core::slice::from_ref(&(0..pages)))
    }

    /// Makes an allocator of several regions, all pages free and dirty. Blocks never cross from one region into the
    /// next, even if they touch. O(pages / 128).
    ///
    /// # Errors
    ///
    /// [`NewError`] if a region is empty, too long, too high, or not behind the one before it, or if memory is short.
    pub fn with_regions(ranges: &[Range<u64>]) -> Result<Self, NewError> {
        let mut regions = Vec::new();
        regions.try_reserve_exact(ranges.len()).map_err(|_| NewError::OutOfMemory)?;
        let mut previous_end = 0;
        for range in ranges {
            if range.start < previous_end {
                return Err(NewError::Disorder { region: range.clone(), previous_end });
            }
            regions.push(Region::new(range.clone())?);
            previous_end = range.end;
        }
        let recent = Recent::new(DEPTH);
        if regions.is_empty() { Err(NewError::Empty) } else { Ok(Self { regions, recent }) }
    }

    /// Sets how many freed blocks of each order up to 10 may wait before they merge: up to 32, which is the default;
    /// with 0 every block merges at once, at several times the cost. O(waiting blocks).
    pub fn set_merge_delay(&mut self, blocks: u32) {
        self.merge_waiting();
        self.recent = Recent::new(blocks.min(DEPTH));
    }

    /// Allocates a block of `2^order` pages, aligned to its size, and returns its first page.
    ///
    /// Takes the block of that order freed last, if it has not merged yet. Else cuts one from a free block of the
    /// smallest order that suffices; among those the least aligned, then the lowest. Where its pages are cleared, it
    /// takes a place of which all pages are dirty, if there is one. O(1) amortised over the frees, else O(order of the
    /// block it is cut from). A search for dirty pages costs O(blocks in the groups of 4096 pages that it looks at), and
    /// looks at none again for nothing until dirty pages were added to it.
    ///
    /// # Errors
    ///
    /// [`AllocateError::NoSpace`] if no free block is large enough.
    #[inline]
    pub fn allocate(&mut self, order: u32) -> Result<u64, AllocateError> {
        match self.recent.pop(order) {
            Some(page) => Ok(page),
            None => self.allocate_by_cutting(order),
        }
    }

    /// Allocates a block as [`Buddy::allocate`] does, and tells whether its pages are cleared. With `prefer_cleared` it
    /// takes a block of cleared pages if there is one; without, one that is not cleared.
    ///
    /// # Errors
    ///
    /// [`AllocateError::NoSpace`] if no free block is large enough.
    pub fn allocate_grant(&mut self, order: u32, prefer_cleared: bool) -> Result<Grant, AllocateError> {
        if prefer_cleared && let Some(grant) = self.allocate_cleared_block(order) {
            return Ok(grant);
        }
        match self.recent.pop(order) {
            Some(page) => Ok(Grant { block: BuddyBlock { page, order }, cleared: false }),
            None => self.cut(order),
        }
    }

    #[inline(never)]
    fn allocate_by_cutting(&mut self, order: u32) -> Result<u64, AllocateError> {
        Ok(self.cut(order)?.block.page)
    }

    /// Cuts a block from a free one.
    #[inline]
    fn cut(&mut self, order: u32) -> Result<Grant, AllocateError> {
        let mut found = self.best(|region| region.find(order));
        if found.is_none() && self.recent.pages() > 0 {
            self.merge_waiting();
            found = self.best(|region| region.find(order));
        }
        let Some((at, from)) = found else { return Err(self.no_space_for_order(order)) };
        if self.regions[at].is_tracked() {
            return Ok(self.cut_rather_dirty(order, at, from));
        }
        let block = BuddyBlock { page: from.page, order };
        self.regions[at].carve(from, block);
        Ok(Grant { block, cleared: false })
    }

    /// Cuts a block from a free one that was found, or where all pages are dirty.
    #[inline(never)]
    fn cut_rather_dirty(&mut self, order: u32, at: usize, from: BuddyBlock) -> Grant {
        let mut place = self.rather_dirty_block(order, at, from);
        if place.cleared && self.recent.pages() > 0 {
            // Waiting blocks are dirty. The block that was found may have merged with them.
            self.merge_waiting();
            let from = self.best(|region| region.find(order)).unwrap_or((at, from));
            place = self.rather_dirty_block(order, from.0, from.1);
        }
        let block = BuddyBlock { page: place.page, order };
        let region = &mut self.regions[place.region];
        region.carve(place.from, block);
        if !place.cleared {
            region.note_taken_dirty(&block.range());
        }
        Grant { block, cleared: place.cleared && region.note_taken(&block.range()) }
    }

    /// Where to take a block of the order: where it fits best, but where all pages are dirty if there is such a place.
    pub(crate) fn find(&mut self, order: u32) -> Option<Place> {
        let (at, from) = self.best(|region| region.find(order))?;
        Some(self.rather_dirty_block(order, at, from))
    }

    /// The beginning of the free block that was found, or a place where all pages are dirty, if there is one and this one
    /// has cleared pages.
    #[inline]
    fn rather_dirty_block(&mut self, order: u32, region: usize, from: BuddyBlock) -> Place {
        let found = Place { region, from, page: from.page, cleared: true };
        if !self.regions.iter().any(|region| region.may_have_dirty(order)) {
            return found;
        }
        if !self.regions[region].touches_cleared(&(from.page..from.page + (1 << order))) {
            return Place { cleared: false, ..found };
        }
        let dirty = self.regions.iter_mut().enumerate().find_map(|(region, candidate)| {
            let (from, page) = candidate.find_dirty_block(order)?;
            Some(Place { region, from, page, cleared: false })
        });
        dirty.unwrap_or(found)
    }

    /// A place for a block, all pages of which are dirty. The caller takes it.
    pub(crate) fn find_dirty(&mut self, wanted: &Wanted) -> Option<Place> {
        let mut found = None;
        for (region, cut) in self.regions.iter_mut().map(|region| region.find_dirty(wanted)).enumerate() {
            let Some(Cut { from, pages }) = cut else { continue };
            found = Some(Place { region, from, page: pages.start, cleared: false });
            if !wanted.top_down {
                break;
            }
        }
        found
    }

    /// The region with the smallest block that `find` returns.
    pub(crate) fn best(&self, find: impl Fn(&Region) -> Option<BuddyBlock>) -> Option<(usize, BuddyBlock)> {
        if let [only] = self.regions.as_slice() {
            return Some((0, find(only)?));
        }
        let found = self.regions.iter().enumerate().filter_map(|(at, region)| Some((at, find(region)?)));
        found.min_by_key(|(_, block)| block.order)
    }

    #[cold]
    fn no_space_for_order(&self, order: u32) -> AllocateError {
        if order > MAX_ORDER {
            return AllocateError::Impossible { reason: "the order exceeds that of any region" };
        }
        self.no_space(1 << order)
    }

    #[cold]
    pub(crate) fn no_space(&self, pages: u64) -> AllocateError {
        let (free_pages, largest_free_order) = (self.free_pages(), self.largest_free_order());
        AllocateError::NoSpace { pages, free_pages, largest_free_order }
    }

    /// Frees the block of `2^order` pages at `page`, with unknown contents.
    ///
    /// O(1) amortised while blocks of the order are allocated as often as freed, else O(order of the free block that
    /// results).
    ///
    /// # Errors
    ///
    /// [`FreeError`] unless exactly this block is allocated; nothing is changed then.
    #[inline]
    pub fn free(&mut self, page: u64, order: u32) -> Result<(), FreeError> {
        let block = BuddyBlock { page, order };
        if !self.is_allocated(block) {
            return Err(self.why_not_allocated(block));
        }
        if !self.recent.push(block) {
            self.free_by_merging(block);
        }
        Ok(())
    }

    /// Tells whether exactly this block is allocated.
    #[inline]
    pub(crate) fn is_allocated(&self, block: BuddyBlock) -> bool {
        let region = self.regions.get(region_of(&self.regions, block.page));
        region.is_some_and(|region| region.is_used(block)) && !self.recent.contains(block)
    }

    /// Merges the older half of the waiting blocks of the order, to make room for this one.
    #[inline(never)]
    fn free_by_merging(&mut self, block: BuddyBlock) {
        let Self { regions, recent } = self;
        if !recent.takes(block.order) {
            return release(regions, block);
        }
        recent.drain(block.order, DEPTH / 2, |block| release(regions, block));
        recent.push(block);
    }

    /// Merges all waiting blocks. Afterwards the free blocks follow from the set of free pages alone.
    pub(crate) fn merge_waiting(&mut self) {
        if self.recent.pages() > 0 {
            let Self { regions, recent } = self;
            (0..RECENT_ORDERS).for_each(|order| recent.drain(order, DEPTH, |block| release(regions, block)));
        }
    }

    /// The region of a page known to belong to one.
    pub(crate) fn region_mut(&mut self, page: u64) -> &mut Region {
        let at = region_of(&self.regions, page);
        &mut self.regions[at]
    }

    /// The region that holds all of `range`.
    pub(crate) fn region_holding(&self, range: &Range<u64>) -> Result<usize, FreeError> {
        let at = region_of(&self.regions, range.start);
        let holds = |region: &Region| {
            let all = region.range();
            all.start <= range.start && range.start < range.end && range.end <= all.end
        };
        let region = self.regions.get(at).filter(|region| holds(region));
        region.map(|_| at).ok_or_else(|| FreeError::Foreign { range: range.clone() })
    }

    #[cold]
    pub(crate) fn why_not_allocated(&self, block: BuddyBlock) -> FreeError {
        let pages = 1u64.checked_shl(block.order).unwrap_or(u64::MAX);
        let range = block.page..block.page.saturating_add(pages);
        match self.region_holding(&range) {
            Err(foreign) => foreign,
            Ok(at) => match self.regions[at].block_at(block.page) {
                found if found.used && !self.recent.contains(found.block) => {
                    FreeError::WrongBlock { page: block.page, allocated: found.block }
                }
                _ => FreeError::NotAllocated { page: block.page },
            },
        }
    }

    /// Checks every invariant of the bookkeeping. O(pages); for tests and fuzzers.
    ///
    /// # Errors
    ///
    /// [`Inconsistency`], the first broken invariant found; it would be a bug of this crate.
    pub fn check_consistency(&self) -> Result<(), Inconsistency> {
        self.regions.iter().try_for_each(check::check_region)?;
        check::check_recent(self)
    }
}

/// Frees a used block of one of the regions.
pub(crate) fn release(regions: &mut [Region], block: BuddyBlock) {
    let at = region_of(regions, block.page);
    regions[at].release(block);
}
