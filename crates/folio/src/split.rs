//! Splitting a live folio in place.
//!
//! ```text
//!   uniform, order 3 to 1            around page 2, order 3 to 0
//!   [ . . . . . . . . ]              [ . . . . . . . . ]
//!   [ . . | . . | . . | . . ]        [ . . | 2 | . | . . . . ]
//!                                      1     0   0   2          orders
//! ```
//!
//! Steps of the lock holder, which must also hold the only reference:
//! 1. freeze: no reference can be taken any more, and the word says so (I10);
//! 2. the pool takes one reference of the backing object per further piece (I7);
//! 3. the words of the pieces are written, each locked with one reference, the head's last.
//!
//! After the first step nothing can fail. The pagemap's count stays as it is (I8), no word outside the folio is
//! touched (I6), and no list of pieces is kept anywhere: [`Pieces`] computes it.

use core::fmt;
use core::iter::FusedIterator;

use crate::folio::{Folio, Locked};
use crate::order::Order;
use crate::pagemap::PageMap;
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::sync::Ordering;
use crate::word::Word;

/// What is wrong with a request to split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitErrorKind {
    /// Others hold references too; try again when they are gone.
    #[error("folio has {references} references")]
    Shared {
        /// References found, the caller's included.
        references: u32,
    },
    /// Pieces must be smaller than the folio.
    #[error("pieces of order {to} are not smaller than the folio")]
    NotSmaller {
        /// The order asked for.
        to: Order,
    },
    /// The page to split around is not one of the folio.
    #[error("page {page} lies outside the folio")]
    Outside {
        /// The page asked for.
        page: Pfn,
    },
}

/// A refused split. The folio is given back as it was.
#[derive(thiserror::Error)]
#[error("cannot split the folio of order {} at page {}", folio.order(), folio.head())]
pub struct SplitError<'m, P: Pool> {
    /// What is wrong.
    #[source]
    pub kind: SplitErrorKind,
    /// The folio, still locked by the caller.
    pub folio: Folio<'m, P, Locked>,
}

impl<P: Pool> fmt::Debug for SplitError<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitError").field("kind", &self.kind).field("folio", &self.folio).finish()
    }
}

/// Where the cuts are, as page offsets from the head.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// All pieces have this order.
    Uniform(Order),
    /// One piece of this order begins at this offset; the rest is as large as alignment allows.
    Around(u64, Order),
}

impl Cut {
    /// Returns the order of the piece that begins at `offset`.
    fn order_at(self, offset: u64) -> Order {
        match self {
            Cut::Uniform(order) => order,
            Cut::Around(target, order) if offset == target => order,
            // Left of the target the blocks shrink towards it; right of it they grow.
            Cut::Around(target, order) => {
                let left_of_target = target.checked_sub(offset);
                let lowest_bit = offset & offset.wrapping_neg();
                Order::largest_fitting(left_of_target.unwrap_or(lowest_bit)).unwrap_or(order)
            }
        }
    }

    /// Iterates over the pieces of a folio of order `from`.
    fn pieces(self, from: Order) -> Cuts {
        let left = match self {
            Cut::Uniform(to) => 1 << (from.get() - to.get()),
            Cut::Around(_, to) => usize::from(from.get() - to.get()) + 1,
        };
        Cuts { cut: self, offset: 0, left }
    }
}

/// Offset and order of each piece, ascending.
#[derive(Clone, Debug)]
struct Cuts {
    cut: Cut,
    offset: u64,
    left: usize,
}

impl Iterator for Cuts {
    type Item = (u64, Order);

