//! [`PageMap`]: the page words of one stretch of device memory, and finding folios by page number.
//!
//! ```text
//!   words   [ W  0  0  0 | W  W | 0  0 | 0 0 0 0 0 0 0 0 ]      W = head of a folio
//!             order 2      0  0   free   free
//!   live    [ DEAD? | pages in live folios = 6 ]
//! ```
//!
//! Eight bytes a page, the counter, and another one of collapses. Rules kept here: I8 (the counter equals the pages in
//! live folios; split and collapse do not change it) and I16 (no form after [`kill`](PageMap::kill); drained for good
//! once the counter is 0). The pagemap of a page is never looked up in the page: the caller names it (I3).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::folio::{Folio, Live};
use crate::order::{Order, PAGE_SHIFT};
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::reset::Reset;
use crate::sync::{AtomicU64, Ordering};
use crate::word::Word;

/// Set in `PageMap::live` once the pagemap was killed; the other bits count pages.
const DEAD: u64 = 1 << 63;

/// Words in 4096 bytes.
const GROUP: usize = 512;
/// Words in a cache line of the usual size.
const LINE: usize = 8;

/// How the CPU reaches the memory of a pagemap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryKind {
    /// The CPU cannot load or store; its touch is a fault that brings the folio home.
    Private,
    /// The CPU loads and stores directly; such folios must not be pinned for long.
    Coherent,
}

/// Why a pagemap cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageMapError {
    /// A pagemap needs at least one page.
    #[error("pagemap without pages")]
    Empty,
    /// The last byte would have an address of more than 64 bits.
    #[error("{pages} pages from page {first} reach beyond a 64-bit address")]
    TooLarge {
        /// The first page asked for.
        first: Pfn,
        /// The number of pages asked for.
        pages: u64,
    },
    /// The 8 bytes a page could not be allocated.
    #[error("no memory for the words of {pages} pages")]
    OutOfMemory {
        /// The number of pages asked for.
        pages: u64,
    },
}

/// Why no reference can be taken by page number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// The page is not one of this pagemap.
    #[error("page lies outside the pagemap")]
    Outside,
    /// No folio covers the page.
    #[error("page is free")]
    Free,
    /// The folio is being split or collapsed; what becomes of it can be had in a moment.
    #[error("folio is frozen by a split or a collapse")]
    Frozen,
    /// The folio has [`REFERENCES_MAX`](crate::REFERENCES_MAX) references.
    #[error("folio has too many references")]
    Saturated,
}

/// Page words, counter and pool of one stretch of device memory.
///
/// Shared by reference between any number of threads; folios borrow it, so it outlives them.
pub struct PageMap<P> {
    words: Box<[AtomicU64]>,
    first: Pfn,
    /// Pages in live folios, and the kill flag.
    pub(crate) live: AtomicU64,
    /// Collapses so far: if it changed, a lookup that found nothing may have missed a folio.
    collapses: AtomicU64,
    kind: MemoryKind,
    largest: Order,
    reset: Reset,
    pool: P,
}

impl<P: Pool> PageMap<P> {
    /// Makes a pagemap of `pages` free pages that begin at `first`, which resets folios when they are freed.
    ///
    /// # Errors
    /// [`PageMapError`] if there are no pages, too many, or too little memory for the words.
    pub fn new(kind: MemoryKind, first: Pfn, pages: u64, pool: P) -> Result<PageMap<P>, PageMapError> {
        Self::with_reset(Reset::OnFree, kind, first, pages, pool)
    }

    /// Makes a pagemap as [`new`](PageMap::new) does, which resets folios when it is told to.
    ///
    /// # Errors
    /// [`PageMapError`] if there are no pages, too many, or too little memory for the words.
    pub fn with_reset(
        reset: Reset,
        kind: MemoryKind,
        first: Pfn,
        pages: u64,
        pool: P,
    ) -> Result<PageMap<P>, PageMapError> {
        let largest = Order::largest_fitting(pages).ok_or(PageMapError::Empty)?;
        let end = first.checked_add(pages).map_or(u64::MAX, Pfn::get);
        if end > 1 << (u64::BITS - PAGE_SHIFT) {
            return Err(PageMapError::TooLarge { first, pages });
        }
        let words = free_words(pages).ok_or(PageMapError::OutOfMemory { pages })?;
        let (live, collapses) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(PageMap { words, first, live, collapses, kind, largest, reset, pool })
    }

