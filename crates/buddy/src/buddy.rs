//! The allocator: regions of pages, allocated and freed as blocks and ranges.

use crate::block::Block;
use crate::error::{AllocateError, FreeError, NewError};
use crate::free_index::ORDERS;
use crate::region::Region;
use alloc::vec::Vec;
use core::ops::Range;

/// A buddy allocator over page numbers.
///
/// It hands out naturally aligned blocks of `2^order` pages and never touches what the page numbers stand for. All
/// its bookkeeping is a few bitmaps made once, about 1.9 bits a page; no call walks a list. The same calls return
/// the same pages.
#[derive(Clone, Debug)]
pub struct Buddy {
    /// In address order, disjoint, never empty.
    regions: Vec<Region>,
}

impl Buddy {
    /// Makes an allocator of the pages `0..pages`, all free. O(pages / 128).
    ///
    /// # Errors
    ///
    /// [`NewError`] if there are no pages, too many, or no memory for the bookkeeping.
    pub fn new(pages: u64) -> Result<Self, NewError> {
        Self::with_regions(core::slice::from_ref(&(0..pages)))
    }

    /// Makes an allocator of several regions, all pages free. Blocks never cross from one region into the next, even
    /// if they touch. O(pages / 128).
    ///
    /// # Errors
    ///
    /// [`NewError`] if a region is empty, too large, or not behind the one before it, or if memory is short.
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
        if regions.is_empty() { Err(NewError::Empty) } else { Ok(Self { regions }) }
    }

    /// Allocates a block of `2^order` pages, aligned to its size, and returns its first page.
    ///
    /// Cuts it from a free block of the smallest order that suffices; among those the least aligned, then the
    /// lowest. O(order of the block it is cut from).
    ///
    /// # Errors
    ///
    /// [`AllocateError::NoSpace`] if no free block is large enough.
    pub fn allocate(&mut self, order: u32) -> Result<u64, AllocateError> {
        let Some((region, from)) = self.find(order) else { return Err(self.no_space_for_order(order)) };
        self.regions[region].carve(from, Block { page: from.page, order });
        Ok(from.page)
    }

    /// The region and free block to serve an order from.
    fn find(&self, order: u32) -> Option<(usize, Block)> {
        if let [only] = self.regions.as_slice() {
            return Some((0, only.find(order)?));
        }
        let found =
            self.regions.iter().enumerate().filter_map(|(at, region)| Some((at, region.find(order)?)));
        found.min_by_key(|(_, block)| block.order)
    }

    fn no_space_for_order(&self, order: u32) -> AllocateError {
        if order as usize >= ORDERS {
            return AllocateError::Impossible { reason: "the order exceeds that of any region" };
        }
        self.no_space(1 << order)
    }

    fn no_space(&self, pages: u64) -> AllocateError {
        let (free_pages, largest_free_order) = (self.free_pages(), self.largest_free_order());
        AllocateError::NoSpace { pages, free_pages, largest_free_order }
    }

    /// Frees the block of `2^order` pages at `page`. O(order of the free block that results).
    ///
    /// # Errors
    ///
    /// [`FreeError`] unless exactly this block is allocated; nothing is changed then.
    pub fn free(&mut self, page: u64, order: u32) -> Result<(), FreeError> {
        let block = Block { page, order };
        let region = self.region_of(page);
        match self.regions.get_mut(region) {
            Some(region) if region.is_used(block) => {
                region.release(block);
                Ok(())
            }
            _ => Err(self.why_not_used(block)),
        }
    }

    /// Number of the region that holds `page`, if any does.
    fn region_of(&self, page: u64) -> usize {
        if self.regions.len() == 1 {
            return 0;
        }
        self.regions.partition_point(|region| region.range().end <= page)
    }

    /// The region that holds all of `range`.
    fn region_holding(&self, range: &Range<u64>) -> Result<usize, FreeError> {
        let at = self.region_of(range.start);
        let holds = |region: &Region| {
            let all = region.range();
            all.start <= range.start && range.start < range.end && range.end <= all.end
        };
        self.regions
            .get(at)
            .filter(|region| holds(region))
            .ok_or(FreeError::Foreign { range: range.clone() })?;
        Ok(at)
    }

    fn why_not_used(&self, block: Block) -> FreeError {
        let pages = 1u64.checked_shl(block.order).unwrap_or(u64::MAX);
        let range = block.page..block.page.saturating_add(pages);
        match self.region_holding(&range) {
            Err(foreign) => foreign,
            Ok(region) => match self.regions[region].block_at(block.page) {
                found if found.used => FreeError::WrongBlock { page: block.page, allocated: found.block },
                _ => FreeError::NotAllocated { page: block.page },
            },
        }
    }

    /// Allocates any number of consecutive pages, not rounded up: what a power of two would waste stays free.
    ///
    /// The range is aligned to the next power of two of its size. O(log pages).
    ///
    /// # Errors
    ///
    /// [`AllocateError::NoSpace`] if no free block is large enough, [`AllocateError::Impossible`] for 0 pages or
    /// more pages than any region can hold.
    pub fn allocate_contiguous(&mut self, pages: u64) -> Result<Range<u64>, AllocateError> {
        if pages == 0 {
            return Err(AllocateError::Impossible { reason: "0 pages" });
        }
        let order = pages.checked_next_power_of_two().map_or(64, u64::ilog2);
        let Some((region, mut from)) = self.find(order) else { return Err(self.no_space_for_order(order)) };
        let range = from.page..from.page + pages;
        for block in Block::cut(range.clone()) {
            self.regions[region].carve(from, block);
            if block.end() < range.end {
                from = self.regions[region].block_at(block.end()).block;
            }
        }
        Ok(range)
    }

    /// Frees all allocated blocks of `range`. O(blocks * order).
    ///
    /// # Errors
    ///
    /// [`FreeError`] if a page of the range is foreign or free, or if an allocated block crosses one of its ends;
    /// nothing is changed then.
    pub fn free_range(&mut self, range: Range<u64>) -> Result<(), FreeError> {
        let at = self.region_holding(&range)?;
        let region = &mut self.regions[at];
        region.check_used(&range)?;
        let mut at = range.start;
        while at < range.end {
            let block = region.block_at(at).block;
            region.release(block);
            at = block.end();
        }
        Ok(())
    }

    /// Number of free pages. O(regions).
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.regions.iter().map(Region::free_pages).sum()
    }

    /// Number of pages, free or allocated. O(regions).
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.regions.iter().map(|region| region.range().end - region.range().start).sum()
    }

    /// Order of the largest free block. O(regions).
    #[must_use]
    pub fn largest_free_order(&self) -> Option<u32> {
        self.regions.iter().filter_map(|region| region.free().orders().checked_ilog2()).max()
    }

    /// Number of free blocks of each order, from order 0 up. O(regions).
    #[must_use]
    pub fn free_by_order(&self) -> [u64; ORDERS] {
        let mut sum = [0; ORDERS];
        for region in &self.regions {
            sum.iter_mut().zip(region.free().counts()).for_each(|(sum, count)| *sum += count);
        }
        sum
    }

    /// Bytes of bookkeeping. O(regions).
    #[must_use]
    pub fn metadata_bytes(&self) -> u64 {
        self.regions.iter().map(Region::bytes).sum()
    }

    /// Checks every invariant of the bookkeeping. O(pages); for tests and fuzzers.
    ///
    /// # Errors
    ///
    /// [`Inconsistency`](crate::Inconsistency), the first broken invariant found; it would be a bug of this crate.
    pub fn check_consistency(&self) -> Result<(), crate::Inconsistency> {
        self.regions.iter().try_for_each(crate::check::check_region)
    }
}