    fn next(&mut self) -> Option<(u64, Order)> {
        self.left = self.left.checked_sub(1)?;
        let (offset, order) = (self.offset, self.cut.order_at(self.offset));
        self.offset += order.pages();
        Some((offset, order))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'m, P: Pool> Folio<'m, P, Locked> {
    /// Splits into pieces of one order.
    ///
    /// # Errors
    /// [`SplitError`], with the folio inside, if there is another reference or `to` is not smaller.
    pub fn split(self, to: Order) -> Result<Pieces<'m, P>, SplitError<'m, P>> {
        self.split_by(Cut::Uniform(to), to)
    }

    /// Splits so that the block of order `to` that contains `page` becomes a piece, and all else stays in
    /// pieces as large as possible: one each of the orders `to` to one below the folio's.
    ///
    /// # Errors
    /// [`SplitError`], with the folio inside, if there is another reference, `to` is not smaller, or the
    /// page is not in the folio.
    pub fn split_around(self, page: Pfn, to: Order) -> Result<Pieces<'m, P>, SplitError<'m, P>> {
        if !page.is_within(self.head(), self.order()) {
            return Err(SplitError { kind: SplitErrorKind::Outside { page }, folio: self });
        }
        // Before the head only if `to` is not smaller, which is refused below.
        let target = page.align_down(to).offset_from(self.head()).unwrap_or(0);
        self.split_by(Cut::Around(target, to), to)
    }

    fn split_by(self, cut: Cut, to: Order) -> Result<Pieces<'m, P>, SplitError<'m, P>> {
        if to >= self.order() {
            return Err(SplitError { kind: SplitErrorKind::NotSmaller { to }, folio: self });
        }
        let data = match self.freeze() {
            Ok(frozen) => frozen.data(),
            Err(references) => {
                return Err(SplitError { kind: SplitErrorKind::Shared { references }, folio: self });
            }
        };
        self.tell_pool(cut, data);
        let cuts = cut.pieces(self.order());
        self.write_pieces(cuts.clone(), data);
        let (map, head, _) = self.into_parts();
        Ok(Pieces { map, head, cuts })
    }

    fn tell_pool(&self, cut: Cut, data: u32) {
        let pool = self.pagemap().pool();
        match cut {
            Cut::Uniform(to) => pool.folio_split(self.head(), self.order(), to, data),
            Cut::Around(target, to) => {
                let page = page_at(self.head(), target);
                let halvings = self.order().descending().zip(self.order().descending().skip(1));
                for (from, half) in halvings.take_while(|&(_, half)| half >= to) {
                    pool.folio_split(page.align_down(from), from, half, data);
                }
            }
        }
    }

    /// Writes the words of all pieces: from here on the folio is no more.
    fn write_pieces(&self, mut cuts: Cuts, data: u32) {
        let head = cuts.next();
        for (offset, order) in cuts.chain(head) {
            let word = self.pagemap().word(page_at(self.head(), offset));
            let word = word.expect("a piece lies within its folio");
            word.store(Word::formed(order, data).raw(), Ordering::Release);
        }
    }
}

/// The pieces of a split folio in the order of their pages, each locked with one reference.
///
/// Dropping it unlocks and puts the pieces that were not taken.
#[must_use = "dropping it puts all pieces"]
pub struct Pieces<'m, P: Pool> {
    map: &'m PageMap<P>,
    head: Pfn,
    cuts: Cuts,
}

impl<'m, P: Pool> Iterator for Pieces<'m, P> {
    type Item = Folio<'m, P, Locked>;

    fn next(&mut self) -> Option<Self::Item> {
        let (offset, order) = self.cuts.next()?;
        Some(Folio::from_parts(self.map, page_at(self.head, offset), order))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.cuts.size_hint()
    }
}

impl<P: Pool> ExactSizeIterator for Pieces<'_, P> {}
impl<P: Pool> FusedIterator for Pieces<'_, P> {}

impl<P: Pool> Drop for Pieces<'_, P> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl<P: Pool> fmt::Debug for Pieces<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("head", &self.head).field("left", &self.cuts.left).finish()
    }
}

/// Returns the page at an offset inside a folio. It has a number, as all pages of a folio do.
fn page_at(head: Pfn, offset: u64) -> Pfn {
    Pfn::new(head.get() + offset)
}
