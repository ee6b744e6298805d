//! Device memory in chunks that are made on demand: [`Chunks`].
//!
//! ```text
//!   device   | chunk 0 | chunk 1 | chunk 2 | chunk 3 |ch 4|      the last one is as long as what is left
//!              made      not       made      not      not
//!   chunk    | slot | slot | slot | ... | slot |                 1 to 8 slots of 2 MiB
//! ```
//!
//! A folio comes out of the smallest free one that is large enough, which is halved on the way; with none, out of a
//! new chunk. A folio given back joins its other half as long as that is free, so an empty chunk consists of whole
//! slots again and can go back to the device. Nothing is lost at the end of a device of odd size: the last chunk
//! has free folios of smaller orders there.

use bifolio_folio::{Order, Pfn};

use crate::NewError;
use crate::free_lists::{FreeLists, PAGES_MAX};

/// Most slots of 2 MiB in a chunk, as a logarithm.
const SLOTS_LOG_MAX: u32 = 3;
/// The least number of chunks of a device, if they have more than one slot.
const CHUNKS_LEAST: u64 = 8;

/// What becomes of a chunk of which nothing is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Empty {
    /// It goes back to the device, if another one is empty already: one is kept for the next folio.
    GivenBack,
    /// It stays a chunk until all are given back.
    Kept,
}

/// The memory of a device, and which of it is free.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    pub(crate) lists: FreeLists,
    /// Pages of the device.
    pages: u64,
    /// Pages of a chunk but the last, as a logarithm.
    pub(crate) log: u32,
    /// Order of a slot: of the largest folio.
    slot: Order,
    /// Free pages of each chunk that is made.
    pub(crate) free_in: Vec<u32>,
    /// Chunks that are not made; the next one to make is the last.
    pub(crate) unmade: Vec<usize>,
    empty: Empty,
    /// The empty chunk that is kept for the next folio.
    pub(crate) cached: Option<usize>,
    /// Free pages, those of chunks not made included.
    pub(crate) free: u64,
}

impl Chunks {
    /// Takes `pages` pages from page 0 on, none in a chunk.
    pub(crate) fn new(pages: u64, empty: Empty) -> Result<Chunks, NewError> {
        Chunks::of_slots(Order::PMD, pages, empty)
    }

    /// The same with slots of an order, which is also the largest of a folio.
    pub(crate) fn of_slots(slot: Order, pages: u64, empty: Empty) -> Result<Chunks, NewError> {
        if pages == 0 || pages > PAGES_MAX {
            return Err(NewError::Pages { pages, most: PAGES_MAX });
        }
        let slots = pages / slot.pages() / CHUNKS_LEAST;
        let log = slots.checked_ilog2().unwrap_or(0).min(SLOTS_LOG_MAX) + u32::from(slot.get());
        let count = usize::try_from(pages.div_ceil(1 << log)).expect("fewer chunks than addresses");
        Ok(Chunks {
            lists: FreeLists::new(count, log),
            pages,
            log,
            slot,
            free_in: vec![0; count],
            unmade: (0..count).rev().collect(),
            empty,
            cached: None,
            free: pages,
        })
    }

    /// Takes a free folio.
    pub(crate) fn take(&mut self, order: Order) -> Option<Pfn> {
        let mut from = self.lists.smallest_from(order);
        if from.is_none() && self.make_one(order) {
            from = self.lists.smallest_from(order);
        }
        let from = from?;
        let page = self.lists.pop(from)?;
        for half in from.descending_to(order).skip(1) {
            self.lists.push(Pfn::new(page.get() + half.pages()), half);
        }
        let chunk = self.chunk_of(page);
        self.free_in[chunk] -= pages_u32(order);
        self.free -= order.pages();
        self.cached = self.cached.filter(|cached| *cached != chunk);
        Some(page)
    }

    /// Takes back a folio, or a piece of one.
    pub(crate) fn give(&mut self, page: Pfn, order: Order) {
        let chunk = self.chunk_of(page);
        self.free_in[chunk] += pages_u32(order);
        self.free += order.pages();
        let (page, order) = self.join_halves(page, order);
        self.lists.push(page, order);
        if u64::from(self.free_in[chunk]) == self.pages_of(chunk) && self.empty == Empty::GivenBack {
            match self.cached {
                Some(_) => self.unmake(chunk),
                None => self.cached = Some(chunk),
            }
        }
    }

