//! One region: a run of pages and how it is cut into free and used blocks.
//!
//! Blocks below a chunk's order are kept in [`Chunk`]; each chunk has a byte that says whether it is cut up, or
//! starts a block of order 7 or more, or lies inside one. Buddies that are both free merge at once, so the free
//! blocks follow from the set of used pages alone: undoing an allocation restores the very same state.
//!
//! ```text
//!   states   [Free 8] [inside] [cut] [Used 7] [cut] ...      a byte per 128 pages
//!   chunks      -        -     [3 words]  -   [3 words]      what is inside a chunk that is cut
//!   index    which positions hold free blocks, by order and alignment
//! ```

use crate::bit_tree::{index, zeroed};
use crate::block::BuddyBlock;
use crate::chunk::{CHUNK_ORDER, CHUNK_PAGES, Chunk, offset_of_pair};
use crate::cleared::Cleared;
use crate::dirty::Dirty;
use crate::error::{FreeError, NewError};
use crate::free_index::{FreeIndex, ORDERS};
use alloc::vec::Vec;
use core::ops::Range;

/// Page numbers end here; see [`ORDERS`].
pub(crate) const PAGE_LIMIT: u64 = 1 << 62;

/// The chunk lies inside a block that starts at an earlier chunk.
const INSIDE: u8 = 0;
/// The chunk is cut into blocks smaller than itself.
const CUT: u8 = 1;
/// Flag of a chunk that starts a free block; the order is added.
const FREE: u8 = 0x40;
/// Flag of a chunk that starts a used block; the order is added.
const USED: u8 = 0x80;

/// A block as found: where, how long, in what state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) block: BuddyBlock,
    pub(crate) used: bool,
}

/// A run of pages with its blocks.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    range: Range<u64>,
    first_chunk: u64,
    states: Vec<u8>,
    chunks: Vec<Chunk>,
    free: FreeIndex,
    free_pages: u64,
    pub(crate) cleared: Cleared,
    /// Made once dirty pages were searched for among cleared ones, as far as there is memory.
    pub(crate) dirty: Option<Dirty>,
    /// A page was declared cleared, and not all were declared dirty since.
    pub(crate) tracked: bool,
}

#[expect(clippy::cast_possible_truncation, reason = "orders are below 64")]
const fn state(flag: u8, order: u32) -> u8 {
    flag | order as u8
}

/// Offset of a page within its chunk.
const fn offset(page: u64) -> u32 {
    (page % CHUNK_PAGES) as u32
}

impl Region {
    /// A region of free pages.
    pub(crate) fn new(range: Range<u64>) -> Result<Self, NewError> {
        let pages = range.end.checked_sub(range.start).filter(|&pages| pages > 0).ok_or(NewError::Empty)?;
        if range.end > PAGE_LIMIT {
            return Err(NewError::TooHigh { region: range, limit: PAGE_LIMIT });
        }
        if pages >> ORDERS != 0 {
            return Err(NewError::TooLong { region: range, limit_pages: (1 << ORDERS) - 1 });
        }
        let first_chunk = range.start >> CHUNK_ORDER;
        let chunks = range.end.div_ceil(CHUNK_PAGES) - first_chunk;
        let mut region = Self {
            first_chunk,
            states: zeroed(chunks, INSIDE).ok_or(NewError::OutOfMemory)?,
            chunks: zeroed(chunks, Chunk::USED).ok_or(NewError::OutOfMemory)?,
            free: FreeIndex::new(&range, pages.ilog2()).ok_or(NewError::OutOfMemory)?,
            free_pages: pages,
            cleared: Cleared::new(range.clone()),
            dirty: None,
            tracked: false,
            range,
        };
        for block in BuddyBlock::cut(region.range.clone()) {
            region.write(block, false);
            region.free.insert(block.page, block.order);
        }
        Ok(region)
    }

    /// The pages of the region.
    pub(crate) fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// The index of free blocks.
    pub(crate) fn free(&self) -> &FreeIndex {
        &self.free
    }

