//! Free device memory as a token that can be passed on but not copied.
//!
//! ```text
//!             claim (allocator)                   PageMap::form
//!   allocator ------------------> FreeRange ------------------------> Folio<Locked>
//!       ^                           |   ^                                  |
//!       +---------------------------+   +----------------------------------+
//!          given back to its free list       last put: Pool::folio_free
//! ```
//!
//! Exactly one holder owns a page at any time: an allocator (which keeps page numbers in whatever form it
//! likes), a `FreeRange`, or a folio. That is how I1 and I4 are kept without looking at more than one page.

use crate::order::Order;
use crate::pfn::Pfn;

/// 2^order free pages that begin at `head`, owned by the holder of this value.
///
/// Neither `Clone` nor `Copy`: forming a folio consumes it. Dropping it leaks the pages: no
/// allocator knows any more that they are free.
///
/// ```
/// use bifolio_folio::{FreeRange, Order, Pfn};
///
/// fn allocator_takes_back(_: FreeRange) {}
/// let range = FreeRange::claim(Pfn::new(0), Order::ZERO);
/// allocator_takes_back(range);
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use = "dropping it leaks the free pages"]
pub struct FreeRange {
    head: Pfn,
    order: Order,
}

impl FreeRange {
    /// Mints the token for a range.
    ///
    /// For allocators only, at the moment the range leaves their free lists. The caller warrants that
    /// nothing else owns any of the pages: no folio, no other token, no free list. Alignment and the bounds of
    /// the pagemap are checked when a folio is formed.
    pub const fn claim(head: Pfn, order: Order) -> FreeRange {
        FreeRange { head, order }
    }

    /// Ends the token: the counterpart of [`claim`](FreeRange::claim), for an allocator that puts the range on
    /// its free lists.
    #[must_use = "the pages are leaked unless a free list takes them"]
    pub const fn surrender(self) -> (Pfn, Order) {
        (self.head, self.order)
    }

    /// Returns the first page.
    #[must_use]
    pub const fn head(&self) -> Pfn {
        self.head
    }

    /// Returns the order.
    #[must_use]
    pub const fn order(&self) -> Order {
        self.order
    }

    /// Returns the number of pages.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.order.pages()
    }

    /// Cuts the range into its lower and upper half.
    ///
    /// # Errors
    /// Gives the range back if it is a single page, or if its upper half lies beyond the last page number.
    pub fn halve(self) -> Result<(FreeRange, FreeRange), FreeRange> {
        let Some(order) = self.order.smaller() else { return Err(self) };
        match self.head.checked_add(order.pages()) {
            Some(upper) => Ok((FreeRange { head: self.head, order }, FreeRange { head: upper, order })),
            None => Err(self),
        }
    }

    /// Joins the two halves of one naturally aligned block, in either order.
    ///
    /// # Errors
    /// Gives both ranges back if they are not the two halves of one block of at most [`Order::MAX`].
    pub fn join(self, other: FreeRange) -> Result<FreeRange, (FreeRange, FreeRange)> {
        let halves = self.order == other.order
            && self.head.is_aligned(self.order)
            && self.head.buddy(self.order) == other.head;
        match self.order.larger() {
            Some(order) if halves => Ok(FreeRange { head: self.head.min(other.head), order }),
            _ => Err((self, other)),
        }
    }
}
