//! Freeing more than one block, less than one, or one of unknown order; and re-cutting used blocks.

use crate::block::BuddyBlock;
use crate::buddy::{Buddy, release};
use crate::chunk::CHUNK_ORDER;
use crate::error::FreeError;
use core::ops::Range;

impl Buddy {
    /// Frees all allocated blocks of `range`. O(blocks * order).
    ///
    /// # Errors
    ///
    /// [`FreeError`] if a page of the range is foreign or free, or if an allocated block crosses one of its ends;
    /// nothing is changed then.
    pub fn free_range(&mut self, range: Range<u64>) -> Result<(), FreeError> {
        self.merge_waiting();
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

    /// Frees blocks, with unknown contents. O(blocks * order).
    ///
    /// # Errors
    ///
    /// [`FreeError`] for the first block that is not allocated, or is listed twice; nothing is changed then.
    pub fn free_list(&mut self, blocks: &[BuddyBlock]) -> Result<(), FreeError> {
        self.merge_waiting();
        for (done, &block) in blocks.iter().enumerate() {
            if !self.is_allocated(block) {
                let error = self.why_not_allocated(block);
                self.take_again(blocks[..done].iter().copied());
                return Err(error);
            }
            release(&mut self.regions, block);
        }
        Ok(())
    }

    /// Frees blocks of one order, named by their first pages, with unknown contents. O(blocks * order), less where the
    /// blocks fill a run of 128 aligned pages in order, as [`Buddy::allocate_many`] returns them.
    ///
    /// # Errors
    ///
    /// [`FreeError`] for the first block that is not allocated, or is listed twice; nothing is changed then.
    pub fn free_many(&mut self, order: u32, pages: &[u64]) -> Result<(), FreeError> {
        self.merge_waiting();
        let mut done = 0;
        while let Some(&page) = pages.get(done) {
            let block = BuddyBlock { page, order };
            if let Some(blocks) = self.free_full_chunk(order, &pages[done..]) {
                done += blocks;
            } else if self.is_allocated(block) {
                release(&mut self.regions, block);
                done += 1;
            } else {
                let error = self.why_not_allocated(block);
                self.take_again(pages[..done].iter().map(|&page| BuddyBlock { page, order }));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Frees the blocks that fill a chunk at once, if the first of `pages` do so in order; returns their number.
    fn free_full_chunk(&mut self, order: u32, pages: &[u64]) -> Option<usize> {
        let chunk = BuddyBlock { page: *pages.first()?, order: CHUNK_ORDER };
        let blocks = 1 << CHUNK_ORDER.checked_sub(order)?;
        let mut in_order = pages.get(..blocks)?.iter().zip(chunk.range().step_by(1 << order));
        let at = self.region_holding(&chunk.range()).ok()?;
        if !self.regions[at].is_full_chunk(chunk.page, order)
            || !in_order.all(|(page, expected)| *page == expected)
        {
            return None;
        }
        self.regions[at].join(chunk);
        self.regions[at].release(chunk);
        Some(blocks)
    }

    /// Takes blocks that have just been freed again.
    fn take_again(&mut self, blocks: impl Iterator<Item = BuddyBlock>) {
        for block in blocks {
            let region = self.region_mut(block.page);
            region.take_range(&block.range());
            region.note_taken(&block.range());
        }
    }

    /// Frees the pages of an allocated block before and behind `keep`; `keep` stays allocated, as the fewest blocks,
    /// which are those of [`BuddyBlock::cut`]. O(order^2).
    ///
    /// # Errors
    ///
    /// [`FreeError`] unless the block is allocated and holds all of `keep`, at least a page; nothing is changed then.
    pub fn trim(&mut self, block: BuddyBlock, keep: Range<u64>) -> Result<(), FreeError> {
        self.merge_waiting();
        if !self.is_allocated(block) {
            return Err(self.why_not_allocated(block));
        }
        if keep.is_empty() || keep.start < block.page || keep.end > block.end() {
            return Err(FreeError::WrongBlock { page: keep.start, allocated: block });
        }
        self.region_mut(block.page).trim(block, &keep);
        Ok(())
    }

    /// Cuts an allocated block into allocated blocks of a smaller order, which can then be freed one by one. Nothing
    /// happens if the order is not smaller. O(pieces), or O(pages / 128) for small pieces.
    ///
    /// # Errors
    ///
    /// [`FreeError`] unless the block is allocated; nothing is changed then.
    pub fn split(&mut self, block: BuddyBlock, order: u32) -> Result<(), FreeError> {
        if !self.is_allocated(block) {
            return Err(self.why_not_allocated(block));
        }
        if order < block.order {
            self.region_mut(block.page).recut(block, order);
        }
        Ok(())
    }

    /// Makes one allocated block of the allocated blocks that fill it. O(blocks + pages / 128).
    ///
    /// # Errors
    ///
    /// [`FreeError`] if a page of the block is free or foreign, or belongs to a larger block; nothing is changed then.
    pub fn join(&mut self, block: BuddyBlock) -> Result<(), FreeError> {
        self.merge_waiting();
        let pages = 1u64.checked_shl(block.order).unwrap_or(u64::MAX);
        let range = block.page..block.page.saturating_add(pages);
        let at = self.region_holding(&range)?;
        self.regions[at].check_used(&range)?;
        if !block.page.is_multiple_of(pages) {
            return Err(FreeError::WrongBlock {
                page: block.page,
                allocated: self.regions[at].block_at(block.page).block,
            });
        }
        self.regions[at].join(block);
        Ok(())
    }
}
