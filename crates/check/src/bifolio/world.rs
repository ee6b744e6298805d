//! [`Folios`]: the world as a [`Design`].

use std::rc::Rc;

use bifolio_folio::PageMap;

use crate::bifolio::fault::Fault;
use crate::bifolio::ledger::Ledger;
use crate::bifolio::state::{Hand, State, block, order_in};
use crate::bifolio::{judge, operations};
use crate::design::{Action, Applied, Bounds, Design, Told};
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
}

/// Shipped folios under any interleaving of operations.
#[derive(Clone, Copy, Debug)]
pub struct Folios {
    pub(super) bounds: Bounds,
    pub(super) fault: Fault,
}

impl Folios {
    /// Makes the world.
    #[must_use]
    pub fn new(bounds: Bounds) -> Folios {
        Folios { bounds, fault: Fault::None }
    }

    /// Makes the world with a fault in it.
    #[cfg(test)]
    pub(crate) fn with_fault(bounds: Bounds, fault: Fault) -> Folios {
        Folios { bounds, fault }
    }

    fn empty_actions(&self, state: &State, actor: u8, out: &mut Vec<Action>) {
        let mut push = |verb, page, order| out.push(Action { actor, verb, page, order });
        if !state.dead {
            push(verb::KILL, 0, 0);
            for order in 0..=self.bounds.order {
                let starts = (0..self.bounds.pages).step_by(1 << order);
                let free = starts.filter(|&page| state.free & block(page, order) == block(page, order));
                let free = free.filter(|&page| !self.has_free_twin_before(state, page, order));
                free.for_each(|page| push(verb::ALLOCATE, page, order));
            }
        }
        for page in 0..self.bounds.pages {
            let word = state.words[usize::from(page)];
            if word != 0 {
                // By the last page, which takes the longest way to the head.
                push(verb::GET, page + (1 << order_in(word)) - 1, 0);
            }
            if state.shelf[usize::from(page)] != 0 {
                push(verb::TAKE, page, state.shelf[usize::from(page)] - 1);
            }
        }
        if state.free != 0 {
            push(verb::GET, u8::try_from(state.free.trailing_zeros()).unwrap_or(0), 0);
        }
    }

    /// Whether the block lies in the second half of a block that is all free: taking it differs from taking the
    /// block at its place in the first half by a renaming only.
    fn has_free_twin_before(&self, state: &State, page: u8, order: u8) -> bool {
        if !self.bounds.pages.is_power_of_two() {
            return false;
        }
        let whole = u8::try_from(self.bounds.pages.trailing_zeros()).unwrap_or(0);
        (order..whole).any(|half| {
            let around = block(page & !((2 << half) - 1), half + 1);
            page >> half & 1 == 1 && state.free & around == around
        })
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
        self.drop_actions(state, actor, page, order, out);
    }

    fn drop_actions(&self, state: &State, actor: u8, page: u8, order: u8, out: &mut Vec<Action>) {
        out.push(Action { actor, verb: verb::DROP, page, order });
        let last = state.words[usize::from(page)] & 15 == 1;
        let somebody = self.actors(state).any(|(_, held)| held.hand == Hand::Empty);
        if last && somebody && !state.dead {
            out.push(Action { actor, verb: verb::DROP_AND_REUSE, page, order });
        }
    }

    pub(super) fn actors(&self, state: &State) -> impl Iterator<Item = (u8, crate::bifolio::state::Held)> {
        (0..self.bounds.actors).zip(state.held)
    }
}

impl Design for Folios {
    type State = State;
    type Scratch = Rc<PageMap<Ledger>>;

    fn scratch(&self) -> Self::Scratch {
        Ledger::pagemap(self.bounds.pages, self.fault)
    }

    fn initial(&self) -> State {
        State::fresh(self.bounds.pages)
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        let mut empty_seen = false;
        for (actor, held) in self.actors(state) {
            let (page, order) = (held.page, held.order);
            let mut push = |verb| out.push(Action { actor, verb, page, order });
            match held.hand {
                // Actors with empty hands are alike: one of them stands for all.
                Hand::Empty if empty_seen => {}
                Hand::Empty => {
                    empty_seen = true;
                    self.empty_actions(state, actor, out);
                }
                Hand::Range => {
                    push(verb::FORM);
                    push(verb::GIVE_BACK);
                }
                Hand::Locked => self.locked_actions(state, actor, page, order, out),
                Hand::Live => {
                    push(verb::TRY_LOCK);
                    if state.shelf[usize::from(page)] == 0 {
                        push(verb::SHELVE);
                    }
                    self.drop_actions(state, actor, page, order, out);
                }
            }
        }
    }

    fn apply(&self, map: &mut Self::Scratch, state: &State, action: Action) -> Applied<State> {
        let done = operations::apply(self, map, state, action);
        judge::judge(self, map, state, action, &done)
    }

    fn canonical(&self, state: State) -> State {
        state.canonical(self.bounds.pages, usize::from(self.bounds.actors))
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17])
    }

    fn only_seen(&self) -> RuleSet {
        RuleSet::NONE
    }

    fn built(&self) -> &'static [(u8, &'static str)] {
        &[
            (3, "type: form and free are called on the pagemap, a page does not say which one it is of"),
            (13, "type: Order, Run and Span carry their unit"),
            (14, "one folio moves into one span of its own order"),
            (15, "the last put takes one short lock of the pool and no folio lock"),
            (20, "the device's table is entered and left by the same span"),
            (21, "type: device memory is bounds-checked at every access"),
            (24, "type: there is only try_lock"),
            (25, "an engine has one pagemap"),
            (26, "plans are made, and victims looked at again, under the block's lock"),
        ]
    }

    fn tell(&self, before: &State, action: Action, after: &State) -> Told {
        operations::tell(before, action, after)
    }

    fn view(&self, state: &State) -> Vec<String> {
        operations::view(self, state)
    }

    fn scale(&self) -> String {
        format!("{} pages, orders 0 to {}", self.bounds.pages, self.bounds.order)
    }
}
