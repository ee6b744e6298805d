//! [`Folios`]: the world as a [`Design`].

use crate::design::{Action, Alone, Applied, Bounds, Design, Told};
use crate::folio::fault::Fault;
use crate::folio::kept::{Kept, without_twins};
use crate::folio::operations::Bench;
use crate::folio::state::{
    ACTORS, Hand, Held, LEFT_OVER, LIVE, PAGES, State, all_pages, block, ones, order_in,
};
use crate::folio::{judge, tell};
use bifolio_folio::Reset;
use bifolio_rules::RuleSet;

/// Verbs of the actions.
pub(super) mod verb {
    pub const ALLOCATE: u8 = 0;
    pub const GET: u8 = 1;
    pub const TAKE: u8 = 2;
    pub const KILL: u8 = 3;
    pub const FORM: u8 = 4;
    pub const GIVE_BACK: u8 = 5;
    pub const UNLOCK: u8 = 6;
    pub const SPLIT: u8 = 7;
    pub const SPLIT_AROUND: u8 = 8;
    pub const DROP: u8 = 9;
    pub const DROP_AND_REUSE: u8 = 10;
    pub const TRY_LOCK: u8 = 11;
    pub const SHELVE: u8 = 12;
    pub const COLLAPSE: u8 = 13;
    // Of shipped pools only.
    pub const FAIL_NEXT: u8 = 14;
    pub const RELEASE: u8 = 15;
    pub const CLOSE: u8 = 16;
}

/// What has no name of its own: actions that differ from another one by such a name only are not listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Alike {
    PagesAndActors,
    Actors,
    Nothing,
}

/// Shipped folios under any interleaving of operations.
#[derive(Clone, Copy, Debug)]
pub struct Folios {
    pub(super) bounds: Bounds,
    pub(super) fault: Fault,
    pub(super) reset: Reset,
    /// What is left out because it differs by a renaming only.
    alike: Alike,
}

impl Folios {
    /// Makes the world.
    #[must_use]
    pub fn new(bounds: Bounds) -> Folios {
        Folios { bounds, fault: Fault::None, reset: Reset::OnFree, alike: Alike::PagesAndActors }
    }

    /// Makes the world of folios that are reset when they are formed, not when they are freed.
    #[must_use]
    pub fn with_reset(bounds: Bounds, reset: Reset) -> Folios {
        Folios { reset, ..Folios::new(bounds) }
    }

    /// The bits that a folio leaves in its word.
    pub(super) fn left_over(&self) -> u16 {
        match self.reset {
            Reset::OnFree => 0,
            Reset::OnForm => LEFT_OVER,
        }
    }

    /// Makes the world with all actions, also those that differ from another one by a renaming only.
    #[must_use]
    pub fn with_twins(bounds: Bounds) -> Folios {
        Folios { alike: Alike::Nothing, ..Folios::new(bounds) }
    }

    /// Makes the world over a pool that chooses pages, so that they are not alike.
    pub(super) fn of_named_pages(bounds: Bounds, reset: Reset) -> Folios {
        Folios { alike: Alike::Actors, ..Folios::with_reset(bounds, reset) }
    }

    /// Makes the world with a fault in it.
    #[cfg(test)]
    pub(crate) fn with_fault(bounds: Bounds, fault: Fault, reset: Reset) -> Folios {
        Folios { fault, reset, ..Folios::new(bounds) }
    }

    /// What an actor with empty hands may do with these pages.
    fn empty_actions(&self, state: &State, actor: u8, pages: u8, out: &mut Vec<Action>) {
        let mut push = |verb, page, order| out.push(Action { actor, verb, page, order });
        if !state.dead {
            push(verb::KILL, 0, 0);
            // Where pages have names, a shipped pool chooses them.
            let choices = if self.alike == Alike::Actors { 0 } else { self.bounds.order + 1 };
            for order in 0..choices {
                let aligned = ones(state.free & pages).filter(|page| page & ((1 << order) - 1) == 0);
                let free = aligned.filter(|&page| state.free & block(page, order) == block(page, order));
                free.for_each(|page| push(verb::ALLOCATE, page, order));
            }
        }
        for page in ones(pages) {
            let word = state.words.at(page);
            if word & LIVE != 0 {
                // By the last page, which takes the longest way to the head.
                push(verb::GET, page + (1 << order_in(word)) - 1, 0);
            }
            if let Some(order) = state.aside(page) {
                push(verb::TAKE, page, order);
            }
        }
        if state.free != 0 {
            push(verb::GET, u8::try_from(state.free.trailing_zeros()).unwrap_or(0), 0);
        }
    }

