//! Pages inside one block: aligned runs, which can be one folio, and runs that need not be aligned.

use core::ops::Range;

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
    /// Returns the run of `order` that contains `page`.
    ///
    /// # Panics
    /// If `page` is outside a block or `order` is larger than a block.
    #[must_use]
    #[inline]
    pub fn around(page: u16, order: Order) -> AlignedRun {
        assert!(page < BLOCK_PAGES && order <= Order::PMD, "page {page} or {order:?} does not fit a block");
        AlignedRun { first: page & !(pages_of(order) - 1), order }
    }

    /// Returns the whole block as one run.
    #[must_use]
    #[inline]
    pub fn block() -> AlignedRun {
        AlignedRun { first: 0, order: Order::PMD }
    }

    /// First page, counted from the start of the block.
    #[must_use]
    #[inline]
    pub fn first(self) -> u16 {
        self.first
    }

    /// Order of the run.
    #[must_use]
    #[inline]
    pub fn order(self) -> Order {
        self.order
    }

    /// Number of pages.
    #[must_use]
    #[inline]
    pub fn pages(self) -> u16 {
        pages_of(self.order)
    }

    /// First page after the run.
    #[must_use]
    #[inline]
    pub fn end(self) -> u16 {
        self.first + self.pages()
    }

    /// Tells whether `page` is in the run.
    #[must_use]
    #[inline]
    pub fn contains(self, page: u16) -> bool {
        (self.first..self.end()).contains(&page)
    }

    /// The half that contains `page`, and the other half; `None` for a single page.
    ///
    /// # Panics
    /// If `page` is not in the run.
    #[must_use]
    #[inline]
    pub fn halves(self, page: u16) -> Option<(AlignedRun, AlignedRun)> {
        assert!(self.contains(page), "page {page} is not in {self:?}");
        let half = self.order.smaller()?;
        let with = AlignedRun::around(page, half);
        Some((with, AlignedRun { first: with.first ^ pages_of(half), order: half }))
    }
}

impl IntoIterator for AlignedRun {
    type Item = u16;
    type IntoIter = Range<u16>;

    #[inline]
    fn into_iter(self) -> Range<u16> {
        self.first..self.end()
    }
}

/// Consecutive pages inside one block, at least one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageRun {
    first: u16,
    /// Never zero, and `first + pages` is no more than a block has.
    pages: u16,
}

impl PageRun {
    /// All pages of a block.
    pub const BLOCK: PageRun = PageRun { first: 0, pages: BLOCK_PAGES };

    /// Returns the run of `pages` pages from page `first` on; `None` if it has no page or leaves the block.
    #[must_use]
    #[inline]
    pub const fn new(first: u16, pages: u16) -> Option<PageRun> {
        if pages == 0 || first >= BLOCK_PAGES || pages > BLOCK_PAGES - first {
            return None;
        }
        Some(PageRun { first, pages })
    }

    /// Returns the run of the pages `first..end`; `None` if there is none, or `end` is outside of a block.
    #[must_use]
    #[inline]
    pub const fn between(first: u16, end: u16) -> Option<PageRun> {
        PageRun::new(first, end.saturating_sub(first))
    }

    /// Returns the run of one page.
    ///
    /// # Panics
    /// If `page` is outside of a block.
    #[must_use]
    #[inline]
    pub const fn single(page: u16) -> PageRun {
        PageRun::new(page, 1).expect("a page of a block")
    }

    /// First page, counted from the start of the block.
    #[must_use]
    #[inline]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Number of pages; never zero.
    #[must_use]
    #[inline]
    pub const fn pages(self) -> u16 {
        self.pages
    }

    /// First page after the run.
    #[must_use]
    #[inline]
    pub const fn end(self) -> u16 {
        self.first + self.pages
    }

    /// Tells whether `page` is in the run.
    #[must_use]
    #[inline]
    pub fn contains(self, page: u16) -> bool {
        (self.first..self.end()).contains(&page)
    }

    /// Tells whether all pages of `other` are in the run.
    #[must_use]
    #[inline]
    pub fn covers(self, other: impl Into<PageRun>) -> bool {
        let other = other.into();
        self.first <= other.first && other.end() <= self.end()
    }

    /// Returns the pages that are in both runs; `None` if there is none.
    #[must_use]
    #[inline]
    pub fn intersection(self, other: impl Into<PageRun>) -> Option<PageRun> {
        let other = other.into();
        PageRun::between(self.first.max(other.first), self.end().min(other.end()))
    }

    /// Returns the pages of the run that are not before `page`; `None` if there is none.
    #[must_use]
    #[inline]
    pub fn from_page(self, page: u16) -> Option<PageRun> {
        PageRun::between(self.first.max(page), self.end())
    }

    /// Yields the largest aligned runs up to order `largest` that together make up the run, in order.
    #[inline]
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

impl From<AlignedRun> for PageRun {
    #[inline]
    fn from(run: AlignedRun) -> PageRun {
        PageRun { first: run.first, pages: run.pages() }
    }
}

impl IntoIterator for PageRun {
    type Item = u16;
    type IntoIter = Range<u16>;

    #[inline]
    fn into_iter(self) -> Range<u16> {
        self.first..self.end()
    }
}

/// Pages of an order no larger than a block.
#[inline]
fn pages_of(order: Order) -> u16 {
    1 << order.get()
}
