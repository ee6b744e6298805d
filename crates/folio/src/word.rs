//! The packed page word: all that is known about a folio, in 64 bits at its head page.
//!
//! ```text
//!  63                    40 39     35  34   33   32  31                              0
//! +------------------------+---------+----+----+----+---------------------------------+
//! |          data          |  order  | FZ | LK | LV |            references           |
//! |         24 bits        |  5 bits |    |    |    |             32 bits             |
//! +------------------------+---------+----+----+----+---------------------------------+
//!  LV live    the page is the head of a folio
//!  LK locked  one holder has the folio lock
//!  FZ frozen  the lock holder splits or collapses the folio; no reference can be taken
//! ```
//!
//! | State | LV LK FZ | references | what may change the word |
//! |---|---|---|---|
//! | free page, or tail of a folio | 0 0 0 | 0 | the owner of the range, by forming a folio: -> locked |
//! | locked (as formed, or later) | 1 1 0 | >= 1 | any holder: +1, -1; lock holder: unlock, freeze |
//! | live | 1 0 0 | >= 1 | any holder: +1, -1, lock; last reference: -> free in one step |
//! | frozen | 1 1 1 | 1 | lock holder only: -> a locked piece, a locked whole, or a tail |
//!
//! In the first row order and data are zero as well under [`Reset::OnFree`]. Under [`Reset::OnForm`] they are what
//! the last folio that began at the page left there, and mean nothing: every reader of a word looks at LV first, and
//! [`Word::order`] gives nothing without it.
//!
//! Consequences: a word has LV set with at least one reference, or neither, so free and frozen cannot be
//! mistaken for one another (I10); there is no state "no references but not yet ended"; forming writes the whole
//! word, so nothing of a former life is in it (I2); and whatever a reader finds in one load belongs together.
//!
//! Memory orderings, once for all users of the word:
//! - **form** is `Release`: a thread that finds the folio by number also sees what its maker did before, such as
//!   setting up the object that `data` stands for. What former owners did happens before anyway, as the
//!   range was passed on.
//! - **get** by a holder of a reference is `Relaxed`: it can already see everything. **get by number** is
//!   `Acquire`, to see what the maker and, after a split, the splitter wrote, pieces included.
//! - **put** is `AcqRel`: every holder's use happens before the pool reuses the pages. (`Acquire` is for the last
//!   put only, which cannot be known before the exchange.) It is one exchange and not a subtraction, so that the last
//!   put ends the folio in the same step; a put that is not the last would save 3 of 33 instructions otherwise.
//! - **lock** is `Acquire`, **unlock** `Release`, as for any lock.
//! - **freeze** is `Acquire`: the uses of holders that have gone happen before the split or the collapse.
//! - **pieces** are stored with `Release`, the head last, so that a reader that finds the head small also
//!   finds the pieces. What a collapse stores is `Release` too, with a count that lookups compare: see there.

use core::fmt;

use crate::order::Order;
use crate::reset::Reset;

const LIVE: u64 = 1 << 32;
const LOCKED: u64 = 1 << 33;
const FROZEN: u64 = 1 << 34;
const ORDER_SHIFT: u32 = 35;
const ORDER_MASK: u64 = 0x1f << ORDER_SHIFT;
const DATA_SHIFT: u32 = 40;
const DATA_MASK: u64 = !0 << DATA_SHIFT;

/// Largest value of the pool's `data` that a page word can hold (24 bits).
pub const DATA_MAX: u32 = (1 << 24) - 1;

/// Most references of one folio; taking one more is refused.
///
/// The field could count to 2^32 - 1. The other half is a margin for threads that have added one and have not
/// yet seen that they must take it back.
pub const REFERENCES_MAX: u32 = 1 << 31;

const _: () = assert!(Order::MAX.get() <= 0x1f && DATA_SHIFT + 24 == u64::BITS);

/// One page word, decoded on demand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// Page at which no folio ever began.
    pub(crate) const FREE: Word = Word(0);

    /// What to add to a word for one more reference.
    pub(crate) const ONE_REFERENCE: u64 = 1;

    /// What to set in a word to lock, and to clear to unlock.
    pub(crate) const LOCK: u64 = LOCKED;

    /// What to clear in a word to take a freeze back.
    pub(crate) const FREEZE: u64 = FROZEN;

    /// Makes the word of a new folio: one reference, locked (I11). `data` is at most [`DATA_MAX`].
    pub(crate) fn formed(order: Order, data: u32) -> Word {
        debug_assert!(data <= DATA_MAX, "data {data:#x} has more than 24 bits");
        let order = u64::from(order.get()) << ORDER_SHIFT;
        Word(u64::from(data) << DATA_SHIFT | order | LOCKED | LIVE | 1)
    }

    pub(crate) const fn from_raw(raw: u64) -> Word {
        Word(raw)
    }

    pub(crate) const fn raw(self) -> u64 {
        self.0
    }

    /// Tells whether a free page or a tail may have this word: what one that ended left there, or nothing.
    pub(crate) const fn is_free(self, reset: Reset) -> bool {
        self.0 & !left_over(reset) == 0
    }

    pub(crate) const fn is_locked(self) -> bool {
        self.0 & LOCKED != 0
    }

    pub(crate) const fn is_frozen(self) -> bool {
        self.0 & FROZEN != 0
    }

    pub(crate) const fn is_saturated(self) -> bool {
        self.references() >= REFERENCES_MAX
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low half is the field")]
    pub(crate) const fn references(self) -> u32 {
        self.0 as u32
    }

    pub(crate) const fn data(self) -> u32 {
        (self.0 >> DATA_SHIFT) as u32
    }

    /// Returns the order, or `None` if the page is no head (or the word is broken).
    pub(crate) const fn order(self) -> Option<Order> {
        if self.0 & LIVE == 0 {
            return None;
        }
        Order::new(((self.0 & ORDER_MASK) >> ORDER_SHIFT) as u8)
    }

    /// Returns the word after one more reference was taken.
    pub(crate) const fn with_reference(self) -> Word {
        Word(self.0 + Word::ONE_REFERENCE)
    }

    /// Returns the word after a holder has left and `flags` are cleared with its reference: that of a free page if it
    /// was the last.
    pub(crate) const fn without_reference(self, flags: u64, reset: Reset) -> Word {
        if self.references() == 1 { self.ended(reset) } else { Word((self.0 - 1) & !flags) }
    }

    /// Returns the word of the page once no folio begins there any more.
    pub(crate) const fn ended(self, reset: Reset) -> Word {
        Word(self.0 & left_over(reset))
    }

    /// Returns the word of the same folio while it is being split or collapsed.
    pub(crate) const fn frozen(self) -> Word {
        Word(self.0 | FROZEN)
    }

    /// Tells whether the word is one of the states of the table above.
    pub(crate) const fn is_valid(self, reset: Reset) -> bool {
        if self.is_free(reset) {
            return true;
        }
        let frozen_alone = !self.is_frozen() || (self.is_locked() && self.references() == 1);
        self.order().is_some() && self.references() > 0 && frozen_alone
    }
}

/// Returns the fields that outlive the folio.
const fn left_over(reset: Reset) -> u64 {
    match reset {
        Reset::OnFree => 0,
        Reset::OnForm => ORDER_MASK | DATA_MASK,
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(order) = self.order() else { return write!(f, "Word({:#x})", self.0) };
        f.debug_struct("Word")
            .field("order", &order.get())
            .field("references", &self.references())
            .field("locked", &self.is_locked())
            .field("frozen", &self.is_frozen())
            .field("data", &self.data())
            .finish()
    }
}
