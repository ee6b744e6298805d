//! What one worker does: it expands states of a level and collects those that were not seen before.

use std::ops::Range;

use crate::design::{AmpleSet, Applied, Design};
use crate::set::{LOOKS, StateId, StateSet, hash_of};
use bifolio_rules::{Rule, RuleSet};

/// A state that a step led to: its hash, itself, the number of the state before, and the number of the action.
pub(super) type Reached<S> = (u64, S, StateId, u16);

/// What came out of a chunk of a level.
pub(super) struct Candidates<S> {
    /// States that were not seen before, maybe several times.
    pub(super) unseen: Vec<Reached<S>>,
    /// For each rule that was broken the state from which a step broke it.
    pub(super) broken: Vec<(Rule, StateId)>,
    seen: RuleSet,
    pub(super) steps: u64,
    /// States that were left by some of their actions only.
    pub(super) reduced: u64,
}

/// What workers know of the level that they expand.
pub(super) struct Level<'w, D: Design> {
    pub(super) design: &'w D,
    pub(super) states: &'w StateSet<D::Encoded>,
    /// Rules that were broken before.
    pub(super) seen: RuleSet,
    /// Number of the first state that is not of this level or one before.
    pub(super) end: usize,
    pub(super) full: bool,
}

impl<D: Design> Level<'_, D> {
    /// Expands some states of the level.
    pub(super) fn expand(&self, states: Range<usize>) -> Candidates<D::Encoded> {
        let mut worker = Worker {
            level: self,
            scratch: self.design.scratch(),
            actions: Vec::new(),
            reached: Vec::with_capacity(2 * LOOKS),
            out: Candidates { unseen: Vec::new(), broken: Vec::new(), seen: self.seen, steps: 0, reduced: 0 },
        };
        for index in states {
            worker.leave(index);
            if worker.reached.len() >= LOOKS {
                worker.look();
            }
        }
        worker.look();
        worker.out
    }
}

/// A worker and what it has at hand.
struct Worker<'w, 'l, D: Design> {
    level: &'w Level<'l, D>,
    scratch: D::Scratch,
    /// Actions of the state that is being left.
    actions: Vec<D::Action>,
    /// States that were not looked for yet.
    reached: Vec<Reached<D::Encoded>>,
    out: Candidates<D::Encoded>,
}

impl<D: Design> Worker<'_, '_, D> {
    /// Does all that is to be done in a state.
    fn leave(&mut self, index: usize) {
        let Level { design, states, full, .. } = *self.level;
        let state = design.decode(states.get(index).0);
        let id = StateId::try_from(index).expect("fewer states than numbers");
        self.actions.clear();
        design.actions(&state, &mut self.actions);
        let ample = if full { None } else { design.ample_set(&state, &self.actions) };
        if !ample.is_some_and(|ample| self.leave_by(&ample, &state, id)) {
            self.leave_by_all(&state, id);
        }
    }

    /// Does a step. Returns what it led to, unless nothing that follows is looked at.
    fn step(&mut self, state: &D::State, id: StateId, action: D::Action) -> Option<D::State> {
        let applied = self.level.design.apply(&mut self.scratch, state, action);
        if !applied.broken.is_empty() {
            self.note(applied.broken, id);
        }
        (!ends(self.level.design, &applied)).then_some(applied.state)
    }

    fn note(&mut self, broken: RuleSet, parent: StateId) {
        for rule in broken.without(self.out.seen).iter() {
            self.out.broken.push((rule, parent));
        }
        self.out.seen = self.out.seen.union(broken);
    }

    fn leave_by_all(&mut self, state: &D::State, id: StateId) {
        for way in 0..self.actions.len() {
            let next = self.step(state, id, self.actions[way]);
            if let Some(next) = next.filter(|next| next != state) {
                self.reach(self.level.design.encode(&next), id, way);
            }
        }
        self.out.steps += self.actions.len() as u64;
    }

    /// Leaves a state by some of its actions only; see [`explore`](crate::explore) for the conditions. False if
    /// they are not met.
    fn leave_by(&mut self, ample: &AmpleSet, state: &D::State, id: StateId) -> bool {
        let before = self.reached.len();
        for way in ample.actions.clone() {
            let next = self.step(state, id, self.actions[way]).map(|next| self.level.design.encode(&next));
            let is_deeper = |next: &D::Encoded| {
                let known = self.level.states.position(hash_of(next), next);
                known.is_none_or(|at| at >= self.level.end)
            };
            let Some(next) = next.filter(|next| ample.once || is_deeper(next)) else {
                self.reached.truncate(before);
                return false;
            };
            self.reach(next, id, way);
        }
        self.out.steps += ample.actions.len() as u64;
        self.out.reduced += 1;
        true
    }

    fn reach(&mut self, state: D::Encoded, parent: StateId, way: usize) {
        let way = u16::try_from(way).expect("a state has fewer actions than numbers");
        self.reached.push((hash_of(&state), state, parent, way));
    }

    /// Moves on what was reached and is not in the set.
    fn look(&mut self) {
        for some in self.reached.chunks(LOOKS) {
            let keys = some.iter().map(|(hash, state, ..)| (*hash, state));
            self.level.states.missing(keys, |place| self.out.unseen.push(some[place]));
        }
        self.reached.clear();
    }
}

/// Whether nothing that follows a step is looked at.
pub(super) fn ends<D: Design>(design: &D, applied: &Applied<D::State>) -> bool {
    applied.fatal || !applied.broken.without(design.non_terminal()).is_empty()
}
