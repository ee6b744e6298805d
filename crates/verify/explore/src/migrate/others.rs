//! Actors that run no transactions: pins of pages, a holder of folios, teardown, and a forked child.

use bifolio_folio::PageMap;
use bifolio_rules::judge;

use crate::design::Applied;
use crate::folio::model_pool::ModelPool;
use crate::migrate::action::Action;
use crate::migrate::folios;
use crate::migrate::mutate::{Mutate, Protocol};
use crate::migrate::setup::Memory;
use crate::migrate::state::{BLOCK_PAGES, GARBAGE, State, Teardown, VIRTUAL, View};
use crate::migrate::transition_cache::{Location, TransitionCache};
use crate::migrate::world::Transactions;

impl<M: Mutate> Transactions<M> {
    /// Lists what they can do.
    pub(super) fn others_actions(
        &self,
        state: &State,
        cache: &TransitionCache,
        push: &mut impl FnMut(Action),
    ) {
        if self.setup.others.pins {
            self.pin_actions(state, cache, push);
        }
        self.holder_actions(state, push);
        self.teardown_actions(state, push);
        self.fork_actions(state, push);
    }

    /// Pages of system memory are pinned one by one.
    fn pin_actions(&self, state: &State, cache: &TransitionCache, push: &mut impl FnMut(Action)) {
        for page in self.numbers() {
            if state.is_locked(page / BLOCK_PAGES as u8) && self.mutation.keeps(Protocol::PinsUnderLock) {
                continue;
            }
            let view = cache.view(state.blocks[usize::from(page) / BLOCK_PAGES]);
            let inside = usize::from(page) % BLOCK_PAGES;
            match (view.pinned[inside], view.locations[inside]) {
                (true, _) => push(Action::Unpin { page }),
                (false, Location::Ram) => push(Action::Pin { page }),
                (false, _) => {}
            }
        }
    }

    fn holder_actions(&self, state: &State, push: &mut impl FnMut(Action)) {
        match state.held {
            Some(_) => push(Action::DropHeld),
            None if self.setup.others.holder => {
                folios::heads(state).for_each(|(head, _)| push(Action::Hold { head }));
            }
            None => {}
        }
    }

    fn teardown_actions(&self, state: &State, push: &mut impl FnMut(Action)) {
        match state.teardown {
            Teardown::Alive if self.setup.others.teardown => push(Action::Kill),
            Teardown::Killed => push(Action::End),
            _ => {}
        }
    }

    /// A fork waits for transactions; then the child fetches, page by page in any order, what is on the device.
    fn fork_actions(&self, state: &State, push: &mut impl FnMut(Action)) {
        match state.child {
            None if !self.setup.others.fork || self.setup.memory != Memory::Anonymous => {}
            None if state.is_quiet() || !self.mutation.keeps(Protocol::ForkWaits) => push(Action::Fork),
            None => {}
            Some(has) => {
                let missing = self.numbers().filter(|page| has >> page & 1 == 0);
                missing.for_each(|page| push(Action::Fill { page }));
            }
        }
    }

    /// The child gets at once what is in system memory, and zeros elsewhere.
    pub(super) fn fork(&self, applied: &mut Applied<State>) {
        let (state, cache) = (&mut applied.state, self.read());
        let mut has = 0;
        for page in 0..VIRTUAL as u8 {
            let fetched = matches!(self.location(state, &cache, page), Location::Device { .. })
                && self.mutation.keeps(Protocol::ChildFetches);
            has |= u8::from(!fetched) << page;
            let it = state.pages[usize::from(page)];
            let (Some(expected), false) = (it.expected, fetched) else { continue };
            let bytes = if it.cpu == View::Ram { it.ram.unwrap_or(GARBAGE) } else { 0 };
            applied.broken.note(judge::i27_bytes(bytes, expected));
        }
        state.child = Some(has).filter(|_| has.count_ones() < VIRTUAL as u32);
    }

    /// The child fetches a page that was on the device when it was born.
    pub(super) fn fill(&self, applied: &mut Applied<State>, page: u8) {
        let location = self.location(&applied.state, &self.read(), page);
        let state = &mut applied.state;
        let bytes = match location {
            Location::Device { at, .. } => state.device[usize::from(at)],
            _ => GARBAGE,
        };
        let expected = state.pages[usize::from(page)].expected;
        applied.broken.note(judge::i27_bytes(Some(bytes), expected));
        let has = state.child.unwrap_or(0) | 1 << page;
        state.child = Some(has).filter(|_| has.count_ones() < VIRTUAL as u32);
    }

    /// Teardown ends if it may.
    pub(super) fn end(&self, map: &PageMap<ModelPool>, applied: &mut Applied<State>) {
        let state = &mut applied.state;
        let held_is_all = !self.mutation.keeps(Protocol::EndsWhenDrained) && state.held.is_some();
        let ends = folios::is_drained(map, state) || held_is_all;
        applied.broken.note(judge::i16_ended(ends, folios::heads(state).count() as u64));
        if ends {
            state.teardown = Teardown::Ended;
        }
    }

    pub(super) fn drop_held(&self, map: &PageMap<ModelPool>, applied: &mut Applied<State>) {
        let state = &mut applied.state;
        let Some(page) = state.held.take() else { return };
        let folio = folios::covering(state, page);
        let was = folio.is_some_and(|folio| folio.0 == page && folios::put(map, state, folio));
        applied.broken.note(judge::i17_lives(was.then_some(page)));
    }
}