    fn locked_actions(&self, state: &State, actor: u8, page: u8, order: u8, out: &mut Vec<Action>) {
        let mut push = |verb, page, order| out.push(Action { actor, verb, page, order });
        push(verb::UNLOCK, page, order);
        (0..order).for_each(|to| push(verb::SPLIT, page, to));
        for to in 0..order.saturating_sub(1) {
            (page..page + (1 << order))
                .step_by(1 << to)
                .for_each(|around| push(verb::SPLIT_AROUND, around, to));
        }
        for to in order + 1..=self.bounds.order {
            let around = page & !((1 << to) - 1);
            let other_half = block(around, to) & !block(page & !((1 << (to - 1)) - 1), to - 1);
            if ones(other_half).any(|other| state.aside(other).is_some()) {
                push(verb::COLLAPSE, around, to);
            }
        }
        self.drop_actions(state, actor, page, order, out);
    }

    fn drop_actions(&self, state: &State, actor: u8, page: u8, order: u8, out: &mut Vec<Action>) {
        out.push(Action { actor, verb: verb::DROP, page, order });
        let last = state.words.at(page) & 15 == 1;
        let somebody = self.actors(state).any(|(_, held)| held.hand == Hand::Empty);
        if last && somebody && !state.dead {
            out.push(Action { actor, verb: verb::DROP_AND_REUSE, page, order });
        }
    }

    pub(super) fn actors(&self, state: &State) -> impl Iterator<Item = (u8, Held)> {
        (0..self.bounds.actors).zip(state.held)
    }
}

impl Design for Folios {
    type State = State;
    type Kept = Kept;
    type Scratch = Bench;

    fn scratch(&self) -> Bench {
        Bench::new(self)
    }

    fn initial(&self) -> State {
        State::fresh(self.bounds.pages)
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        let pages = all_pages(self.bounds.pages)
            & match self.alike {
                Alike::PagesAndActors => without_twins(state, self.bounds.order, self.reset),
                Alike::Actors | Alike::Nothing => u8::MAX,
            };
        for (actor, held) in self.actors(state) {
            let alike = state.held[..usize::from(actor)].contains(&held);
            if self.alike != Alike::Nothing
                && (alike || held.hand != Hand::Empty && pages >> held.page & 1 == 0)
            {
                continue;
            }
            let (page, order) = (held.page, held.order);
            let mut push = |verb| out.push(Action { actor, verb, page, order });
            match held.hand {
                Hand::Empty => self.empty_actions(state, actor, pages, out),
                Hand::Range => {
                    push(verb::FORM);
                    push(verb::GIVE_BACK);
                }
                Hand::Locked => self.locked_actions(state, actor, page, order, out),
                Hand::Live => {
                    push(verb::TRY_LOCK);
                    if state.aside(page).is_none() {
                        push(verb::SHELVE);
                    }
                    self.drop_actions(state, actor, page, order, out);
                }
            }
        }
    }

    /// Once the pagemap is dead, who holds a range can only give it back (forming is refused and does the same). Nobody is
    /// given pages any more, so nobody is concerned: what changes is the references of the range's backing, and free
    /// pages that are handed to nobody. For the same reason there is one range less for good.
    fn independent(&self, state: &State, actions: &[Action]) -> Option<Alone> {
        let at = actions.iter().position(|action| action.verb == verb::FORM).filter(|_| state.dead)?;
        Some(Alone { actions: at..at + 2, once: true })
    }

    fn apply(&self, bench: &mut Bench, state: &State, action: Action) -> Applied<State> {
        let step = bench.apply(self, state, action);
        judge::judge(self, state, action, &step)
    }

    fn keep(&self, state: &State) -> Kept {
        let kept = Kept::of(state, self.bounds.order, self.reset);
        debug_assert!(handles(state) == handles(&self.restore(&kept)), "{state:?} is not kept whole");
        kept
    }

    fn restore(&self, kept: &Kept) -> State {
        kept.state(self.bounds.pages)
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17])
    }

    fn only_seen(&self) -> RuleSet {
        RuleSet::NONE
    }

    fn built(&self) -> &'static [(u8, &'static str)] {
        &[(3, "type: form and free are called on the pagemap, a page does not say which one it is of")]
    }

    fn tell(&self, before: &State, action: Action, after: &State) -> Told {
        tell::tell(before, action, after)
    }

    fn view(&self, state: &State) -> Vec<String> {
        tell::view(self, state)
    }

    fn scale(&self) -> String {
        format!("{} pages, orders 0 to {}", self.bounds.pages, self.bounds.order)
    }
}

/// What is held and laid aside, by kind and order: must be the same whatever the pages are called.
fn handles(state: &State) -> ([Held; ACTORS], [u16; PAGES]) {
    let (mut held, mut aside) = (state.held.map(|held| Held { page: 0, ..held }), state.shelf.each());
    held.sort_unstable();
    aside.sort_unstable();
    (held, aside)
}
