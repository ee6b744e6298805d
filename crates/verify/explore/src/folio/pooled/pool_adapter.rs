//! [`PoolAdapter`]: asks a shipped pool what the pool of a world is asked.

use std::cell::Cell;
use std::sync::Arc;

use bifolio_folio::{Order, Pfn};
use bifolio_rules::judge::{self, Verdict};
use bifolio_rules::{PageRange, RuleSet};

use crate::folio::action::PoolOperation;
use crate::folio::packed_words::{PAGES, PackedWords};
use crate::folio::pooled::call::{Call, RmapCode};
use crate::folio::pooled::state::PooledState;
use crate::folio::pooled::transition_cache::{Entry, Transitions};
use crate::folio::state::{DATA_SHIFT, NAMED_BIT, all_pages, block, data_in, ones};

/// The pool of one worker, in one of its states, and beside it what was handed out.
#[derive(Debug)]
pub struct PoolAdapter {
    cache: Arc<dyn Transitions>,
    /// Number of the pool's state.
    pub pool: Cell<u32>,
    /// For each page in use the data of its folio.
    pub owners: Cell<PackedWords>,
    /// For each page in use its home.
    pub rmaps: Cell<[RmapCode; PAGES]>,
    /// Whether the next allocation was made to fail.
    pub fails_next: Cell<bool>,
    /// Rules that the answers of the pool broke.
    pub broken: Cell<RuleSet>,
}

impl PoolAdapter {
    /// Makes an adapter of a new pool.
    pub fn new(cache: Arc<dyn Transitions>) -> PoolAdapter {
        PoolAdapter {
            cache,
            pool: Cell::new(0),
            owners: Cell::default(),
            rmaps: Cell::default(),
            fails_next: Cell::new(false),
            broken: Cell::new(RuleSet::NONE),
        }
    }

    /// Puts a state in.
    pub fn put_in(&self, state: &PooledState) {
        self.pool.set(state.pool);
        self.owners.set(state.folios.owners);
        self.rmaps.set(state.rmaps);
        self.fails_next.set(state.fails_next);
        self.broken.set(RuleSet::NONE);
    }

    /// The state of the pool.
    pub fn entry(&self) -> Arc<Entry> {
        self.cache.entry(self.pool.get())
    }

    /// Pages that the pool can hand out.
    #[expect(clippy::cast_possible_truncation, reason = "a world has 8 pages at most")]
    pub fn free(&self) -> u8 {
        self.entry().view.free_pages as u8
    }

    /// The data of a page in use.
    pub fn name_at(&self, page: u8) -> u8 {
        data_in(self.owners.get().at(page))
    }

    fn note(&self, verdict: Verdict) {
        let mut broken = self.broken.get();
        broken.note(verdict);
        self.broken.set(broken);
    }

    fn call(&self, call: Call) -> Option<(u8, u8)> {
        let (after, granted) = self.cache.call(self.pool.get(), call);
        self.pool.set(after);
        granted
    }

    fn set_owners(&self, page: u8, order: u8, name: u8, home: RmapCode) {
        let (mut owners, mut rmaps) = (self.owners.get(), self.rmaps.get());
        for (into, page) in (0..).zip(ones(block(page, order))) {
            owners.set(page, u16::from(name) << DATA_SHIFT);
            rmaps[usize::from(page)] = if home == 0 { 0 } else { home + into };
        }
        self.owners.set(owners);
        self.rmaps.set(rmaps);
    }

    /// Asks for a folio for the bytes of a home page. Returns its first page.
    pub fn allocate(&self, home: u8, order: u8) -> Option<u8> {
        let (used, before) = (self.owners.get().pages_with(NAMED_BIT), self.entry());
        let failing = self.fails_next.replace(false);
        let code = self.cache.rmap_code(order, home);
        let granted = self.call(Call::Allocate { order, home: code });
        // An object keeps its memory as a whole; what died can be had.
        let taken = if self.cache.has_objects() { before.living() } else { used };
        let free = largest_in(all_pages(self.cache.bounds().pages) & !taken, self.cache.bounds().order);
        if granted.is_none() && !failing {
            self.note(judge::i9_refused(order, free));
        }
        let (page, name) = granted?;
        let device = PageRange { first: 0, pages: self.cache.bounds().pages.into() };
        self.note(judge::i21_aligned(page.into(), order, device));
        self.note(judge::i1_handed_out(block(page, order), used));
        self.note(judge::i7_outlives(name != 0, 1));
        self.set_owners(page, order, name, code);
        Some(page)
    }

    /// Gives back what no folio was formed of.
    pub fn give_back(&self, page: u8, order: u8) {
        let name = self.name_at(page);
        self.set_owners(page, order, 0, 0);
        self.call(Call::GiveBack { page, order, name });
    }

    /// Hands the pages of a folio back.
    pub fn folio_free(&self, page: u8, order: u8, data: u32) {
        self.set_owners(page, order, 0, 0);
        let free = self.free();
        self.call(Call::Free { page, order, name: u8::try_from(data).unwrap_or(0) });
        let released = self.cache.has_objects() && self.free() != free;
        self.note(judge::i15_put(released.into()));
    }

    /// Reports a split.
    pub fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let (page, name) = (page_of(head), u8::try_from(data).unwrap_or(0));
        self.call(Call::Split { page, from: from.get(), to: to.get(), name });
    }

    /// Reports a collapse.
    pub fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let (page, name) = (page_of(head), u8::try_from(data).unwrap_or(0));
        self.call(Call::Collapse { page, from: from.get(), to: to.get(), name });
    }

    /// Asks for what only some pools do.
    pub fn ask(&self, operation: PoolOperation) {
        self.call(match operation {
            PoolOperation::FailNext => Call::FailNext,
            PoolOperation::Release => Call::Release,
            PoolOperation::Close => Call::Close,
        });
        self.fails_next.set(self.fails_next.get() || operation == PoolOperation::FailNext);
    }
}

fn page_of(head: Pfn) -> u8 {
    u8::try_from(head.get()).unwrap_or(u8::MAX)
}

/// Order of the largest aligned block of some pages, up to `most`.
fn largest_in(pages: u8, most: u8) -> Option<u8> {
    let has = |order: u8| {
        let aligned = ones(pages).filter(move |page| page & ((1 << order) - 1) == 0);
        aligned.map(move |page| block(page, order)).any(|block| block & !pages == 0)
    };
    (0..=most).rev().find(|order| has(*order))
}
