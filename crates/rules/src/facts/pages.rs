//! Sets of pages: bits for small worlds, stretches for large ones.

/// A set of pages of a world, bit i for page i.
pub type Pages = u16;

/// A set of pages, as rules look at it.
pub trait PageSet: Copy {
    /// Number of pages in the set.
    fn count(self) -> u64;

    /// Tells whether any page is in both sets.
    fn meets(self, other: Self) -> bool;

    /// Tells whether every page of this set is in the other.
    fn is_within(self, other: Self) -> bool;
}

impl PageSet for Pages {
    fn count(self) -> u64 {
        u64::from(self.count_ones())
    }

    fn meets(self, other: Pages) -> bool {
        self & other != 0
    }

    fn is_within(self, other: Pages) -> bool {
        self & !other == 0
    }
}

/// Consecutive pages by their numbers; `pages` may be zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stretch {
    /// Number of the first page.
    pub first: u64,
    /// Number of pages.
    pub pages: u64,
}

impl Stretch {
    /// No page.
    pub const NONE: Stretch = Stretch { first: 0, pages: 0 };

    fn end(self) -> u64 {
        self.first.saturating_add(self.pages)
    }
}

impl PageSet for Stretch {
    fn count(self) -> u64 {
        self.pages
    }

    fn meets(self, other: Stretch) -> bool {
        self.first.max(other.first) < self.end().min(other.end())
    }

    fn is_within(self, other: Stretch) -> bool {
        self.pages == 0 || (other.first <= self.first && self.end() <= other.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stretch(first: u64, pages: u64) -> Stretch {
        Stretch { first, pages }
    }

    #[test]
    fn stretches_and_bits_agree() {
        let bits = |of: Stretch| (of.first..of.end()).fold(0, |bits: Pages, page| bits | 1 << page);
        let some = (0..5).flat_map(|first| (0..4).map(move |pages| stretch(first, pages)));
        for (a, b) in some.clone().flat_map(|a| some.clone().map(move |b| (a, b))) {
            assert_eq!(a.meets(b), bits(a).meets(bits(b)), "{a:?} {b:?}");
            assert_eq!(a.is_within(b), bits(a).is_within(bits(b)), "{a:?} {b:?}");
            assert_eq!(a.count(), bits(a).count());
        }
    }

    #[test]
    fn stretch_beyond_the_last_page_number_ends_there() {
        assert!(!stretch(u64::MAX, 5).is_within(stretch(0, 5)));
        assert!(!stretch(u64::MAX, 5).meets(stretch(0, 5)));
    }
}
