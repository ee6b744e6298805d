//! Folio references without a lifetime, for holders that keep them in tables.

use core::fmt;
use core::marker::PhantomData;

use crate::folio::{Folio, Live, State};
use crate::order::Order;
use crate::pagemap::PageMap;
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::sync::Ordering;
use crate::word::Word;

/// A [`Folio`] laid aside: the same reference (and lock, if `S` is [`Locked`](crate::Locked)), 16 bytes, no
/// borrow of the pagemap.
///
/// Neither `Clone` nor `Copy`; turned back by [`PageMap::from_raw`] of the pagemap it came from. Dropping it
/// leaks the reference: the folio never goes back to its pool.
#[must_use = "dropping it leaks the reference"]
pub struct RawFolio<S: State = Live> {
    head: Pfn,
    order: Order,
    state: PhantomData<S>,
}

impl<S: State> RawFolio<S> {
    /// Returns the first page.
    #[must_use]
    pub fn head(&self) -> Pfn {
        self.head
    }

    /// Returns the order, which cannot change while this reference exists.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// Returns the number of pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.order.pages()
    }

    fn into_parts(self) -> (Pfn, Order) {
        (self.head, self.order)
    }
}

impl<S: State> fmt::Debug for RawFolio<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawFolio")
            .field("state", &S::NAME)
            .field("head", &self.head)
            .field("order", &self.order)
            .finish()
    }
}

impl<P: Pool, S: State> Folio<'_, P, S> {
    /// Lays the handle aside; its reference (and lock) stay taken.
    pub fn into_raw(self) -> RawFolio<S> {
        let (_, head, order) = self.into_parts();
        RawFolio { head, order, state: PhantomData }
    }
}

impl<P: Pool> PageMap<P> {
    /// Turns a handle laid aside by [`Folio::into_raw`] back into what it was.
    ///
    /// # Panics
    /// If this pagemap has no such folio, that is if the handle came from another pagemap. (Two pagemaps with
    /// overlapping page numbers cannot always be told apart: keep them apart in the caller.)
    pub fn from_raw<S: State>(&self, raw: RawFolio<S>) -> Folio<'_, P, S> {
        let (head, order) = raw.into_parts();
        let word = self.word(head).map_or(Word::FREE, |word| Word::from_raw(word.load(Ordering::Relaxed)));
        let held = word.raw() & S::HELD == S::HELD;
        assert!(
            held && word.order() == Some(order),
            "no {} folio of order {order} at page {head} of {self:?}, but {word:?}",
            S::NAME
        );
        Folio::from_parts(self, head, order)
    }
}
