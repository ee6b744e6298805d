//! A block: a naturally aligned power of two of pages.

use core::ops::Range;

/// A naturally aligned block of `2^order` pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuddyBlock {
    /// First page; a multiple of `2^order`.
    pub page: u64,
    /// Binary logarithm of the number of pages.
    pub order: u32,
}

impl BuddyBlock {
    /// Number of pages. O(1).
    #[must_use]
    pub const fn pages(self) -> u64 {
        1 << self.order
    }

    /// The page behind the last one. O(1).
    #[must_use]
    pub const fn end(self) -> u64 {
        self.page + self.pages()
    }

    /// The pages of the block. O(1).
    #[must_use]
    pub const fn range(self) -> Range<u64> {
        self.page..self.end()
    }

    /// Cuts a range of pages into the fewest naturally aligned blocks, in address order. O(log pages) blocks.
    pub fn cut(range: Range<u64>) -> impl Iterator<Item = BuddyBlock> {
        let mut at = range.start;
        core::iter::from_fn(move || {
            let left = range.end.checked_sub(at).filter(|&left| left > 0)?;
            let block = BuddyBlock { page: at, order: at.trailing_zeros().min(left.ilog2()) };
            at = block.end();
            Some(block)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn cut_covers_the_range_with_aligned_blocks() {
        let blocks: Vec<(u64, u32)> = BuddyBlock::cut(3..21).map(|b| (b.page, b.order)).collect();
        assert_eq!(blocks, [(3, 0), (4, 2), (8, 3), (16, 2), (20, 0)]);
        assert_eq!(BuddyBlock::cut(5..5).count(), 0);
        assert_eq!(BuddyBlock::cut(0..1 << 38).count(), 1);
    }
}
