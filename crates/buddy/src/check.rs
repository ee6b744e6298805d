//! The walk that checks every invariant of a region.

use crate::block::BuddyBlock;
use crate::buddy::{Buddy, region_of};
use crate::free_index::ORDERS;
use crate::leaf::GROUP_ORDER;
use crate::region::{Found, Region};
use core::fmt;

/// A broken invariant of the bookkeeping: a bug of this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistency {
    /// The page at which it shows.
    pub page: u64,
    /// The invariant that does not hold.
    pub broken: &'static str,
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at page {:#x}: not so: {}", self.page, self.broken)
    }
}

impl core::error::Error for Inconsistency {}

fn ensure(holds: bool, page: u64, broken: &'static str) -> Result<(), Inconsistency> {
    if holds { Ok(()) } else { Err(Inconsistency { page, broken }) }
}

/// Walks all blocks of the region and compares them with the index and the counts.
pub(crate) fn check_region(region: &Region) -> Result<(), Inconsistency> {
    let (mut at, end) = (region.range().start, region.range().end);
    let (mut counts, mut free_pages) = ([0; ORDERS], 0);
    while at < end {
        let Found { block, used } = region.block_at(at);
        ensure(
            block.page == at && at.is_multiple_of(block.pages()),
            at,
            "blocks follow each other, aligned",
        )?;
        ensure(block.end() <= end, at, "blocks end within the region")?;
        if !used {
            counts[block.order as usize] += 1;
            free_pages += block.pages();
            check_free(region, block)?;
        }
        at = block.end();
    }
    ensure(&counts == region.free().counts(), at, "free blocks are counted by order")?;
    ensure(free_pages == region.free_pages(), at, "free pages are counted")?;
    check_index(region, &counts)
}

fn check_free(region: &Region, block: BuddyBlock) -> Result<(), Inconsistency> {
    ensure(
        region.free().is_marked(block.page, block.order),
        block.page,
        "a free block is marked in the index",
    )?;
    let buddy = block.page ^ block.pages();
    if buddy >= region.range().start && buddy + block.pages() <= region.range().end {
        let other = region.block_at(buddy);
        ensure(other.used || other.block.order < block.order, block.page, "free buddies are merged")?;
    }
    Ok(())
}

/// Every mark of the index leads to a free block, and the summaries name the classes that exist.
fn check_index(region: &Region, counts: &[u64; ORDERS]) -> Result<(), Inconsistency> {
    for (order, &count) in (0..).zip(counts) {
        let aligns = region.free().aligns(order);
        ensure(
            (count > 0) == (region.free().orders() >> order & 1 == 1),
            0,
            "orders with free blocks are known",
        )?;
        ensure((count > 0) == (aligns != 0), 0, "alignments with free blocks are known")?;
        let mut found = 0;
        for align in (0..64).filter(|align| aligns >> align & 1 == 1) {
            for block in region.blocks_of_class(order, align) {
                let seen = region.block_at(block.page);
                ensure(seen == Found { block, used: false }, block.page, "a mark leads to a free block")?;
                ensure(region.free().align_of(block.page) == align, block.page, "a mark is in its class")?;
                found += 1;
            }
        }
        ensure(found == count, 0, "each free block is in one class")?;
    }
    Ok(())
}

/// Compares the waiting blocks and the cleared pages with the blocks of the regions.
pub(crate) fn check_recent(buddy: &Buddy) -> Result<(), Inconsistency> {
    let mut pages = 0;
    for block in buddy.recent.blocks() {
        let region = buddy.regions.get(region_of(&buddy.regions, block.page));
        ensure(region.is_some_and(|r| r.is_used(block)), block.page, "a waiting block is not merged")?;
        ensure(buddy.recent.contains(block), block.page, "a waiting block can be looked up")?;
        let twins = buddy.recent.of_order(block.order).iter().filter(|&&page| page == block.page).count();
        ensure(twins == 1, block.page, "a block waits once")?;
        pages += block.pages();
    }
    ensure(pages == buddy.recent.pages(), 0, "waiting pages are counted")?;
    for region in &buddy.regions {
        let mut cleared_pages = 0;
        for extent in region.cleared.extents() {
            ensure(region.is_free(&extent), extent.start, "cleared pages are free")?;
            cleared_pages += extent.end - extent.start;
        }
        ensure(cleared_pages == region.cleared.pages(), region.range().start, "cleared pages are counted")?;
        let Some(dirty) = &region.dirty else { continue };
        for number in dirty.numbers() {
            let counted = region.count_dirty(number) == dirty.pages(number);
            ensure(counted, number << GROUP_ORDER, "free dirty pages are counted by group")?;
        }
    }
    Ok(())
}
