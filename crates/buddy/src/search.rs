//! Where to cut: the search for free pages in one region.
//!
//! Every search looks up classes of the index; none walks over blocks, except the last resort for runs of pages
//! that no single block can give ([`Region::find_run`]).

use crate::block::BuddyBlock;
use crate::region::Region;
use core::ops::Range;

/// A free block and the part of it to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) from: BuddyBlock,
    pub(crate) pages: Range<u64>,
}

/// What the pages must be like: how many, and where.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Number of consecutive pages.
    pub(crate) pages: u64,
    /// The first page is a multiple of `2^align_order`.
    pub(crate) align_order: u32,
    /// The pages lie within.
    pub(crate) within: Range<u64>,
    /// Take the highest rather than the lowest.
    pub(crate) top_down: bool,
}

impl Wanted {
    /// A block of the order anywhere.
    pub(crate) fn block(order: u32, align_order: u32) -> Self {
        Self { pages: 1 << order, align_order: align_order.max(order), within: 0..u64::MAX, top_down: false }
    }

    /// Tells whether any place will do.
    pub(crate) fn is_plain(&self) -> bool {
        !self.top_down && self.within == (0..u64::MAX) && 1 << self.align_order.min(63) <= self.pages
    }

    /// The place within `free` that suits best.
    pub(crate) fn place(&self, free: &Range<u64>) -> Option<Range<u64>> {
        let (low, high) = (free.start.max(self.within.start), free.end.min(self.within.end));
        let align = 1u64.checked_shl(self.align_order)?;
        let start = if self.top_down {
            high.checked_sub(self.pages)? & !(align - 1)
        } else {
            low.checked_next_multiple_of(align)?
        };
        (start >= low && start.checked_add(self.pages)? <= high).then_some(start..start + self.pages)
    }
}

/// Orders or alignments in a bit set, ascending.
fn bits(set: u64) -> impl Iterator<Item = u32> {
    let mut rest = set;
    core::iter::from_fn(move || {
        let bit = (rest != 0).then(|| rest.trailing_zeros())?;
        rest &= rest - 1;
        Some(bit)
    })
}

impl Region {
    /// The free block to serve an order from: of the smallest order that suffices, the least aligned, then the lowest.
    pub(crate) fn find(&self, order: u32) -> Option<BuddyBlock> {
        let orders = self.free().orders().checked_shr(order).filter(|&orders| orders != 0)?;
        let order = order + orders.trailing_zeros();
        Some(self.first(order, self.free().aligns(order).trailing_zeros()))
    }

    /// A cut for a block on an alignment above its own size, from the smallest free block that has such a place.
    pub(crate) fn find_aligned(&self, order: u32, align_order: u32) -> Option<BuddyBlock> {
        if align_order <= order {
            return self.find(order);
        }
        let above = align_order.min(63);
        bits(self.free().orders() & u64::MAX.checked_shl(order)?).find_map(|order| {
            let aligns = self.free().aligns(order);
            if order >= align_order {
                return Some(self.first(order, aligns.trailing_zeros()));
            }
            let fits = aligns & (u64::MAX << above.min(self.free().top()));
            let found = self.first(order, fits.checked_ilog2().map(|_| fits.trailing_zeros())?);
            (found.page.trailing_zeros() >= above).then_some(found)
        })
    }

    /// A cut of one free block: from the smallest order that has a suitable block, the lowest place; or, top-down, the
    /// highest place of all.
    pub(crate) fn find_within(&self, wanted: &Wanted) -> Option<Cut> {
        let range = self.range();
        let (low, high) = (wanted.within.start.max(range.start), wanted.within.end.min(range.end));
        if low >= high {
            return None;
        }
        let smallest = wanted.pages.checked_next_power_of_two()?.ilog2();
        let orders = bits(self.free().orders() & u64::MAX.checked_shl(smallest)?);
        let cuts = orders.filter_map(|order| self.best_of_order(wanted, order, low, high));
        if wanted.top_down { cuts.max_by_key(|cut| cut.pages.start) } else { { cuts }.next() }
    }

    fn best_of_order(&self, wanted: &Wanted, order: u32, low: u64, high: u64) -> Option<Cut> {
        let edges = [low, high - 1].into_iter().filter_map(|page| {
            let found = self.block_at(page);
            (!found.used && found.block.order == order).then_some(found.block)
        });
        // A block no longer than the alignment fits only if it starts aligned.
        let lowest_align =
            if order < wanted.align_order { wanted.align_order.min(self.free().top()) } else { 0 };
        let aligns = self.free().aligns(order) & (u64::MAX << lowest_align);
        let inside = bits(aligns).filter_map(|align| {
            if wanted.top_down {
                self.previous_of_class(order, align, high.checked_sub(1 << order)?)
            } else {
                self.next_of_class(order, align, low)
            }
        });
        let cuts =
            edges.chain(inside).filter_map(|from| Some(Cut { from, pages: wanted.place(&from.range())? }));
        if wanted.top_down {
            cuts.max_by_key(|cut| cut.pages.start)
        } else {
            cuts.min_by_key(|cut| cut.pages.start)
        }
    }

    /// A run of pages that spans several free blocks. O(free blocks of at least a quarter of the run).
    pub(crate) fn find_run(&self, wanted: &Wanted) -> Option<Range<u64>> {
        // Of the free blocks that make up a run, one is at least of this order.
        let smallest = (wanted.pages + 1).ilog2().saturating_sub(1);
        let orders = bits(self.free().orders() & u64::MAX.checked_shl(smallest)?);
        let blocks = orders.flat_map(|order| {
            bits(self.free().aligns(order)).flat_map(move |align| self.blocks_of_class(order, align))
        });
        { blocks }.find_map(|block| wanted.place(&self.run_around(block)))
    }

    /// The free pages around a free block, without a gap.
    pub(crate) fn run_around(&self, block: BuddyBlock) -> Range<u64> {
        let mut run = block.range();
        while run.start > self.range().start {
            let before = self.block_at(run.start - 1);
            if before.used {
                break;
            }
            run.start = before.block.page;
        }
        while run.end < self.range().end {
            let behind = self.block_at(run.end);
            if behind.used {
                break;
            }
            run.end = behind.block.end();
        }
        run
    }
}
