//! The cleared pages of one group of 4096, as a bitmap that also knows where its aligned runs are.

/// Order of a group.
pub(crate) const GROUP_ORDER: u32 = 12;
/// Pages of a group.
pub(crate) const GROUP_PAGES: u64 = 1 << GROUP_ORDER;
/// Orders below that of a word of pages.
const WORD_ORDER: u32 = 6;

/// First bits of the aligned runs of `2^order` bits in a word.
const RUN_STARTS: [u64; 7] = [
    u64::MAX,
    0x5555_5555_5555_5555,
    0x1111_1111_1111_1111,
    0x0101_0101_0101_0101,
    0x0001_0001_0001_0001,
    0x0000_0001_0000_0001,
    0x0000_0000_0000_0001,
];

/// Finds the aligned runs of `2^order` ones, `order` up to 6, and returns their first bits.
fn aligned_runs(mut word: u64, order: u32) -> u64 {
    for below in 0..order {
        word &= word >> (1 << below) & RUN_STARTS[below as usize + 1];
    }
    word
}

/// One bit per page of a group: set means cleared.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    words: [u64; 64],
    /// For each order below 6: the words that have an aligned run of `2^order` cleared pages.
    with_run: [u64; WORD_ORDER as usize],
    /// Words all of whose pages are cleared.
    full: u64,
}

impl Leaf {
    /// A leaf of which all pages are cleared, or none.
    pub(crate) const fn uniform(cleared: bool) -> Self {
        let word = if cleared { u64::MAX } else { 0 };
        Self { words: [word; 64], with_run: [word; WORD_ORDER as usize], full: word }
    }

    /// Remembers a number in a leaf that holds no pages at present.
    pub(crate) fn set_link(&mut self, link: u32) {
        self.words[0] = u64::from(link);
    }

    /// The number remembered by [`Leaf::set_link`].
    pub(crate) fn link(&self) -> Option<u32> {
        u32::try_from(self.words[0]).ok()
    }

    /// Sets the pages `from..to` of the group; returns how many changed.
    pub(crate) fn set(&mut self, from: u32, to: u32, cleared: bool) -> u32 {
        let mut changed = 0;
        for at in from / 64..to.div_ceil(64) {
            let low = from.saturating_sub(at * 64).min(63);
            let high = (to - at * 64).min(64);
            let bits = u64::MAX >> (64 - (high - low)) << low;
            let word = &mut self.words[at as usize];
            let before = *word;
            *word = if cleared { before | bits } else { before & !bits };
            changed += (before ^ *word).count_ones();
            self.note_runs(at);
        }
        changed
    }

    fn note_runs(&mut self, at: u32) {
        let (word, bit) = (self.words[at as usize], 1u64 << at);
        let mut runs = word;
        for (with_run, (below, starts)) in self.with_run.iter_mut().zip((0..).zip(&RUN_STARTS[1..])) {
            if runs == 0 && *with_run & bit == 0 {
                // What has no run of an order has none of a larger one.
                break;
            }
            *with_run = *with_run & !bit | u64::from(runs != 0) << at;
            runs &= runs >> (1u32 << below) & starts;
        }
        self.full = self.full & !bit | if word == u64::MAX { bit } else { 0 };
    }

    /// Tells whether all pages are cleared.
    pub(crate) fn is_full(&self) -> bool {
        self.full == u64::MAX
    }

    /// Tells whether no page is cleared.
    pub(crate) fn is_empty(&self) -> bool {
        self.with_run[0] == 0
    }

    /// Number of cleared pages.
    pub(crate) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Orders of which an aligned cleared run exists, as a bit set; order 12 is [`Leaf::is_full`].
    pub(crate) fn orders(&self) -> u16 {
        let mut orders = 0;
        while orders < WORD_ORDER && self.with_run[orders as usize] != 0 {
            orders += 1;
        }
        let mut runs = if orders == WORD_ORDER { self.full } else { 0 };
        while runs != 0 {
            orders += 1;
            let below = orders - WORD_ORDER - 1;
            runs &=
                runs.checked_shr(1 << below).unwrap_or(0) & RUN_STARTS.get(below as usize + 1).unwrap_or(&0);
        }
        // What has a run of an order has one of each smaller order.
        !(u16::MAX << orders)
    }

    /// The first aligned run of `2^order` cleared pages at or behind page `from`.
    pub(crate) fn next(&self, order: u32, from: u32) -> Option<u32> {
        let lowest = |bits: u64| (bits != 0).then(|| bits.trailing_zeros());
        if order >= WORD_ORDER {
            let from = from.div_ceil(64);
            let runs = aligned_runs(self.full, order - WORD_ORDER).checked_shr(from)?;
            return lowest(runs).map(|at| (at + from) * 64);
        }
        let at = from / 64;
        let here = aligned_runs(self.words[at as usize], order) & (u64::MAX << (from % 64));
        if let Some(bit) = lowest(here) {
            return Some(at * 64 + bit);
        }
        let behind = self.with_run[order as usize] & (u64::MAX << 1 << at);
        let at = lowest(behind)?;
        Some(at * 64 + aligned_runs(self.words[at as usize], order).trailing_zeros())
    }

