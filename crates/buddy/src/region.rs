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
use crate::block::Block;
use crate::chunk::{CHUNK_ORDER, CHUNK_PAGES, Chunk, offset_of_pair};
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
    pub(crate) block: Block,
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
        if range.end > PAGE_LIMIT || pages >> ORDERS != 0 {
            return Err(NewError::TooLarge { region: range, limit: PAGE_LIMIT });
        }
        let first_chunk = range.start >> CHUNK_ORDER;
        let chunks = range.end.div_ceil(CHUNK_PAGES) - first_chunk;
        let mut region = Self {
            first_chunk,
            states: zeroed(chunks, INSIDE).ok_or(NewError::OutOfMemory)?,
            chunks: zeroed(chunks, Chunk::USED).ok_or(NewError::OutOfMemory)?,
            free: FreeIndex::new(&range, pages.ilog2()).ok_or(NewError::OutOfMemory)?,
            free_pages: pages,
            range,
        };
        for block in Block::cut(region.range.clone()) {
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
        (self.states.len() + self.chunks.len() * size_of::<Chunk>()) as u64 + self.free.bytes()
    }

    fn chunk_index(&self, page: u64) -> usize {
        index((page >> CHUNK_ORDER) - self.first_chunk)
    }

    /// Writes the block over what its pages held.
    fn write(&mut self, block: Block, used: bool) {
        let chunk = self.chunk_index(block.page);
        if block.order < CHUNK_ORDER {
            self.states[chunk] = CUT;
            self.chunks[chunk].write(offset(block.page), block.order, used);
        } else {
            self.states[chunk] = state(if used { USED } else { FREE }, block.order);
        }
    }

    /// The free block to serve an order from: of the smallest order that suffices, the least aligned, then the lowest.
    pub(crate) fn find(&self, order: u32) -> Option<Block> {
        let orders = self.free.orders().checked_shr(order).filter(|&orders| orders != 0)?;
        let order = order + orders.trailing_zeros();
        Some(self.first(order, self.free.aligns(order).trailing_zeros()))
    }

    /// The lowest free block of a class known not to be empty.
    pub(crate) fn first(&self, order: u32, align: u32) -> Block {
        let mut page = self.free.first(order, align);
        if align < CHUNK_ORDER {
            let pairs = self.chunks[self.chunk_index(page)].free_pairs(order, align);
            page += offset_of_pair(pairs.trailing_zeros(), align);
        }
        Block { page, order }
    }

    /// All free blocks of a class, in address order. O(blocks, plus a little per chunk that has one).
    pub(crate) fn blocks_of_class(&self, order: u32, align: u32) -> impl Iterator<Item = Block> {
        self.free.marks(order, align).flat_map(move |page| {
            let mut pairs = match align {
                _ if align < CHUNK_ORDER => self.chunks[self.chunk_index(page)].free_pairs(order, align),
                _ => 1,
            };
            core::iter::from_fn(move || {
                let pair = (pairs != 0).then(|| pairs.trailing_zeros())?;
                pairs &= pairs - 1;
                let page = if align < CHUNK_ORDER { page + offset_of_pair(pair, align) } else { page };
                Some(Block { page, order })
            })
        })
    }

    /// Cuts the block `wanted` out of the free block `from`, which holds it, and marks it used.
    pub(crate) fn carve(&mut self, from: Block, wanted: Block) {
        let mut start = from.page;
        for order in (wanted.order..from.order).rev() {
            let half = start + (1 << order);
            let rest = if wanted.page < half { half } else { core::mem::replace(&mut start, half) };
            self.write(Block { page: rest, order }, false);
            self.free.insert(rest, order);
        }
        self.write(wanted, true);
        self.unlink(from);
        self.free_pages -= wanted.pages();
    }

    /// Takes a block out of the index after the chunk has been rewritten.
    fn unlink(&mut self, block: Block) {
        let align = self.free.align_of(block.page);
        let shared = align < CHUNK_ORDER && {
            let chunk = self.chunk_index(block.page);
            self.states[chunk] == CUT && self.chunks[chunk].free_pairs(block.order, align) != 0
        };
        self.free.remove(block.page, block.order, shared);
    }

    /// Tells whether exactly this block exists and is used.
    pub(crate) fn is_used(&self, block: Block) -> bool {
        if block.page < self.range.start || block.page >= self.range.end {
            return false;
        }
        self.is(block, true)
    }

    fn is(&self, block: Block, used: bool) -> bool {
        let chunk = self.chunk_index(block.page);
        if block.order < CHUNK_ORDER {
            self.states[chunk] == CUT
                && block.page.is_multiple_of(block.pages())
                && self.chunks[chunk].is(offset(block.page), block.order, used)
        } else {
            block.order < 64
                && block.page.is_multiple_of(block.pages())
                && self.states[chunk] == state(if used { USED } else { FREE }, block.order)
        }
    }

    /// Frees a used block and merges it with its buddies as far as they are free.
    pub(crate) fn release(&mut self, block: Block) {
        self.free_pages += block.pages();
        let merged = self.merge_in_chunk(block);
        let whole = self.merge_chunks(merged);
        self.write(whole, false);
        for order in block.order..merged.order {
            self.unlink(Block { page: ((block.page >> order) ^ 1) << order, order });
        }
        self.free.insert(whole.page, whole.order);
    }

    /// The block that results within the chunk; nothing is changed yet.
    fn merge_in_chunk(&self, mut block: Block) -> Block {
        let chunk = self.chunks[self.chunk_index(block.page)];
        while block.order < CHUNK_ORDER && chunk.is(offset(block.page ^ block.pages()), block.order, false) {
            block = Block { page: block.page & !block.pages(), order: block.order + 1 };
        }
        block
    }

    /// Merges blocks of whole chunks; the starts of the right halves are unmarked.
    fn merge_chunks(&mut self, mut block: Block) -> Block {
        while block.order >= CHUNK_ORDER {
            let buddy = block.page ^ block.pages();
            let Some(at) = (buddy >> CHUNK_ORDER).checked_sub(self.first_chunk).map(index) else { break };
            if self.states.get(at) != Some(&state(FREE, block.order)) {
                break;
            }
            self.free.remove(buddy, block.order, false);
            let right = self.chunk_index(block.page | block.pages());
            self.states[right] = INSIDE;
            block = Block { page: block.page & !block.pages(), order: block.order + 1 };
        }
        block
    }

    /// Finds the block that holds a page of the region.
    pub(crate) fn block_at(&self, page: u64) -> Found {
        let chunk = self.chunk_index(page);
        if self.states[chunk] == CUT {
            let (start, order, used) = self.chunks[chunk].block_at(offset(page));
            let page = page - page % CHUNK_PAGES + u64::from(start);
            return Found { block: Block { page, order }, used };
        }
        let mut order = CHUNK_ORDER;
        loop {
            let start = page >> order << order;
            let state = self.states[self.chunk_index(start)];
            if state != INSIDE {
                let block = Block { page: start, order: u32::from(state & !(FREE | USED)) };
                return Found { block, used: state & USED != 0 };
            }
            order += 1;
        }
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
