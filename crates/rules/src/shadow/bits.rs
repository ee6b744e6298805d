//! A bit for each page of a pagemap.

use alloc::vec;
use alloc::vec::Vec;

use super::index;
use crate::PageRange;

/// A bit for each page, all clear at first. Pages that there are none of are passed over.
#[derive(Debug)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(pages: u64) -> Bits {
        Bits(vec![0; index(pages.div_ceil(64))])
    }

    /// The words that hold the pages, each with the mask of those.
    fn masks(pages: PageRange) -> impl Iterator<Item = (usize, u64)> {
        let end = pages.end();
        (pages.first / 64..end.div_ceil(64)).filter(move |_| pages.pages > 0).map(move |word| {
            let low = pages.first.saturating_sub(word * 64).min(63);
            let high = (end - word * 64).min(64);
            (index(word), (u64::MAX >> (64 - (high - low))) << low)
        })
    }

    pub(super) fn set(&mut self, pages: PageRange, to: bool) {
        for (word, mask) in Self::masks(pages) {
            if let Some(bits) = self.0.get_mut(word) {
                *bits = if to { *bits | mask } else { *bits & !mask };
            }
        }
    }

    /// How many of the pages have their bit set.
    pub(super) fn count(&self, pages: PageRange) -> u64 {
        let of_word = |(word, mask): (usize, u64)| self.0.get(word).map_or(0, |bits| bits & mask);
        Self::masks(pages).map(of_word).map(|bits| u64::from(bits.count_ones())).sum()
    }

    /// The first of the pages whose bit is `wanted`, as a range of one page, or of none.
    pub(super) fn first(&self, pages: PageRange, wanted: bool) -> PageRange {
        let found = Self::masks(pages).find_map(|(word, mask)| {
            let bits = self.0.get(word)?;
            let found = (if wanted { *bits } else { !*bits }) & mask;
            (found != 0).then(|| word as u64 * 64 + u64::from(found.trailing_zeros()))
        });
        found.map_or(PageRange::NONE, PageRange::page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_agree_with_pages_one_by_one() {
        for (first, pages) in [(0, 1), (0, 64), (63, 2), (60, 140), (128, 64), (5, 0)] {
            let mut bits = Bits::new(256);
            let range = PageRange { first, pages };
            bits.set(range, true);
            for page in 0..256 {
                let set = (first..first + pages).contains(&page);
                assert_eq!(bits.first(PageRange::page(page), true).pages == 1, set, "{range:?} {page}");
                assert_eq!(bits.count(PageRange::page(page)), u64::from(set));
            }
            assert_eq!(bits.first(range, false), PageRange::NONE);
            assert_eq!(bits.count(PageRange { first: 0, pages: 256 }), pages);
        }
    }

    #[test]
    fn pages_beyond_the_last_one_are_passed_over() {
        let mut bits = Bits::new(64);
        bits.set(PageRange { first: 60, pages: 100 }, true);
        assert_eq!(bits.count(PageRange { first: 0, pages: 1000 }), 4);
        assert_eq!(bits.first(PageRange { first: 64, pages: 9 }, true), PageRange::NONE);
    }
}
