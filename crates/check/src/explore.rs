//! Breadth-first exploration of a [`Design`].
//!
//! States are visited level by level, so the first way that is found to break a rule is among the shortest.
//!
//! What follows a broken rule is not explored: garbage breaks everything. So "holds" means that no state breaks
//! the rule that can be reached while all rules hold. Rules that only say something about a state, and whose
//! breaking destroys nothing ([`Design::only_seen`]), do not end a branch.
//!
//! Work is done in rounds: workers expand a chunk of the level each and drop the states that were seen before;
//! then the new ones are inserted in the order of the level. So results do not depend on the number of threads,
//! down to the choice among equally short sequences.

use std::{fmt, thread};

use crate::design::{Action, Applied, Design};
use crate::set::{LOOKS, StateSet, hash_of};
use bifolio_rules::{Rule, RuleSet};

/// States that one worker expands in one round.
const CHUNK: usize = 2048;

/// How far an exploration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// States found.
    pub states: u64,
    /// Steps taken.
    pub steps: u64,
    /// Level that is being expanded.
    pub depth: u32,
    /// Bytes of states, parents and table.
    pub bytes: usize,
}

/// What limits an exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of states, parents and table. Tables double, so the peak while growing is at most twice that.
    pub bytes: usize,
    /// Most states.
    pub states: u64,
    /// Worker threads, at least 1.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 2 << 30, states: u64::MAX, threads: 1 }
    }
}

/// Why an exploration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All reachable states were visited.
    Complete,
    /// The next states would need more memory than allowed.
    Memory,
    /// The limit of states was reached.
    States,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Complete => "all states visited",
            End::Memory => {
                "stopped: the next states need more memory than allowed; allow more, or fewer pages or actors"
            }
            End::States => "stopped at the limit of states",
        })
    }
}

/// The shortest way to break a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken<S> {
    /// The rule.
    pub rule: Rule,
    /// States on the way, as they were (not renamed), the first one included.
    pub states: Vec<S>,
    /// The step from each of them to the next, with the rules it broke. Empty if the way could not be told
    /// without renaming.
    pub steps: Vec<(Action, RuleSet)>,
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Explored<S> {
    /// Distinct states, up to renaming.
    pub states: u64,
    /// Steps taken.
    pub steps: u64,
    /// Steps from the initial state to the farthest one.
    pub depth: u32,
    /// Why it ended.
    pub end: End,
    /// Shortest ways to break rules, by rule.
    pub broken: Vec<Broken<S>>,
}

/// Number of a state, in the order of discovery.
type StateId = u32;

/// States that came out of a chunk of a level.
struct Candidates<S> {
    unseen: Vec<(u64, S, StateId)>,
    /// Parent and step for each rule that was broken.
    broken: Vec<(Rule, StateId, Action)>,
    seen: RuleSet,
    steps: u64,
}

impl<S: Copy + Eq> Candidates<S> {
    fn new(seen: RuleSet) -> Candidates<S> {
        Candidates { unseen: Vec::new(), broken: Vec::new(), seen, steps: 0 }
    }

    /// Moves the states that are not in the set over.
    fn take_unseen(&mut self, states: &StateSet<S>, reached: &mut Vec<(u64, S, StateId)>) {
        let keys = reached.iter().map(|(hash, state, _)| (*hash, state));
        states.missing(keys, |place| self.unseen.push(reached[place]));
        reached.clear();
    }

    fn note(&mut self, broken: RuleSet, parent: StateId, action: Action) {
        for rule in broken.without(self.seen).iter() {
            self.broken.push((rule, parent, action));
        }
        self.seen = self.seen.union(broken);
    }
}

/// Visits every reachable state of a design, or as many as the limits allow.
pub fn explore<D: Design>(
    design: &D,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Explored<D::State> {
    let mut walk = Walk::new(design);
    let end = walk.run(limits, progress);
    let trace = |&(rule, parent, action): &(Rule, StateId, Action)| {
        let short = || Broken { rule, states: vec![walk.design.initial()], steps: Vec::new() };
        walk.trace(rule, parent, action).unwrap_or_else(short)
    };
    let broken = walk.found.iter().map(trace).collect();
    let states = walk.states.len() as u64;
    Explored { states, steps: walk.steps, depth: walk.depth, end, broken }
}

struct Walk<'d, D: Design> {
    design: &'d D,
    states: StateSet<D::Kept>,
    steps: u64,
    depth: u32,
    found: Vec<(Rule, StateId, Action)>,
    seen: RuleSet,
}

impl<'d, D: Design> Walk<'d, D> {
    fn new(design: &'d D) -> Self {
        let mut states = StateSet::new();
        let first = design.keep(&design.initial());
        states.insert(hash_of(&first), &first, StateId::MAX);
        Walk { design, states, steps: 0, depth: 0, found: Vec::new(), seen: RuleSet::NONE }
    }

