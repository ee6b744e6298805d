//! Serving requests with conditions, ranges and batches.
//!
//! All or nothing: blocks are taken one after the other, and given back if one cannot be had. As free buddies merge,
//! giving back restores the very same free blocks; what is known of cleared pages is only changed at the end.

use crate::block::BuddyBlock;
use crate::buddy::{Buddy, Place};
use crate::error::AllocateError;
use crate::free_index::MAX_ORDER;
use crate::region::Region;
use crate::request::{Grant, Request};
use crate::search::{Cut, Wanted};
use alloc::vec::Vec;
use core::ops::Range;

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
    /// Takes the smallest free block that has such a place, so large blocks are not cut for the sake of alignment; one
    /// where all pages are dirty if there is one. O(order of the largest free block), and a search for dirty pages where
    /// that block is cleared.
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
        if !self.regions[at].is_tracked() {
            self.regions[at].carve(from, BuddyBlock { page: from.page, order });
            return Ok(from.page);
        }
        let place = self.rather_dirty(&Wanted::block(order, align_order), (at, from, from.page));
        let block = BuddyBlock { page: place.page, order };
        self.regions[place.region].carve(place.from, block);
        self.regions[place.region].note_taken(&block.range());
        Ok(block.page)
    }

    /// Allocates any number of consecutive pages, not rounded up: what a power of two would waste stays free.
    ///
    /// The range is aligned to the next power of two of its size if one free block can hold it, else as it comes. It is
    /// dirty if there are so many consecutive dirty pages. O(log pages); if it must be put together from several blocks,
    /// O(free blocks of at least a quarter of it); where it would be cleared, O(free blocks).
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
        let find = |buddy: &Self| {
            let (at, from) = buddy.best(|region| region.find(order))?;
            Some((at, from.page..from.page + pages))
        };
        let mut whole = find(self);
        if whole.as_ref().is_none_or(|(at, range)| self.regions[*at].touches_cleared(range)) {
            self.merge_waiting();
            whole = find(self);
        }
        let wanted = Wanted { pages, align_order: 0, within: 0..u64::MAX, top_down: false };
        let Some((at, range)) = whole.or_else(|| self.find_run(&wanted)) else {
            return Err(self.no_space(pages));
        };
        let (at, range) = self.rather_dirty_run(&wanted, at, range);
        self.regions[at].take_range(&range);
        self.regions[at].note_taken(&range);
        Ok(range)
    }

    /// Allocates `pages.len()` blocks of one order at once, and stores their first pages.
    ///
    /// Cuts them from the largest blocks that the batch can fill, so that neighbours in `pages` are neighbours in
    /// memory; from dirty ones first. O(blocks / 64 + log blocks) for small orders, else O(blocks).
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
            let (large, place) = self.find_for_batch(order, order + rest.len().ilog2());
            let block = BuddyBlock { page: place.page, order: large };
            let region = &mut self.regions[place.region];
            region.carve(place.from, block);
            region.recut(block, order);
            region.note_taken(&block.range());
            let (now, later) = rest.split_at_mut(1 << (large - order));
            now.iter_mut().zip(block.range().step_by(1 << order)).for_each(|(place, page)| *place = page);
            rest = later;
        }
        Ok(())
    }

    /// The largest block from order `most` down to `least` that is dirty, or else that is free. There is one.
    fn find_for_batch(&mut self, least: u32, most: u32) -> (u32, Place) {
        let mut cleared = None;
        for order in (least..=most).rev() {
            match self.find(order) {
                Some(place) if !place.cleared => return (order, place),
                Some(place) => cleared = cleared.or(Some((order, place))),
                None => {}
            }
        }
        cleared.expect("enough blocks were counted")
    }

    /// Number of blocks of the order that the free blocks can be cut into.
    fn blocks_available(&self, order: u32) -> u64 {
        let counts = self.regions.iter().flat_map(|region| (0..).zip(region.free().counts()));
        counts.filter(|&(larger, _)| larger >= order).map(|(larger, count)| count << (larger - order)).sum()
    }

    /// Takes part of a free block. Wholly cleared blocks become dirty at once, so that they are not found again; those
    /// cleared in part when the request has succeeded.
    fn take(&mut self, place: &Place, order: u32) -> Grant {
        let block = BuddyBlock { page: place.page, order };
        let region = &mut self.regions[place.region];
        region.carve(place.from, block);
        Grant { block, cleared: region.is_tracked() && region.note_taken_for_now(&block.range()) }
    }

    /// Gives back what a failed request took.
    fn untake(&mut self, grant: &Grant) {
        self.region_mut(grant.block.page).untake(grant.block, grant.cleared);
    }

    fn take_blocks(&mut self, request: &Request, pages: u64, grants: &mut Vec<Grant>) -> Result<(), Refused> {
        let (mut rest, mut order) = (pages, MAX_ORDER);
        while rest > 0 {
            order = order.min(rest.ilog2());
            grants.try_reserve(1).map_err(|_| Refused::OutOfMemory)?;
            if let Some(place) = self.place(request, order) {
                grants.push(self.take(&place, order));
                rest -= 1 << order;
            } else if order > request.min_order {
                order -= 1;
            } else {
                return Err(Refused::NoSpace);
            }
        }
        Ok(())
    }

    /// Where to take one block of the order.
    fn place(&mut self, request: &Request, order: u32) -> Option<Place> {
        let wanted = Wanted {
            within: request.within.clone(),
            top_down: request.top_down,
            ..Wanted::block(order, request.align_order)
        };
        if request.prefer_cleared
            && let Some(place) = self.find_cleared(&wanted)
        {
            return Some(place);
        }
        if !request.is_unbound() {
            let (at, cut) = self.cut_within(&wanted)?;
            return Some(self.rather_dirty(&wanted, (at, cut.from, cut.pages.start)));
        }
        let (at, from) = self.best(|region| region.find_aligned(order, request.align_order))?;
        Some(self.rather_dirty(&wanted, (at, from, from.page)))
    }

    /// The place that was found, given as region, free block and page; or one where all pages are dirty, if there is one
    /// and this one has cleared pages.
    fn rather_dirty(&mut self, wanted: &Wanted, (region, from, page): (usize, BuddyBlock, u64)) -> Place {
        let found = Place { region, from, page, cleared: true };
        if !self.regions[region].touches_cleared(&(page..page + wanted.pages)) {
            return Place { cleared: false, ..found };
        }
        self.find_dirty(wanted).unwrap_or(found)
    }

    /// The run that was found, or a dirty one, as [`Buddy::rather_dirty`] does.
    fn rather_dirty_run(&self, wanted: &Wanted, at: usize, run: Range<u64>) -> (usize, Range<u64>) {
        if !self.regions[at].touches_cleared(&run) {
            return (at, run);
        }
        self.first_run(wanted, |region| region.find_dirty_run(wanted)).unwrap_or((at, run))
    }

    /// A place for a block, all pages of which are cleared.
    fn find_cleared(&self, wanted: &Wanted) -> Option<Place> {
        let place = |(at, region): (usize, &Region)| {
            let page = region.find_cleared(wanted)?;
            Some(Place { region: at, from: region.block_at(page).block, page, cleared: true })
        };
        let mut places = self.regions.iter().enumerate().filter_map(place);
        if wanted.top_down { places.next_back() } else { places.next() }
    }

    /// Allocates a block of cleared pages, if there is one.
    pub(crate) fn allocate_cleared_block(&mut self, order: u32) -> Option<Grant> {
        let place = self.find_cleared(&Wanted::block(order, order))?;
        Some(self.take(&place, order))
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
        self.first_run(wanted, |region| region.find_run(wanted))
    }

    /// What `find` finds in the first region that has it, or in the last one for requests from the top down.
    fn first_run(
        &self,
        wanted: &Wanted,
        find: impl Fn(&Region) -> Option<Range<u64>>,
    ) -> Option<(usize, Range<u64>)> {
        let mut runs = self.regions.iter().enumerate().filter_map(|(at, region)| Some((at, find(region)?)));
        if wanted.top_down { runs.next_back() } else { runs.next() }
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
        let Some((region, range)) = self.find_contiguous(request, &wanted) else {
            return Err(Refused::NoSpace);
        };
        grants.try_reserve(BuddyBlock::cut(range.clone()).count()).map_err(|_| Refused::OutOfMemory)?;
        for BuddyBlock { page, order } in BuddyBlock::cut(range) {
            let from = self.regions[region].block_at(page).block;
            grants.push(self.take(&Place { region, from, page, cleared: false }, order));
        }
        Ok(())
    }

    /// Where to take consecutive pages.
    fn find_contiguous(&self, request: &Request, wanted: &Wanted) -> Option<(usize, Range<u64>)> {
        if request.prefer_cleared {
            let cleared = self.first_run(wanted, |region| region.find_cleared_run(wanted));
            if cleared.is_some() {
                return cleared;
            }
        }
        let single = self.cut_within(wanted).map(|(at, cut)| (at, cut.pages));
        let (at, run) = single.or_else(|| self.find_run(wanted))?;
        Some(self.rather_dirty_run(wanted, at, run))
    }
}
