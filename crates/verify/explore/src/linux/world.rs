//! [`World`]: a contract in a world of given bounds, as a [`Design`].

use crate::design::{Action, Alone, Applied, Bounds, Design, Told};
use crate::linux::contract::{Contract, Free, Init, Memory, PageMapFrom};
use crate::linux::page::Scale;
use crate::linux::state::{Actor, Phase, State, blocks};
use crate::linux::{steps, tell};
use bifolio_rules::RuleSet;

/// Verbs of the actions.
pub(super) mod verb {
    pub const ASK: u8 = 0;
    pub const REFUSED: u8 = 1;
    pub const LOOK: u8 = 2;
    pub const RESET: u8 = 3;
    pub const INIT: u8 = 4;
    pub const PUBLISH: u8 = 5;
    pub const PUT: u8 = 6;
    pub const UNDO: u8 = 7;
    pub const FOLIO_FREE: u8 = 8;
    pub const DROP: u8 = 9;
    pub const FREEZE: u8 = 10;
    pub const SPLIT: u8 = 11;
    pub const KILL: u8 = 12;
    pub const END: u8 = 13;
}

/// A core and a driver in a small world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub(super) contract: Contract,
    pub(super) bounds: Bounds,
    pub(super) scale: Scale,
}

impl World {
    /// Makes the world.
    #[must_use]
    pub fn new(contract: Contract, bounds: Bounds) -> World {
        World { contract, bounds, scale: Scale { largest: bounds.order } }
    }

    /// Whether the driver ever has folios of an order: with lists there are two kinds.
    fn makes(&self, order: u8) -> bool {
        self.contract.memory != Memory::Lists || order == 0 || order == self.bounds.order
    }

    /// Blocks that the driver's allocator could hand out for an order.
    fn available(&self, state: &State, order: u8) -> impl Iterator<Item = u8> {
        let listed = if order == 0 { state.small } else { state.large };
        let (lists, largest) = (self.contract.memory == Memory::Lists, self.bounds.order);
        let state = *state;
        blocks(self.bounds.pages, order).filter(move |&page| {
            let chunk = page & !((1 << largest) - 1);
            let fresh = state.is_free(chunk, largest)
                && (state.small | state.large) & crate::linux::state::block(chunk, largest) == 0;
            if lists { listed >> page & 1 == 1 || fresh } else { state.is_free(page, order) }
        })
    }

    fn idle_actions(&self, state: &State, actor: u8, out: &mut Vec<Action>) {
        let mut push = |verb, page, order| out.push(Action { actor, verb, page, order });
        if !state.killed {
            for order in (0..=self.bounds.order).rev().filter(|&order| self.makes(order)) {
                let blocks = push_asks(&mut push, self.available(state, order), order);
                if blocks == 0 && self.refusal_breaks(state, order) {
                    push(verb::REFUSED, 0, order);
                }
            }
        }
        for (head, folio) in state.true_folios().filter(|(_, folio)| folio.phase == Phase::Live) {
            push(verb::PUT, head, 0);
            (0..folio.order).filter(|&to| self.makes(to)).for_each(|to| push(verb::FREEZE, head, to));
        }
        if !state.killed {
            push(verb::KILL, 0, 0);
        } else if !state.ended && (state.pagemap == 0 || self.is_quiet(state)) {
            push(verb::END, 0, 0);
        }
    }

    fn refusal_breaks(&self, state: &State, order: u8) -> bool {
        state.largest_free(self.bounds.pages, self.bounds.order).is_some_and(|free| free >= order)
    }

    /// Nothing lives and nobody works: teardown must be able to end now.
    fn is_quiet(&self, state: &State) -> bool {
        state.live() == 0 && state.actors.iter().all(|actor| *actor == Actor::Idle)
    }

