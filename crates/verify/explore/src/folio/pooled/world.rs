//! [`Pooled`]: the world of shipped folios over a shipped pool, as a [`Design`].

use std::fmt::Debug;
use std::sync::Arc;

use bifolio_folio::Reset;
use bifolio_pool::PoolName;
use bifolio_rules::{RuleSet, judge as rules};

use crate::design::{Applied, Bounds, Description, Design};
use crate::folio::action::{Action, Operation, PoolOperation};
use crate::folio::design::Folios;
use crate::folio::judge;
use crate::folio::operations::LoadedPageMap;
use crate::folio::packed_words::PAGES;
use crate::folio::pooled::mutate::Mutate;
use crate::folio::pooled::pool_adapter::PoolAdapter;
use crate::folio::pooled::state::PooledState;
use crate::folio::pooled::transition_cache::{Entry, TransitionCache, Transitions, name_of};
use crate::folio::state::{HandleKind, LIVE_BIT, NAMED_BIT, State, block, data_in, ones};
use crate::folio::world::Symmetry;
use crate::mutate::NoMutation;

/// Shipped folios over one of the shipped pools, under any interleaving of operations.
#[derive(Clone, Debug)]
pub struct Pooled {
    folios: Folios,
    cache: Arc<dyn Transitions>,
}

impl Pooled {
    /// Makes the world.
    #[must_use]
    pub fn new(pool: PoolName, bounds: Bounds, reset: Reset) -> Pooled {
        Pooled::mutated(pool, bounds, reset, NoMutation)
    }

    /// Makes the world with a mutation of the pool.
    pub(super) fn mutated<M: Mutate + Debug + 'static>(
        pool: PoolName,
        bounds: Bounds,
        reset: Reset,
        mutation: M,
    ) -> Pooled {
        let cache = Arc::new(TransitionCache::new(pool, bounds, mutation));
        let folios = Folios::with_reset(bounds, reset).with_symmetry(Symmetry::Actors);
        Pooled { folios, cache }
    }

    /// What an actor without a handle can ask of the pool.
    fn pool_actions(&self, state: &PooledState, actor: u8, out: &mut Vec<Action>) {
        let mut push = |operation| out.push(Action { actor, operation });
        if !state.folios.dead {
            for order in 0..=self.folios.world.bounds.order {
                self.cache.home_pages(order).for_each(|page| push(Operation::Allocate { page, order }));
            }
            if self.cache.pool() == PoolName::Mirror && !state.fails_next {
                push(Operation::Pool(PoolOperation::FailNext));
            }
        }
        if !self.cache.entry(state.pool).view.dead.is_empty() {
            push(Operation::Pool(PoolOperation::Release));
        }
        let ranges =
            self.folios.world.actors(&state.folios).any(|(_, handle)| handle.kind == HandleKind::Range);
        if state.folios.dead && state.folios.live == 0 && !ranges {
            push(Operation::Pool(PoolOperation::Close));
        }
    }

    /// Judges what the pool says after a step.
    fn judge_pool(&self, state: &PooledState, action: Action, broken: &mut RuleSet) {
        let (entry, owned) = (self.cache.entry(state.pool), state.folios.owners.pages_with(NAMED_BIT));
        broken.note(rules::i7_used_is_not_free(u64::from(owned), entry.view.free_pages));
        references(&entry, &state.folios, self.cache.pool() == PoolName::Coherent, broken);
        for page in ones(owned) {
            home_of(&entry, state, page, broken);
        }
        let lost = !self.cache.has_objects() && entry.held != u64::from(owned.count_ones());
        broken.require(entry.consistent && entry.whole && !lost, 9);
        // No page was ever cleared, so all of them hold what a client wrote.
        broken.note(rules::i22_clear(entry.view.cleared_pages, u64::MAX));
        if action.operation == Operation::Pool(PoolOperation::Close) {
            broken.note(rules::i18_held(entry.chunks));
        }
    }
}

/// Each object has a reference for each folio and each range on it.
fn references(entry: &Entry, state: &State, shared: bool, broken: &mut RuleSet) {
    let owned = u64::from(state.owners.pages_with(NAMED_BIT));
    let heads = ones(state.words.pages_with(LIVE_BIT));
    let ranges =
        state.handles.iter().filter(|handle| handle.kind == HandleKind::Range).map(|handle| handle.page);
    let mut users = [0u64; 64];
    for page in heads.chain(ranges) {
        users[usize::from(data_in(state.owners.at(page)) & 63)] += 1;
    }
    for object in &entry.view.objects {
        let users = std::mem::take(&mut users[usize::from(name_of(object) & 63)]);
        broken.note(rules::i7_references(object.references.into(), users, 0));
        // Where folios share an object, it notes which of its pages are handed out.
        let (first, order) = object.place;
        let own = u64::from(block(u8::try_from(first).unwrap_or(u8::MAX), order));
        if shared {
            broken.note(rules::i7_belongs(object.used << first, Some(owned & own)));
        }
    }
    // Those that are left use an object that is not there.
    broken.note(rules::i7_outlives(false, users.iter().sum()));
}

