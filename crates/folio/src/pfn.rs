//! Page numbers of device memory, and the arithmetic of aligned blocks.
//!
//! A block of order k begins at a page number that is a multiple of 2^k ("natural alignment"), counted from
//! page 0 of the numbering, not from the start of a pagemap. Of all blocks that contain page 0b1011 the
//! possible heads are therefore
//!
//! ```text
//!   order 4  0b0000      the page with its low 4 bits cleared
//!   order 3  0b1000      low 3 bits cleared
//!   order 2  0b1000      (the same page as for order 3)
//!   order 1  0b1010
//!   order 0  0b1011
//! ```
//!
//! so a page has at most 19 of them, one more than it has bits set below the largest order: see
//! [`Pfn::heads_covering`].

use core::fmt;

use crate::order::{Order, PAGE_SHIFT};

/// Number of a page of device memory.
///
/// Numbers mean the same as in a kernel: byte address divided by the page size, in the address space of
/// the device whose memory the [`PageMap`](crate::PageMap) describes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(u64);

impl Pfn {
    /// Page 0.
    pub const ZERO: Pfn = Pfn(0);

    /// Makes a page number.
    #[must_use]
    pub const fn new(number: u64) -> Pfn {
        Pfn(number)
    }

    /// Returns the page that contains the byte at `address`.
    #[must_use]
    pub const fn containing(address: u64) -> Pfn {
        Pfn(address >> PAGE_SHIFT)
    }

    /// Returns the page number as an integer.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the address of the first byte, or `None` if it does not fit in 64 bits.
    #[must_use]
    pub const fn address(self) -> Option<u64> {
        if self.0 >> (u64::BITS - PAGE_SHIFT) == 0 { Some(self.0 << PAGE_SHIFT) } else { None }
    }

    /// Returns the page `pages` further on, or `None` on overflow.
    #[must_use]
    pub const fn checked_add(self, pages: u64) -> Option<Pfn> {
        match self.0.checked_add(pages) {
            Some(number) => Some(Pfn(number)),
            None => None,
        }
    }

    /// Returns the number of pages from `base` to this page, or `None` if this page lies before `base`.
    #[must_use]
    pub const fn offset_from(self, base: Pfn) -> Option<u64> {
        self.0.checked_sub(base.0)
    }

    /// Tells whether a block of this order may begin here.
    #[must_use]
    pub const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.pages() - 1) == 0
    }

    /// Returns the head of the block of this order that contains the page.
    #[must_use]
    pub const fn align_down(self, order: Order) -> Pfn {
        Pfn(self.0 & !(order.pages() - 1))
    }

    /// Returns the head of the other half of the block of the next larger order.
    #[must_use]
    pub const fn buddy(self, order: Order) -> Pfn {
        Pfn(self.0 ^ order.pages())
    }

    /// Tells whether the page lies in the `order.pages()` pages that begin at `head`.
    #[must_use]
    pub const fn is_within(self, head: Pfn, order: Order) -> bool {
        match self.offset_from(head) {
            Some(offset) => offset < order.pages(),
            None => false,
        }
    }

    /// Returns the largest order of a block that may begin here and has at most `pages` pages, or `None`
    /// for no pages.
    #[must_use]
    pub fn largest_block(self, pages: u64) -> Option<Order> {
        let fitting = Order::largest_fitting(pages)?;
        fitting.descending().find(|&order| self.is_aligned(order))
    }

    /// Iterates over the distinct heads that a block of order `largest` or smaller around this page can
    /// have, from the largest block to the page itself.
    pub fn heads_covering(self, largest: Order) -> impl Iterator<Item = Pfn> {
        let top = self.align_down(largest).0;
        // A clear bit gives the same head as the next larger order, so the bits that are set say it all.
        core::iter::successors(Some((top, self.0 ^ top)), |&(head, below)| {
            let highest = 1 << below.checked_ilog2()?;
            Some((head | highest, below ^ highest))
        })
        .map(|(head, _)| Pfn(head))
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pfn({:#x})", self.0)
    }
}
