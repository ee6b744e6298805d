//! Which ranges of device memory are handed out, each with its order: [`HandedOut`].
//!
//! ```text
//!   page    0  1  2  3  4  5  6  7
//!   byte    3  0  0  0  1  0  2  0      order 2 at page 0, order 0 at page 4, order 1 at page 6
//! ```
//!
//! One byte for each page: the order of the range that begins there, and 1; 0 if none does. So a pool knows what it may
//! get back, and at which order (I4), in O(1) and without allocating.

use bifolio_folio::{Order, Pfn};

/// Nothing handed out begins at the page.
const NONE: u8 = 0;

/// The ranges that are handed out and not given back, by their first pages.
#[derive(Clone, Debug)]
pub(crate) struct HandedOut(Box<[u8]>);

/// A range is not handed out as a caller says. The table was not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotHandedOut;

impl HandedOut {
    /// Makes the table of `pages` pages from page 0, none of which is handed out; `None` if memory is short.
    pub(crate) fn new(pages: u64) -> Option<HandedOut> {
        let pages = usize::try_from(pages).ok()?;
        let mut entries = Vec::new();
        entries.try_reserve_exact(pages).ok()?;
        entries.resize(pages, NONE);
        Some(HandedOut(entries.into_boxed_slice()))
    }

    /// Notes a range that the pool hands out.
    pub(crate) fn insert(&mut self, head: Pfn, order: Order) {
        self.set(head, entry(order));
    }

    /// Forgets a range that is given back.
    pub(crate) fn remove(&mut self, head: Pfn, order: Order) -> Result<(), NotHandedOut> {
        self.require(head, order)?;
        self.set(head, NONE);
        Ok(())
    }

    /// Notes that a range of order `from` is split into ranges of order `to`.
    pub(crate) fn split(&mut self, head: Pfn, from: Order, to: Order) -> Result<(), NotHandedOut> {
        self.require(head, from)?;
        heads(head, from, to).for_each(|piece| self.set(piece, entry(to)));
        Ok(())
    }

    /// Notes that ranges of order `from`, the first at `head`, become one of order `to`.
    pub(crate) fn collapse(&mut self, head: Pfn, from: Order, to: Order) -> Result<(), NotHandedOut> {
        heads(head, to, from).try_for_each(|piece| self.require(piece, from))?;
        heads(head, to, from).for_each(|piece| self.set(piece, NONE));
        self.set(head, entry(to));
        Ok(())
    }

    /// Iterates over the ranges that are handed out, by a walk over all pages.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (Pfn, Order)> {
        let numbered = (0..).map(Pfn::new).zip(&self.0);
        numbered.filter_map(|(page, entry)| Some((page, Order::new(entry.checked_sub(1)?)?)))
    }

    fn require(&self, head: Pfn, order: Order) -> Result<(), NotHandedOut> {
        let found = usize::try_from(head.get()).ok().and_then(|page| self.0.get(page));
        if found == Some(&entry(order)) { Ok(()) } else { Err(NotHandedOut) }
    }

    /// Sets the entry of a page that is known to be inside.
    fn set(&mut self, head: Pfn, entry: u8) {
        let page = usize::try_from(head.get()).expect("pages of the pool have an entry each");
        self.0[page] = entry;
    }
}

fn entry(order: Order) -> u8 {
    order.get() + 1
}

/// Returns the first pages of the pieces of order `to` of a range of order `from`.
fn heads(head: Pfn, from: Order, to: Order) -> impl Iterator<Item = Pfn> {
    (0..from.pages()).step_by(1 << to.get()).map(move |offset| Pfn::new(head.get() + offset))
}
