//! Collapsing quiet pieces into one folio in place: the inverse of a split.
//!
//! ```text
//!   a pair, orders 1 and 1 to 2      any tiles of one aligned block
//!   [ . . | . . ]                    [ . . | . | . | . . . . ]
//!   [ . . . . ]                      [ . . . . . . . . ]
//! ```
//!
//! Pieces are locked by the caller, have no other reference, and carry the same `data`. Steps:
//! 1. freeze: no reference can be taken any more; if one piece is shared, those frozen before are thawed and all are
//!    given back;
//! 2. the pool drops one reference of the backing object per piece that vanishes (I7);
//! 3. the head's word becomes that of the whole, still frozen;
//! 4. one is added to the pagemap's count of collapses;
//! 5. the words of the other pieces end, as they would at a last put;
//! 6. the head is thawed: locked, one reference.
//!
//! After the first step nothing can fail. The pagemap's count of pages stays as it is (I8), and no word
//! but those of the pieces is touched (I6).
//!
//! # Why no lookup takes a live page for a free one
//!
//! A lookup probes the possible heads of a page, the largest block first. While pages are merely split, what covers
//! the page moves in the direction of the probing, so it cannot be missed. A collapse moves it back: a lookup may have
//! passed the head before step 3, and come to the piece after step 5. But then
//! - a thread that sees that a piece has ended (step 5 is `Release`, probes are `Acquire`) also sees the addition of step 4, so
//!   it finds the count changed since it began, and probes again;
//! - a thread that saw that addition *before* it began to probe (step 4 is `Release`, the first look at the count is `Acquire`)
//!   also finds the head large, or what became of it later.
//!
//! So a lookup that ends with "free" has missed neither a split nor a collapse. All stores here are `Release`, that of
//! step 3 too: it replaces the word by which an earlier split of a larger block made its pieces known.

use alloc::vec::Vec;

use crate::folio::{Folio, Locked};
use crate::order::Order;
use crate::pagemap::PageMap;
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::sync::Ordering;
use crate::word::Word;

/// What is wrong with a request to collapse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollapseErrorKind {
    /// Fewer than two pieces.
    #[error("a collapse needs two pieces or more")]
    TooFew,
    /// A piece belongs to another pagemap than the first.
    #[error("folio at page {page} is of another pagemap")]
    OtherPagemap {
        /// Head of the piece.
        page: Pfn,
    },
    /// A piece carries other data than the first: the whole could not carry both.
    #[error("folio at page {page} carries other data")]
    OtherData {
        /// Head of the piece.
        page: Pfn,
    },
    /// The pieces are not adjacent.
    #[error("no piece begins at page {page}")]
    Gap {
        /// Where the next piece should begin.
        page: Pfn,
    },
    /// No folio can have these pages: their number is not a power of two, is too large, or the first page is not
    /// a multiple of it.
    #[error("{pages} pages from page {head} are not one aligned block")]
    NotABlock {
        /// The first page.
        head: Pfn,
        /// The number of pages.
        pages: u64,
    },
    /// Others hold references too; try again when they are gone.
    #[error("folio at page {page} has {references} references")]
    Shared {
        /// Head of the piece.
        page: Pfn,
        /// References found, the caller's included.
        references: u32,
    },
}

/// A refused collapse. The pieces are given back as they were, sorted by page.
#[derive(Debug, thiserror::Error)]
#[error("cannot collapse folios into one")]
pub struct CollapseError<T> {
    /// What is wrong.
    #[source]
    pub kind: CollapseErrorKind,
    /// The pieces, still locked by the caller.
    pub pieces: T,
}

impl<'m, P: Pool> Folio<'m, P, Locked> {
    /// Makes one folio of the two halves of a block, of which this is either.
    ///
    /// ```
    /// # use bifolio_folio::*;
    /// # struct Nowhere;
    /// # impl Pool for Nowhere {
    /// #     fn folio_free(&self, _: FreeRange, _: u32) {}
    /// #     fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}
    /// #     fn folio_collapse(&self, _: Pfn, _: Order, _: Order, _: u32) {}
    /// # }
    /// # let map = PageMap::new(MemoryKind::Private, Pfn::ZERO, 512, Nowhere)?;
    /// let whole = map.form(FreeRange::claim(Pfn::ZERO, Order::PMD), 0)?;
    /// let mut halves = whole.split(Order::new(8).unwrap()).unwrap().map(|half| half.unlock().into_raw());
    /// let (lower, upper) = (halves.next().unwrap(), halves.next().unwrap());
    ///
    /// // Later:
    /// let [lower, upper] = [lower, upper].map(|half| map.from_raw(half).try_lock());
    /// match lower.unwrap().collapse(upper.unwrap()) {
    ///     Ok(whole) => assert_eq!(whole.unlock().order(), Order::PMD),
    ///     Err(refused) => drop(refused.pieces.map(Folio::unlock)),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CollapseError`], with both inside, if they are not the halves of one block, carry different data, or
    /// there is another reference of either.
    pub fn collapse(self, other: Self) -> Result<Self, CollapseError<[Self; 2]>> {
        collapse([self, other])
    }