/// A page in use is one of its object, and the pool knows whose bytes it holds.
fn home_of(entry: &Entry, state: &PooledState, page: u8, broken: &mut RuleSet) {
    let object = entry.object(data_in(state.folios.owners.at(page)));
    let own = object
        .map_or(0, |(_, object)| block(u8::try_from(object.place.0).unwrap_or(u8::MAX), object.place.1));
    broken.note(rules::i21_backing(block(page, 0), own));
    let told = object.map_or(0, |(at, _)| entry.rmaps[at][usize::from(page)]);
    broken.note(rules::i27_bytes(told, state.rmaps[usize::from(page)]));
}

impl Design for Pooled {
    type State = PooledState;
    type Encoded = PooledState;
    type Action = Action;
    type Scratch = LoadedPageMap;

    fn scratch(&self) -> LoadedPageMap {
        let adapter = PoolAdapter::new(Arc::clone(&self.cache));
        LoadedPageMap::new(Some(adapter), self.folios.world.reset, self.folios.world.bounds.pages)
    }

    fn initial(&self) -> PooledState {
        let folios = State::fresh(self.folios.world.bounds.pages);
        PooledState { folios, pool: 0, rmaps: [0; PAGES], fails_next: false }
    }

    fn actions(&self, state: &PooledState, out: &mut Vec<Action>) {
        self.folios.actions(&state.folios, out);
        let mut actors = self.folios.world.actors(&state.folios);
        let idle = actors.find(|(_, handle)| handle.kind == HandleKind::None);
        if let Some((actor, _)) = idle {
            self.pool_actions(state, actor, out);
        }
    }

    fn apply(&self, map: &mut LoadedPageMap, before: &PooledState, action: Action) -> Applied<PooledState> {
        if let Some(adapter) = &map.pool().adapter {
            adapter.put_in(before);
        }
        let mut done = map.apply(&before.folios, action);
        let adapter = map.pool().adapter.as_ref().expect("the pagemap of this design has an adapter");
        done.state.owners = adapter.owners.get();
        let judged = judge::judge(&self.folios.world, &before.folios, action, &done, true);
        let state = PooledState {
            folios: judged.state,
            pool: adapter.pool.get(),
            rmaps: adapter.rmaps.get(),
            fails_next: adapter.fails_next.get(),
        };
        let mut broken = judged.broken.union(adapter.broken.get());
        self.judge_pool(&state, action, &mut broken);
        Applied { state, broken, fatal: judged.fatal }
    }

    /// Actors have no names: the same handles in another order are the same state.
    fn encode(&self, state: &PooledState) -> PooledState {
        let mut encoded = *state;
        let actors = usize::from(self.folios.world.bounds.actors);
        encoded.folios.handles[..actors].sort_unstable();
        encoded
    }

    fn decode(&self, encoded: &PooledState) -> PooledState {
        *encoded
    }

    fn expresses(&self) -> RuleSet {
        self.folios.expresses().union(RuleSet::of(&[15, 18, 21, 22, 27]))
    }

    fn non_terminal(&self) -> RuleSet {
        self.folios.non_terminal()
    }

    fn by_construction(&self) -> &'static [(u8, &'static str)] {
        self.folios.by_construction()
    }

    fn describe(&self, before: &PooledState, action: Action, after: &PooledState) -> Description {
        let described = self.folios.describe(&before.folios, action, &after.folios);
        let Operation::Allocate { page: home, order } = action.operation else { return described };
        let handle = after.folios.handles[usize::from(action.actor)];
        let answer = match handle.kind {
            HandleKind::Range => format!("gets page {}", handle.page),
            _ => "is refused".to_owned(),
        };
        let text = format!("asks the pool for order {order}, for home page {home}, and {answer}");
        Description { text, ..described }
    }

    fn view(&self, state: &PooledState) -> Vec<String> {
        let mut lines = self.folios.view(&state.folios);
        let entry = self.cache.entry(state.pool);
        for object in &entry.view.objects {
            let (page, order) = object.place;
            let dead = if object.references == 0 { ", dead" } else { "" };
            let references = object.references;
            lines.push(format!("object {page}/{order}: {references} references{dead}"));
        }
        let places = |places: &[(u64, u8)]| {
            let each: Vec<String> = places.iter().map(|(page, order)| format!("{page}/{order}")).collect();
            each.join(" ")
        };
        lines.push(format!("lists: {}", places(&entry.view.free)));
        lines.push(format!("waiting: {}", places(&entry.view.waiting)));
        lines
    }

    fn scale(&self) -> String {
        format!("{}, over the {} pool", self.folios.scale(), self.cache.pool())
    }
}
