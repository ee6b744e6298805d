//! Serving requests with conditions, ranges and batches.
//!
//! All or nothing: blocks are taken one after the other, and given back if one cannot be had. As free buddies merge,
//! giving back restores the very same free blocks; what is known of cleared pages is only changed at the end.

use crate::block::BuddyBlock;
use crate::buddy::{Buddy, release};
use crate::error::AllocateError;
use crate::free_index::MAX_ORDER;
use crate::request::{Grant, Request};
use crate::search::{Cut, Wanted};
use alloc::vec::Vec;
use core::ops::Range;

/// Places looked at to find a cleared block on an alignment above its size.
const ALIGNED_CLEARED_TRIES: usize = 64;

/// Why a request stopped half-way.
enum Refused {
    NoSpace,
    OutOfMemory,
}

impl Buddy {
    /// Allocates pages as the request says; the blocks are in the order in which they were found, largest first.
    ///
    /// O(blocks * (order of the largest free block)^2), less for requests that name no range. A contiguous request
    /// that no single free block can serve also looks at all free blocks of at least a quarter of its size.
    ///
    /// # Errors
    ///
    /// [`AllocateError`] if the request cannot be met or makes no sense; nothing is changed then.
    pub fn allocate_with(&mut self, request: &Request) -> Result<Vec<Grant>, AllocateError> {
        let pages = request.rounded_pages()?;
        self.merge_waiting();
        if pages > self.free_pages() {
            return Err(self.no_space(pages));
        }
        let mut grants = Vec::new();
        let taken = if request.contiguous {
            self.take_contiguous(request, pages, &mut grants)
        } else {
            self.take_blocks(request, pages, &mut grants)
        };
        if let Err(refused) = taken {
            grants.iter().for_each(|grant| self.untake(grant));
            return Err(match refused {
                Refused::NoSpace => self.no_space(pages),
                Refused::OutOfMemory => AllocateError::OutOfMemory,
            });
        }
        for grant in &grants {
            self.region_mut(grant.block.page).forget_cleared(&grant.block.range());
        }
        Ok(grants)
    }

    /// Allocates a block of `2^order` pages at a multiple of `2^align_order`, however much larger the alignment is.
    ///
    /// Takes the smallest free block that has such a place, so large blocks are not cut for the sake of alignment.
    /// O(order of the largest free block).
    ///
    /// # Errors
    ///
    /// [`AllocateError`] if there is no such place; nothing is changed then.
    pub fn allocate_aligned(&mut self, order: u32, align_order: u32) -> Result<u64, AllocateError> {
        if align_order <= order {
            return self.allocate(order);
        }
        self.merge_waiting();
        let found = self.best(|region| region.find_aligned(order, align_order));
        let Some((at, from)) = found else {
            return Err(self.no_space(1u64.checked_shl(order).unwrap_or(u64::MAX)));
        };
        let block = BuddyBlock { page: from.page, order };
        self.regions[at].carve(from, block);
        self.regions[at].forget_cleared(&block.range());
        Ok(block.page)
    }

    /// Allocates any number of consecutive pages, not rounded up: what a power of two would waste stays free.
    ///
    /// The range is aligned to the next power of two of its size if one free block can hold it, else as it comes.
    /// O(log pages); if it must be put together from several blocks, O(free blocks of at least a quarter of it).
    ///
    /// # Errors
    ///
    /// [`AllocateError::NoSpace`] if no run of free pages is long enough, [`AllocateError::Impossible`] for 0 pages.
    pub fn allocate_contiguous(&mut self, pages: u64) -> Result<Range<u64>, AllocateError> {
        Request::pages(pages).rounded_pages()?;
        if pages > self.free_pages() {
            return Err(self.no_space(pages));
        }
        let order = pages.next_power_of_two().ilog2();
        let single = self.find(order);
        if single.is_none() {
            self.merge_waiting();
        }
        let whole = single.or_else(|| self.find(order)).map(|(at, from)| (at, from.page..from.page + pages));
        let wanted = Wanted { pages, align_order: 0, within: 0..u64::MAX, top_down: false };
        let Some((at, range)) = whole.or_else(|| self.find_run(&wanted)) else {
            return Err(self.no_space(pages));
        };
        self.regions[at].take_range(&range);
        self.regions[at].forget_cleared(&range);
        Ok(range)
    }

    /// Allocates `pages.len()` blocks of one order at once, and stores their first pages.
    ///
    /// Cuts them from the largest blocks that the batch can fill, so that neighbours in `pages` are neighbours in
    /// memory. O(blocks / 64 + log blocks) for small orders, else O(blocks).
    ///
    /// # Errors
    ///
    /// [`AllocateError`] if there are not enough blocks; nothing is changed then.
    pub fn allocate_many(&mut self, order: u32, pages: &mut [u64]) -> Result<(), AllocateError> {
        self.merge_waiting();
        let wanted = pages.len() as u64;
        if self.blocks_available(order) < wanted {
            return Err(self.no_space(wanted.saturating_mul(1u64.checked_shl(order).unwrap_or(u64::MAX))));
        }
        let mut rest = pages;
        while !rest.is_empty() {
            let most = order + rest.len().ilog2();
            let found = (order..=most).rev().find_map(|order| Some((order, self.find(order)?)));
            let (large, (at, from)) = found.expect("enough blocks were counted");
            let block = BuddyBlock { page: from.page, order: large };
            self.regions[at].carve(from, block);
            self.regions[at].recut(block, order);
            self.regions[at].forget_cleared(&block.range());
            let (now, later) = rest.split_at_mut(1 << (large - order));
            now.iter_mut().zip(block.range().step_by(1 << order)).for_each(|(place, page)| *place = page);
            rest = later;
        }
        Ok(())
    }

