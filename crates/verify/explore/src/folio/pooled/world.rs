//! [`Pooled`]: the world of shipped folios over a shipped pool, as a [`Design`].

use std::sync::Arc;

use bifolio_folio::Reset;
use bifolio_pool::PoolName;
use bifolio_rules::RuleSet;
use bifolio_rules::facts::{self, Counted, HandedOut, Pages, Used};

use crate::design::{Action, Applied, Bounds, Design, Told};
use crate::folio::operations::Bench;
use crate::folio::pooled::book::{Book, Entry, HomeCode, name_of};
use crate::folio::pooled::desk::Desk;
use crate::folio::pooled::slip::Slip;
use crate::folio::state::{Hand, LIVE_BIT, NAMED_BIT, PAGES, State, block, data_in, ones};
use crate::folio::world::verb;
use crate::folio::{Folios, judge};

/// Shipped folios over one of the shipped pools, under any interleaving of operations.
#[derive(Clone, Debug)]
pub struct Pooled {
    folios: Folios,
    book: Arc<Book>,
}

/// All of a world with a pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PooledState {
    /// Words and handles; the owner of a page in use is the data of its folio, and there are no backings.
    pub folios: State,
    /// Number of the pool's state in the book.
    pub pool: u32,
    /// For each page in use its home.
    pub homes: [HomeCode; PAGES],
    /// Whether the next allocation was told to fail.
    pub told_to_fail: bool,
}

impl Pooled {
    /// Makes the world.
    #[must_use]
    pub fn new(pool: PoolName, bounds: Bounds, reset: Reset) -> Pooled {
        Pooled::with_slip(pool, bounds, reset, Slip::None)
    }

    /// Makes the world with a fault in the pool.
    pub(super) fn with_slip(pool: PoolName, bounds: Bounds, reset: Reset, slip: Slip) -> Pooled {
        let book = Arc::new(Book::new(pool, bounds, slip));
        Pooled { folios: Folios::of_named_pages(bounds, reset), book }
    }

    /// What an actor with empty hands may ask of the pool.
    fn pool_actions(&self, state: &PooledState, actor: u8, out: &mut Vec<Action>) {
        let mut push = |verb, page, order| out.push(Action { actor, verb, page, order });
        if !state.folios.dead {
            for order in 0..=self.folios.bounds.order {
                self.book.homes(order).for_each(|home| push(verb::ALLOCATE, home, order));
            }
            if self.book.pool == PoolName::Mirror && !state.told_to_fail {
                push(verb::FAIL_NEXT, 0, 0);
            }
        }
        if !self.book.entry(state.pool).view.dead.is_empty() {
            push(verb::RELEASE, 0, 0);
        }
        let ranges = self.folios.actors(&state.folios).any(|(_, held)| held.hand == Hand::Range);
        if state.folios.dead && state.folios.live == 0 && !ranges {
            push(verb::CLOSE, 0, 0);
        }
    }

    /// Judges what the pool says after a step.
    fn judge_pool(&self, state: &PooledState, action: Action, broken: &mut RuleSet) {
        let (entry, owned) = (self.book.entry(state.pool), state.folios.owners.pages_with(NAMED_BIT));
        broken.require(entry.view.free_pages & u64::from(owned) == 0, 7);
        references(&entry, &state.folios, self.book.pool == PoolName::Coherent, broken);
        for page in ones(owned) {
            home_of(&entry, state, page, broken);
        }
        let lost = !self.book.has_objects() && entry.held != u64::from(owned.count_ones());
        broken.require(entry.consistent && entry.whole && !lost, 9);
        // Nobody ever cleared a page, so all of them hold what somebody wrote.
        let said_clear = Pages::try_from(entry.view.cleared_pages).unwrap_or(Pages::MAX);
        broken.require(facts::i22(&HandedOut { said_clear, holding: Pages::MAX }), 22);
        broken.require(action.verb != verb::CLOSE || facts::i18(entry.chunks), 18);
    }
}

