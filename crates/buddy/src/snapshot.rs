//! The whole state as plain data, to compare and to look at.

use crate::block::BuddyBlock;
use crate::buddy::{Buddy, region_of};
use crate::walk::BlockState;
use alloc::vec::Vec;
use core::ops::Range;

/// The state of an allocator: what is used and what is cleared; all else is free and dirty.
///
/// ```
/// use bifolio_buddy::{Buddy, BuddyBlock};
///
/// let mut buddy = Buddy::new(1000).unwrap();
/// assert_eq!(buddy.allocate(2), Ok(992));
/// buddy.declare_cleared(100..500).unwrap();
/// let [region] = &buddy.snapshot().regions[..] else { panic!("one region") };
/// assert_eq!(region.used, [BuddyBlock { page: 992, order: 2 }]);
/// assert_eq!(region.cleared, [100..500]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The regions, in address order.
    pub regions: Vec<RegionSnapshot>,
}

/// The state of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionSnapshot {
    /// The pages.
    pub range: Range<u64>,
    /// Allocated blocks, in address order.
    pub used: Vec<BuddyBlock>,
    /// Maximal runs of cleared pages, in address order.
    pub cleared: Vec<Range<u64>>,
}

impl Buddy {
    /// Returns the whole state as plain data. O(blocks + pages / 4096).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut regions: Vec<RegionSnapshot> = self
            .regions()
            .map(|range| RegionSnapshot { range, used: Vec::new(), cleared: Vec::new() })
            .collect();
        for (block, _) in self.blocks().filter(|(_, state)| *state == BlockState::Used) {
            regions[region_of(&self.regions, block.page)].used.push(block);
        }
        for extent in self.cleared_extents() {
            regions[region_of(&self.regions, extent.start)].cleared.push(extent);
        }
        Snapshot { regions }
    }
}
