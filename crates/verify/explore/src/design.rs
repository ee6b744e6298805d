//! What a design is to the explorer: [`Design`].
//!
//! A design is a transition system. Its state is a small `Copy` value: page words, allocator, objects, and for
//! each actor how far it has come. An [`Action`] is one atomic step of one actor; a step that can fail is two
//! actions. [`Design::apply`] does the step and says which rules it broke.

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

/// One atomic step of one actor, in the numbering of the design.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Action {
    /// Who does it.
    pub actor: u8,
    /// What is done.
    pub verb: u8,
    /// First argument, mostly a page.
    pub page: u8,
    /// Second argument, mostly an order.
    pub order: u8,
}

/// Actions that are enough to leave a state by, see [`Design::independent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alone {
    /// Which ones, in the list of actions.
    pub actions: Range<usize>,
    /// Whether they take something away that never comes back, so that no cycle of states has such an action.
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
    pub fn kept(state: S) -> Applied<S> {
        Applied { state, broken: RuleSet::NONE, fatal: false }
    }
}

/// A step as a person tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who did it.
    pub actor: String,
    /// What was done, and what came of it.
    pub text: String,
}

/// A system of states and steps that keeps rules, or does not.
pub trait Design: Sync {
    /// A state: small, without heap.
    type State: Copy + Eq;
    /// What is kept of a state that was visited: the same for states that differ by renaming pages or actors only, or
    /// for as many of them as can be had cheaply.
    type Kept: Copy + Eq + Hash + Send + Sync;
    /// What a worker keeps between steps, such as a pagemap to run shipped code on. Must not influence results.
    type Scratch;

    /// Makes the scratch of one worker.
    fn scratch(&self) -> Self::Scratch;

    /// Returns the state that all begins with.
    fn initial(&self) -> Self::State;

    /// Lists what can be done, in the same order in every run: `--resume` goes by it. `out` is empty.
    fn actions(&self, state: &Self::State, out: &mut Vec<Action>);

    /// Finds actions after which nothing is lost if they are done first: all that one actor can do next, if they are
    /// independent of everything that others can do before. That is: whatever others do, these actions stay as they are,
    /// disable nothing of the others', lead to the same state in either order, and neither break a rule nor change
    /// what breaks one. An action may enable others.
    fn independent(&self, _state: &Self::State, _actions: &[Action]) -> Option<Alone> {
        None
    }

    /// Does one of [`Design::actions`].
    fn apply(&self, scratch: &mut Self::Scratch, state: &Self::State, action: Action)
    -> Applied<Self::State>;

    /// Returns what is kept of a state in which no rule is broken that ends a branch.
    fn keep(&self, state: &Self::State) -> Self::Kept;

    /// Returns the state that was kept, or one that differs from it by renaming only.
    fn restore(&self, kept: &Self::Kept) -> Self::State;

    /// Rules that the model can express; verdicts are given for these.
    fn expresses(&self) -> RuleSet;

    /// Rules whose breaking says something about a state but destroys nothing: exploration goes on after it.
    fn only_seen(&self) -> RuleSet {
        RuleSet::of(&[10])
    }

    /// Rules that no state could break, each with the reason.
    fn built(&self) -> &'static [(u8, &'static str)] {
        &[]
    }

    /// Tells an action in words.
    fn tell(&self, before: &Self::State, action: Action, after: &Self::State) -> Told;

    /// Returns one line for each page, and for each counter: what it holds.
    fn view(&self, state: &Self::State) -> Vec<String>;

    /// A sentence on how the world is scaled, for the head of a story.
    fn scale(&self) -> String;
}

/// Returns the reason why a rule cannot be broken in a design, if it is built so.
pub fn built_reason<D: Design>(design: &D, rule: Rule) -> Option<&'static str> {
    design.built().iter().find(|(number, _)| *number == rule.number()).map(|(_, reason)| *reason)
}
