//! A [`World`] of migration as a [`Design`].

use bifolio_rules::RuleSet;

use crate::design::{Applied, Description, Design};
use crate::linux::migration::action::Action;
use crate::linux::migration::state::State;
use crate::linux::migration::world::World;
use crate::linux::migration::{describe, judge, steps};

impl Design for World {
    type State = State;
    type Encoded = State;
    type Action = Action;
    type Scratch = ();

    fn scratch(&self) {}

    fn initial(&self) -> State {
        State::fresh()
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        self.list_actions(state, out);
    }

    fn apply(&self, (): &mut (), state: &State, action: Action) -> Applied<State> {
        let mut applied = Applied::unbroken(*state);
        steps::apply(&self.contract, &mut applied, action);
        judge::state(&applied.state, &mut applied.broken);
        applied
    }

    fn encode(&self, state: &State) -> State {
        let mut state = *state;
        state.actors.sort_unstable();
        state
    }

    fn decode(&self, encoded: &State) -> State {
        let mut state = *encoded;
        // Threads that work come first, so that one that idles is among those of the world.
        state.actors.sort_unstable_by_key(|job| job.is_none());
        state
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[7, 12, 13, 14, 17, 18, 19, 20, 23, 24, 26, 27, 28])
    }

    fn non_terminal(&self) -> RuleSet {
        RuleSet::NONE
    }

    fn describe(&self, before: &State, action: Action, after: &State) -> Description {
        describe::action(before, action, after)
    }

    fn view(&self, state: &State) -> Vec<String> {
        describe::view(state)
    }

    fn scale(&self) -> String {
        "one process, 2 pages; in this world order 9 has 2 pages".to_owned()
    }
}