    /// Takes the other halves of a free folio off their lists as far as they are free; returns the whole.
    fn join_halves(&mut self, mut page: Pfn, mut order: Order) -> (Pfn, Order) {
        while let Some(larger) = order.larger().filter(|larger| *larger <= self.slot) {
            let other = page.buddy(order);
            if self.lists.order_at(other) != Some(order) {
                break;
            }
            self.lists.remove(other, order);
            (page, order) = (page.min(other), larger);
        }
        (page, order)
    }

    /// Tells whether [`Chunks::take`] would find a folio.
    pub(crate) fn can_allocate(&self, order: Order) -> bool {
        self.lists.smallest_from(order).is_some() || self.next_to_make(order).is_some()
    }

    /// Returns the pages of the device.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Returns the free pages, those of chunks not made included.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free
    }

    /// Returns how many chunks are made.
    pub(crate) fn made(&self) -> usize {
        self.free_in.len() - self.unmade.len()
    }

    /// Gives all empty chunks back to the device, the one that was kept included.
    pub(crate) fn give_back_empty(&mut self) {
        for chunk in 0..self.free_in.len() {
            if self.lists.has_part(chunk) && u64::from(self.free_in[chunk]) == self.pages_of(chunk) {
                self.unmake(chunk);
            }
        }
        self.cached = None;
    }

    fn make_one(&mut self, order: Order) -> bool {
        let Some(next) = self.next_to_make(order) else { return false };
        let chunk = self.unmade[next];
        let pages = self.pages_of(chunk);
        if !self.lists.add_part(chunk, pages) {
            return false;
        }
        self.unmade.remove(next);
        self.free_in[chunk] = u32::try_from(pages).expect("8 slots at most");
        for (page, order) in self.whole_folios(chunk) {
            self.lists.push(page, order);
        }
        true
    }

    /// Gives an empty chunk back to the device.
    fn unmake(&mut self, chunk: usize) {
        for (page, order) in self.whole_folios(chunk) {
            self.lists.remove(page, order);
        }
        self.lists.remove_part(chunk);
        self.free_in[chunk] = 0;
        self.unmade.push(chunk);
    }

    /// Returns where in `unmade` the chunk is that is to be made next for a folio of `order`. Looks at two at most: only
    /// the last chunk of a device may be too short.
    fn next_to_make(&self, order: Order) -> Option<usize> {
        self.unmade.iter().rposition(|chunk| order <= self.slot && self.pages_of(*chunk) >= order.pages())
    }

    /// Returns the free folios of an empty chunk: whole slots, and at the end of the device what fits there.
    fn whole_folios(&self, chunk: usize) -> impl Iterator<Item = (Pfn, Order)> + use<> {
        let mut page = (chunk as u64) << self.log;
        let (end, slot) = (page + self.pages_of(chunk), self.slot);
        std::iter::from_fn(move || {
            let order = Pfn::new(page).largest_block(end - page)?.min(slot);
            let folio = (Pfn::new(page), order);
            page += order.pages();
            Some(folio)
        })
    }

    pub(crate) fn chunk_of(&self, page: Pfn) -> usize {
        usize::try_from(page.get() >> self.log).expect("fewer chunks than addresses")
    }

    pub(crate) fn pages_of(&self, chunk: usize) -> u64 {
        let start = (chunk as u64) << self.log;
        (self.pages - start).min(1 << self.log)
    }

    /// Walks all lists and compares them with the counts.
    pub(crate) fn check_consistency(&self) -> Result<(), String> {
        let mut free_in = vec![0; self.free_in.len()];
        for (page, order) in self.lists.iter() {
            let within = page.is_aligned(order) && page.get() + order.pages() <= self.pages;
            if self.lists.order_at(page) != Some(order) || !within {
                return Err(format!("no free folio of order {order} is at page {page}"));
            }
            if order < self.slot && self.lists.order_at(page.buddy(order)) == Some(order) {
                return Err(format!("both halves of a folio are free, of order {order} at page {page}"));
            }
            free_in[self.chunk_of(page)] += pages_u32(order);
        }
        let unmade: u64 = self.unmade.iter().map(|chunk| self.pages_of(*chunk)).sum();
        let listed: u64 = free_in.iter().copied().map(u64::from).sum();
        if free_in != self.free_in || unmade + listed != self.free {
            return Err(format!("{} pages are counted as free, {listed} are listed", self.free));
        }
        Ok(())
    }
}

fn pages_u32(order: Order) -> u32 {
    u32::try_from(order.pages()).expect("2 MiB at most")
}
