//! Pages inside one block: aligned spans, which can be one folio, and runs, which need not be aligned.

use crate::order::Order;

/// Pages of 4 KiB in one block of 2 MiB.
pub const BLOCK_PAGES: u16 = 512;

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

    /// Yields the largest aligned runs up to order `largest` that together make up the run, in order.
    pub fn aligned(self, largest: Order) -> impl Iterator<Item = AlignedRun> {
        let (mut at, end) = (self.first, self.end());
        core::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let next = largest
                .descending()
                .map(|order| AlignedRun::around(at, order))
                .find(|next| next.first == at && next.end() <= end)?;
            at = next.end();
            Some(next)
        })
    }
}

/// Pages of an order no larger than a block.
fn pages_of(order: Order) -> u16 {
    1 << order.get()
}
