//! A chunk: how 128 consecutive pages are cut into blocks of order 0..=6, in 192 bits.
//!
//! Pages are kept in 64 pairs, one bit of each of three words per pair. Two free halves of a pair always merge,
//! which leaves six states and lets three bits hold what four would otherwise be needed for:
//!
//! ```text
//!   split left right
//!     0     0    0    inside a block that starts at an earlier pair
//!     0     1    0    a free block of order >= 1 starts here
//!     0     1    1    a used block of order >= 1 starts here
//!     1     0    1    left page free, right page used
//!     1     1    0    left page used, right page free
//!     1     1    1    both pages used
//! ```
//!
//! The order of a block is not stored: a block of order `k` starts at pair `i` exactly when a block starts at `i`,
//! none at its middle (else it would be split further) and one right behind it (else it would be longer).

/// Order of a whole chunk.
pub(crate) const CHUNK_ORDER: u32 = 7;
/// Pages of a chunk.
pub(crate) const CHUNK_PAGES: u64 = 1 << CHUNK_ORDER;

/// Pairs whose first page is aligned to order `n + 1` and no more; the last entry is the pair at the chunk's start.
const PAIRS_BY_ALIGNMENT: [u64; 7] = [
    0xAAAA_AAAA_AAAA_AAAA,
    0x4444_4444_4444_4444,
    0x1010_1010_1010_1010,
    0x0100_0100_0100_0100,
    0x0001_0000_0001_0000,
    0x0000_0001_0000_0000,
    0x0000_0000_0000_0001,
];

/// For each order: the pairs at which the right halves start when the beginning of a block of that order is cut down
/// to a pair.
const HALVES: [u64; 8] = [0, 0, 0x2, 0x6, 0x16, 0x116, 0x1_0116, 0x1_0001_0116];

/// The cut of 128 pages into blocks; offsets are pages from the chunk's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    split: u64,
    left: u64,
    right: u64,
}

impl Chunk {
    /// A chunk of 128 used pages.
    pub(crate) const USED: Self = Self { split: !0, left: !0, right: !0 };

    /// A chunk that is one free block: as [`Chunk::carve`] takes it, not to be kept.
    pub(crate) const FREE: Self = Self { split: 0, left: 1, right: 0 };

    /// A chunk of used blocks of one order.
    pub(crate) fn uniform(order: u32) -> Self {
        if order == 0 {
            return Self::USED;
        }
        let starts = PAIRS_BY_ALIGNMENT[order as usize - 1..].iter().fold(0, |starts, pairs| starts | pairs);
        Self { split: 0, left: starts, right: starts }
    }

    /// Pairs at which a block starts.
    fn starts(self) -> u64 {
        self.left | self.split
    }

    /// Writes the block over whatever its pages held. A page (order 0) keeps its neighbour's state, which the caller
    /// must write too when the pair was not split before.
    pub(crate) fn write(&mut self, offset: u32, order: u32, used: bool) {
        let bit = 1u64 << (offset / 2);
        if order == 0 {
            self.split |= bit;
            let side = if offset.is_multiple_of(2) { &mut self.left } else { &mut self.right };
            *side = *side & !bit | if used { bit } else { 0 };
            return;
        }
        let pairs = ((1u64 << (1 << (order - 1))) - 1) << (offset / 2);
        self.split &= !pairs;
        self.left = self.left & !pairs | bit;
        self.right = self.right & !pairs | if used { bit } else { 0 };
    }

    /// Cuts `wanted` (its offset and order) out of a free block and marks it used; the rest is free.
    pub(crate) fn carve(&mut self, from: (u32, u32), wanted: (u32, u32)) {
        let (mut start, (page, order)) = (from.0, wanted);
        if page == start {
            self.left |= (HALVES[from.1 as usize] ^ HALVES[order.max(1) as usize]) << (start / 2);
        } else {
            for order in (order.max(1)..from.1).rev() {
                let half = start + (1 << order);
                self.left |= 1 << (half / 2);
                start = if page < half { start } else { half };
            }
        }
        let bit = 1u64 << (page / 2);
        if order > 0 {
            self.right |= bit;
        } else if self.split & bit != 0 {
            self.left |= bit;
            self.right |= bit;
        } else if page.is_multiple_of(2) {
            self.split |= bit;
        } else {
            self.split |= bit;
            self.left &= !bit;
            self.right |= bit;
        }
    }

    /// Frees a used block, merges it with its free buddies, and returns the order that results; that of a chunk means
    /// that the whole chunk is free.
    pub(crate) fn release(&mut self, offset: u32, order: u32) -> u32 {
        let (mut pair, mut order) = (offset / 2, order);
        let bit = 1u64 << pair;
        if order == 0 {
            let side = if offset.is_multiple_of(2) { &mut self.left } else { &mut self.right };
            *side &= !bit;
            if (self.left | self.right) & bit != 0 {
                return 0;
            }
            self.split &= !bit;
            self.left |= bit;
            order = 1;
        }
        self.right &= !bit;
        while order < CHUNK_ORDER {
            let width = 1u32 << (order - 1);
            let buddy = pair ^ width;
            let free = self.left & !self.split & !self.right;
            // The buddy is no longer than this block, else it would hold it.
            if free >> buddy & 1 == 0 || self.starts_at_middle(buddy, width) {
                break;
            }
            self.left &= !(1 << (pair | width));
            pair &= !width;
            order += 1;
        }
        order
    }