    fn busy_action(&self, number: u8, actor: Actor) -> Action {
        let undo = self.contract.free == Free::Undo;
        let look = self.contract.init == Init::SplitStale;
        let (verb, page, order) = match actor {
            Actor::Claimed { page, order } if look => (verb::LOOK, page, order),
            Actor::Claimed { page, order } | Actor::Ready { page, order } => (verb::INIT, page, order),
            Actor::Looked { page, order, .. } => (verb::RESET, page, order),
            Actor::Formed { page, order } => (verb::PUBLISH, page, order),
            Actor::Splitting { page, to } => (verb::SPLIT, page, to),
            Actor::Freeing { page, order } if undo => (verb::UNDO, page, order),
            Actor::Freeing { page, order } | Actor::Undone { page, order } => (verb::FOLIO_FREE, page, order),
            Actor::HandedBack { page, order } => (verb::DROP, page, order),
            Actor::Idle => unreachable!("idle actors are asked elsewhere"),
        };
        Action { actor: number, verb, page, order }
    }
}

/// Pushes an ask for each block and returns how many there were.
fn push_asks(push: &mut impl FnMut(u8, u8, u8), available: impl Iterator<Item = u8>, order: u8) -> usize {
    available.map(|page| push(verb::ASK, page, order)).count()
}

impl Design for World {
    type State = State;
    type Kept = State;
    type Scratch = ();

    fn scratch(&self) {}

    fn initial(&self) -> State {
        State::fresh(self.bounds.pages)
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        let mut idle_seen = false;
        for (number, &actor) in (0..self.bounds.actors).zip(&state.actors) {
            match actor {
                // Idle actors are alike: one of them stands for all.
                Actor::Idle if idle_seen => {}
                Actor::Idle => {
                    idle_seen = true;
                    self.idle_actions(state, number, out);
                }
                busy => out.push(self.busy_action(number, busy)),
            }
        }
    }

    /// Two steps need no interleaving.
    ///
    /// *Publish*: the maker of a folio maps and unlocks it. The folio is nobody else's until then: others can put or
    /// freeze it only afterwards, none of their steps reads the words that change (a stale compound that is split over it
    /// breaks I6 either way), and it counts as live before and after. An end of teardown is neither enabled, as the
    /// folio lives, nor disabled.
    ///
    /// *Drop*, where the pagemap comes from the driver's memory: an actor takes its pages off the pagemap's count and
    /// reads no page. Others only add to the count or take off. Teardown could not end before, as the count was
    /// not 0 and the actor was busy.
    fn independent(&self, _state: &State, actions: &[Action]) -> Option<Alone> {
        let drops = self.contract.pagemap_from == PageMapFrom::Memory;
        let alone = |action: &Action| action.verb == verb::PUBLISH || drops && action.verb == verb::DROP;
        let at = actions.iter().position(alone)?;
        Some(Alone { actions: at..at + 1, once: false })
    }

    fn apply(&self, (): &mut (), state: &State, action: Action) -> Applied<State> {
        let mut applied = Applied::kept(*state);
        steps::apply(self, &mut applied, action);
        steps::judge_everywhere(self, &mut applied);
        applied
    }

    fn keep(&self, state: &State) -> State {
        let mut state = *state;
        state.actors[..usize::from(self.bounds.actors)].sort_unstable();
        state
    }

    fn restore(&self, kept: &State) -> State {
        *kept
    }

    fn expresses(&self) -> RuleSet {
        self.contract.expresses()
    }

    fn tell(&self, before: &State, action: Action, after: &State) -> Told {
        tell::tell(self, before, action, after)
    }

    fn view(&self, state: &State) -> Vec<String> {
        tell::view(self, state)
    }

    fn scale(&self) -> String {
        let sizes = (1..=self.bounds.order)
            .map(|k| format!("order {} has {} pages", self.scale.written(k), 1u32 << k));
        let sizes: Vec<_> = sizes.collect();
        format!("{} pages; in this world {}", self.bounds.pages, sizes.join(", "))
    }
}