    /// Replaces the pool by one made of it, such as one that watches what the first one does.
    #[must_use]
    pub fn map_pool<Q: Pool>(self, make: impl FnOnce(P) -> Q) -> PageMap<Q> {
        let PageMap { words, first, live, collapses, kind, largest, reset, pool } = self;
        PageMap { words, first, live, collapses, kind, largest, reset, pool: make(pool) }
    }

    /// Returns how the CPU reaches this memory.
    #[must_use]
    pub fn kind(&self) -> MemoryKind {
        self.kind
    }

    /// Returns when the folios of this pagemap are reset.
    #[must_use]
    pub fn reset(&self) -> Reset {
        self.reset
    }

    /// Returns the first page.
    #[must_use]
    pub fn first(&self) -> Pfn {
        self.first
    }

    /// Returns the number of pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.words.len() as u64
    }

    /// Returns the pool that gets the folios back.
    #[must_use]
    pub fn pool(&self) -> &P {
        &self.pool
    }

    /// Tells whether the page is one of this pagemap.
    #[must_use]
    pub fn contains(&self, pfn: Pfn) -> bool {
        self.word(pfn).is_some()
    }

    /// Forbids forming from here on; live folios stay until their last put (I16).
    pub fn kill(&self) {
        // Release: a thread that finds the pagemap dead sees what was done before.
        self.live.fetch_or(DEAD, Ordering::Release);
    }

    /// Tells whether [`kill`](PageMap::kill) was called.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.live.load(Ordering::Acquire) & DEAD != 0
    }

    /// Returns the number of pages in live folios, a value of the past when other threads work.
    #[must_use]
    pub fn live_pages(&self) -> u64 {
        self.live.load(Ordering::Acquire) & !DEAD
    }

    /// Tells whether the pagemap was killed and its last folio has gone back to the pool; never false again
    /// once it was true.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.live.load(Ordering::Acquire) == DEAD
    }

    /// Returns head and order of the folio that covers the page, a value of the past when other threads work.
    #[must_use]
    pub fn head_of(&self, pfn: Pfn) -> Option<(Pfn, Order)> {
        self.probe(pfn, |head, word| {
            let order = Word::from_raw(word.load(Ordering::Acquire)).order()?;
            pfn.is_within(head, order).then_some((head, order))
        })
    }

    /// Takes a reference of the folio that covers the page, for a caller that holds none yet.
    ///
    /// Probes from the largest possible head down, at most 19 words. A split writes the pieces before it
    /// makes the head small, and a lookup that was overtaken by a collapse probes again, so a page that is live all the
    /// time is never reported free because of either. The reference is taken by one compare-and-swap of
    /// the whole word, so it cannot be of a folio that has meanwhile been freed, or formed anew with an order that
    /// does not cover the page.
    ///
    /// # Errors
    /// [`GetError`]: nothing was changed.
    pub fn try_get(&self, pfn: Pfn) -> Result<Folio<'_, P, Live>, GetError> {
        if !self.contains(pfn) {
            return Err(GetError::Outside);
        }
        let found = self.probe(pfn, |head, word| {
            let order = get_if_covering(word, head, pfn).transpose()?;
            Some(order.map(|order| Folio::from_parts(self, head, order)))
        });
        found.unwrap_or(Err(GetError::Free))
    }

    /// Returns the word of a page, or `None` outside the pagemap.
    pub(crate) fn word(&self, pfn: Pfn) -> Option<&AtomicU64> {
        let offset = usize::try_from(pfn.offset_from(self.first)?).ok()?;
        // Beyond the end the place is beyond it too.
        self.words.get(self.place(offset))
    }

    /// Returns the first word of a block, or `None` if part of it lies outside the pagemap.
    pub(crate) fn head_word(&self, head: Pfn, order: Order) -> Option<&AtomicU64> {
        let last = head.checked_add(order.pages() - 1)?;
        self.word(last).and_then(|_| self.word(head))
    }

    /// Returns the words of all pages with their numbers.
    pub(crate) fn numbered_words(&self) -> impl Iterator<Item = (Pfn, &AtomicU64)> {
        let numbers = (self.first.get()..).map(Pfn::new);
        numbers.zip((0..self.words.len()).map(|offset| &self.words[self.place(offset)]))
    }

    /// Returns where the word of a page is.
    ///
    /// Not simply at its offset: the heads of folios of 2 MiB would be 4096 bytes apart, which is one and the same set of
    /// a cache of the usual shape. So each group of 512 words begins one cache line further into its 4096 bytes
    /// than the group before; a group at the end that is not whole stays as it is.
    fn place(&self, offset: usize) -> usize {
        let whole_groups = self.words.len() & !(GROUP - 1);
        if offset >= whole_groups {
            return offset;
        }
        let turned = offset.wrapping_add(offset / GROUP * LINE) & (GROUP - 1);
        offset & !(GROUP - 1) | turned
    }

    /// Counts the pages of a folio that is about to be formed; refused after `kill`.
    ///
    /// A loop rather than "add, look, take back": the counter must not rise again after it was drained.
    pub(crate) fn count_pages(&self, pages: u64) -> bool {
        let add = |live| (live & DEAD == 0).then_some(live + pages);
        // Relaxed: that no form follows a kill is a matter of this one word; nothing else is read because of it.
        self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Takes off the pages of a folio that the pool has got back.
    pub(crate) fn uncount_pages(&self, pages: u64) {
        // Release: the pool's work happens before any thread finds the pagemap drained.
        let live = self.live.fetch_sub(pages, Ordering::Release);
        debug_assert!(live & !DEAD >= pages, "I8: {pages} pages taken off {}", live & !DEAD);
    }

    /// Counts a collapse, between making the head large and ending the other pieces.
    pub(crate) fn count_collapse(&self) {
        // Release, and an exchange, so that it passes on what earlier collapses released: see `probe`.
        self.collapses.fetch_add(1, Ordering::Release);
    }

    /// Looks at the possible heads of a page, the largest block first, until one answers; again if a collapse
    /// may have carried the page from a head not yet looked at to one already passed.
    fn probe<T>(&self, pfn: Pfn, look: impl Fn(Pfn, &AtomicU64) -> Option<T>) -> Option<T> {
        loop {
            // Acquire: the heads of the collapses counted here are large for the looks that follow.
            let before = self.collapses.load(Ordering::Acquire);
            let found = self.heads_covering(pfn).find_map(|(head, word)| look(head, word));
            // Relaxed: looks are `Acquire`, so a thread that saw a piece end sees that collapse counted.
            if found.is_some() || self.collapses.load(Ordering::Relaxed) == before {
                return found;
            }
        }
    }

    fn heads_covering(&self, pfn: Pfn) -> impl Iterator<Item = (Pfn, &AtomicU64)> {
        pfn.heads_covering(self.largest).filter_map(|head| Some((head, self.word(head)?)))
    }
}

