//! From addresses to blocks: read-mostly, and a lock per block.

use std::ops::Range;
use std::sync::{Arc, PoisonError, TryLockError};

use bifolio_migrate::{AlignedRun, BLOCK_PAGES, Block, PageRun, PageSet};
use bifolio_policy::ObjectId;
use bifolio_sys::PAGE;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard, OnceLock};

/// Number of a block in its [`Blocks`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BlockId(pub u32);

/// Bytes of a block, as a length in memory.
pub const BLOCK_LEN: usize = BLOCK_PAGES as usize * PAGE;

/// What the lock of a block guards.
#[derive(Debug)]
pub struct BlockState {
    /// Where its pages are.
    pub block: Block,
    /// Its number among the blocks that have pages in system memory.
    pub resident: Option<ObjectId>,
    /// Pages in system memory that a device may use where they are.
    pub(crate) remote: PageSet,
    /// The parts of regions of device-exclusive access that lie in it; mostly there are none.
    pub(crate) exclusive: Vec<ExclusivePages>,
}

/// The pages of a region of exclusive access ([`Exclusive`](crate::exclusive::Exclusive)) that lie in one block.
#[derive(Debug)]
pub(crate) struct ExclusivePages {
    pub(crate) pages: PageRun,
    pub(crate) ended: Arc<AtomicBool>,
}

impl BlockState {
    /// Ends the regions that hold any page of `run`, which a device is about to lose.
    #[inline]
    pub(crate) fn end_exclusive(&mut self, run: AlignedRun) {
        if !self.exclusive.is_empty() {
            self.end_regions(run);
        }
    }

    #[inline(never)]
    fn end_regions(&mut self, run: AlignedRun) {
        let lost = |region: &mut ExclusivePages| region.pages.intersection(run).is_some();
        for region in self.exclusive.extract_if(.., lost) {
            // Release: accesses of the device that come after are ordered by the page table's change.
            region.ended.store(true, Ordering::Release);
        }
    }
}

/// One block found by its address.
#[derive(Clone, Copy, Debug)]
pub struct BlockRef<'b> {
    /// Its number.
    pub id: BlockId,
    /// Address of its first page.
    pub base: usize,
    cell: &'b Mutex<BlockState>,
}

impl<'b> BlockRef<'b> {
    /// Waits for the block.
    pub(crate) fn lock(&self) -> MutexGuard<'b, BlockState> {
        // A transaction that panicked left a state that its own assertions refused; going on is no worse.
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the block if it is free. Transactions on other blocks use this alone (I24).
    #[must_use]
    pub fn try_lock(&self) -> Option<MutexGuard<'b, BlockState>> {
        match self.cell.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The addresses of pages of the block.
    #[must_use]
    pub fn addresses_of(&self, run: PageRun) -> Range<usize> {
        self.base + usize::from(run.first()) * PAGE..self.base + usize::from(run.end()) * PAGE
    }

    /// Number within the block of the page that holds `address`.
    #[must_use]
    pub fn page_of(&self, address: usize) -> u16 {
        debug_assert!((self.base..self.base + BLOCK_LEN).contains(&address));
        u16::try_from((address - self.base) / PAGE).expect("an address inside the block")
    }
}

/// A block, made when it is first looked up.
type Cell = OnceLock<Box<Mutex<BlockState>>>;

/// Cells of one leaf of a region's table: 8 GiB of addresses.
const LEAF_CELLS: usize = 4096;

/// Consecutive blocks, in a table of two levels: a region of all addresses of a process costs 256 KiB, and 64 KiB more
/// for each leaf that is used.
#[derive(Debug)]
struct Region {
    addresses: Range<usize>,
    first: u32,
    count: usize,
    leaves: Box<[OnceLock<Box<[Cell]>>]>,
}

