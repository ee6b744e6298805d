//! A [`World`] of Linux as a [`Design`].

use bifolio_rules::RuleSet;

use crate::design::{AmpleSet, Applied, Description, Design};
use crate::linux::action::{Action, Step};
use crate::linux::contract::PageMapFrom;
use crate::linux::encoded::Encoded;
use crate::linux::memory_order::MemoryOrder;
use crate::linux::state::State;
use crate::linux::world::World;
use crate::linux::{describe, steps};

impl Design for World {
    type State = State;
    type Encoded = Encoded;
    type Action = Action;
    type Scratch = ();

    fn scratch(&self) {}

    fn initial(&self) -> State {
        State::fresh(self.bounds.pages)
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        self.list_actions(state, out);
    }

    /// Two steps need no interleaving.
    ///
    /// *Publish*: the maker of a folio maps and unlocks it, cold or hot; if another thread maps its own hot first, this one
    /// is cold, which is in the set too. No other thread has the folio until then: others can put or freeze it only afterwards, none of their steps reads the words that change (a stale compound that is split over it
    /// breaks I6 either way), and it counts as live before and after. An end of teardown is neither enabled, as the
    /// folio lives, nor disabled.
    ///
    /// *Drop*, where the pagemap comes from the driver's memory and no store is late: an actor takes its pages off the pagemap's count and
    /// reads no page. Others only add to the count or take off. Teardown could not end before, as the count was
    /// not 0 and the actor was busy.
    fn ample_set(&self, _state: &State, actions: &[Action]) -> Option<AmpleSet> {
        let drops =
            self.contract.free_pagemap == PageMapFrom::Caller && self.memory_order == MemoryOrder::Sequential;
        let independent = |action: &Action| match action.step {
            Step::Publish { .. } => true,
            Step::DropPageMap { .. } => drops,
            _ => false,
        };
        let at = actions.iter().position(independent)?;
        // A new folio may be cold, or hot.
        let of_actor = actions[at..].iter().take_while(|action| action.actor == actions[at].actor);
        Some(AmpleSet { actions: at..at + of_actor.count(), once: false })
    }

    fn apply(&self, (): &mut (), state: &State, action: Action) -> Applied<State> {
        let mut applied = Applied::unbroken(*state);
        steps::apply(self, &mut applied, action);
        steps::judge_everywhere(self, &mut applied);
        applied
    }

    /// New folios are stored with the flags above the low byte that they should have: if they have others, I2 was found
    /// broken, and no step and no other rule depends on them.
    fn encode(&self, state: &State) -> Encoded {
        let mut state = *state;
        state.sort_actors(self.bounds.actors);
        state.settle_new_flags();
        Encoded::of(&state, self.bounds)
    }

    fn decode(&self, encoded: &Encoded) -> State {
        encoded.state(self.bounds)
    }

    fn expresses(&self) -> RuleSet {
        self.contract.expresses()
    }

    /// I10 looks at free pages and changes nothing. I2 is broken by flags that no step reads, or by words that some step
    /// does: the latter ends a branch all the same, see `steps::init_folio`.
    fn non_terminal(&self) -> RuleSet {
        RuleSet::of(&[2, 10])
    }

    fn describe(&self, before: &State, action: Action, _after: &State) -> Description {
        describe::action(self, before, action)
    }

    fn view(&self, state: &State) -> Vec<String> {
        describe::view(self, state)
    }

    fn scale(&self) -> String {
        let sizes = (1..=self.bounds.order)
            .map(|k| format!("order {} has {} pages", self.scale.written(k), 1u32 << k));
        let sizes: Vec<_> = sizes.collect();
        let pages = if self.bounds.pages == 1 { "page" } else { "pages" };
        let sizes = if sizes.is_empty() {
            ", order 0".to_owned()
        } else {
            format!("; in this world {}", sizes.join(", "))
        };
        let late = match self.memory_order {
            MemoryOrder::Sequential => "",
            MemoryOrder::Weak => "; stores of a freeing path may be seen late",
        };
        format!("{} {pages}{sizes}{late}", self.bounds.pages)
    }
}
