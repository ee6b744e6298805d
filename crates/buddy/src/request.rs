//! A request for pages with conditions, and what is granted.

use crate::block::BuddyBlock;
use crate::error::AllocateError;
use crate::free_index::MAX_ORDER;
use core::ops::Range;

/// What pages are wanted, and where.
///
/// ```
/// use bifolio_buddy::{Buddy, Request};
///
/// let mut buddy = Buddy::new(4096).unwrap();
/// let grants = buddy.allocate_with(&Request::pages(70).min_order(1).within(1000..3000)).unwrap();
/// let blocks: Vec<_> = grants.iter().map(|grant| (grant.block.page, grant.block.order)).collect();
/// assert_eq!(blocks, [(1024, 6), (1088, 2), (1092, 1)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Request {
    pub(crate) pages: u64,
    pub(crate) min_order: u32,
    pub(crate) align_order: u32,
    pub(crate) within: Range<u64>,
    pub(crate) contiguous: bool,
    pub(crate) top_down: bool,
    pub(crate) prefer_cleared: bool,
}

impl Request {
    /// Asks for this many pages, in as many blocks as it takes.
    pub const fn pages(pages: u64) -> Self {
        Self {
            pages,
            min_order: 0,
            align_order: 0,
            within: 0..u64::MAX,
            contiguous: false,
            top_down: false,
            prefer_cleared: false,
        }
    }

    /// Asks for one block of `2^order` pages. An order above 63 can never be met.
    pub const fn block(order: u32) -> Self {
        let mut request = Self::pages(if order < 64 { 1 << order } else { u64::MAX });
        request.min_order = order;
        request
    }

    /// Accepts only blocks of at least `2^order` pages; the number of pages is rounded up to a multiple of it.
    pub const fn min_order(mut self, order: u32) -> Self {
        self.min_order = order;
        self
    }

    /// Accepts only blocks (of a contiguous request: a first page) at multiples of `2^order`, whatever their size.
    pub const fn align_order(mut self, order: u32) -> Self {
        self.align_order = order;
        self
    }

    /// Accepts only pages of the range. With as many pages as the range has, exactly these are taken.
    pub const fn within(mut self, pages: Range<u64>) -> Self {
        self.within = pages;
        self
    }

    /// Accepts only consecutive pages.
    pub const fn contiguous(mut self) -> Self {
        self.contiguous = true;
        self
    }

    /// Takes the highest suitable pages rather than those that fit best: the highest of the cleared ones, or of the
    /// dirty ones, as [`prefer_cleared`](Request::prefer_cleared) says.
    pub const fn top_down(mut self) -> Self {
        self.top_down = true;
        self
    }

    /// Takes pages that are all cleared, if there are suitable ones. A request without this takes pages that are all
    /// dirty, if there are; so does one with it where nothing suitable is cleared. Of several blocks this is decided for
    /// each, the largest first.
    pub const fn prefer_cleared(mut self) -> Self {
        self.prefer_cleared = true;
        self
    }

    /// The number of pages to allocate, after rounding.
    pub(crate) fn rounded_pages(&self) -> Result<u64, AllocateError> {
        let impossible = |reason| Err(AllocateError::Impossible { reason });
        if self.pages == 0 {
            return impossible("0 pages");
        }
        if self.min_order > MAX_ORDER {
            return impossible("the order exceeds that of any region");
        }
        if self.align_order >= 64 {
            return impossible("the alignment exceeds that of any page number");
        }
        if self.within.is_empty() {
            return impossible("the range is empty");
        }
        let rounded = self.pages.checked_next_multiple_of(1 << self.min_order);
        rounded.map_or_else(|| impossible("more pages than there can be"), Ok)
    }

    /// Tells whether any place will do, apart from alignment.
    pub(crate) fn is_unbound(&self) -> bool {
        !self.top_down && self.within == (0..u64::MAX)
    }
}

/// An allocated block, and whether its contents are known to be cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The block.
    pub block: BuddyBlock,
    /// All pages have been declared cleared since they were last allocated.
    pub cleared: bool,
}
