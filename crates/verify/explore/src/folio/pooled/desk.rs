//! Where the ledger of a world asks a shipped pool: [`Desk`].

use std::cell::Cell;
use std::sync::Arc;

use bifolio_folio::{Order, Pfn};
use bifolio_rules::RuleSet;
use bifolio_rules::facts::{self, Asked, Formed, Pages, Put};

use crate::folio::lanes::Lanes;
use crate::folio::pooled::book::{Book, Call, Entry, HomeCode};
use crate::folio::pooled::world::PooledState;
use crate::folio::state::{DATA_SHIFT, NAMED_BIT, PAGES, all_pages, block, data_in, ones};
use crate::folio::world::verb;

/// The pool of one worker, in one of its states, and beside it what was handed out.
#[derive(Debug)]
pub struct Desk {
    book: Arc<Book>,
    /// Number of the pool's state.
    pub pool: Cell<u32>,
    /// For each page in use the data of its folio.
    pub owners: Cell<Lanes>,
    /// For each page in use its home.
    pub homes: Cell<[HomeCode; PAGES]>,
    /// Whether the next allocation was told to fail.
    pub told_to_fail: Cell<bool>,
    /// Rules that the answers of the pool broke.
    pub broken: Cell<RuleSet>,
}

impl Desk {
    /// Makes a desk at a new pool.
    pub fn new(book: Arc<Book>) -> Desk {
        Desk {
            book,
            pool: Cell::new(0),
            owners: Cell::default(),
            homes: Cell::default(),
            told_to_fail: Cell::new(false),
            broken: Cell::new(RuleSet::NONE),
        }
    }

    /// Puts a state in.
    pub fn put_in(&self, state: &PooledState) {
        self.pool.set(state.pool);
        self.owners.set(state.folios.owners);
        self.homes.set(state.homes);
        self.told_to_fail.set(state.told_to_fail);
        self.broken.set(RuleSet::NONE);
    }

    /// The state of the pool.
    pub fn entry(&self) -> Arc<Entry> {
        self.book.entry(self.pool.get())
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

    fn require(&self, kept: bool, rule: u8) {
        let mut broken = self.broken.get();
        broken.require(kept, rule);
        self.broken.set(broken);
    }

    fn call(&self, call: Call) -> Option<(u8, u8)> {
        let (after, granted) = self.book.call(self.pool.get(), call);
        self.pool.set(after);
        granted
    }

    fn set_owners(&self, page: u8, order: u8, name: u8, home: HomeCode) {
        let (mut owners, mut homes) = (self.owners.get(), self.homes.get());
        for (into, page) in (0..).zip(ones(block(page, order))) {
            owners.set(page, u16::from(name) << DATA_SHIFT);
            homes[usize::from(page)] = if home == 0 { 0 } else { home + into };
        }
        self.owners.set(owners);
        self.homes.set(homes);
    }

    /// Asks for a folio for the bytes of a home page. Returns its first page.
    pub fn allocate(&self, home: u8, order: u8) -> Option<u8> {
        let (used, before) = (self.owners.get().pages_with(NAMED_BIT), self.entry());
        let told = self.told_to_fail.replace(false);
        let code = self.book.home_code(order, home);
        let granted = self.call(Call::Allocate { order, home: code });
        // An object keeps its memory as a whole; what died can be had.
        let taken = if self.book.has_objects() { before.living() } else { used };
        let free = largest_in(all_pages(self.book.bounds.pages) & !taken, self.book.bounds.order);
        self.require(told || facts::i9(&Asked { order, free, granted: granted.is_some() }), 9);
        let (page, name) = granted?;
        let all = u16::from(all_pages(self.book.bounds.pages));
        let within = page & ((1 << order) - 1) == 0 && all >> page != 0;
        self.require(within && Pages::from(block(page, order)) & !all == 0, 21);
        self.require(facts::i1(&formed(block(page, order), used)), 1);
        self.require(name != 0, 7);
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
        let released = self.book.has_objects() && self.free() != free;
        self.require(facts::i15(&Put { may_sleep: released }), 15);
    }

    /// Tells of a split.
    pub fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let (page, name) = (page_of(head), u8::try_from(data).unwrap_or(0));
        self.call(Call::Split { page, from: from.get(), to: to.get(), name });
    }

    /// Tells of a collapse.
    pub fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let (page, name) = (page_of(head), u8::try_from(data).unwrap_or(0));
        self.call(Call::Collapse { page, from: from.get(), to: to.get(), name });
    }

    /// Asks for what only some pools do: a verb of the world.
    pub fn ask(&self, verb: u8) {
        self.call(match verb {
            verb::FAIL_NEXT => Call::FailNext,
            verb::RELEASE => Call::Release,
            _ => Call::Close,
        });
        self.told_to_fail.set(self.told_to_fail.get() || verb == verb::FAIL_NEXT);
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

/// What I1 is judged by: only which pages are in use already counts.
fn formed(range: u8, used: u8) -> Formed {
    Formed {
        range: Pages::from(range),
        live: Pages::from(used),
        compound: Pages::from(used),
        as_from_nothing: true,
        pagemap_right: true,
        references: 1,
        locked: true,
        after_kill: false,
    }
}
