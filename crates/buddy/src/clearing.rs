//! Telling cleared pages from dirty ones.
//!
//! All pages start dirty. Pages become cleared when the caller says so, as they are freed or later, and dirty when
//! they are allocated. Memory for this is taken as needed; if there is none, pages count as dirty.

use crate::block::BuddyBlock;
use crate::buddy::Buddy;
use crate::error::FreeError;
use crate::region::Region;
use core::ops::Range;

impl Buddy {
    /// Frees a block whose pages are cleared. O(order + pages / 4096).
    ///
    /// # Errors
    ///
    /// [`FreeError`] unless exactly this block is allocated; nothing is changed then.
    pub fn free_cleared(&mut self, page: u64, order: u32) -> Result<(), FreeError> {
        let block = BuddyBlock { page, order };
        if !self.is_allocated(block) {
            return Err(self.why_not_allocated(block));
        }
        self.region_mut(page).release_cleared(block);
        Ok(())
    }

    /// Frees blocks whose pages are cleared. O(blocks * order + pages / 4096).
    ///
    /// # Errors
    ///
    /// [`FreeError`] for the first block that is not allocated, or is listed twice; nothing is changed then.
    pub fn free_list_cleared(&mut self, blocks: &[BuddyBlock]) -> Result<(), FreeError> {
        self.free_list(blocks)?;
        for block in blocks {
            self.region_mut(block.page).declare_cleared(&block.range());
        }
        Ok(())
    }

    /// Declares free pages to be cleared. O(blocks in the range + pages / 4096).
    ///
    /// # Errors
    ///
    /// [`FreeError`] if a page of the range is foreign or allocated; nothing is changed then.
    pub fn declare_cleared(&mut self, range: Range<u64>) -> Result<(), FreeError> {
        self.merge_waiting();
        let at = self.region_holding(&range)?;
        if let Some(allocated) = self.regions[at].first_used(&range) {
            return Err(FreeError::WrongBlock { page: allocated.page.max(range.start), allocated });
        }
        self.regions[at].declare_cleared(&range);
        Ok(())
    }

    /// Declares all free pages to be dirty, as after a loss of power. O(pages / 4096).
    pub fn forget_cleared(&mut self) {
        self.regions.iter_mut().for_each(Region::forget_all_cleared);
    }

    /// Takes a block of free dirty pages, to be cleared in the background and given back by [`Buddy::free_cleared`]:
    /// the lowest one at or behind page `from`, as large as it can be, but not above `max_order`. `None` if there are
    /// no dirty free pages from there on. O(blocks between `from` and the block found).
    pub fn take_dirty(&mut self, from: u64, max_order: u32) -> Option<BuddyBlock> {
        self.merge_waiting();
        let (at, block) = self.regions.iter().enumerate().find_map(|(at, region)| {
            let (free, dirty) = region.next_dirty_free(from)?;
            let order = dirty.start.trailing_zeros().min((dirty.end - dirty.start).ilog2()).min(max_order);
            Some((at, (free, BuddyBlock { page: dirty.start, order })))
        })?;
        self.regions[at].carve(block.0, block.1);
        self.regions[at].note_taken(&block.1.range());
        Some(block.1)
    }

    /// Number of free pages known to be cleared. O(regions).
    #[must_use]
    pub fn cleared_pages(&self) -> u64 {
        self.regions.iter().map(|region| region.cleared.pages()).sum()
    }

    /// The maximal runs of cleared pages, in address order. O(pages / 4096) for all.
    pub fn cleared_extents(&self) -> impl Iterator<Item = Range<u64>> {
        self.regions.iter().flat_map(|region| region.cleared.extents())
    }

    /// Tells whether all pages of the range are free and known to be cleared. O(pages / 4096).
    #[must_use]
    pub fn is_cleared(&self, range: Range<u64>) -> bool {
        self.region_holding(&range).is_ok_and(|at| self.regions[at].cleared.contains(&range))
    }
}
