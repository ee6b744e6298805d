//! Those who run no transactions: who pins pages, a holder of folios, teardown, and a forked child.

use bifolio_folio::PageMap;
use bifolio_rules::facts::{self, Ended};

use crate::design::Applied;
use crate::folio::ledger::Ledger;
use crate::migrate::book::{Book, Site};
use crate::migrate::folios;
use crate::migrate::setup::Memory;
use crate::migrate::slip::Slip;
use crate::migrate::state::{BLOCK_PAGES, GARBAGE, State, Teardown, VIRTUAL, View};
use crate::migrate::world::{Transactions, verb};

impl Transactions {
    /// What those can do who run no transactions.
    pub(super) fn others_actions(&self, state: &State, book: &Book, push: &mut impl FnMut(u8, u8)) {
        if self.setup.others.pins {
            self.pin_actions(state, book, push);
        }
        self.holder_actions(state, push);
        self.teardown_actions(state, push);
        self.fork_actions(state, push);
    }

    /// Pages of system memory are pinned one by one, by whoever has just brought them home.
    fn pin_actions(&self, state: &State, book: &Book, push: &mut impl FnMut(u8, u8)) {
        for page in self.numbers() {
            if state.is_locked(page / BLOCK_PAGES as u8) && self.slip != Slip::PinWithoutLock {
                continue;
            }
            let says = book.says(state.blocks[usize::from(page) / BLOCK_PAGES]);
            let inside = usize::from(page) % BLOCK_PAGES;
            match (says.pinned[inside], says.sites[inside]) {
                (true, _) => push(verb::UNPIN, page),
                (false, Site::Ram) => push(verb::PIN, page),
                (false, _) => {}
            }
        }
    }

    fn holder_actions(&self, state: &State, push: &mut impl FnMut(u8, u8)) {
        match state.held {
            Some(page) => push(verb::DROP, page),
            None if self.setup.others.holder => {
                folios::heads(state).for_each(|(head, _)| push(verb::HOLD, head));
            }
            None => {}
        }
    }

    fn teardown_actions(&self, state: &State, push: &mut impl FnMut(u8, u8)) {
        match state.teardown {
            Teardown::Alive if self.setup.others.teardown => push(verb::KILL, 0),
            Teardown::Killed => push(verb::END, 0),
            _ => {}
        }
    }

    /// A fork waits for transactions; then the child fetches, page by page in any order, what is on the device.
    fn fork_actions(&self, state: &State, push: &mut impl FnMut(u8, u8)) {
        match state.child {
            None if !self.setup.others.fork || self.setup.memory != Memory::Anonymous => {}
            None if state.is_quiet() || self.slip == Slip::ForkAmidTransactions => push(verb::FORK, 0),
            None => {}
            Some(has) => {
                let missing = self.numbers().filter(|page| has >> page & 1 == 0);
                missing.for_each(|page| push(verb::FILL, page));
            }
        }
    }

    /// The child gets at once what is in system memory, and zeros elsewhere.
    pub(super) fn fork(&self, applied: &mut Applied<State>) {
        let (state, book) = (&mut applied.state, self.read());
        let mut has = 0;
        for page in 0..VIRTUAL as u8 {
            let fetched = matches!(self.site(state, &book, page), Site::Device { .. })
                && self.slip != Slip::ChildMissesDevice;
            has |= u8::from(!fetched) << page;
            let it = state.pages[usize::from(page)];
            let (Some(expected), false) = (it.expected, fetched) else { continue };
            let bytes = if it.cpu == View::Ram { it.ram.unwrap_or(GARBAGE) } else { 0 };
            applied.broken.require(facts::i27(bytes, expected), 27);
        }
        state.child = Some(has).filter(|_| has.count_ones() < VIRTUAL as u32);
    }

    /// The child fetches a page that was on the device when it was born.
    pub(super) fn fill(&self, applied: &mut Applied<State>, page: u8) {
        let site = self.site(&applied.state, &self.read(), page);
        let state = &mut applied.state;
        let bytes = match site {
            Site::Device { at, .. } => state.device[usize::from(at)],
            _ => GARBAGE,
        };
        let expected = state.pages[usize::from(page)].expected;
        applied.broken.require(expected.is_some_and(|expected| facts::i27(bytes, expected)), 27);
        let has = state.child.unwrap_or(0) | 1 << page;
        state.child = Some(has).filter(|_| has.count_ones() < VIRTUAL as u32);
    }

    /// Teardown looks whether it may end.
    pub(super) fn end(&self, map: &PageMap<Ledger>, applied: &mut Applied<State>) {
        let state = &mut applied.state;
        let held_is_all = self.slip == Slip::EndsWhileHeld && state.held.is_some();
        let ends = folios::is_drained(map, state) || held_is_all;
        let live = folios::heads(state).count() as u8;
        applied.broken.require(facts::i16_ended(&Ended { ends, live }), 16);
        if ends {
            state.teardown = Teardown::Ended;
        }
    }

    pub(super) fn drop_held(&self, map: &PageMap<Ledger>, applied: &mut Applied<State>) {
        let state = &mut applied.state;
        let Some(page) = state.held.take() else { return };
        let folio = folios::covering(state, page);
        let was = folio.is_some_and(|folio| folio.0 == page && folios::put(map, state, folio));
        applied.broken.require(was, 17);
    }
}
