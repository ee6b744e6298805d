//! Pages inside one block: aligned spans, which can be one folio, and runs, which need not be aligned.

use bifolio_folio::Order;

use crate::BLOCK_PAGES;

/// A naturally aligned power-of-two number of pages inside one block: what one folio can hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AlignedRun {
    first: u16,
    order: Order,
}

impl AlignedRun {
    /// Returns the span of `order` that contains `page`.
    ///
    /// # Panics
    /// If `page` is outside a block or `order` is larger than a block.
    #[must_use]
    pub fn around(page: u16, order: Order) -> AlignedRun {
        assert!(page < BLOCK_PAGES && order <= Order::PMD, "page {page} or {order:?} does not fit a block");
        AlignedRun { first: page & !(pages_of(order) - 1), order }
    }

    /// Returns the whole block as one span.
    #[must_use]
    pub fn block() -> AlignedRun {
        AlignedRun { first: 0, order: Order::PMD }
    }

    /// First page, counted from the start of the block.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// Order of the span.
    #[must_use]
    pub fn order(self) -> Order {
        self.order
    }

    /// Number of pages.
    #[must_use]
    pub fn pages(self) -> u16 {
        pages_of(self.order)
    }

    /// First page after the span.
    #[must_use]
    pub fn end(self) -> u16 {
        self.first + self.pages()
    }

    /// Tells whether `page` is in the span.
    #[must_use]
    pub fn contains(self, page: u16) -> bool {
        (self.first..self.end()).contains(&page)
    }

    /// The same pages as a run.
    #[must_use]
    pub fn run(self) -> PageRun {
        PageRun { first: self.first, pages: self.pages() }
    }

    /// The half that contains `page`, and the other half; `None` for a single page.
    ///
    /// # Panics
    /// If `page` is not in the span.
    #[must_use]
    pub fn halves(self, page: u16) -> Option<(AlignedRun, AlignedRun)> {
        assert!(self.contains(page), "page {page} is not in {self:?}");
        let half = self.order.smaller()?;
        let with = AlignedRun::around(page, half);
        Some((with, AlignedRun { first: with.first ^ pages_of(half), order: half }))
    }
}

/// Consecutive pages inside one block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageRun {
    /// First page, counted from the start of the block.
    pub first: u16,
    /// Number of pages; never zero.
    pub pages: u16,
}

impl PageRun {
    /// First page after the run.
    #[must_use]
    pub fn end(self) -> u16 {
        self.first + self.pages
    }
}

/// Pages of an order no larger than a block.
pub(crate) fn pages_of(order: Order) -> u16 {
    1 << order.get()
}

/// Yields the largest aligned spans up to order `largest` that together make up the pages `first..end`, in order.
pub fn aligned_spans(first: u16, end: u16, largest: Order) -> impl Iterator<Item = AlignedRun> {
    let mut at = first;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let span = largest
            .descending()
            .map(|order| AlignedRun::around(at, order))
            .find(|span| span.first == at && span.end() <= end)?;
        at = span.end();
        Some(span)
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn order(k: u8) -> Order {
        Order::new(k).expect("orders in tests are small")
    }

    #[test]
    fn halves_are_buddies() {
        let (with, other) = AlignedRun::around(5, order(2)).halves(5).expect("order 2 has halves");
        assert_eq!((with.first(), with.end()), (4, 6));
        assert_eq!((other.first(), other.end()), (6, 8));
        assert_eq!(AlignedRun::around(5, Order::ZERO).halves(5), None);
    }

    #[test]
    fn aligned_spans_are_no_larger_than_asked() {
        let orders: Vec<u8> = aligned_spans(4, 20, order(3)).map(|span| span.order().get()).collect();
        assert_eq!(orders, [2, 3, 2]);
    }

    #[test]
    fn aligned_spans_cover_exactly_the_asked_pages() {
        for (first, end) in [(0, 512), (1, 512), (3, 17), (511, 512), (8, 8)] {
            let mut at = first;
            for span in aligned_spans(first, end, Order::PMD) {
                assert_eq!(span.first(), at);
                assert_eq!(span.first() % span.pages(), 0);
                at = span.end();
            }
            assert_eq!(at, end);
        }
    }
}