    fn starts_at_middle(self, pair: u32, width: u32) -> bool {
        width > 1 && self.starts() >> (pair + width / 2) & 1 == 1
    }

    /// Tells whether exactly this block, of an order below a chunk's, exists and is in the given state.
    ///
    /// Written without branches: the order of a block being freed is anything but predictable.
    pub(crate) fn is(self, offset: u32, order: u32, used: bool) -> bool {
        let (pair, width) = (offset / 2, (1u32 << order) >> 1);
        let bit = |word: u64, at: u32| word.wrapping_shr(at) & 1;
        let (split, left, right) = (bit(self.split, pair), bit(self.left, pair), bit(self.right, pair));
        let (starts, used) = (self.starts(), u64::from(used));
        let side = if offset.is_multiple_of(2) { left } else { right };
        let is_page = split & (side ^ used ^ 1);
        let at_middle = bit(starts, pair + width / 2) & u64::from(width > 1);
        // Behind the last pair the shift wraps to the first one, where a block always starts.
        let behind = bit(starts, pair + width);
        let is_whole = (split ^ 1) & left & (right ^ used ^ 1) & (at_middle ^ 1) & behind;
        let zero = u64::from(order == 0);
        (zero & is_page) | ((zero ^ 1) & is_whole) == 1
    }

    fn starts_behind(self, pair: u32, width: u32) -> bool {
        pair + width >= 64 || self.starts() >> (pair + width) & 1 == 1
    }

    /// Finds the block that holds the page: its offset, its order, and whether it is used.
    pub(crate) fn block_at(self, offset: u32) -> (u32, u32, bool) {
        let pair = offset / 2;
        if self.split >> pair & 1 == 1 {
            let side = if offset.is_multiple_of(2) { self.left } else { self.right };
            return (offset, 0, side >> pair & 1 == 1);
        }
        let starts = self.starts();
        let start = (0..6).map(|m| pair >> m << m).find(|&at| starts >> at & 1 == 1).unwrap_or(0);
        let order = (1..6).find(|&order| self.starts_behind(start, 1 << (order - 1))).unwrap_or(6);
        (start * 2, order, self.right >> start & 1 == 1)
    }

    /// The pairs at which free blocks of `order` start whose alignment is `align` (7 stands for the chunk's start).
    /// For order 0 these are the pairs that hold the free page: the right one if `align` is 0.
    pub(crate) fn free_pairs(self, order: u32, align: u32) -> u64 {
        if align == 0 {
            return self.split & self.left & !self.right;
        }
        let aligned = PAIRS_BY_ALIGNMENT[align as usize - 1];
        if order == 0 {
            return self.split & !self.left & aligned;
        }
        let (starts, width) = (self.starts(), 1u32 << (order - 1));
        let free = self.left & !self.split & !self.right & aligned;
        let behind = starts >> width | !(u64::MAX >> width);
        let middle = if width > 1 { starts >> (width / 2) } else { 0 };
        free & behind & !middle
    }
}

/// The page offset of the block that [`Chunk::free_pairs`] shows at `pair`.
pub(crate) fn offset_of_pair(pair: u32, align: u32) -> u64 {
    u64::from(pair * 2 + u32::from(align == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Cuts a chunk by the bits of `seed` and returns the blocks next to it; never two free buddies.
    fn cut(seed: &mut u64, offset: u32, order: u32, out: &mut Vec<(u32, u32, bool)>) {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = *seed >> 60;
        if order == 7 || (order > 0 && dice < 10) {
            let from = out.len();
            cut(seed, offset, order - 1, out);
            cut(seed, offset + (1 << (order - 1)), order - 1, out);
            if out.len() == from + 2 && !out[from].2 && !out[from + 1].2 {
                out[from].2 = true;
            }
        } else {
            out.push((offset, order, dice.is_multiple_of(2)));
        }
    }

    #[test]
    fn three_words_hold_every_cut_of_a_chunk() {
        let mut seed = 1;
        for _ in 0..2000 {
            let (mut chunk, mut blocks) = (Chunk::USED, Vec::new());
            cut(&mut seed, 0, 7, &mut blocks);
            for &(offset, order, used) in &blocks {
                chunk.write(offset, order, used);
            }
            for &(offset, order, used) in &blocks {
                for page in offset..offset + (1 << order) {
                    assert_eq!(chunk.block_at(page), (offset, order, used), "{chunk:x?}");
                }
                for other in 0..7 {
                    let aligned = offset.is_multiple_of(1 << other);
                    assert_eq!(aligned && chunk.is(offset, other, used), other == order, "{chunk:x?}");
                    assert!(!(aligned && chunk.is(offset, other, !used)));
                }
            }
            for order in 0..7 {
                for align in order..8 {
                    let expected: Vec<u64> = blocks
                        .iter()
                        .filter(|b| !b.2 && b.1 == order && b.0.trailing_zeros().min(7) == align)
                        .map(|b| u64::from(b.0))
                        .collect();
                    let mut pairs = chunk.free_pairs(order, align);
                    let mut found = Vec::new();
                    while pairs != 0 {
                        found.push(offset_of_pair(pairs.trailing_zeros(), align));
                        pairs &= pairs - 1;
                    }
                    assert_eq!(found, expected);
                }
            }
        }
    }
}
