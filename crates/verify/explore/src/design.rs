//! What a design is to the explorer: [`Design`].
//!
//! A design is a transition system. Its state is a small `Copy` value: page words, allocator, objects, and for
//! each actor how far it has come. An [action](Design::Action) is one atomic step of one actor; a step that can fail is
//! two actions. [`Design::apply`] does the step and returns which rules it broke.

use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Range;

use bifolio_rules::{Rule, RuleSet};

/// Size of the world that is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Device pages, at most [`Bounds::PAGES_MAX`].
    pub pages: u8,
    /// Largest order of a folio; 2^order is at most `pages`.
    pub order: u8,
    /// Actors that take steps in any interleaving, at most [`Bounds::ACTORS_MAX`].
    pub actors: u8,
}

/// Why bounds cannot be explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundsError {
    /// Number of pages is 0 or too large.
    Pages,
    /// The largest folio has more pages than the world, or does not divide it.
    Order,
    /// Number of actors is 0 or too large.
    Actors,
}

impl std::error::Error for BoundsError {}

impl std::fmt::Display for BoundsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BoundsError::Pages => write!(f, "a world has 1 to {} pages", Bounds::PAGES_MAX),
            BoundsError::Order => f.write_str(
                "the largest order is 3 at most, and pages are a multiple of a folio's of that order",
            ),
            BoundsError::Actors => write!(f, "a world has 1 to {} actors", Bounds::ACTORS_MAX),
        }
    }
}

impl Bounds {
    /// Most pages of a world.
    pub const PAGES_MAX: u8 = 8;
    /// Largest order in a world.
    pub const ORDER_MAX: u8 = 3;
    /// Most actors of a world.
    pub const ACTORS_MAX: u8 = 3;

    /// Makes bounds known to be good.
    #[must_use]
    pub const fn of(pages: u8, order: u8, actors: u8) -> Bounds {
        Bounds { pages, order, actors }
    }

    /// Checks that a world of this size can be represented.
    ///
    /// # Errors
    /// The first bound that is out of range.
    pub fn check(self) -> Result<(), BoundsError> {
        if self.pages == 0 || self.pages > Self::PAGES_MAX {
            return Err(BoundsError::Pages);
        }
        if self.order > Self::ORDER_MAX || !self.pages.is_multiple_of(1 << self.order) {
            return Err(BoundsError::Order);
        }
        if self.actors == 0 || self.actors > Self::ACTORS_MAX {
            return Err(BoundsError::Actors);
        }
        Ok(())
    }
}

/// Actions that are enough to leave a state by, see [`Design::ample_set`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmpleSet {
    /// Which ones, in the list of actions.
    pub actions: Range<usize>,
    /// Whether each of them takes something away that never comes back, so that no cycle of states has such an action.
    pub once: bool,
}

/// What a step led to.
#[derive(Clone, Copy, Debug)]
pub struct Applied<S> {
    /// The state after it.
    pub state: S,
    /// Rules that it broke.
    pub broken: RuleSet,
    /// Whether nothing sensible can follow: the machine hangs or follows a wild pointer.
    pub fatal: bool,
}

impl<S> Applied<S> {
    /// A step that broke nothing.
    #[must_use]
    pub fn unbroken(state: S) -> Applied<S> {
        Applied { state, broken: RuleSet::NONE, fatal: false }
    }
}

/// A step in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The actor.
    pub actor: String,
    /// What it did, and what came of it.
    pub text: String,
}

/// A transition system whose steps keep the rules, or break some.
pub trait Design: Sync {
    /// A state: small, without heap.
    type State: Copy + Eq;
    /// A visited state as it is stored: one value for all states that differ by the names of pages or actors only, or
    /// for as many of them as can be recognised cheaply.
    type Encoded: Copy + Eq + Hash + Send + Sync;
    /// One atomic step of one actor.
    type Action: Copy + PartialEq + Debug;
    /// What a worker needs between steps, such as a pagemap to run shipped code on. It must not influence results.
    type Scratch;

    /// Makes the scratch of one worker.
    fn scratch(&self) -> Self::Scratch;

    /// Returns the first state.
    fn initial(&self) -> Self::State;

    /// Lists what can be done, in the same order in every run: `--resume` depends on it. `out` is empty.
    fn actions(&self, state: &Self::State, out: &mut Vec<Self::Action>);

    /// Finds actions that can go first without loss: all that one actor can do next, if they are independent of
    /// everything that others can do before. That is: whatever others do, these actions stay as they are, disable no action
    /// of the others, lead to the same state in either order, and neither break a rule nor change what breaks one. An
    /// action may enable others.
    fn ample_set(&self, _state: &Self::State, _actions: &[Self::Action]) -> Option<AmpleSet> {
        None
    }

    /// Does one of [`Design::actions`].
    fn apply(
        &self,
        scratch: &mut Self::Scratch,
        state: &Self::State,
        action: Self::Action,
    ) -> Applied<Self::State>;

    /// Returns the stored form of a state in which no rule is broken that ends a branch.
    fn encode(&self, state: &Self::State) -> Self::Encoded;

    /// Returns the state that was stored, or one that differs from it by names only.
    fn decode(&self, encoded: &Self::Encoded) -> Self::State;

    /// Rules that the model can express; verdicts are given for these.
    fn expresses(&self) -> RuleSet;

    /// Rules that judge a state and destroy nothing when they break: the exploration goes on after it.
    fn non_terminal(&self) -> RuleSet {
        RuleSet::of(&[10])
    }

    /// Rules that hold by construction, so that no state could break them; each with the reason.
    fn by_construction(&self) -> &'static [(u8, &'static str)] {
        &[]
    }

    /// Describes an action in words.
    fn describe(&self, before: &Self::State, action: Self::Action, after: &Self::State) -> Description;

    /// Returns one line for each page and for each counter: its name, a colon, and what it holds.
    fn view(&self, state: &Self::State) -> Vec<String>;

    /// A sentence on how the world is scaled, for the head of a story.
    fn scale(&self) -> String;
}

/// Returns the reason why a rule cannot be broken in a design, if it holds by construction.
pub(crate) fn reason_by_construction<D: Design>(design: &D, rule: Rule) -> Option<&'static str> {
    design.by_construction().iter().find(|(number, _)| *number == rule.number()).map(|(_, reason)| *reason)
}