    /// Makes one folio of pieces that together are one aligned block, in any order and of any orders.
    ///
    /// # Errors
    /// [`CollapseError`], with all pieces inside, if they are fewer than two, do not tile a block, carry
    /// different data, or there is another reference of one.
    pub fn collapse_all(pieces: Vec<Self>) -> Result<Self, CollapseError<Vec<Self>>> {
        collapse(pieces)
    }
}

fn collapse<'m, P, T>(mut pieces: T) -> Result<Folio<'m, P, Locked>, CollapseError<T>>
where
    P: Pool,
    T: AsMut<[Folio<'m, P, Locked>]> + IntoIterator<Item = Folio<'m, P, Locked>>,
{
    let sorted = pieces.as_mut();
    sorted.sort_unstable_by_key(Folio::head);
    let whole = Whole::of(sorted).and_then(|whole| freeze_all(sorted).map(|()| whole));
    match whole {
        Ok(whole) => {
            whole.tell_pool(sorted);
            whole.write(sorted);
            // Their references and locks are gone with their words; the whole has those of the first.
            pieces.into_iter().for_each(|piece| drop(piece.into_raw()));
            Ok(Folio::from_parts(whole.map, whole.head, whole.order))
        }
        Err(kind) => Err(CollapseError { kind, pieces }),
    }
}

/// Freezes all pieces, or none.
fn freeze_all<P: Pool>(pieces: &[Folio<'_, P, Locked>]) -> Result<(), CollapseErrorKind> {
    for (index, piece) in pieces.iter().enumerate() {
        if let Err(references) = piece.freeze() {
            pieces[..index].iter().for_each(Folio::thaw);
            return Err(CollapseErrorKind::Shared { page: piece.head(), references });
        }
    }
    Ok(())
}

/// The folio to be.
struct Whole<'m, P> {
    map: &'m PageMap<P>,
    head: Pfn,
    order: Order,
    data: u32,
}

impl<'m, P: Pool> Whole<'m, P> {
    /// Returns what pieces sorted by page would make, if they may.
    fn of(pieces: &[Folio<'m, P, Locked>]) -> Result<Self, CollapseErrorKind> {
        let [first, _, ..] = pieces else { return Err(CollapseErrorKind::TooFew) };
        let (map, head, data) = (first.pagemap(), first.head(), first.data());
        let mut pages = 0;
        for piece in pieces {
            let page = piece.head();
            if !core::ptr::eq(piece.pagemap(), map) {
                return Err(CollapseErrorKind::OtherPagemap { page });
            }
            if piece.data() != data {
                return Err(CollapseErrorKind::OtherData { page });
            }
            let expected = Pfn::new(head.get() + pages);
            if page != expected {
                return Err(CollapseErrorKind::Gap { page: expected });
            }
            pages += piece.pages();
        }
        let order = Order::covering(pages).filter(|order| order.pages() == pages && head.is_aligned(*order));
        let order = order.ok_or(CollapseErrorKind::NotABlock { head, pages })?;
        Ok(Whole { map, head, order, data })
    }

    fn tell_pool(&self, pieces: &[Folio<'m, P, Locked>]) {
        let from = pieces[0].order();
        if pieces.iter().all(|piece| piece.order() == from) {
            return self.map.pool().folio_collapse(self.head, from, self.order, self.data);
        }
        for piece in pieces {
            self.tell_joins(piece.head(), piece.order());
        }
    }

    /// Tells of all joins that a block completes. Pieces come by page, so the lower half is complete when the upper is.
    fn tell_joins(&self, mut head: Pfn, mut order: Order) {
        while let Some(larger) =
            order.larger().filter(|&larger| larger <= self.order && !head.is_aligned(larger))
        {
            head = head.align_down(larger);
            self.map.pool().folio_collapse(head, order, larger, self.data);
            order = larger;
        }
    }

    /// Writes the words of all pieces: from here on they are no more. See the module for the order.
    fn write(&self, pieces: &[Folio<'m, P, Locked>]) {
        let whole = Word::formed(self.order, self.data);
        let head = pieces[0].word();
        head.store(whole.frozen().raw(), Ordering::Release);
        self.map.count_collapse();
        for piece in &pieces[1..] {
            piece.word().store(piece.load().ended(self.map.reset()).raw(), Ordering::Release);
        }
        head.store(whole.raw(), Ordering::Release);
    }
}
