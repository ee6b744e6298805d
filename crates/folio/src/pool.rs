//! The driver's side of a pagemap.

use crate::order::Order;
use crate::pfn::Pfn;
use crate::range::FreeRange;

/// Owner of the free memory of a [`PageMap`](crate::PageMap): gets every folio back, once.
///
/// `data` is the value given to [`PageMap::form`](crate::PageMap::form), for instance the index of the
/// backing object. With one reference of that object per live folio, `folio_free` drops one, `folio_split`
/// takes the missing ones and `folio_collapse` drops the surplus ones, and the object has as many references as folios at
/// any time (I7).
///
/// All calls come from the thread that drops the last reference, splits or collapses, so they must not wait for long
/// and never for a folio lock; work that may block is left to another thread (I15). They must not panic: the
/// pages concerned would stay counted and the pagemap would never drain. A range, an order or a number that the pool
/// did not hand out is a bug of the caller: the pool should refuse it, and keep the memory out of use, rather than give
/// one page to two owners.
pub trait Pool {
    /// Takes back the pages of a folio, with the order at which it was freed.
    ///
    /// Called exactly once for each folio (I4), after it has ended: its word is not live any more, and its pages may
    /// be formed anew before this call returns (I5). The pages stay counted in the pagemap until then (I8), so
    /// after [`PageMap::is_drained`](crate::PageMap::is_drained) no call is under way.
    fn folio_free(&self, range: FreeRange, data: u32);

    /// Learns that the block of order `from` at `head` becomes 2^(from - to) folios of order `to`.
    ///
    /// Called while the folio is frozen, before any piece can be seen: the pool takes `2^(from - to) - 1` further
    /// references of the backing object. A split around one page is told as a sequence of halvings, each
    /// of the half that contains the page, so the same rule gives the right sum. The split cannot be refused.
    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32);

    /// Learns that 2^(to - from) folios of order `from`, the first at `head`, become one of order `to`.
    ///
    /// The inverse of [`folio_split`](Pool::folio_split), called while all pieces are frozen, before the whole can be
    /// seen: the pool drops `2^(to - from) - 1` references of the backing object, of which one stays. Pieces of
    /// different orders are told as a sequence of joins of two halves, the smaller blocks first, so the same rule
    /// gives the right sum: one less than there were pieces. The collapse cannot be refused.
    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32);
}

/// Lets a pagemap share its pool with the allocating side.
impl<P: Pool + ?Sized> Pool for &P {
    fn folio_free(&self, range: FreeRange, data: u32) {
        (**self).folio_free(range, data);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        (**self).folio_split(head, from, to, data);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        (**self).folio_collapse(head, from, to, data);
    }
}

/// Lets a pagemap share its pool with the allocating side.
impl<P: Pool + ?Sized> Pool for alloc::sync::Arc<P> {
    fn folio_free(&self, range: FreeRange, data: u32) {
        (**self).folio_free(range, data);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        (**self).folio_split(head, from, to, data);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        (**self).folio_collapse(head, from, to, data);
    }
}
