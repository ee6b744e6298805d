//! A set of pages of one block: 512 bits.

use crate::order::Order;
use crate::run::{AlignedRun, BLOCK_PAGES, PageRun};

const WORDS: usize = BLOCK_PAGES as usize / 64;

/// A set of pages of one block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PageSet([u64; WORDS]);

impl PageSet {
    /// The empty set.
    pub const EMPTY: PageSet = PageSet([0; WORDS]);

    /// Tells whether `page` is in the set.
    #[must_use]
    #[inline]
    pub fn contains(&self, page: u16) -> bool {
        self.0[usize::from(page / 64)] >> (page % 64) & 1 == 1
    }

    /// Tells whether every page of `run` is in the set.
    #[must_use]
    #[inline]
    pub fn contains_all(&self, run: impl Into<PageRun>) -> bool {
        masks(run.into()).all(|(word, mask)| self.0[word] & mask == mask)
    }

    /// Tells whether any page of `run` is in the set.
    #[must_use]
    #[inline]
    pub fn intersects(&self, run: impl Into<PageRun>) -> bool {
        masks(run.into()).any(|(word, mask)| self.0[word] & mask != 0)
    }

    /// Adds the pages of `run`.
    #[inline]
    pub fn insert(&mut self, run: impl Into<PageRun>) {
        masks(run.into()).for_each(|(word, mask)| self.0[word] |= mask);
    }

    /// Takes the pages of `run` away.
    #[inline]
    pub fn remove(&mut self, run: impl Into<PageRun>) {
        masks(run.into()).for_each(|(word, mask)| self.0[word] &= !mask);
    }

    /// Returns the set as bits, 64 pages a word; page 0 is the lowest bit of the first.
    #[must_use]
    #[inline]
    pub fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// Number of pages in the set.
    #[must_use]
    #[inline]
    pub fn count(&self) -> u16 {
        self.0.iter().map(|word| small(word.count_ones())).sum()
    }

    /// Number of pages of `run` that are in the set.
    #[must_use]
    #[inline]
    pub fn count_in(&self, run: impl Into<PageRun>) -> u16 {
        masks(run.into()).map(|(word, mask)| small((self.0[word] & mask).count_ones())).sum()
    }

    /// Number of pages before `page` that are in the set.
    #[must_use]
    #[inline]
    pub fn count_before(&self, page: u16) -> u16 {
        let (whole, part) = (usize::from(page / 64), page % 64);
        let below: u32 = self.0.iter().take(whole).map(|word| word.count_ones()).sum();
        let last = self.0.get(whole).map_or(0, |word| (word & ((1 << part) - 1)).count_ones());
        small(below + last)
    }

    /// Tells whether the set has no page.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// The maximal run of pages that are all in the set, or all outside it, starting at `first` and ending no
    /// later than `end`; with it, which of the two. `None` if `first` is not before `end`.
    #[must_use]
    #[inline]
    pub fn run_at(&self, first: u16, end: u16) -> Option<(PageRun, bool)> {
        if first >= end {
            return None;
        }
        let inside = self.contains(first);
        let mut at = first;
        while at < end {
            let word = self.0[usize::from(at / 64)];
            let differing = (if inside { !word } else { word }) >> (at % 64);
            let same = if differing == 0 { 64 - at % 64 } else { small(differing.trailing_zeros()) };
            at += same;
            if differing != 0 {
                break;
            }
        }
        PageRun::between(first, at.min(end)).map(|run| (run, inside))
    }

    /// Yields the maximal runs of pages of the set that lie in `within`, in order.
    #[inline]
    pub fn runs(&self, within: impl Into<PageRun>) -> Runs {
        let within = within.into();
        Runs { set: *self, at: within.first(), end: within.end() }
    }

    /// Yields the largest aligned runs up to order `largest` that together make up the set, in order.
    #[inline]
    pub fn aligned_runs(&self, largest: Order) -> impl Iterator<Item = AlignedRun> + use<> {
        self.runs(PageRun::BLOCK).flat_map(move |run| run.aligned(largest))
    }
}

/// The maximal runs of a set. See [`PageSet::runs`].
#[derive(Clone, Debug)]
pub struct Runs {
    set: PageSet,
    at: u16,
    end: u16,
}

impl Iterator for Runs {
    type Item = PageRun;

    #[inline]
    fn next(&mut self) -> Option<PageRun> {
        loop {
            let (run, inside) = self.set.run_at(self.at, self.end)?;
            self.at = run.end();
            if inside {
                return Some(run);
            }
        }
    }
}

/// A number of bits of one word.
#[inline]
fn small(bits: u32) -> u16 {
    u16::try_from(bits).expect("a word has 64 bits")
}

/// The words that `run` touches, each with the mask of its bits.
#[inline]
fn masks(run: PageRun) -> impl Iterator<Item = (usize, u64)> {
    let (first, end) = (usize::from(run.first()), usize::from(run.end()));
    (first / 64..end.div_ceil(64)).map(move |word| {
        let low = first.saturating_sub(word * 64);
        let high = (end - word * 64).min(64);
        (word, (u64::MAX >> (64 - (high - low))) << low)
    })
}