impl Region {
    fn new(addresses: Range<usize>, first: u32) -> Region {
        let count = addresses.len() / BLOCK_LEN;
        let leaves = std::iter::repeat_with(OnceLock::new).take(count.div_ceil(LEAF_CELLS)).collect();
        Region { addresses, first, count, leaves }
    }

    /// The cell of block `index`, whose leaf is made if it is not there.
    fn cell(&self, index: usize) -> &Cell {
        let leaf = index / LEAF_CELLS;
        let len = LEAF_CELLS.min(self.count - leaf * LEAF_CELLS);
        let make = || std::iter::repeat_with(OnceLock::new).take(len).collect();
        &self.leaves[leaf].get_or_init(make)[index % LEAF_CELLS]
    }

    /// Tells whether a block was looked up before.
    fn is_made(&self, index: usize) -> bool {
        let cells = self.leaves[index / LEAF_CELLS].get();
        cells.is_some_and(|cells| cells[index % LEAF_CELLS].get().is_some())
    }

    /// Yields the blocks of `indices` that were looked up before, in order.
    fn made_in(&self, indices: Range<usize>) -> impl Iterator<Item = usize> {
        let leaves = indices.start / LEAF_CELLS..indices.end.div_ceil(LEAF_CELLS);
        leaves.filter_map(|leaf| Some((leaf * LEAF_CELLS, self.leaves[leaf].get()?))).flat_map(
            move |(first, cells)| {
                let within = indices.start.saturating_sub(first)..cells.len().min(indices.end - first);
                within.filter(|index| cells[*index].get().is_some()).map(move |index| first + index)
            },
        )
    }
}

/// Most regions that one [`Blocks`] can hold.
pub const REGIONS_MAX: usize = 16;

/// The blocks of a few regions of address space. A block is made when it is first looked up.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Filled from the front, under `growing`; never changed again, so that a lookup takes no lock.
    regions: [OnceLock<Region>; REGIONS_MAX],
    growing: Mutex<()>,
}

/// A region that cannot be added.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegionError {
    /// Not aligned to a block, empty, or too large to number its blocks.
    #[error("region {0:#x?} is not a whole number of 2 MiB blocks that can be numbered")]
    Shape(Range<usize>),
    /// Part of it is in a region already.
    #[error("region {0:#x?} overlaps another")]
    Overlaps(Range<usize>),
    /// [`REGIONS_MAX`] regions are there already.
    #[error("more than {REGIONS_MAX} regions")]
    Full,
}

impl Blocks {
    /// Makes a map of no regions.
    #[must_use]
    pub fn new() -> Blocks {
        Blocks::default()
    }