    /// Number of free pages.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free_pages
    }

    /// Bytes of bookkeeping.
    pub(crate) fn bytes(&self) -> u64 {
        let blocks = (self.states.len() + self.chunks.len() * size_of::<Chunk>()) as u64 + self.free.bytes();
        blocks + self.cleared.bytes() + self.dirty.as_ref().map_or(0, Dirty::bytes)
    }

    fn chunk_index(&self, page: u64) -> usize {
        index((page >> CHUNK_ORDER) - self.first_chunk)
    }

    /// Writes the block over what its pages held.
    fn write(&mut self, block: BuddyBlock, used: bool) {
        let chunk = self.chunk_index(block.page);
        if block.order < CHUNK_ORDER {
            self.states[chunk] = CUT;
            self.chunks[chunk].write(offset(block.page), block.order, used);
        } else {
            self.states[chunk] = state(if used { USED } else { FREE }, block.order);
        }
    }

    /// The lowest free block of a class known not to be empty.
    pub(crate) fn first(&self, order: u32, align: u32) -> BuddyBlock {
        let mut page = self.free.first(order, align);
        if align < CHUNK_ORDER {
            let pairs = self.chunks[self.chunk_index(page)].free_pairs(order, align);
            page += offset_of_pair(pairs.trailing_zeros(), align);
        }
        BuddyBlock { page, order }
    }

    /// The first free block of a class that starts at or behind `page`, a page of the region.
    pub(crate) fn next_of_class(&self, order: u32, align: u32, page: u64) -> Option<BuddyBlock> {
        let mut start = self.free.next(order, align, page)?;
        if align < CHUNK_ORDER {
            let mut pairs = self.pairs_of(start, order, align);
            if start < page {
                let from = offset(page) + u32::from(align != 0);
                pairs &= u64::MAX.checked_shl(from / 2).unwrap_or(0);
                if pairs == 0 {
                    start = self.free.next(order, align, start + CHUNK_PAGES)?;
                    pairs = self.pairs_of(start, order, align);
                }
            }
            start += offset_of_pair(pairs.trailing_zeros(), align);
        }
        Some(BuddyBlock { page: start, order })
    }

    /// The last free block of a class that starts at or before `page`, a page of the region.
    pub(crate) fn previous_of_class(&self, order: u32, align: u32, page: u64) -> Option<BuddyBlock> {
        let mut start = self.free.previous(order, align, page)?;
        if align < CHUNK_ORDER {
            let mut pairs = self.pairs_of(start, order, align);
            if page < start + CHUNK_PAGES {
                let pairs_before = (offset(page) + u32::from(align != 0)).div_ceil(2);
                pairs &= !u64::MAX.checked_shl(pairs_before).unwrap_or(0);
                if pairs == 0 {
                    start = self.free.previous(order, align, start.checked_sub(1)?)?;
                    pairs = self.pairs_of(start, order, align);
                }
            }
            start += offset_of_pair(63 - pairs.leading_zeros(), align);
        }
        Some(BuddyBlock { page: start, order })
    }

    fn pairs_of(&self, page: u64, order: u32, align: u32) -> u64 {
        self.chunks[self.chunk_index(page)].free_pairs(order, align)
    }

    /// All free blocks of a class, in address order. O(blocks, plus a little per chunk that has one).
    pub(crate) fn blocks_of_class(&self, order: u32, align: u32) -> impl Iterator<Item = BuddyBlock> {
        self.free.marks(order, align).flat_map(move |page| {
            let mut pairs = match align {
                _ if align < CHUNK_ORDER => self.chunks[self.chunk_index(page)].free_pairs(order, align),
                _ => 1,
            };
            core::iter::from_fn(move || {
                let pair = (pairs != 0).then(|| pairs.trailing_zeros())?;
                pairs &= pairs - 1;
                let page = if align < CHUNK_ORDER { page + offset_of_pair(pair, align) } else { page };
                Some(BuddyBlock { page, order })
            })
        })
    }

    /// Cuts the block `wanted` out of the free block `from`, which holds it, and marks it used.
    pub(crate) fn carve(&mut self, from: BuddyBlock, wanted: BuddyBlock) {
        self.free_pages -= wanted.pages();
        let mut start = from.page;
        let mut lowest = wanted.order;
        if wanted.page == from.page && wanted.order < CHUNK_ORDER {
            lowest = from.order.min(CHUNK_ORDER);
            self.free.insert_halves(from.page, wanted.order..lowest);
        }
        for order in (lowest..from.order).rev() {
            let half = start + (1 << order);
            let rest = if wanted.page < half { half } else { core::mem::replace(&mut start, half) };
            if order >= CHUNK_ORDER {
                let chunk = self.chunk_index(rest);
                self.states[chunk] = state(FREE, order);
            }
            self.free.insert(rest, order);
        }
        let at = self.chunk_index(wanted.page);
        if wanted.order >= CHUNK_ORDER {
            self.states[at] = state(USED, wanted.order);
            return self.free.remove(from.page, from.order, false);
        }
        let mut chunk = if from.order < CHUNK_ORDER { self.chunks[at] } else { Chunk::FREE };
        let cut_from =
            if from.order < CHUNK_ORDER { (offset(from.page), from.order) } else { (0, CHUNK_ORDER) };
        chunk.carve(cut_from, (offset(wanted.page), wanted.order));
        (self.states[at], self.chunks[at]) = (CUT, chunk);
        let align = self.free.align_of(from.page);
        let shared = align < CHUNK_ORDER && chunk.free_pairs(from.order, align) != 0;
        self.free.remove(from.page, from.order, shared);
    }

    /// Tells whether exactly this block exists and is used.
    #[inline]
    pub(crate) fn is_used(&self, block: BuddyBlock) -> bool {
        let BuddyBlock { page, order } = block;
        if page.wrapping_sub(self.range.start) >= self.range.end - self.range.start
            || order as usize >= ORDERS
        {
            return false;
        }
        let chunk = self.chunk_index(page);
        let expected = if order < CHUNK_ORDER { CUT } else { state(USED, order) };
        // The words of a chunk that is not cut say nothing; any others will do and are more likely at hand.
        let words = if order < CHUNK_ORDER { chunk } else { 0 };
        let in_chunk = self.chunks[words].is(offset(page), order.min(CHUNK_ORDER - 1), true);
        let aligned = page & (block.pages() - 1) == 0;
        aligned & (self.states[chunk] == expected) & (in_chunk | (order >= CHUNK_ORDER))
    }

    /// Frees a used block with unknown contents, and merges it with its buddies as far as they are free.
    pub(crate) fn release(&mut self, block: BuddyBlock) {
        self.note_freed(&block.range());
        self.merge(block);
    }

    /// Frees a used block whose pages are cleared.
    pub(crate) fn release_cleared(&mut self, block: BuddyBlock) {
        self.merge(block);
        self.note_cleared(&block.range());
    }

    /// Frees a block that a request took which failed.
    pub(crate) fn untake(&mut self, block: BuddyBlock, cleared: bool) {
        self.merge(block);
        self.note_untaken(&block.range(), cleared);
    }

    fn merge(&mut self, block: BuddyBlock) {
        self.free_pages += block.pages();
        let merged = if block.order < CHUNK_ORDER { self.release_in_chunk(block) } else { block };
        if merged.order < CHUNK_ORDER {
            return self.free.insert(merged.page, merged.order);
        }
        let whole = self.merge_chunks(merged);
        let chunk = self.chunk_index(whole.page);
        self.states[chunk] = state(FREE, whole.order);
        self.free.insert(whole.page, whole.order);
    }

    /// Frees a block smaller than a chunk and takes the buddies it merges with within the chunk out of the index.
    fn release_in_chunk(&mut self, block: BuddyBlock) -> BuddyBlock {
        let at = self.chunk_index(block.page);
        let mut chunk = self.chunks[at];
        let merged = chunk.release(offset(block.page), block.order);
        self.chunks[at] = chunk;
        for order in block.order..merged {
            let buddy = ((block.page >> order) ^ 1) << order;
            let align = self.free.align_of(buddy);
            let shared = merged < CHUNK_ORDER && align < CHUNK_ORDER && chunk.free_pairs(order, align) != 0;
            self.free.remove(buddy, order, shared);
        }
        BuddyBlock { page: block.page >> merged << merged, order: merged }
    }

    /// Merges blocks of whole chunks; the starts of the right halves are unmarked.
    fn merge_chunks(&mut self, mut block: BuddyBlock) -> BuddyBlock {
        while block.order >= CHUNK_ORDER {
            let buddy = block.page ^ block.pages();
            let Some(at) = (buddy >> CHUNK_ORDER).checked_sub(self.first_chunk).map(index) else { break };
            if self.states.get(at) != Some(&state(FREE, block.order)) {
                break;
            }
            self.free.remove(buddy, block.order, false);
            let right = self.chunk_index(block.page | block.pages());
            self.states[right] = INSIDE;
            block = BuddyBlock { page: block.page & !block.pages(), order: block.order + 1 };
        }
        block
    }

    /// Takes free pages as the fewest blocks.
    pub(crate) fn take_range(&mut self, range: &Range<u64>) {
        for block in BuddyBlock::cut(range.clone()) {
            self.carve(self.block_at(block.page).block, block);
        }
    }

    /// Cuts a used block into used blocks of a smaller order.
    pub(crate) fn recut(&mut self, block: BuddyBlock, order: u32) {
        if order >= CHUNK_ORDER || block.order < CHUNK_ORDER {
            block.range().step_by(1 << order).for_each(|page| self.write(BuddyBlock { page, order }, true));
            return;
        }
        let first = self.chunk_index(block.page);
        let chunks = first..first + (1 << (block.order - CHUNK_ORDER));
        self.states[chunks.clone()].fill(CUT);
        self.chunks[chunks].fill(Chunk::uniform(order));
    }

    /// Tells whether the page starts a chunk that is full of used blocks of this order, which is below a chunk's.
    pub(crate) fn is_full_chunk(&self, page: u64, order: u32) -> bool {
        let chunk = self.chunk_index(page);
        page.is_multiple_of(CHUNK_PAGES)
            && order < CHUNK_ORDER
            && self.states[chunk] == CUT
            && self.chunks[chunk] == Chunk::uniform(order)
    }

    /// Makes one used block of the used blocks that fill it.
    pub(crate) fn join(&mut self, block: BuddyBlock) {
        if block.order >= CHUNK_ORDER {
            let first = self.chunk_index(block.page);
            self.states[first..first + (1 << (block.order - CHUNK_ORDER))].fill(INSIDE);
        }
        self.write(block, true);
    }

    /// Cuts a used block so that `keep` remains as the fewest used blocks, and frees the pages beside it.
    pub(crate) fn trim(&mut self, block: BuddyBlock, keep: &Range<u64>) {
        let beside = [block.page..keep.start, keep.end..block.end()];
        for piece in beside.iter().chain([keep]).cloned().flat_map(BuddyBlock::cut) {
            self.write(piece, true);
        }
        beside.into_iter().flat_map(BuddyBlock::cut).for_each(|piece| self.release(piece));
    }

    /// Finds the block that holds a page of the region.
    pub(crate) fn block_at(&self, page: u64) -> Found {
        let chunk = self.chunk_index(page);
        if self.states[chunk] == CUT {
            let (start, order, used) = self.chunks[chunk].block_at(offset(page));
            let page = page - page % CHUNK_PAGES + u64::from(start);
            return Found { block: BuddyBlock { page, order }, used };
        }
        let mut order = CHUNK_ORDER;
        loop {
            let start = page >> order << order;
            let state = self.states[self.chunk_index(start)];
            if state != INSIDE {
                let block = BuddyBlock { page: start, order: u32::from(state & !(FREE | USED)) };
                return Found { block, used: state & USED != 0 };
            }
            order += 1;
        }
    }

    /// The first used block that holds a page of the range.
    pub(crate) fn first_used(&self, range: &Range<u64>) -> Option<BuddyBlock> {
        let mut at = range.start;
        while at < range.end {
            let found = self.block_at(at);
            if found.used {
                return Some(found.block);
            }
            at = found.block.end();
        }
        None
    }

    /// Tells whether all pages of the range are free.
    pub(crate) fn is_free(&self, range: &Range<u64>) -> bool {
        self.first_used(range).is_none()
    }

    /// Checks that every page of `range` belongs to a used block and that no block crosses its ends.
    pub(crate) fn check_used(&self, range: &Range<u64>) -> Result<(), FreeError> {
        let mut at = range.start;
        while at < range.end {
            let Found { block, used } = self.block_at(at);
            if !used {
                return Err(FreeError::NotAllocated { page: at });
            }
            if block.page != at || block.end() > range.end {
                return Err(FreeError::WrongBlock { page: at, allocated: block });
            }
            at = block.end();
        }
        Ok(())
    }
}
