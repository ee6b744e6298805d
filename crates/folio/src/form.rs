//! Forming a folio from free pages, at any order in constant time.
//!
//! Two atomic operations whatever the order: the pages are counted in the pagemap (I8; refused after the
//! kill, I16), then the head's word goes from that of a free page to "one reference, locked" (I11). Tails are not
//! written, as their words are never read as those of heads; so nothing outside the range can be touched either (I6). The head's word
//! is replaced as a whole, and everything known about the folio follows from the arguments (I2).
//!
//! Under [`Reset::OnForm`] the word to be replaced is not known beforehand and is loaded first. It cannot change
//! in between, as only the owner of the range may write it; if it does, the range has two owners.

use crate::folio::{Folio, Locked};
use crate::order::Order;
use crate::pagemap::PageMap;
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::range::FreeRange;
use crate::reset::Reset;
use crate::sync::{AtomicU64, Ordering};
use crate::word::{DATA_MAX, Word};

/// What is wrong with a request to form a folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormErrorKind {
    /// A folio of order k begins at a multiple of 2^k.
    #[error("page is not aligned to the order")]
    Misaligned,
    /// Part of the range is not in this pagemap.
    #[error("range reaches outside the pagemap")]
    OutOfRange,
    /// `data` has more than 24 bits.
    #[error("data {data:#x} is larger than {max:#x}", max = DATA_MAX)]
    DataTooLarge {
        /// The value asked for.
        data: u32,
    },
    /// The page belongs to a folio (I1): the range was not free, its allocator is broken.
    #[error("page {pfn} is part of a folio")]
    Busy {
        /// The first page found in use.
        pfn: Pfn,
    },
    /// The pagemap was killed (I16).
    #[error("pagemap is being torn down")]
    Dead,
}

/// A refused request to form a folio. The range is given back, nothing was changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot form a folio of order {} at page {}", range.order(), range.head())]
pub struct FormError {
    /// What is wrong.
    #[source]
    pub kind: FormErrorKind,
    /// The range, still owned by the caller.
    pub range: FreeRange,
}

/// Whether to look at more than the head before forming.
#[derive(Clone, Copy)]
enum Tails {
    Trusted,
    Verified,
}

impl<P: Pool> PageMap<P> {
    /// Forms a folio: one reference, locked, found by [`try_get`](PageMap::try_get) from here on.
    ///
    /// `data` is handed to the [`Pool`] with the pages; it stays the same for the life of the folio and of all
    /// pieces it is split into. In builds with debug assertions this is
    /// [`form_checked`](PageMap::form_checked).
    ///
    /// # Errors
    /// [`FormError`], with the range inside. [`FormErrorKind::Busy`] is found only at the head: that the tails are
    /// free is the promise of the token.
    pub fn form(&self, range: FreeRange, data: u32) -> Result<Folio<'_, P, Locked>, FormError> {
        let tails = if cfg!(debug_assertions) { Tails::Verified } else { Tails::Trusted };
        self.form_with(range, data, tails)
    }

    /// Forms a folio after looking at every page of the range and at every folio that could cover it.
    ///
    /// # Errors
    /// [`FormError`], with the range inside.
    pub fn form_checked(&self, range: FreeRange, data: u32) -> Result<Folio<'_, P, Locked>, FormError> {
        self.form_with(range, data, Tails::Verified)
    }

    fn form_with(
        &self,
        range: FreeRange,
        data: u32,
        tails: Tails,
    ) -> Result<Folio<'_, P, Locked>, FormError> {
        let (head, order) = (range.head(), range.order());
        match self.try_form(head, order, data, tails) {
            Ok(()) => Ok(Folio::from_parts(self, head, order)),
            Err(kind) => Err(FormError { kind, range }),
        }
    }

    fn try_form(&self, head: Pfn, order: Order, data: u32, tails: Tails) -> Result<(), FormErrorKind> {
        if !head.is_aligned(order) {
            return Err(FormErrorKind::Misaligned);
        }
        if data > DATA_MAX {
            return Err(FormErrorKind::DataTooLarge { data });
        }
        let word = self.head_word(head, order).ok_or(FormErrorKind::OutOfRange)?;
        if let Tails::Verified = tails {
            self.verify_free(head, order)?;
        }
        if !self.count_pages(order.pages()) {
            return Err(FormErrorKind::Dead);
        }
        if self.replace_free(word, Word::formed(order, data)) {
            return Ok(());
        }
        self.uncount_pages(order.pages());
        Err(FormErrorKind::Busy { pfn: head })
    }

    /// Writes the word of a new folio over that of a free page; refused if the page is not free.
    fn replace_free(&self, word: &AtomicU64, formed: Word) -> bool {
        let free = match self.reset() {
            Reset::OnFree => Word::FREE,
            // Relaxed: the last life ended before the range was passed on, so this is what it left.
            Reset::OnForm => Word::from_raw(word.load(Ordering::Relaxed)),
        };
        let exchange =
            || word.compare_exchange(free.raw(), formed.raw(), Ordering::Release, Ordering::Relaxed);
        free.is_free(self.reset()) && exchange().is_ok()
    }

    /// Checks I1 over the whole range: no folio covers its head, none begins inside.
    fn verify_free(&self, head: Pfn, order: Order) -> Result<(), FormErrorKind> {
        if self.head_of(head).is_some() {
            return Err(FormErrorKind::Busy { pfn: head });
        }
        let mut pages =
            (head.get()..).map(Pfn::new).take(usize::try_from(order.pages()).unwrap_or(usize::MAX));
        let used = |pfn: &Pfn| {
            let word =
                self.word(*pfn).map_or(Word::FREE, |word| Word::from_raw(word.load(Ordering::Relaxed)));
            !word.is_free(self.reset())
        };
        match pages.find(used) {
            Some(pfn) => Err(FormErrorKind::Busy { pfn }),
            None => Ok(()),
        }
    }
}
