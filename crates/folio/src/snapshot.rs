//! Words out of a pagemap and in again, for checkers that keep many states and run the shipped code on each.
//!
//! Only with the feature `snapshot`: the caller that puts words in answers for the promises that the types keep otherwise.
//!
//! With [`Reset::OnForm`](crate::Reset) words of free pages and of tails come out as they are, with what was left in
//! them. So a checker goes by the live flag (bit 32), and not by zero, to tell heads from other pages; when it renames
//! pages it must not take the data of such a word for a page that exists. It should keep these words in its
//! states, since "they make no difference" is what it is to find out.
//!
//! The count of collapses that lookups compare is not part of a state: it matters only to a lookup under way.
//!
//! ```
//! # use bifolio_folio::*;
//! # struct Nowhere;
//! # impl Pool for Nowhere {
//! #     fn folio_free(&self, _: FreeRange, _: u32) {}
//! #     fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}
//! #     fn folio_collapse(&self, _: Pfn, _: Order, _: Order, _: u32) {}
//! # }
//! let map = PageMap::new(MemoryKind::Private, Pfn::ZERO, 4, Nowhere)?;
//! let (mut words, live) = ([0; 4], map.snapshot_live());
//! let folio = map.form(FreeRange::claim(Pfn::ZERO, Order::ZERO), 7)?;
//! drop(folio);
//! map.snapshot_words(&mut words);
//! map.restore(&words, live);
//! assert!(map.resume::<Live>(Pfn::ZERO, Order::ZERO).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::folio::{Folio, State};
use crate::order::Order;
use crate::pagemap::PageMap;
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::sync::Ordering;
use crate::word::Word;

impl<P: Pool> PageMap<P> {
    /// Copies the words of the first `words.len()` pages out. Only while no other thread changes the pagemap.
    pub fn snapshot_words(&self, words: &mut [u64]) {
        for (out, (_, word)) in words.iter_mut().zip(self.numbered_words()) {
            *out = word.load(Ordering::Relaxed);
        }
    }

    /// Returns the counter of pages in live folios; the highest bit is set once the pagemap was killed.
    #[must_use]
    pub fn snapshot_live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Puts words of the first `words.len()` pages, and the counter, back in. Handles that exist keep what they
    /// remember: there should be none, except those of [`RawFolio`](crate::RawFolio)s that belong to the state.
    pub fn restore(&self, words: &[u64], live: u64) {
        for (value, (_, word)) in words.iter().zip(self.numbered_words()) {
            word.store(*value, Ordering::Relaxed);
        }
        self.restore_live(live);
    }

    /// Puts the word of one page back in, as [`restore`](PageMap::restore) does; nothing outside the pagemap.
    pub fn restore_word(&self, page: Pfn, value: u64) {
        if let Some(word) = self.word(page) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Puts the counter back in.
    pub fn restore_live(&self, live: u64) {
        self.live.store(live, Ordering::Relaxed);
    }

    /// Returns the handle of a reference that the state put in has, or `None` if the page's word does not go
    /// with it. The caller answers for there being such a reference that has no other handle.
    pub fn resume<S: State>(&self, head: Pfn, order: Order) -> Option<Folio<'_, P, S>> {
        let word = Word::from_raw(self.word(head)?.load(Ordering::Relaxed));
        let held = word.raw() & S::HELD == S::HELD;
        (held && word.order() == Some(order)).then(|| Folio::from_parts(self, head, order))
    }
}
