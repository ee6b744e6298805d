//! An allocator that knows the owner of each block: [`OwnedBuddy`].
//!
//! A number beside each block, as the `private` pointer of the kernel's blocks. It is kept here and not in [`Buddy`], so
//! that an allocator without owners pays nothing for it.

use crate::bit_tree::{index, zeroed};
use crate::block::BuddyBlock;
use crate::buddy::{Buddy, region_of};
use crate::error::{AllocateError, FreeError, NewError};
use crate::request::{Grant, Request};
use crate::walk::PageState;
use alloc::vec::Vec;
use core::ops::Range;

/// A [`Buddy`], and for each allocated block a number that stands for its owner: what it was allocated for.
///
/// Four bytes a page more. A block keeps its owner when it is split or trimmed, and its pieces have it too.
///
/// ```
/// use bifolio_buddy::{BuddyBlock, OwnedBuddy};
///
/// let mut buddy = OwnedBuddy::new(1024).unwrap();
/// let page = buddy.allocate(4, 7).unwrap();
/// buddy.split(BuddyBlock { page, order: 4 }, 2).unwrap();
/// assert_eq!(buddy.owner(page + 5), Some((BuddyBlock { page: page + 4, order: 2 }, 7)));
/// assert_eq!(buddy.free(page + 4, 2), Ok(7));
/// assert_eq!(buddy.owner(page + 5), None);
/// assert_eq!(buddy.blocks_of(7).count(), 3);
/// ```
#[derive(Clone, Debug)]
pub struct OwnedBuddy {
    buddy: Buddy,
    /// For each region and each of its pages: the owner of the allocated block that begins there.
    owners: Vec<Vec<u32>>,
}

impl OwnedBuddy {
    /// Makes an allocator of the pages `0..pages`, all free and dirty. O(pages).
    ///
    /// # Errors
    ///
    /// As [`Buddy::new`].
    pub fn new(pages: u64) -> Result<Self, NewError> {
        Self::with_regions(core::slice::from_ref(&(0..pages)))
    }

    /// Makes an allocator of several regions, all pages free and dirty. O(pages).
    ///
    /// # Errors
    ///
    /// As [`Buddy::with_regions`].
    pub fn with_regions(ranges: &[Range<u64>]) -> Result<Self, NewError> {
        let buddy = Buddy::with_regions(ranges)?;
        let mut owners = Vec::new();
        owners.try_reserve_exact(ranges.len()).map_err(|_| NewError::OutOfMemory)?;
        for range in ranges {
            owners.push(zeroed(range.end - range.start, 0).ok_or(NewError::OutOfMemory)?);
        }
        Ok(Self { buddy, owners })
    }

    /// The allocator, to look at.
    #[must_use]
    pub fn buddy(&self) -> &Buddy {
        &self.buddy
    }

    /// Allocates a block as [`Buddy::allocate`] does, for an owner.
    ///
    /// # Errors
    ///
    /// As [`Buddy::allocate`].
    pub fn allocate(&mut self, order: u32, owner: u32) -> Result<u64, AllocateError> {
        let page = self.buddy.allocate(order)?;
        *self.entry(page) = owner;
        Ok(page)
    }

    /// Allocates pages as [`Buddy::allocate_with`] does, all of them for one owner.
    ///
    /// # Errors
    ///
    /// As [`Buddy::allocate_with`].
    pub fn allocate_with(&mut self, request: &Request, owner: u32) -> Result<Vec<Grant>, AllocateError> {
        let grants = self.buddy.allocate_with(request)?;
        grants.iter().for_each(|grant| *self.entry(grant.block.page) = owner);
        Ok(grants)
    }

    /// Frees a block as [`Buddy::free`] does, and returns whose it was.
    ///
    /// # Errors
    ///
    /// As [`Buddy::free`].
    pub fn free(&mut self, page: u64, order: u32) -> Result<u32, FreeError> {
        self.buddy.free(page, order)?;
        Ok(*self.entry(page))
    }

    /// Frees a block as [`Buddy::free_cleared`] does, and returns whose it was.
    ///
    /// # Errors
    ///
    /// As [`Buddy::free_cleared`].
    pub fn free_cleared(&mut self, page: u64, order: u32) -> Result<u32, FreeError> {
        self.buddy.free_cleared(page, order)?;
        Ok(*self.entry(page))
    }

    /// Cuts an allocated block as [`Buddy::split`] does. All pieces have its owner.
    ///
    /// # Errors
    ///
    /// As [`Buddy::split`].
    pub fn split(&mut self, block: BuddyBlock, order: u32) -> Result<(), FreeError> {
        self.buddy.split(block, order)?;
        let owner = *self.entry(block.page);
        block.range().step_by(1 << order.min(block.order)).for_each(|page| *self.entry(page) = owner);
        Ok(())
    }

    /// Frees the pages of a block beside `keep` as [`Buddy::trim`] does. What stays allocated keeps its owner.
    ///
    /// # Errors
    ///
    /// As [`Buddy::trim`].
    pub fn trim(&mut self, block: BuddyBlock, keep: Range<u64>) -> Result<(), FreeError> {
        self.buddy.trim(block, keep.clone())?;
        let owner = *self.entry(block.page);
        BuddyBlock::cut(keep).for_each(|piece| *self.entry(piece.page) = owner);
        Ok(())
    }

    /// The allocated block that holds the page, and its owner; `None` if the page is free, or outside of all regions.
    /// O(order).
    #[must_use]
    pub fn owner(&self, page: u64) -> Option<(BuddyBlock, u32)> {
        let PageState::Allocated(block) = self.buddy.page_state(page) else { return None };
        Some((block, self.owner_at(block.page)))
    }

    /// Gives an allocated block to another owner.
    ///
    /// # Errors
    ///
    /// [`FreeError`] unless exactly this block is allocated; nothing is changed then.
    pub fn set_owner(&mut self, block: BuddyBlock, owner: u32) -> Result<(), FreeError> {
        if !self.buddy.is_allocated(block) {
            return Err(self.buddy.why_not_allocated(block));
        }
        *self.entry(block.page) = owner;
        Ok(())
    }

    /// All blocks of an owner, in address order. O(blocks) for all.
    pub fn blocks_of(&self, owner: u32) -> impl Iterator<Item = BuddyBlock> {
        self.buddy.used_blocks().filter(move |block| self.owner_at(block.page) == owner)
    }

    fn place(&self, page: u64) -> (usize, usize) {
        let region = region_of(&self.buddy.regions, page);
        (region, index(page - self.buddy.regions[region].range().start))
    }

    fn owner_at(&self, page: u64) -> u32 {
        let (region, at) = self.place(page);
        self.owners[region][at]
    }

    /// The entry of a page known to belong to a region.
    fn entry(&mut self, page: u64) -> &mut u32 {
        let (region, at) = self.place(page);
        &mut self.owners[region][at]
    }
}