/// Each object has a reference for each folio and each range on it.
fn references(entry: &Entry, state: &State, shared: bool, broken: &mut RuleSet) {
    let owned = u64::from(state.owners.pages_with(NAMED_BIT));
    let heads = ones(state.words.pages_with(LIVE_BIT));
    let ranges = state.held.iter().filter(|held| held.hand == Hand::Range).map(|held| held.page);
    let mut users = [0i32; 64];
    for page in heads.chain(ranges) {
        users[usize::from(data_in(state.owners.at(page)) & 63)] += 1;
    }
    for object in &entry.view.objects {
        let truth = std::mem::take(&mut users[usize::from(name_of(object) & 63)]);
        let counter = i32::try_from(object.references).unwrap_or(i32::MAX);
        broken.require(facts::i7(&Counted { counter, truth }), 7);
        // Where folios share an object, it notes which of its pages are handed out.
        let (first, order) = object.place;
        let own = u64::from(block(u8::try_from(first).unwrap_or(u8::MAX), order));
        broken.require(!shared || object.used << first == owned & own, 7);
    }
    // Whoever is left uses an object that is not there.
    broken.require(users.iter().all(|users| *users == 0), 7);
}

/// A page in use is one of its object, and the pool knows whose bytes it holds.
fn home_of(entry: &Entry, state: &PooledState, page: u8, broken: &mut RuleSet) {
    let object = entry.object(data_in(state.folios.owners.at(page)));
    let own = object.map_or(0, |(_, object)| {
        Pages::from(block(u8::try_from(object.place.0).unwrap_or(u8::MAX), object.place.1))
    });
    let pages = Pages::from(block(page, 0));
    broken.require(facts::i21(&Used { pages, own }), 21);
    let told = object.map_or(0, |(at, _)| entry.homes[at][usize::from(page)]);
    broken.require(facts::i27(told, state.homes[usize::from(page)]), 27);
}

impl Design for Pooled {
    type State = PooledState;
    type Kept = PooledState;
    type Scratch = Bench;

    fn scratch(&self) -> Bench {
        Bench::over(&self.folios, Some(Desk::new(Arc::clone(&self.book))))
    }

    fn initial(&self) -> PooledState {
        let folios = State::fresh(self.folios.bounds.pages);
        PooledState { folios, pool: 0, homes: [0; PAGES], told_to_fail: false }
    }

    fn actions(&self, state: &PooledState, out: &mut Vec<Action>) {
        self.folios.actions(&state.folios, out);
        let idle = self.folios.actors(&state.folios).find(|(_, held)| held.hand == Hand::Empty);
        if let Some((actor, _)) = idle {
            self.pool_actions(state, actor, out);
        }
    }

    fn apply(&self, bench: &mut Bench, before: &PooledState, action: Action) -> Applied<PooledState> {
        if let Some(desk) = &bench.ledger().desk {
            desk.put_in(before);
        }
        let mut step = bench.apply(&self.folios, &before.folios, action);
        let desk = step.map.pool().desk.as_ref().expect("the bench of this design has a desk");
        step.state.owners = desk.owners.get();
        let judged = judge::judge(&self.folios, &before.folios, action, &step);
        let state = PooledState {
            folios: judged.state,
            pool: desk.pool.get(),
            homes: desk.homes.get(),
            told_to_fail: desk.told_to_fail.get(),
        };
        let mut broken = judged.broken.union(desk.broken.get());
        self.judge_pool(&state, action, &mut broken);
        Applied { state, broken, fatal: judged.fatal }
    }

    /// Actors have no names: the same hands in another order are the same state.
    fn keep(&self, state: &PooledState) -> PooledState {
        let mut kept = *state;
        let actors = usize::from(self.folios.bounds.actors);
        kept.folios.held[..actors].sort_unstable();
        kept
    }

    fn restore(&self, kept: &PooledState) -> PooledState {
        *kept
    }

    fn expresses(&self) -> RuleSet {
        self.folios.expresses().union(RuleSet::of(&[15, 18, 21, 22, 27]))
    }

    fn only_seen(&self) -> RuleSet {
        self.folios.only_seen()
    }

    fn built(&self) -> &'static [(u8, &'static str)] {
        self.folios.built()
    }

    fn tell(&self, before: &PooledState, action: Action, after: &PooledState) -> Told {
        let told = self.folios.tell(&before.folios, action, &after.folios);
        if action.verb != verb::ALLOCATE {
            return told;
        }
        let held = after.folios.held[usize::from(action.actor)];
        let answer = match held.hand {
            Hand::Range => format!("gets page {}", held.page),
            _ => "is refused".to_owned(),
        };
        let (order, home) = (action.order, action.page);
        Told { text: format!("asks the pool for order {order}, for home page {home}, and {answer}"), ..told }
    }

    fn view(&self, state: &PooledState) -> Vec<String> {
        let mut lines = self.folios.view(&state.folios);
        let entry = self.book.entry(state.pool);
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
        format!("{}, over the {} pool", self.folios.scale(), self.book.pool)
    }
}
