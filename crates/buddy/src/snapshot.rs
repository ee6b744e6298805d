//! The whole state as plain data, with a text form, and back.

use crate::block::BuddyBlock;
use crate::buddy::{Buddy, region_of};
use crate::error::{AllocateError, FreeError, NewError};
use crate::walk::BlockState;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::str::FromStr;

/// First line of the text form.
const HEADER: &str = "bifolio-buddy snapshot 1";

/// The state of an allocator: what is used and what is cleared; all else is free and dirty.
///
/// Its text form is one line for each fact, numbers in decimal:
///
/// ```
/// use bifolio_buddy::{Buddy, Snapshot};
///
/// let mut buddy = Buddy::new(1000).unwrap();
/// buddy.allocate_exact(12..16).unwrap();
/// buddy.declare_cleared(500..1000).unwrap();
/// let text = buddy.snapshot().to_string();
/// assert_eq!(text, "bifolio-buddy snapshot 1\nregion 0 1000\nused 12 2\ncleared 500 1000\n");
/// let snapshot: Snapshot = text.parse().unwrap();
/// assert_eq!(Buddy::from_snapshot(&snapshot).unwrap().snapshot(), snapshot);
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

/// Why a snapshot could not be read or restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The line is not one of a snapshot.
    Syntax {
        /// Number of the line, from 1.
        line: usize,
    },
    /// The regions cannot be managed.
    Regions(NewError),
    /// A block is not aligned, not within its region, or overlaps another one.
    Used(BuddyBlock),
    /// Cleared pages are not free pages of their region.
    Cleared(Range<u64>),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line } => write!(f, "line {line} is not a line of a snapshot"),
            Self::Regions(_) => write!(f, "the regions cannot be managed"),
            Self::Used(block) => {
                write!(f, "the used block of order {} at {:#x} cannot be there", block.order, block.page)
            }
            Self::Cleared(range) => {
                write!(f, "the cleared pages {:#x}..{:#x} are not free pages", range.start, range.end)
            }
        }
    }
}

impl core::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Regions(error) => Some(error),
            _ => None,
        }
    }
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

    /// Makes an allocator in the state of a snapshot. O(pages / 128 + blocks * order).
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if the snapshot contradicts itself.
    pub fn from_snapshot(snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let ranges: Vec<Range<u64>> = snapshot.regions.iter().map(|region| region.range.clone()).collect();
        let mut buddy = Self::with_regions(&ranges).map_err(SnapshotError::Regions)?;
        for region in &snapshot.regions {
            for &block in &region.used {
                buddy.allocate_block(block).map_err(|_| SnapshotError::Used(block))?;
            }
            for extent in &region.cleared {
                let declared = buddy.declare_cleared(extent.clone());
                declared.map_err(|_: FreeError| SnapshotError::Cleared(extent.clone()))?;
            }
        }
        Ok(buddy)
    }

    /// Allocates exactly this block. O(order).
    ///
    /// # Errors
    ///
    /// [`AllocateError`] if it is not a naturally aligned block of free pages of one region; nothing is changed then.
    pub fn allocate_block(&mut self, block: BuddyBlock) -> Result<(), AllocateError> {
        let pages = 1u64.checked_shl(block.order).unwrap_or(u64::MAX);
        if !block.page.is_multiple_of(pages) {
            return Err(AllocateError::Impossible { reason: "the block is not naturally aligned" });
        }
        let end = block.page.saturating_add(pages);
        self.allocate_exact(block.page..end)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        for region in &self.regions {
            writeln!(f, "region {} {}", region.range.start, region.range.end)?;
            region.used.iter().try_for_each(|block| writeln!(f, "used {} {}", block.page, block.order))?;
            region
                .cleared
                .iter()
                .try_for_each(|range| writeln!(f, "cleared {} {}", range.start, range.end))?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(SnapshotError::Syntax { line: 1 });
        }
        let mut snapshot = Self { regions: Vec::new() };
        for (line, text) in (2..).zip(lines) {
            snapshot.read_line(text).ok_or(SnapshotError::Syntax { line })?;
        }
        Ok(snapshot)
    }
}

impl Snapshot {
    /// Adds the fact that a line states; `None` if it states none.
    fn read_line(&mut self, text: &str) -> Option<()> {
        let mut words = text.split(' ');
        let (what, first) = (words.next()?, words.next()?.parse().ok()?);
        let second: u64 = words.next()?.parse().ok()?;
        if words.next().is_some() {
            return None;
        }
        match what {
            "region" => {
                let range = first..second;
                self.regions.push(RegionSnapshot { range, used: Vec::new(), cleared: Vec::new() });
            }
            "used" => {
                let block = BuddyBlock {
                    page: first,
                    order: u32::try_from(second).ok().filter(|&order| order < 64)?,
                };
                self.regions.last_mut()?.used.push(block);
            }
            "cleared" => self.regions.last_mut()?.cleared.push(first..second),
            _ => return None,
        }
        Some(())
    }
}
