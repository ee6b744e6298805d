//! Sets of pages: bits for small worlds, runs for large ones.

use core::fmt;

/// A set of pages, as rules look at it.
pub trait Pages: Copy {
    /// Number of pages in the set.
    fn count(self) -> u64;

    /// Tells whether any page is in both sets.
    fn meets(self, other: Self) -> bool;

    /// Tells whether every page of this set is in the other.
    fn is_within(self, other: Self) -> bool;
}

/// Bit i stands for page i.
macro_rules! bits_are_pages {
    ($($bits:ty),*) => {$(
        impl Pages for $bits {
            #[inline]
            fn count(self) -> u64 {
                u64::from(self.count_ones())
            }

            #[inline]
            fn meets(self, other: $bits) -> bool {
                self & other != 0
            }

            #[inline]
            fn is_within(self, other: $bits) -> bool {
                self & !other == 0
            }
        }
    )*};
}

bits_are_pages!(u8, u16, u32, u64);

/// Consecutive pages by their numbers. `pages` may be zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PageRange {
    /// Number of the first page.
    pub first: u64,
    /// Number of pages.
    pub pages: u64,
}

impl PageRange {
    /// No page.
    pub const NONE: PageRange = PageRange { first: 0, pages: 0 };

    /// The 2^`order` pages from `head`. An order above 63 is that of no range: it gives no page.
    #[must_use]
    pub const fn of_order(head: u64, order: u8) -> PageRange {
        PageRange { first: head, pages: pages_of(order) }
    }

    /// One page.
    #[must_use]
    pub const fn page(page: u64) -> PageRange {
        PageRange { first: page, pages: 1 }
    }

    /// Number of the page behind the last one.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.first.saturating_add(self.pages)
    }
}

impl fmt::Display for PageRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pages {}..{}", self.first, self.end())
    }
}

impl Pages for PageRange {
    fn count(self) -> u64 {
        self.pages
    }

    fn meets(self, other: PageRange) -> bool {
        self.first.max(other.first) < self.end().min(other.end())
    }

    fn is_within(self, other: PageRange) -> bool {
        self.pages == 0 || (other.first <= self.first && self.end() <= other.end())
    }
}

/// Number of pages of an order, 0 for an order that no range has.
pub(crate) const fn pages_of(order: u8) -> u64 {
    if order < 64 { 1 << order } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(first: u64, pages: u64) -> PageRange {
        PageRange { first, pages }
    }

    #[test]
    fn ranges_and_bits_agree() {
        let bits = |of: PageRange| (of.first..of.end()).fold(0, |bits: u16, page| bits | 1 << page);
        let some = (0..5).flat_map(|first| (0..4).map(move |pages| range(first, pages)));
        for (a, b) in some.clone().flat_map(|a| some.clone().map(move |b| (a, b))) {
            assert_eq!(a.meets(b), bits(a).meets(bits(b)), "{a:?} {b:?}");
            assert_eq!(a.is_within(b), bits(a).is_within(bits(b)), "{a:?} {b:?}");
            assert_eq!(a.count(), bits(a).count());
        }
    }

    #[test]
    fn range_beyond_the_last_page_number_ends_there() {
        assert!(!range(u64::MAX, 5).is_within(range(0, 5)));
        assert!(!range(u64::MAX, 5).meets(range(0, 5)));
    }

    #[test]
    fn order_that_no_range_has_gives_no_page() {
        assert_eq!(PageRange::of_order(8, 200).count(), 0);
        assert_eq!(PageRange::of_order(8, 3), range(8, 8));
    }
}
