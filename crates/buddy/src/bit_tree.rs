//! A hierarchical bitmap: a set of cell numbers with first, last, next and previous in a few loads.
//!
//! Level 0 has one bit per cell; each bit of a higher level says that a word of the level below is not zero; the
//! top level is one word. Many trees share one vector of words: a [`BitTree`] holds only where its levels begin.
//!
//! ```text
//!   level 2   [.......x]                                  one word
//!   level 1   [x..x....] [........] ... [..x.....]        one bit per word below
//!   level 0   [cells 0..64] [64..128] ...                 one bit per cell
//! ```

use alloc::vec::Vec;

/// Levels of the deepest tree: 64^6 cells.
const MAX_LEVELS: usize = 6;

/// The place of one set within a shared vector of words.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitTree {
    /// First word of each level.
    levels: [u32; MAX_LEVELS],
    depth: u8,
}

/// Narrows a cell or word number, which is bounded by the length of a vector.
#[expect(clippy::cast_possible_truncation, reason = "numbers of words in memory fit usize")]
pub(crate) fn index(number: u64) -> usize {
    number as usize
}

impl BitTree {
    /// Lays out a tree for `cells` cells behind the first `used` words, and returns how many words are then used.
    /// `None` if words can no longer be numbered.
    pub(crate) fn lay_out(cells: u64, used: u64) -> Option<(Self, u64)> {
        let (mut tree, mut end, mut bits) = (Self::default(), used, cells);
        loop {
            let words = bits.div_ceil(64).max(1);
            *tree.levels.get_mut(tree.depth as usize)? = u32::try_from(end).ok()?;
            tree.depth += 1;
            end += words;
            bits = words;
            if words == 1 {
                return Some((tree, end));
            }
        }
    }

    fn at(&self, level: u32, word: u64) -> usize {
        self.levels[level as usize] as usize + index(word)
    }

    /// Adds a cell; tells whether the set was empty before.
    #[inline]
    pub(crate) fn insert(&self, words: &mut [u64], cell: u64) -> bool {
        let word = &mut words[self.at(0, cell / 64)];
        let before = *word;
        *word |= 1 << (cell % 64);
        before == 0 && self.insert_above(words, cell / 64)
    }

    #[cold]
    fn insert_above(&self, words: &mut [u64], mut cell: u64) -> bool {
        for level in 1..u32::from(self.depth) {
            let word = &mut words[self.at(level, cell / 64)];
            let before = *word;
            *word |= 1 << (cell % 64);
            if before != 0 {
                return false;
            }
            cell /= 64;
        }
        true
    }

    /// Removes a cell; tells whether the set became empty by it.
    #[inline]
    pub(crate) fn remove(&self, words: &mut [u64], cell: u64) -> bool {
        let word = &mut words[self.at(0, cell / 64)];
        *word &= !(1 << (cell % 64));
        *word == 0 && self.remove_above(words, cell / 64)
    }

    #[cold]
    fn remove_above(&self, words: &mut [u64], mut cell: u64) -> bool {
        for level in 1..u32::from(self.depth) {
            let word = &mut words[self.at(level, cell / 64)];
            *word &= !(1 << (cell % 64));
            if *word != 0 {
                return false;
            }
            cell /= 64;
        }
        true
    }

    /// Tells whether the cell is in the set.
    pub(crate) fn contains(&self, words: &[u64], cell: u64) -> bool {
        words[self.at(0, cell / 64)] >> (cell % 64) & 1 == 1
    }

    /// The lowest cell of a set known not to be empty.
    pub(crate) fn first(&self, words: &[u64]) -> u64 {
        self.descend(words, u32::from(self.depth), 0, u64::trailing_zeros)
    }

    /// Follows one end of the bits from word `word` of level `from - 1` down to a cell.
    fn descend(&self, words: &[u64], from: u32, mut word: u64, end: impl Fn(u64) -> u32) -> u64 {
        for level in (0..from).rev() {
            word = word * 64 + u64::from(end(words[self.at(level, word)]));
        }
        word
    }

    /// The lowest cell at or above `cell`.
    pub(crate) fn next(&self, words: &[u64], mut cell: u64) -> Option<u64> {
        for level in 0..u32::from(self.depth) {
            if cell / 64 >= self.words_at(level) {
                return None;
            }
            let rest = words[self.at(level, cell / 64)] & (!0 << (cell % 64));
            if rest != 0 {
                let found = cell / 64 * 64 + u64::from(rest.trailing_zeros());
                return Some(self.descend(words, level, found, u64::trailing_zeros));
            }
            cell = cell / 64 + 1;
        }
        None
    }

    /// The highest cell at or below `cell`.
    pub(crate) fn previous(&self, words: &[u64], mut cell: u64) -> Option<u64> {
        for level in 0..u32::from(self.depth) {
            let rest = words[self.at(level, cell / 64)] & (!0 >> (63 - cell % 64));
            if rest != 0 {
                let found = cell / 64 * 64 + u64::from(highest(rest));
                return Some(self.descend(words, level, found, highest));
            }
            cell = (cell / 64).checked_sub(1)?;
        }
        None
    }

    /// Words of a level; the level ends where the next one begins, the top level after one word.
    fn words_at(&self, level: u32) -> u64 {
        if level + 1 == u32::from(self.depth) {
            return 1;
        }
        u64::from(self.levels[level as usize + 1] - self.levels[level as usize])
    }
}

fn highest(word: u64) -> u32 {
    63 - word.leading_zeros()
}

/// Allocates zeroed words, or reports that memory is short.
pub(crate) fn zeroed<T: Clone>(length: u64, zero: T) -> Option<Vec<T>> {
    let length = usize::try_from(length).ok()?;
    let mut words = Vec::new();
    words.try_reserve_exact(length).ok()?;
    words.resize(length, zero);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_bit_tree_is_an_ordered_set(cells in 1u64..20_000, picks in prop::collection::vec((any::<u64>(), any::<bool>()), 1..200)) {
            let (tree, end) = BitTree::lay_out(cells, 3).unwrap();
            let mut words = zeroed(end, 0u64).unwrap();
            let mut model = BTreeSet::new();
            for (pick, add) in picks {
                let cell = pick % cells;
                if add {
                    prop_assert_eq!(tree.insert(&mut words, cell), model.is_empty());
                    model.insert(cell);
                } else if model.remove(&cell) {
                    prop_assert_eq!(tree.remove(&mut words, cell), model.is_empty());
                }
                prop_assert_eq!(tree.contains(&words, cell), add);
                let probe = pick / 7 % cells;
                prop_assert_eq!(tree.next(&words, probe), model.range(probe..).next().copied());
                prop_assert_eq!(tree.previous(&words, probe), model.range(..=probe).next_back().copied());
                if let Some(&first) = model.first() {
                    prop_assert_eq!(tree.first(&words), first);
                }
            }
            prop_assert_eq!(&words[..3], &[0; 3]);
        }
    }
}