    /// Number of blocks of the order that the free blocks can be cut into.
    fn blocks_available(&self, order: u32) -> u64 {
        let counts = self.regions.iter().flat_map(|region| (0..).zip(region.free().counts()));
        counts.filter(|&(larger, _)| larger >= order).map(|(larger, count)| count << (larger - order)).sum()
    }

    /// Takes part of a free block. Wholly cleared blocks become dirty at once, so that they are not found again; those
    /// cleared in part when the request has succeeded.
    fn take(&mut self, at: usize, from: BuddyBlock, block: BuddyBlock) -> Grant {
        let region = &mut self.regions[at];
        region.carve(from, block);
        let cleared = region.cleared().contains(&block.range());
        if cleared {
            region.cleared_mut().remove(&block.range());
        }
        Grant { block, cleared }
    }

    /// Gives back what a failed request took.
    fn untake(&mut self, grant: &Grant) {
        release(&mut self.regions, grant.block);
        if grant.cleared {
            self.region_mut(grant.block.page).cleared_mut().insert(&grant.block.range());
        }
    }

    fn take_blocks(&mut self, request: &Request, pages: u64, grants: &mut Vec<Grant>) -> Result<(), Refused> {
        let (mut rest, mut order) = (pages, MAX_ORDER);
        while rest > 0 {
            order = order.min(rest.ilog2());
            if let Some((at, from, block)) = self.place(request, order) {
                grants.try_reserve(1).map_err(|_| Refused::OutOfMemory)?;
                grants.push(self.take(at, from, block));
                rest -= block.pages();
            } else if order > request.min_order {
                order -= 1;
            } else {
                return Err(Refused::NoSpace);
            }
        }
        Ok(())
    }

    /// Where to take one block of the order: the region, the free block, the part of it.
    fn place(&self, request: &Request, order: u32) -> Option<(usize, BuddyBlock, BuddyBlock)> {
        let cleared = if request.prefer_cleared { self.cleared_place(request, order) } else { None };
        if cleared.is_some() {
            return cleared;
        }
        if !request.is_unbound() {
            let wanted = Wanted {
                within: request.within.clone(),
                top_down: request.top_down,
                ..Wanted::block(order, request.align_order)
            };
            let (at, cut) = self.cut_within(&wanted)?;
            return Some((at, cut.from, BuddyBlock { page: cut.pages.start, order }));
        }
        let (at, from) = if request.align_order > order {
            self.best(|region| region.find_aligned(order, request.align_order))?
        } else {
            self.find(order)?
        };
        Some((at, from, BuddyBlock { page: from.page, order }))
    }

    fn cleared_place(&self, request: &Request, order: u32) -> Option<(usize, BuddyBlock, BuddyBlock)> {
        if request.top_down {
            return None;
        }
        let align = 1u64 << request.align_order.max(order);
        self.regions.iter().enumerate().find_map(|(at, region)| {
            let (mut from, mut tries) = (request.within.start, 0);
            while tries < ALIGNED_CLEARED_TRIES {
                let page = region.cleared().next(order, from)?;
                let found = region.block_at(page);
                if page + (1 << order) > request.within.end {
                    return None;
                } else if found.used {
                    from = found.block.end();
                } else if page.is_multiple_of(align) {
                    return Some((at, found.block, BuddyBlock { page, order }));
                } else {
                    (from, tries) = (page.checked_next_multiple_of(align)?, tries + 1);
                }
            }
            None
        })
    }

    /// Allocates a block of cleared pages, if there is one.
    pub(crate) fn allocate_cleared_block(&mut self, order: u32) -> Option<Grant> {
        let (at, from, block) = self.cleared_place(&Request::block(order), order)?;
        Some(self.take(at, from, block))
    }

    fn cut_within(&self, wanted: &Wanted) -> Option<(usize, Cut)> {
        let cuts = self
            .regions
            .iter()
            .enumerate()
            .filter_map(|(at, region)| Some((at, region.find_within(wanted)?)));
        if wanted.top_down {
            cuts.max_by_key(|(_, cut)| cut.pages.start)
        } else {
            cuts.min_by_key(|(_, cut)| cut.from.order)
        }
    }

    fn find_run(&self, wanted: &Wanted) -> Option<(usize, Range<u64>)> {
        self.regions.iter().enumerate().find_map(|(at, region)| Some((at, region.find_run(wanted)?)))
    }

    fn take_contiguous(
        &mut self,
        request: &Request,
        pages: u64,
        grants: &mut Vec<Grant>,
    ) -> Result<(), Refused> {
        let wanted = Wanted {
            pages,
            align_order: request.align_order.max(request.min_order),
            within: request.within.clone(),
            top_down: request.top_down,
        };
        let single = self.cut_within(&wanted).map(|(at, cut)| (at, cut.pages));
        let Some((at, range)) = single.or_else(|| self.find_run(&wanted)) else {
            return Err(Refused::NoSpace);
        };
        grants.try_reserve(BuddyBlock::cut(range.clone()).count()).map_err(|_| Refused::OutOfMemory)?;
        for block in BuddyBlock::cut(range) {
            let from = self.regions[at].block_at(block.page).block;
            grants.push(self.take(at, from, block));
        }
        Ok(())
    }
}