    fn run(&mut self, limits: &Limits, progress: &mut dyn FnMut(Progress)) -> End {
        let (mut from, mut to) = (0, self.states.len());
        let mut next_report = 0;
        while from < to {
            let mut at = from;
            while at < to {
                if let Some(end) = self.limit_reached(limits) {
                    return end;
                }
                let end = to.min(at + CHUNK * limits.threads.max(1));
                self.round(at, end, limits.threads.max(1));
                at = end;
                if self.steps >= next_report {
                    next_report = self.steps + (1 << 20);
                    progress(self.progress());
                }
            }
            (from, to) = (to, self.states.len());
            self.depth += u32::from(from < to);
        }
        progress(self.progress());
        End::Complete
    }

    fn limit_reached(&self, limits: &Limits) -> Option<End> {
        // The last numbers are kept for a round under way.
        if self.states.bytes() > limits.bytes || self.states.len() >= StateId::MAX as usize / 2 {
            return Some(End::Memory);
        }
        (self.states.len() as u64 >= limits.states).then_some(End::States)
    }

    fn progress(&self) -> Progress {
        let (states, bytes) = (self.states.len() as u64, self.states.bytes());
        Progress { states, steps: self.steps, depth: self.depth, bytes }
    }

    fn round(&mut self, from: usize, to: usize, threads: usize) {
        let (design, states, seen) = (self.design, &self.states, self.seen);
        let parts: Vec<Candidates<D::Kept>> = if threads == 1 {
            vec![expand(design, states, seen, from, to)]
        } else {
            let share = (to - from).div_ceil(threads);
            thread::scope(|scope| {
                let begin = |worker: usize| (from + worker * share).min(to);
                let spawn = |worker| {
                    scope.spawn(move || expand(design, states, seen, begin(worker), begin(worker + 1)))
                };
                let workers: Vec<_> = (0..threads).map(spawn).collect();
                workers.into_iter().map(|worker| worker.join().expect("a design does not panic")).collect()
            })
        };
        for part in parts {
            self.take(part);
        }
    }

    fn take(&mut self, part: Candidates<D::Kept>) {
        self.steps += part.steps;
        for some in part.unseen.chunks(LOOKS) {
            self.states.touch(some.iter().map(|(hash, ..)| *hash));
            for (hash, state, parent) in some {
                self.states.insert(*hash, state, *parent);
            }
        }
        for (rule, parent, action) in part.broken {
            if !self.seen.contains(rule) {
                self.seen.require(false, rule.number());
                self.found.push((rule, parent, action));
            }
        }
    }

    /// Finds the steps that lead to a broken rule, by doing them again without renaming. `None` if that does not
    /// work out: the design then treats renamed states differently, which it must not.
    fn trace(&self, rule: Rule, parent: StateId, last: Action) -> Option<Broken<D::State>> {
        let mut goals = Vec::new();
        let mut at = parent;
        while at != StateId::MAX {
            let (state, before) = self.states.get(at as usize);
            goals.push(*state);
            at = before;
        }
        goals.reverse();
        let mut scratch = self.design.scratch();
        let mut states = vec![self.design.initial()];
        let mut steps = Vec::new();
        for goal in &goals[1..] {
            let here = *states.last().expect("begins with the initial state");
            let reached = |_: Action, applied: &Applied<D::State>| self.design.keep(&applied.state) == *goal;
            let (action, broken, state) = self.find_step(&mut scratch, &here, reached)?;
            steps.push((action, broken));
            states.push(state);
        }
        let here = *states.last().expect("begins with the initial state");
        let breaking = |action: Action, applied: &Applied<D::State>| {
            action.verb == last.verb && applied.broken.contains(rule)
        };
        let (action, broken, state) = self.find_step(&mut scratch, &here, breaking)?;
        steps.push((action, broken));
        states.push(state);
        Some(Broken { rule, states, steps })
    }

    fn find_step(
        &self,
        scratch: &mut D::Scratch,
        here: &D::State,
        wanted: impl Fn(Action, &Applied<D::State>) -> bool,
    ) -> Option<(Action, RuleSet, D::State)> {
        let mut actions = Vec::new();
        self.design.actions(here, &mut actions);
        actions.into_iter().find_map(|action| {
            let applied = self.design.apply(scratch, here, action);
            wanted(action, &applied).then_some((action, applied.broken, applied.state))
        })
    }
}

fn expand<D: Design>(
    design: &D,
    states: &StateSet<D::Kept>,
    seen: RuleSet,
    from: usize,
    to: usize,
) -> Candidates<D::Kept> {
    let mut out = Candidates::new(seen);
    let mut scratch = design.scratch();
    let (mut actions, mut reached) = (Vec::new(), Vec::with_capacity(LOOKS));
    for index in from..to {
        let state = design.restore(states.get(index).0);
        let id = StateId::try_from(index).expect("fewer states than numbers");
        actions.clear();
        design.actions(&state, &mut actions);
        for &action in &actions {
            let applied = design.apply(&mut scratch, &state, action);
            out.steps += 1;
            if !applied.broken.is_empty() {
                out.note(applied.broken, id, action);
            }
            let ends = applied.fatal || !applied.broken.without(design.only_seen()).is_empty();
            if ends || applied.state == state {
                continue;
            }
            let next = design.keep(&applied.state);
            reached.push((hash_of(&next), next, id));
            if reached.len() == LOOKS {
                out.take_unseen(states, &mut reached);
            }
        }
    }
    out.take_unseen(states, &mut reached);
    out
}