impl<P> fmt::Debug for PageMap<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.live.load(Ordering::Relaxed);
        f.debug_struct("PageMap")
            .field("kind", &self.kind)
            .field("reset", &self.reset)
            .field("first", &self.first)
            .field("pages", &self.words.len())
            .field("live_pages", &(live & !DEAD))
            .field("dead", &(live & DEAD != 0))
            .finish_non_exhaustive()
    }
}

/// Adds a reference if the word is the head of a folio that covers the page; `None` if it is not.
fn get_if_covering(word: &AtomicU64, head: Pfn, pfn: Pfn) -> Result<Option<Order>, GetError> {
    let mut seen = Word::from_raw(word.load(Ordering::Acquire));
    loop {
        let Some(order) = seen.order().filter(|&order| pfn.is_within(head, order)) else { return Ok(None) };
        if seen.is_frozen() {
            return Err(GetError::Frozen);
        }
        if seen.is_saturated() {
            return Err(GetError::Saturated);
        }
        let more = seen.with_reference().raw();
        match word.compare_exchange_weak(seen.raw(), more, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => return Ok(Some(order)),
            Err(now) => seen = Word::from_raw(now),
        }
    }
}

fn free_words(pages: u64) -> Option<Box<[AtomicU64]>> {
    let pages = usize::try_from(pages).ok()?;
    let mut words = Vec::new();
    words.try_reserve_exact(pages).ok()?;
    words.resize_with(pages, || AtomicU64::new(Word::FREE.raw()));
    Some(words.into_boxed_slice())
}
