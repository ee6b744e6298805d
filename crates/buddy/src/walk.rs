//! Walking over the blocks as callers see them: all free buddies merged.

use crate::block::BuddyBlock;
use crate::buddy::Buddy;
use crate::region::{Found, Region};

/// Whether a block is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockState {
    /// The pages can be allocated.
    Free,
    /// The block is allocated.
    Used,
}

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageState {
    /// No region has it.
    Outside,
    /// It can be allocated.
    Free,
    /// It is part of this allocated block.
    Allocated(BuddyBlock),
}

impl Buddy {
    /// All blocks in address order; together they are all pages. O(1) amortised for each.
    pub fn blocks(&self) -> impl Iterator<Item = (BuddyBlock, BlockState)> {
        self.regions.iter().flat_map(|region| self.blocks_of(region))
    }

    /// All free blocks in address order. O(blocks) for all.
    pub fn free_blocks(&self) -> impl Iterator<Item = BuddyBlock> {
        self.blocks().filter(|(_, state)| *state == BlockState::Free).map(|(block, _)| block)
    }

    /// All allocated blocks in address order. O(blocks) for all.
    pub fn used_blocks(&self) -> impl Iterator<Item = BuddyBlock> {
        self.blocks().filter(|(_, state)| *state == BlockState::Used).map(|(block, _)| block)
    }

    /// The blocks that were freed and have not merged yet, by order, those of an order as they were freed. With the
    /// blocks that are allocated they are the whole state: equal ones answer every call alike.
    pub fn waiting_blocks(&self) -> impl Iterator<Item = BuddyBlock> {
        self.recent.blocks()
    }

    /// What a page is: outside of all regions, free, or part of an allocated block. O(order).
    #[must_use]
    pub fn page_state(&self, page: u64) -> PageState {
        let Ok(at) = self.region_holding(&(page..page.saturating_add(1))) else { return PageState::Outside };
        let found = self.regions[at].block_at(page);
        if self.is_free(found) { PageState::Free } else { PageState::Allocated(found.block) }
    }

    fn is_free(&self, found: Found) -> bool {
        !found.used || self.recent.contains(found.block)
    }

    /// Merges neighbouring free blocks to extents and cuts these anew, as waiting blocks have not been merged.
    fn blocks_of<'a>(&'a self, region: &'a Region) -> impl Iterator<Item = (BuddyBlock, BlockState)> + 'a {
        let (mut at, end) = (region.range().start, region.range().end);
        let mut free = at..at;
        core::iter::from_fn(move || {
            while free.is_empty() && at < end {
                let found = region.block_at(at);
                at = found.block.end();
                if !self.is_free(found) {
                    return Some((found.block, BlockState::Used));
                }
                free = found.block.range();
                while at < end && self.is_free(region.block_at(at)) {
                    at = region.block_at(at).block.end();
                }
                free.end = at;
            }
            let block = BuddyBlock::cut(free.clone()).next()?;
            free.start = block.end();
            Some((block, BlockState::Free))
        })
    }
}
