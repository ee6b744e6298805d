//! Handles of folios: [`Folio`], in the states [`Locked`] and [`Live`].
//!
//! ```text
//!                                 get / clone
//!                                   +----+
//!                                   v    |
//!   FreeRange --form--> Locked --unlock--> Live --drop, not the last--> (nothing left)
//!                        |  ^               |
//!                  split |  +---try_lock----+--drop, the last--> ended --Pool::folio_free--> free
//!                        v  ^
//!                        |  | collapse
//!                  Locked x pieces
//! ```
//!
//! Each handle holds one reference, and a `Locked` one holds the folio lock as well. Transitions consume the
//! handle; one that is refused gives it back.
//!
//! | State | may | when dropped |
//! |---|---|---|
//! | `Locked` | be unlocked, split or collapsed; hand out further references | unlocks and puts, in one step |
//! | `Live` | be cloned; try to lock | puts |
//!
//! The order of a folio cannot change under a holder: split and collapse need the only reference. So a handle keeps it
//! and never reads it from the page again (I17).

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use crate::order::Order;
use crate::pagemap::{GetError, PageMap};
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::range::FreeRange;
use crate::sync::{AtomicU64, Ordering};
use crate::word::Word;

/// State of a folio handle that holds the folio lock.
pub enum Locked {}

/// State of a folio handle that holds a reference and nothing else.
pub enum Live {}

/// The states of a folio handle: [`Locked`] and [`Live`].
pub trait State: sealed::State {}
impl State for Locked {}
impl State for Live {}

pub(crate) mod sealed {
    use crate::word::Word;

    pub trait State {
        /// What a holder in this state clears in the word when it goes.
        const HELD: u64;
        const NAME: &'static str;
    }

    impl State for super::Locked {
        const HELD: u64 = Word::LOCK;
        const NAME: &'static str = "Locked";
    }

    impl State for super::Live {
        const HELD: u64 = 0;
        const NAME: &'static str = "Live";
    }
}

/// One reference of a folio of the pagemap it borrows, and the folio lock if `S` is [`Locked`].
///
/// Only [`PageMap::form`], [`PageMap::try_get`] and the transitions make one; see the
/// [crate documentation](crate) for what the compiler refuses.
#[must_use = "dropping it puts the reference"]
pub struct Folio<'m, P: Pool, S: State = Live> {
    map: &'m PageMap<P>,
    head: Pfn,
    order: Order,
    state: PhantomData<S>,
}

impl<'m, P: Pool, S: State> Folio<'m, P, S> {
    /// Makes the handle for a reference that was just taken.
    pub(crate) fn from_parts(map: &'m PageMap<P>, head: Pfn, order: Order) -> Self {
        Folio { map, head, order, state: PhantomData }
    }

    /// Lets go of the handle without putting its reference.
    pub(crate) fn into_parts(self) -> (&'m PageMap<P>, Pfn, Order) {
        let this = ManuallyDrop::new(self);
        (this.map, this.head, this.order)
    }

    /// Returns the pagemap.
    #[must_use]
    pub fn pagemap(&self) -> &'m PageMap<P> {
        self.map
    }

    /// Returns the first page.
    #[must_use]
    pub fn head(&self) -> Pfn {
        self.head
    }

    /// Returns the order.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// Returns the number of pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.order.pages()
    }

    /// Returns the value the pool gave when the folio was formed.
    #[must_use]
    pub fn data(&self) -> u32 {
        self.load().data()
    }

    /// Returns the number of references, a value of the past when other threads work.
    #[must_use]
    pub fn references(&self) -> u32 {
        self.load().references()
    }

    /// Tells whether the folio is locked, a value of the past unless this handle holds the lock.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.load().is_locked()
    }

    /// Takes one more reference.
    ///
    /// # Errors
    /// [`GetError::Saturated`] at [`REFERENCES_MAX`](crate::REFERENCES_MAX); nothing was changed.
    pub fn get(&self) -> Result<Folio<'m, P, Live>, GetError> {
        // Relaxed: this handle's reference keeps the folio, and its maker has seen all there is to see.
        let before = Word::from_raw(self.word().fetch_add(Word::ONE_REFERENCE, Ordering::Relaxed));
        if before.is_saturated() {
            self.word().fetch_sub(Word::ONE_REFERENCE, Ordering::Relaxed);
            return Err(GetError::Saturated);
        }
        Ok(Folio::from_parts(self.map, self.head, self.order))
    }

    pub(crate) fn word(&self) -> &'m AtomicU64 {
        self.map.word(self.head).expect("a folio lies within its pagemap")
    }

    pub(crate) fn load(&self) -> Word {
        Word::from_raw(self.word().load(Ordering::Relaxed))
    }
}