    /// The last aligned run of `2^order` cleared pages that ends at or before page `to`.
    pub(crate) fn previous(&self, order: u32, to: u32) -> Option<u32> {
        let highest = |bits: u64| (bits != 0).then(|| 63 - bits.leading_zeros());
        let last = to.checked_sub(1 << order)?;
        if order >= WORD_ORDER {
            let runs = aligned_runs(self.full, order - WORD_ORDER) & (u64::MAX >> (63 - last / 64));
            return highest(runs).map(|at| at * 64);
        }
        let at = last / 64;
        let here = aligned_runs(self.words[at as usize], order) & (u64::MAX >> (63 - last % 64));
        if let Some(bit) = highest(here) {
            return Some(at * 64 + bit);
        }
        let at = highest(self.with_run[order as usize] & ((1 << at) - 1))?;
        Some(at * 64 + highest(aligned_runs(self.words[at as usize], order))?)
    }

    /// The first aligned run of `2^order` dirty pages within the pages `from..to`.
    pub(crate) fn next_dirty_run(&self, order: u32, from: u32, to: u32) -> Option<u32> {
        let fits = |page: u32| page + (1 << order) <= to;
        if order >= WORD_ORDER {
            let runs = aligned_runs(!self.with_run[0], order - WORD_ORDER);
            let runs = runs & u64::MAX.checked_shl(from.div_ceil(64))?;
            return Some(runs.trailing_zeros() * 64).filter(|page| runs != 0 && fits(*page));
        }
        let mut mask = u64::MAX << (from % 64);
        for at in from / 64..to.div_ceil(64) {
            let runs = aligned_runs(!self.words[at as usize], order) & mask;
            if runs != 0 {
                return Some(at * 64 + runs.trailing_zeros()).filter(|page| fits(*page));
            }
            mask = u64::MAX;
        }
        None
    }

    /// Number of the pages `from..to` that are cleared.
    pub(crate) fn count_in(&self, from: u32, to: u32) -> u32 {
        let at = from / 64;
        if to <= at * 64 + 64 {
            let word = self.words[at as usize] >> (from % 64);
            return (word & (u64::MAX >> (64 - (to - from)))).count_ones();
        }
        let words = (0..).zip(&self.words).skip((from / 64) as usize).take_while(|(at, _)| at * 64 < to);
        words
            .map(|(at, word)| {
                let (low, high) = (from.saturating_sub(at * 64).min(63), (to - at * 64).min(64));
                (word & (u64::MAX >> (64 - (high - low)) << low)).count_ones()
            })
            .sum()
    }

    /// Tells whether any of the pages `from..to` is cleared.
    pub(crate) fn touches(&self, from: u32, to: u32) -> bool {
        let at = from / 64;
        if to <= at * 64 + 64 {
            return self.words[at as usize] >> (from % 64) & (u64::MAX >> (64 - (to - from))) != 0;
        }
        self.next(0, from).is_some_and(|page| page < to)
    }

    /// The first page at or behind `from` that is not cleared.
    pub(crate) fn next_dirty(&self, from: u32) -> Option<u32> {
        let at = from / 64;
        let here = !self.words[at as usize] & (u64::MAX << (from % 64));
        if here != 0 {
            return Some(at * 64 + here.trailing_zeros());
        }
        let at = (at + 1..64).find(|&at| self.words[at as usize] != u64::MAX)?;
        Some(at * 64 + (!self.words[at as usize]).trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn a_leaf_finds_the_first_aligned_run(edits in prop::collection::vec((0u32..4096, 1u32..900, any::<bool>()), 0..12), from in 0u32..4096) {
            let (mut leaf, mut model) = (Leaf::uniform(false), vec![false; 4096]);
            for (start, length, cleared) in edits {
                let end = (start + length).min(4096);
                let changed = (start..end).filter(|&at| model[at as usize] != cleared).count();
                model[start as usize..end as usize].fill(cleared);
                prop_assert_eq!(leaf.set(start, end, cleared) as usize, changed);
            }
            for order in 0..=GROUP_ORDER {
                let runs: Vec<u32> =
                    (0..4096u32 >> order).map(|n| n << order).filter(|&at| model[at as usize..][..1 << order].iter().all(|&c| c)).collect();
                prop_assert_eq!(leaf.next(order, from), runs.iter().copied().find(|&at| at >= from));
                prop_assert_eq!(leaf.orders() >> order & 1 == 1, !runs.is_empty());
                let ends = |at: &u32| at + (1 << order) <= from;
                prop_assert_eq!(leaf.previous(order, from), runs.iter().copied().rfind(ends));
            }
            for to in [from + 1, (from + 64).min(4096), (from + 1000).min(4096), 4096] {
                let count = model[from as usize..to as usize].iter().filter(|&&c| c).count();
                prop_assert_eq!(leaf.count_in(from, to) as usize, count);
                for order in 0..=GROUP_ORDER {
                    let is_dirty = |at: u32| {
                        at >= from && at + (1 << order) <= to && !model[at as usize..][..1 << order].contains(&true)
                    };
                    let first = (0..4096u32 >> order).map(|n| n << order).find(|&at| is_dirty(at));
                    prop_assert_eq!(leaf.next_dirty_run(order, from, to), first);
                }
            }
            prop_assert_eq!(leaf.next_dirty(from), (from..4096).find(|&at| !model[at as usize]));
            prop_assert_eq!(leaf.is_full(), model.iter().all(|&c| c));
            prop_assert_eq!(leaf.is_empty(), model.iter().all(|&c| !c));
        }
    }
}
