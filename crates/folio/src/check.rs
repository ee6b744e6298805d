//! Walking a whole pagemap: [`PageMap::folios`] and [`PageMap::check_consistency`].

use crate::order::Order;
use crate::pagemap::PageMap;
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::sync::Ordering;
use crate::word::Word;

/// What the head page of a folio held when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolioView {
    /// First page.
    pub head: Pfn,
    /// Order.
    pub order: Order,
    /// Number of references.
    pub references: u32,
    /// Whether it is locked.
    pub locked: bool,
    /// The pool's value.
    pub data: u32,
}

/// A broken rule, found by [`PageMap::check_consistency`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// A word that no sequence of transitions leaves behind (I2, I11).
    #[error("I2: word {word:#x} of page {pfn} has no meaning")]
    Word {
        /// The page.
        pfn: Pfn,
        /// Its word.
        word: u64,
    },
    /// A folio that is being split or collapsed while all should be quiet (I10).
    #[error("I10: folio at page {pfn} is frozen")]
    Frozen {
        /// The head page.
        pfn: Pfn,
    },
    /// A head page that its order does not allow, or a folio that reaches outside the pagemap.
    #[error("I6: no folio of order {order} can be at page {pfn}")]
    Place {
        /// The head page.
        pfn: Pfn,
        /// The order in its word.
        order: Order,
    },
    /// A tail that is not as free pages are, or two folios that overlap (I1).
    #[error("I1: tail {tail} of the folio at page {head} is in use")]
    Tail {
        /// The head page.
        head: Pfn,
        /// The page at which nothing should begin.
        tail: Pfn,
    },
    /// The pagemap's counter differs from the pages in folios (I8).
    #[error("I8: {counted} pages are counted, {live} are in folios")]
    Count {
        /// Pages in folios.
        live: u64,
        /// Pages according to the counter.
        counted: u64,
    },
}

impl<P: Pool> PageMap<P> {
    /// Iterates over all folios in the order of their pages. With other threads at work each item is a
    /// value of the past, and pieces of a folio that is being split or collapsed may or may not be among them.
    pub fn folios(&self) -> impl Iterator<Item = FolioView> {
        self.numbered_words().filter_map(|(head, word)| {
            let word = Word::from_raw(word.load(Ordering::Acquire));
            Some(FolioView {
                head,
                order: word.order()?,
                references: word.references(),
                locked: word.is_locked(),
                data: word.data(),
            })
        })
    }

    /// Checks every word and the counter. Only while no other thread changes the pagemap.
    ///
    /// # Errors
    /// The first [`Inconsistency`] found; it means a bug in this crate, or a range claimed twice.
    pub fn check_consistency(&self) -> Result<(), Inconsistency> {
        let mut live = 0;
        let mut above: Option<(Pfn, Order)> = None;
        for (pfn, word) in self.numbered_words() {
            let word = Word::from_raw(word.load(Ordering::Acquire));
            if word.is_free(self.reset()) {
                continue;
            }
            if let Some((head, _)) = above.filter(|&(head, order)| pfn.is_within(head, order)) {
                return Err(Inconsistency::Tail { head, tail: pfn });
            }
            let order = self.check_head(pfn, word)?;
            above = Some((pfn, order));
            live += order.pages();
        }
        let counted = self.live_pages();
        if counted == live { Ok(()) } else { Err(Inconsistency::Count { live, counted }) }
    }

    fn check_head(&self, pfn: Pfn, word: Word) -> Result<Order, Inconsistency> {
        let order = word.order().filter(|_| word.is_valid(self.reset()));
        let order = order.ok_or(Inconsistency::Word { pfn, word: word.raw() })?;
        if word.is_frozen() {
            return Err(Inconsistency::Frozen { pfn });
        }
        if !pfn.is_aligned(order) || self.head_word(pfn, order).is_none() {
            return Err(Inconsistency::Place { pfn, order });
        }
        Ok(order)
    }
}