impl<'m, P: Pool> Folio<'m, P, Locked> {
    /// Unlocks, which publishes a folio just formed: others may lock it from here on.
    #[doc(alias = "publish")]
    pub fn unlock(self) -> Folio<'m, P, Live> {
        self.word().fetch_and(!Word::LOCK, Ordering::Release);
        let (map, head, order) = self.into_parts();
        Folio::from_parts(map, head, order)
    }

    /// Keeps all threads from taking a reference, for a split or a collapse. Returns the frozen word, or the number of
    /// references if this is not the only one.
    pub(crate) fn freeze(&self) -> Result<Word, u32> {
        let (word, mut seen) = (self.word(), self.load());
        loop {
            let references = seen.references();
            if references != 1 {
                return Err(references);
            }
            let frozen = seen.frozen();
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match word.compare_exchange_weak(seen.raw(), frozen.raw(), success, failure) {
                Ok(_) => return Ok(frozen),
                Err(now) => seen = Word::from_raw(now),
            }
        }
    }

    /// Takes a freeze back that led to nothing.
    pub(crate) fn thaw(&self) {
        // Relaxed: nothing was changed meanwhile, and being an exchange it passes on what its predecessors released.
        self.word().fetch_and(!Word::FREEZE, Ordering::Relaxed);
    }
}

impl<'m, P: Pool> Folio<'m, P, Live> {
    /// Takes the folio lock if it is free. Never waits: a caller that cannot have the lock does something else (I24).
    ///
    /// # Errors
    /// Gives the handle back if the folio is locked.
    pub fn try_lock(self) -> Result<Folio<'m, P, Locked>, Self> {
        let before = Word::from_raw(self.word().fetch_or(Word::LOCK, Ordering::Acquire));
        if before.is_locked() {
            return Err(self);
        }
        let (map, head, order) = self.into_parts();
        Ok(Folio::from_parts(map, head, order))
    }
}

impl<P: Pool> Clone for Folio<'_, P, Live> {
    /// Takes one more reference.
    ///
    /// # Panics
    /// At [`REFERENCES_MAX`](crate::REFERENCES_MAX), which takes that many leaked handles;
    /// [`get`](Folio::get) returns an error instead.
    fn clone(&self) -> Self {
        self.get().expect("fewer than 2^31 references of one folio")
    }
}

impl<P: Pool, S: State> Drop for Folio<'_, P, S> {
    /// Puts the reference and what the state holds, in one step; the last put ends the folio.
    fn drop(&mut self) {
        let word = self.word();
        let mut seen = self.load();
        loop {
            let left = seen.without_reference(S::HELD, self.map.reset());
            // Release for every put; Acquire is for the last one, which is not known before.
            match word.compare_exchange_weak(seen.raw(), left.raw(), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if seen.references() == 1 => return self.hand_back(seen.data()),
                Ok(_) => return,
                Err(now) => seen = Word::from_raw(now),
            }
        }
    }
}

impl<P: Pool, S: State> Folio<'_, P, S> {
    /// Gives the pages of the folio that ended to the pool. Works from what the handle remembers: the word may be
    /// that of a new folio by now (I5).
    fn hand_back(&self, data: u32) {
        self.map.pool().folio_free(FreeRange::claim(self.head, self.order), data);
        self.map.uncount_pages(self.order.pages());
    }
}

impl<P: Pool, S: State> fmt::Debug for Folio<'_, P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folio")
            .field("state", &S::NAME)
            .field("head", &self.head)
            .field("word", &self.load())
            .finish()
    }
}
