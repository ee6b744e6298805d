//! A [`World`] of Linux as a [`Design`].

use bifolio_rules::RuleSet;

use crate::design::{AmpleSet, Applied, Description, Design};
use crate::linux::action::{Action, Step};
use crate::linux::contract::PageMapFrom;
use crate::linux::state::State;
use crate::linux::world::World;
use crate::linux::{describe, steps};

impl Design for World {
    type State = State;
    type Encoded = State;
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
    /// *Publish*: the maker of a folio maps and unlocks it. No other thread has the folio until then: others can put or
    /// freeze it only afterwards, none of their steps reads the words that change (a stale compound that is split over it
    /// breaks I6 either way), and it counts as live before and after. An end of teardown is neither enabled, as the
    /// folio lives, nor disabled.
    ///
    /// *Drop*, where the pagemap comes from the driver's memory: an actor takes its pages off the pagemap's count and
    /// reads no page. Others only add to the count or take off. Teardown could not end before, as the count was
    /// not 0 and the actor was busy.
    fn ample_set(&self, _state: &State, actions: &[Action]) -> Option<AmpleSet> {
        let drops = self.contract.pagemap_from == PageMapFrom::Memory;
        let independent = |action: &Action| match action.step {
            Step::Publish { .. } => true,
            Step::DropPageMap { .. } => drops,
            _ => false,
        };
        let at = actions.iter().position(independent)?;
        Some(AmpleSet { actions: at..at + 1, once: false })
    }

    fn apply(&self, (): &mut (), state: &State, action: Action) -> Applied<State> {
        let mut applied = Applied::unbroken(*state);
        steps::apply(self, &mut applied, action);
        steps::judge_everywhere(self, &mut applied);
        applied
    }

    fn encode(&self, state: &State) -> State {
        let mut state = *state;
        state.actors[..usize::from(self.bounds.actors)].sort_unstable();
        state
    }

    fn decode(&self, encoded: &State) -> State {
        *encoded
    }

    fn expresses(&self) -> RuleSet {
        self.contract.expresses()
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
        format!("{} pages; in this world {}", self.bounds.pages, sizes.join(", "))
    }
}
