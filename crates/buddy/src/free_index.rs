//! The index of free blocks: for every order, and within it for every alignment, a hierarchical bitmap.
//!
//! A free block belongs to the class of its order and of its alignment (trailing zero bits of its first page). A
//! request for a small block on a large alignment so finds a suitable small block at once if there is one, and
//! cuts a larger one only if there is none. Splitting the bitmap of an order by alignment costs no bits: each
//! possible position is in exactly one class.
//!
//! Classes of alignment below a chunk's have one bit per chunk ("this chunk has such a block"); the chunk itself
//! says where. Above, each bit is one position.

use crate::bit_tree::{BitTree, zeroed};
use crate::chunk::CHUNK_ORDER;
use alloc::vec::Vec;
use core::ops::Range;

/// The highest order: a region has fewer than 2^39 pages (2 PiB of 4 KiB pages).
pub const MAX_ORDER: u32 = 38;
/// Number of orders.
pub(crate) const ORDERS: usize = MAX_ORDER as usize + 1;

/// Free blocks of one region, by order and alignment.
#[derive(Clone, Debug)]
pub(crate) struct FreeIndex {
    words: Vec<u64>,
    classes: Vec<BitTree>,
    /// Cell number of the region's first position, by alignment.
    bases: Vec<u64>,
    /// Blocks aligned to this order or more share the last class.
    top: u32,
    /// Orders of which a free block exists.
    orders: u64,
    /// Alignments of which a free block exists, by order.
    aligns: [u64; ORDERS],
    counts: [u64; ORDERS],
}

impl FreeIndex {
    /// An empty index for the pages of `range`, whose longest block is of order `max_order`; `None` if memory is short.
    pub(crate) fn new(range: &Range<u64>, max_order: u32) -> Option<Self> {
        let top = CHUNK_ORDER.max(max_order + 1);
        let (mut classes, mut bases, mut used) = (Vec::new(), Vec::new(), 0);
        bases.try_reserve_exact(top as usize + 1).ok()?;
        classes.try_reserve_exact((top as usize + 1) * (top as usize + 2) / 2).ok()?;
        for align in 0..=top {
            let base = cell_of(range.start, align, top);
            let cells = cell_of(range.end - 1, align, top) - base + 1;
            bases.push(base);
            for _ in 0..=align {
                let (tree, end) = BitTree::lay_out(cells, used)?;
                classes.push(tree);
                used = end;
            }
        }
        let words = zeroed(used, 0)?;
        Some(Self { words, classes, bases, top, orders: 0, aligns: [0; ORDERS], counts: [0; ORDERS] })
    }

    /// The class of alignments that a page belongs to.
    pub(crate) fn align_of(&self, page: u64) -> u32 {
        page.trailing_zeros().min(self.top)
    }

    fn class(&self, order: u32, align: u32) -> &BitTree {
        &self.classes[(align * (align + 1) / 2 + order) as usize]
    }

    fn cell(&self, page: u64, align: u32) -> u64 {
        cell_of(page, align, self.top) - self.bases[align as usize]
    }

    /// Counts one free block more of the order, and marks its position.
    pub(crate) fn insert(&mut self, page: u64, order: u32) {
        self.counts[order as usize] += 1;
        self.mark(page, order);
    }

    /// Marks the position (or its chunk) as holding a free block.
    fn mark(&mut self, page: u64, order: u32) {
        let align = self.align_of(page);
        let cell = self.cell(page, align);
        let tree = &self.classes[(align * (align + 1) / 2 + order) as usize];
        if tree.insert(&mut self.words, cell) {
            self.aligns[order as usize] |= 1 << align;
            self.orders |= 1 << order;
        }
    }

    /// Counts one free block less of the order, and unmarks its position unless another one shares the mark.
    pub(crate) fn remove(&mut self, page: u64, order: u32, shared: bool) {
        self.counts[order as usize] -= 1;
        if shared {
            return;
        }
        let align = self.align_of(page);
        let cell = self.cell(page, align);
        let tree = &self.classes[(align * (align + 1) / 2 + order) as usize];
        if tree.remove(&mut self.words, cell) {
            self.aligns[order as usize] &= !(1 << align);
            if self.aligns[order as usize] == 0 {
                self.orders &= !(1 << order);
            }
        }
    }

    /// Orders of which a free block exists, as a bit set.
    pub(crate) fn orders(&self) -> u64 {
        self.orders
    }

    /// Alignments of which a free block of this order exists, as a bit set; the highest may mean "or more".
    pub(crate) fn aligns(&self, order: u32) -> u64 {
        self.aligns[order as usize]
    }

    /// Number of free blocks of each order.
    pub(crate) fn counts(&self) -> &[u64; ORDERS] {
        &self.counts
    }

    /// The lowest marked position of a class known not to be empty; a chunk's first page if `align` is below a chunk's.
    pub(crate) fn first(&self, order: u32, align: u32) -> u64 {
        self.page(self.class(order, align).first(&self.words), align)
    }

    fn page(&self, cell: u64, align: u32) -> u64 {
        let number = cell + self.bases[align as usize];
        match align {
            _ if align < CHUNK_ORDER => number << CHUNK_ORDER,
            _ if align < self.top => number << (align + 1) | 1 << align,
            _ => number << self.top,
        }
    }

    /// The first marked position of a class at or behind `page`; for alignments below a chunk's, the first page of the
    /// first marked chunk that ends behind `page`.
    pub(crate) fn next(&self, order: u32, align: u32, page: u64) -> Option<u64> {
        let base = self.bases[align as usize];
        let mut cell = cell_of(page, align, self.top).saturating_sub(base);
        if align >= CHUNK_ORDER && self.page(cell, align) < page {
            cell += 1;
        }
        let found = self.class(order, align).next(&self.words, cell)?;
        Some(self.page(found, align))
    }

    /// The last marked position of a class at or before `page`; for alignments below a chunk's, the first page of the
    /// last marked chunk that begins at or before `page`.
    pub(crate) fn previous(&self, order: u32, align: u32, page: u64) -> Option<u64> {
        let mut cell = cell_of(page, align, self.top).checked_sub(self.bases[align as usize])?;
        if self.page(cell, align) > page {
            cell = cell.checked_sub(1)?;
        }
        let found = self.class(order, align).previous(&self.words, cell)?;
        Some(self.page(found, align))
    }

    /// The alignment of the last class, which stands for all higher ones.
    pub(crate) fn top(&self) -> u32 {
        self.top
    }

    /// All marked positions of a class in address order.
    pub(crate) fn marks(&self, order: u32, align: u32) -> impl Iterator<Item = u64> {
        let mut cell = 0;
        core::iter::from_fn(move || {
            let found = self.class(order, align).next(&self.words, cell)?;
            cell = found + 1;
            Some(self.page(found, align))
        })
    }

    /// Tells whether the position (or its chunk) is marked.
    pub(crate) fn is_marked(&self, page: u64, order: u32) -> bool {
        let align = self.align_of(page);
        self.class(order, align).contains(&self.words, self.cell(page, align))
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        let classes = self.classes.len() * size_of::<BitTree>() + self.bases.len() * 8;
        (self.words.len() * 8 + classes) as u64
    }
}

/// Number of the position among those of its alignment, or of its chunk for alignments below a chunk's.
fn cell_of(page: u64, align: u32, top: u32) -> u64 {
    match align {
        _ if align < CHUNK_ORDER => page >> CHUNK_ORDER,
        _ if align < top => page >> (align + 1),
        _ => page >> top,
    }
}
