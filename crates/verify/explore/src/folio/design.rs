//! [`Folios`]: worlds of shipped folios over any allocator, as a [`Design`].

use bifolio_folio::Reset;
use bifolio_rules::RuleSet;

use crate::design::{AmpleSet, Applied, Bounds, Description, Design};
use crate::folio::action::{Action, Operation};
use crate::folio::encoded::Encoded;
use crate::folio::mutate::Mutate;
use crate::folio::operations::LoadedPageMap;
use crate::folio::packed_words::PAGES;
use crate::folio::state::{ACTORS, Handle, State};
use crate::folio::world::{Symmetry, World};
use crate::folio::{describe, judge};
use crate::mutate::NoMutation;

/// Shipped folios under any interleaving of operations.
#[derive(Clone, Copy, Debug)]
pub struct Folios<M = NoMutation> {
    pub(super) world: World,
    mutation: M,
}

impl Folios {
    /// Makes the world of folios whose words are reset when they are freed.
    #[cfg(test)]
    pub fn new(bounds: Bounds) -> Folios {
        Folios::with_reset(bounds, Reset::OnFree)
    }

    /// Makes the world of folios whose words are reset at this moment.
    #[must_use]
    pub fn with_reset(bounds: Bounds, reset: Reset) -> Folios {
        let symmetry = Symmetry::PagesAndActors;
        Folios { world: World { bounds, reset, symmetry }, mutation: NoMutation }
    }

    /// Makes the world with all actions, also those that differ from another one by a renaming only.
    #[cfg(test)]
    pub fn without_symmetry(bounds: Bounds) -> Folios {
        Folios::new(bounds).with_symmetry(Symmetry::None)
    }

    /// Makes the world with other things alike.
    pub(super) fn with_symmetry(self, symmetry: Symmetry) -> Folios {
        Folios { world: World { symmetry, ..self.world }, ..self }
    }
}

impl<M> Folios<M> {
    /// Makes the same world with a mutation.
    #[cfg(test)]
    pub(super) fn mutated<N>(&self, mutation: N) -> Folios<N> {
        Folios { world: self.world, mutation }
    }
}

impl<M: Mutate> Design for Folios<M> {
    type State = State;
    type Encoded = Encoded;
    type Action = Action;
    type Scratch = LoadedPageMap;

    fn scratch(&self) -> LoadedPageMap {
        LoadedPageMap::new(None, self.world.reset, self.world.bounds.pages)
    }

    fn initial(&self) -> State {
        State::fresh(self.world.bounds.pages)
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        self.world.list_actions(state, out);
    }

    /// Once the pagemap is dead, an actor with a range can only give it back (forming is refused and does the same). Pages
    /// are given to no actor any more, so no other actor is concerned: what changes is the references of the range's backing,
    /// and free pages that no actor can be given. For the same reason there is one range less for good.
    fn ample_set(&self, state: &State, actions: &[Action]) -> Option<AmpleSet> {
        let is_form = |action: &Action| action.operation == Operation::Form;
        let at = actions.iter().position(is_form).filter(|_| state.dead)?;
        Some(AmpleSet { actions: at..at + 2, once: true })
    }

    fn apply(&self, map: &mut LoadedPageMap, state: &State, action: Action) -> Applied<State> {
        let mut outcome = map.apply(state, action);
        self.mutation.mutate(self.world.bounds.pages, state, action, &mut outcome);
        judge::judge(&self.world, state, action, &outcome, false)
    }

    fn encode(&self, state: &State) -> Encoded {
        let encoded = Encoded::of(state, self.world.bounds.order, self.world.reset);
        debug_assert!(handles(state) == handles(&self.decode(&encoded)), "{state:?} is not stored whole");
        encoded
    }

    fn decode(&self, encoded: &Encoded) -> State {
        encoded.state(self.world.bounds.pages)
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17])
    }

    fn non_terminal(&self) -> RuleSet {
        RuleSet::NONE
    }

    fn by_construction(&self) -> &'static [(u8, &'static str)] {
        &[(3, "type: form and free are called on the pagemap, a page does not say which one it is of")]
    }

    fn describe(&self, before: &State, action: Action, after: &State) -> Description {
        describe::action(before, action, after)
    }

    fn view(&self, state: &State) -> Vec<String> {
        describe::view(&self.world, state)
    }

    fn scale(&self) -> String {
        format!("{} pages, orders 0 to {}", self.world.bounds.pages, self.world.bounds.order)
    }
}

/// What is held and what is parked, by kind and order: the same whatever the pages are called.
fn handles(state: &State) -> ([Handle; ACTORS], [u16; PAGES]) {
    let (mut handles, mut parked) =
        (state.handles.map(|handle| Handle { page: 0, ..handle }), state.parked.each());
    handles.sort_unstable();
    parked.sort_unstable();
    (handles, parked)
}