    /// Adds the blocks of `addresses`, a whole number of blocks.
    ///
    /// # Errors
    /// See [`RegionError`].
    pub fn add_region(&self, addresses: Range<usize>) -> Result<(), RegionError> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let aligned = addresses.start.is_multiple_of(BLOCK_LEN) && addresses.end.is_multiple_of(BLOCK_LEN);
        let first = self.regions().last().map_or(0, |last| last.first as usize + last.count);
        let count = addresses.len() / BLOCK_LEN;
        if !aligned || addresses.is_empty() || u32::try_from(first + count).is_err() {
            return Err(RegionError::Shape(addresses));
        }
        let apart = |other: &Range<usize>| other.end <= addresses.start || addresses.end <= other.start;
        if !self.regions().all(|region| apart(&region.addresses)) {
            return Err(RegionError::Overlaps(addresses));
        }
        let slot = self.regions.iter().find(|slot| slot.get().is_none()).ok_or(RegionError::Full)?;
        let first = u32::try_from(first).expect("checked above with the count");
        slot.set(Region::new(addresses, first)).expect("only filled under the lock");
        Ok(())
    }

    /// Finds the block that holds `address`.
    #[must_use]
    pub fn find(&self, address: usize) -> Option<BlockRef<'_>> {
        let region = self.regions().find(|region| region.addresses.contains(&address))?;
        Some(self.found(region, (address - region.addresses.start) / BLOCK_LEN))
    }

    /// Finds the block that holds `address` if it was looked up before.
    #[must_use]
    pub fn find_made(&self, address: usize) -> Option<BlockRef<'_>> {
        let region = self.regions().find(|region| region.addresses.contains(&address))?;
        let index = (address - region.addresses.start) / BLOCK_LEN;
        region.is_made(index).then(|| self.found(region, index))
    }

    /// Finds a block by its number.
    #[must_use]
    pub fn get(&self, id: BlockId) -> Option<BlockRef<'_>> {
        let index = |region: &Region| id.0.checked_sub(region.first).map(|index| index as usize);
        let within = |region: &&Region| index(region).is_some_and(|index| index < region.count);
        let region = self.regions().find(within)?;
        Some(self.found(region, (id.0 - region.first) as usize))
    }

    /// Whether all of `addresses` lie in regions.
    #[must_use]
    pub fn covers(&self, addresses: &Range<usize>) -> bool {
        let mut at = addresses.start;
        while at < addresses.end {
            match self.regions().find(|region| region.addresses.contains(&at)) {
                Some(region) => at = region.addresses.end,
                None => return false,
            }
        }
        true
    }

    /// Yields the parts of `addresses`, page aligned, that lie in each block of the regions, in order.
    pub fn parts(&self, addresses: Range<usize>) -> impl Iterator<Item = (BlockRef<'_>, PageRun)> {
        let mut at = addresses.start;
        std::iter::from_fn(move || {
            if at >= addresses.end {
                return None;
            }
            let found = self.find(at)?;
            let end = addresses.end.min(found.base + BLOCK_LEN);
            let pages = u16::try_from((end - at).div_ceil(PAGE)).expect("at most a block");
            let run = PageRun::new(found.page_of(at), pages).expect("part of a block");
            at = end;
            Some((found, run))
        })
    }

    /// Yields the parts of `addresses`, page aligned, that lie in blocks which were looked up before, in order. Unlike
    /// [`Blocks::parts`] it makes no block, so a long range costs little where nothing is.
    pub fn made_parts(&self, addresses: Range<usize>) -> impl Iterator<Item = (BlockRef<'_>, PageRun)> {
        let range = addresses.clone();
        let found = self.regions().flat_map(move |region| {
            let within = |address: usize| address.clamp(region.addresses.start, region.addresses.end);
            let offset = |address: usize| within(address) - region.addresses.start;
            let indices = offset(range.start) / BLOCK_LEN..offset(range.end).div_ceil(BLOCK_LEN);
            let indices = if range.is_empty() { 0..0 } else { indices };
            region.made_in(indices).map(move |index| self.found(region, index))
        });
        found.map(move |found| {
            let (start, end) = (addresses.start.max(found.base), addresses.end.min(found.base + BLOCK_LEN));
            let pages = u16::try_from((end - start).div_ceil(PAGE)).expect("at most a block");
            (found, PageRun::new(found.page_of(start), pages).expect("part of a block"))
        })
    }

    /// Yields all blocks that were ever looked up.
    pub fn made(&self) -> impl Iterator<Item = BlockRef<'_>> {
        self.regions().flat_map(move |region| {
            region.made_in(0..region.count).map(move |index| self.found(region, index))
        })
    }

    fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter().map_while(OnceLock::get)
    }

    fn found<'b>(&self, region: &'b Region, index: usize) -> BlockRef<'b> {
        let state = || BlockState {
            block: Block::new(),
            resident: None,
            remote: PageSet::EMPTY,
            exclusive: Vec::new(),
        };
        let make = || Box::new(Mutex::new(state()));
        let id = BlockId(region.first + u32::try_from(index).expect("regions number their blocks"));
        let base = region.addresses.start + index * BLOCK_LEN;
        BlockRef { id, base, cell: region.cell(index).get_or_init(make) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_regions() -> Blocks {
        let blocks = Blocks::new();
        blocks.add_region(BLOCK_LEN..3 * BLOCK_LEN).expect("first region");
        blocks.add_region(8 * BLOCK_LEN..9 * BLOCK_LEN).expect("second region");
        blocks
    }

    #[test]
    fn addresses_and_numbers_lead_to_the_same_block() {
        let blocks = two_regions();
        for (address, id, page) in
            [(BLOCK_LEN, 0, 0), (3 * BLOCK_LEN - 1, 1, 511), (8 * BLOCK_LEN + PAGE, 2, 1)]
        {
            let found = blocks.find(address).expect("in a region");
            assert_eq!((found.id, found.page_of(address)), (BlockId(id), page));
            assert_eq!(blocks.get(found.id).map(|same| same.base), Some(found.base));
        }
        assert!(blocks.find(0).is_none() && blocks.find(3 * BLOCK_LEN).is_none());
        assert!(blocks.get(BlockId(3)).is_none());
    }

    #[test]
    fn parts_stop_at_block_borders() {
        let blocks = two_regions();
        let parts: Vec<_> = blocks
            .parts(2 * BLOCK_LEN - PAGE..2 * BLOCK_LEN + 2 * PAGE)
            .map(|(found, run)| (found.id.0, run.first(), run.pages()))
            .collect();
        assert_eq!(parts, [(0, 511, 1), (1, 0, 2)]);
    }

    #[test]
    fn all_addresses_of_a_process_are_one_region() {
        let blocks = Blocks::new();
        blocks.add_region(0..1 << 47).expect("2^26 blocks can be numbered");
        let addresses = [BLOCK_LEN, (1 << 46) + PAGE, (1 << 47) - PAGE];
        let bases: Vec<_> =
            addresses.iter().map(|at| blocks.find(*at).expect("in the region").base).collect();
        assert!(blocks.made().map(|found| found.base).eq(bases));
        assert!(blocks.find(1 << 47).is_none());
    }

    #[test]
    fn made_parts_pass_over_blocks_never_looked_up() {
        let blocks = two_regions();
        for address in [BLOCK_LEN, 8 * BLOCK_LEN] {
            blocks.find(address).expect("in a region");
        }
        let parts = |range| -> Vec<_> {
            blocks.made_parts(range).map(|(found, run)| (found.base, run.first(), run.pages())).collect()
        };
        let whole = BLOCK_PAGES;
        assert_eq!(parts(0..1 << 40), [(BLOCK_LEN, 0, whole), (8 * BLOCK_LEN, 0, whole)]);
        assert_eq!(parts(BLOCK_LEN + PAGE..2 * BLOCK_LEN + PAGE), [(BLOCK_LEN, 1, whole - 1)]);
        assert_eq!(parts(2 * BLOCK_LEN..8 * BLOCK_LEN), []);
        assert_eq!(parts(BLOCK_LEN + PAGE..BLOCK_LEN + PAGE), []);
        assert_eq!(parts(BLOCK_LEN + PAGE..BLOCK_LEN + 3 * PAGE), [(BLOCK_LEN, 1, 2)]);
        assert_eq!(blocks.find_made(8 * BLOCK_LEN + PAGE).map(|found| found.base), Some(8 * BLOCK_LEN));
        assert!(blocks.find_made(2 * BLOCK_LEN).is_none() && blocks.find_made(1 << 50).is_none());
    }

    #[test]
    fn overlapping_and_odd_regions_are_refused() {
        let blocks = two_regions();
        let inside = 2 * BLOCK_LEN..4 * BLOCK_LEN;
        assert_eq!(blocks.add_region(inside.clone()), Err(RegionError::Overlaps(inside)));
        let odd = 20 * BLOCK_LEN..20 * BLOCK_LEN + PAGE;
        assert_eq!(blocks.add_region(odd.clone()), Err(RegionError::Shape(odd)));
    }
}
