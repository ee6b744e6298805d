//! [`Mutate`]: what a test may make wrong in a world of folios.

use crate::folio::action::Action;
use crate::folio::outcome::Outcome;
use crate::folio::state::State;
use crate::mutate::NoMutation;

/// A change to what operations lead to.
pub trait Mutate: Sync {
    /// Changes the outcome of an operation on a state, in a world of `pages` pages.
    fn mutate(&self, pages: u8, before: &State, action: Action, outcome: &mut Outcome);
}

impl Mutate for NoMutation {
    fn mutate(&self, _pages: u8, _before: &State, _action: Action, _outcome: &mut Outcome) {}
}
