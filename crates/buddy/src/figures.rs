//! Figures: how much is free, in what pieces, and what that means for requests.

use crate::block::BuddyBlock;
use crate::buddy::{Buddy, region_of};
use crate::free_index::{MAX_ORDER, ORDERS};
use crate::recent::CAPACITY;
use crate::region::Region;

/// The state of an allocator in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// All pages.
    pub pages: u64,
    /// Pages not allocated.
    pub free_pages: u64,
    /// Free pages known to be cleared.
    pub cleared_pages: u64,
    /// Number of maximal runs of cleared pages.
    pub cleared_extents: u64,
    /// Number of free blocks of each order, from order 0 up.
    pub free_by_order: [u64; MAX_ORDER as usize + 1],
    /// Memory of the bookkeeping, in bytes.
    pub metadata_bytes: u64,
}

impl Figures {
    /// Order of the largest free block. O(orders).
    #[must_use]
    pub fn largest_free_order(&self) -> Option<u32> {
        (0..).zip(self.free_by_order).filter(|(_, count)| *count > 0).map(|(order, _)| order).last()
    }

    /// Free pages in blocks too small for a request of this order: the external waste. O(orders).
    #[must_use]
    pub fn unusable_pages(&self, order: u32) -> u64 {
        (0..order).zip(self.free_by_order).map(|(smaller, count)| count << smaller).sum()
    }

    /// The share of free pages in blocks too small for a request of this order, from 0 to 1. O(orders).
    #[must_use]
    pub fn unusable_share(&self, order: u32) -> f64 {
        share(self.unusable_pages(order), self.free_pages)
    }

    /// The fragmentation index: the share of free pages outside the largest free block, from 0 to 1. O(orders).
    #[must_use]
    pub fn fragmentation(&self) -> f64 {
        let largest = self.largest_free_order().map_or(0, |order| 1 << order);
        share(self.free_pages - largest, self.free_pages)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Buddy {
    /// Number of free pages. O(regions).
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.regions.iter().map(Region::free_pages).sum::<u64>() + self.recent.pages()
    }

    /// Number of pages, free or allocated. O(regions).
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.regions.iter().map(|region| region.range().end - region.range().start).sum()
    }

    /// The page ranges managed, in address order. O(regions) for all.
    pub fn regions(&self) -> impl Iterator<Item = core::ops::Range<u64>> {
        self.regions.iter().map(|region| region.range().clone())
    }

    /// Order of the largest free block. O(regions + waiting blocks).
    #[must_use]
    pub fn largest_free_order(&self) -> Option<u32> {
        if self.recent.pages() == 0 {
            return self.regions.iter().filter_map(|region| region.free().orders().checked_ilog2()).max();
        }
        let counts = self.free_by_order();
        (0..).zip(counts).filter(|(_, count)| *count > 0).map(|(order, _)| order).last()
    }

    /// Number of free blocks of each order, from order 0 up. O(regions + waiting blocks).
    #[must_use]
    pub fn free_by_order(&self) -> [u64; MAX_ORDER as usize + 1] {
        let mut counts = [0; ORDERS];
        for region in &self.regions {
            counts.iter_mut().zip(region.free().counts()).for_each(|(sum, count)| *sum += count);
        }
        if self.recent.pages() > 0 {
            self.count_as_merged(&mut counts);
        }
        counts
    }

    /// Number of allocated blocks of each order, from order 0 up. O(blocks).
    #[must_use]
    pub fn used_by_order(&self) -> [u64; MAX_ORDER as usize + 1] {
        let mut counts = [0; ORDERS];
        self.used_blocks().for_each(|block| counts[block.order as usize] += 1);
        counts
    }

    /// Corrects the counts of free blocks as if all waiting blocks had merged.
    fn count_as_merged(&self, counts: &mut [u64; ORDERS]) {
        let (mut pages, mut length) = ([0u64; CAPACITY], 0);
        for order in 0..=MAX_ORDER {
            let waiting = self.recent.of_order(order);
            pages[length..length + waiting.len()].copy_from_slice(waiting);
            let here = length + waiting.len();
            pages[..here].sort_unstable();
            length = 0;
            let mut at = 0;
            while at < here {
                let block = BuddyBlock { page: pages[at], order };
                let buddy = BuddyBlock { page: block.page ^ block.pages(), order };
                at += 1;
                if at < here && pages[at] == buddy.page && self.in_one_region(block, buddy) {
                    at += 1;
                } else if self.in_one_region(block, buddy) && self.is_merged_free(buddy) {
                    counts[order as usize] -= 1;
                } else {
                    counts[order as usize] += 1;
                    continue;
                }
                pages[length] = block.page & !block.pages();
                length += 1;
            }
        }
    }

    fn in_one_region(&self, block: BuddyBlock, buddy: BuddyBlock) -> bool {
        let at = region_of(&self.regions, block.page);
        self.regions.get(at).is_some_and(|region| {
            let all = region.range();
            all.start <= buddy.page && buddy.end() <= all.end
        })
    }

    fn is_merged_free(&self, block: BuddyBlock) -> bool {
        let found = self.regions[region_of(&self.regions, block.page)].block_at(block.page);
        !found.used && found.block == block
    }

    /// Bytes of bookkeeping, tracking of cleared pages included. O(regions).
    #[must_use]
    pub fn metadata_bytes(&self) -> u64 {
        let regions = self.regions.iter().map(Region::bytes);
        regions.sum::<u64>() + (size_of::<Self>() + self.regions.len() * size_of::<Region>()) as u64
    }

    /// All figures at once. O(regions + waiting blocks + pages / 4096).
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            pages: self.pages(),
            free_pages: self.free_pages(),
            cleared_pages: self.cleared_pages(),
            cleared_extents: self.cleared_extents().count() as u64,
            free_by_order: self.free_by_order(),
            metadata_bytes: self.metadata_bytes(),
        }
    }
}
