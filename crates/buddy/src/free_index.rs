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

/// One class: the positions of its alignment, and which of them hold a free block of its order.
#[derive(Clone, Debug)]
struct Class {
    tree: BitTree,
    /// Cell number of the region's first position.
    base: u64,
    /// A position shifted right by this is a cell number.
    shift: u8,
    /// The bit below those, the same in all positions; it is 1 where positions are odd multiples of the alignment.
    odd: u8,
}

impl Class {
    fn cell(&self, page: u64) -> u64 {
        (page >> self.shift) - self.base
    }

    fn page(&self, cell: u64) -> u64 {
        (cell + self.base) << self.shift | u64::from(self.odd) << self.shift >> 1
    }
}

/// Free blocks of one region, by order and alignment.
#[derive(Clone, Debug)]
pub(crate) struct FreeIndex {
    words: Vec<u64>,
    /// By alignment, then by order; see [`slot`].
    classes: Vec<Class>,
    /// Blocks aligned to this order or more share the last class.
    top: u32,
    /// Orders of which a free block exists.
    orders: u64,
    /// Alignments of which a free block exists, by order.
    aligns: [u64; ORDERS],
    counts: [u64; ORDERS],
}

/// The place of a class.
const fn slot(order: u32, align: u32) -> usize {
    (align * (align + 1) / 2 + order) as usize
}

impl FreeIndex {
    /// An empty index for the pages of `range`, whose longest block is of order `max_order`; `None` if memory is short.
    pub(crate) fn new(range: &Range<u64>, max_order: u32) -> Option<Self> {
        let top = CHUNK_ORDER.max(max_order + 1);
        let (mut classes, mut used) = (Vec::new(), 0);
        classes.try_reserve_exact(slot(0, top + 1)).ok()?;
        for align in 0..=top {
            let odd = u8::from((CHUNK_ORDER..top).contains(&align));
            let shift = u8::try_from(align.max(CHUNK_ORDER)).ok()? + odd;
            let base = range.start >> shift;
            for _ in 0..=align {
                let (tree, end) = BitTree::lay_out(((range.end - 1) >> shift) - base + 1, used)?;
                classes.push(Class { tree, base, shift, odd });
                used = end;
            }
        }
        let words = zeroed(used, 0)?;
        Some(Self { words, classes, top, orders: 0, aligns: [0; ORDERS], counts: [0; ORDERS] })
    }

    /// The class of alignments that a page belongs to.
    pub(crate) fn align_of(&self, page: u64) -> u32 {
        page.trailing_zeros().min(self.top)
    }

    /// Counts one free block more of the order, and marks its position (or its chunk).
    #[inline(always)]
    pub(crate) fn insert(&mut self, page: u64, order: u32) {
        let align = self.align_of(page);
        self.counts[order as usize] += 1;
        let class = &self.classes[slot(order, align)];
        if class.tree.insert(&mut self.words, class.cell(page)) {
            self.aligns[order as usize] |= 1 << align;
            self.orders |= 1 << order;
        }
    }

    /// Counts and marks one free block of each of these orders, all below a chunk's and all in the chunk of `page`, each
    /// aligned to its own order and no more: what remains of a block whose beginning is taken.
    #[inline(always)]
    pub(crate) fn insert_halves(&mut self, page: u64, orders: Range<u32>) {
        let chunk = (page >> CHUNK_ORDER) - self.classes[0].base;
        for order in orders {
            self.counts[order as usize] += 1;
            if self.classes[slot(order, order)].tree.insert(&mut self.words, chunk) {
                self.aligns[order as usize] |= 1 << order;
                self.orders |= 1 << order;
            }
        }
    }

    /// Counts one free block less of the order, and unmarks its position unless another one shares the mark.
    #[inline(always)]
    pub(crate) fn remove(&mut self, page: u64, order: u32, shared: bool) {
        self.counts[order as usize] -= 1;
        if shared {
            return;
        }
        let align = self.align_of(page);
        let class = &self.classes[slot(order, align)];
        if class.tree.remove(&mut self.words, class.cell(page)) {
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
        let class = &self.classes[slot(order, align)];
        class.page(class.tree.first(&self.words))
    }

    /// The first marked position of a class at or behind `page`; for alignments below a chunk's, the first page of the
    /// first marked chunk that ends behind `page`.
    pub(crate) fn next(&self, order: u32, align: u32, page: u64) -> Option<u64> {
        let class = &self.classes[slot(order, align)];
        let mut cell = (page >> class.shift).saturating_sub(class.base);
        if align >= CHUNK_ORDER && class.page(cell) < page {
            cell += 1;
        }
        class.tree.next(&self.words, cell).map(|found| class.page(found))
    }

    /// The last marked position of a class at or before `page`; for alignments below a chunk's, the first page of the
    /// last marked chunk that begins at or before `page`.
    pub(crate) fn previous(&self, order: u32, align: u32, page: u64) -> Option<u64> {
        let class = &self.classes[slot(order, align)];
        let mut cell = (page >> class.shift).checked_sub(class.base)?;
        if class.page(cell) > page {
            cell = cell.checked_sub(1)?;
        }
        class.tree.previous(&self.words, cell).map(|found| class.page(found))
    }

    /// The alignment of the last class, which stands for all higher ones.
    pub(crate) fn top(&self) -> u32 {
        self.top
    }

    /// All marked positions of a class in address order.
    pub(crate) fn marks(&self, order: u32, align: u32) -> impl Iterator<Item = u64> {
        let class = &self.classes[slot(order, align)];
        let mut cell = 0;
        core::iter::from_fn(move || {
            let found = class.tree.next(&self.words, cell)?;
            cell = found + 1;
            Some(class.page(found))
        })
    }

    /// Tells whether the position (or its chunk) is marked.
    pub(crate) fn is_marked(&self, page: u64, order: u32) -> bool {
        let class = &self.classes[slot(order, self.align_of(page))];
        class.tree.contains(&self.words, class.cell(page))
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        (self.words.len() * 8 + self.classes.len() * size_of::<Class>()) as u64
    }
}
