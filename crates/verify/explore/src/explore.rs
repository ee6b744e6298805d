//! Breadth-first exploration of a [`Design`].
//!
//! States are visited level by level, so the first sequence that is found to break a rule is among the shortest.
//!
//! What follows a broken rule is not explored: wrong words break any rule. So "holds" means that no state breaks
//! the rule among those that can be reached while all rules hold. Rules that judge a state and destroy nothing when they
//! break ([`Design::non_terminal`]) do not end a branch.
//!
//! # Partial-order reduction
//!
//! Where a design names an actor whose next actions are independent of all that others can do before them
//! ([`Design::ample_set`]), a state is left by these actions only: what others could do first, they can do
//! afterwards, with the same result. The conditions on ample sets are met as follows:
//!
//! - *Independence* is argued by the design, for each kind of action. All actions that the actor could do are in the set.
//! - *Invisibility*: a set with an action that breaks a rule is not used, [non-terminal](Design::non_terminal) rules
//!   excepted, which the design's argument covers.
//! - *Cycles*: a set is not used if one of its actions leads to a state of this level or an earlier one, so each cycle
//!   has a state that is left by all actions; or the design guarantees that no cycle has such an action, because it
//!   takes away what never comes back.
//!
//! Verdicts are the same as without. The shortest sequences may be among those left out; so once a rule is found broken
//! the levels are searched again in full, as far as it takes to find the same rules. `Limits::full` switches the reduction off.
//!
//! # Rounds
//!
//! Work is done in rounds: workers expand a chunk of the level each and drop the states that were seen before;
//! then the new ones are inserted in the order of the level. So results do not depend on the number of threads,
//! down to the choice among equally short sequences.

mod expand;
mod follow;
mod shortest;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use crate::design::Design;
use crate::explore::expand::{Candidates, Level};
pub(crate) use crate::explore::follow::follow;
use crate::journal::{Journal, Record};
use crate::set::{LOOKS, StateId, StateSet, hash_of};
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
    /// Time since the exploration began.
    pub time: Duration,
}

/// What limits an exploration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of states, parents and table. Tables double, so the peak while growing is at most twice that.
    pub bytes: usize,
    /// Most states.
    pub states: u64,
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Whether every action is interleaved with every other: no partial-order reduction.
    pub full: bool,
    /// Ends the exploration when it becomes true.
    pub stop: Option<&'static AtomicBool>,
    /// Where earlier work is found, and where this exploration leaves its own.
    pub journal: Option<&'static Journal>,
    /// The only steps that are taken, if they are given: those of a [`Story`](crate::Story), as it names them.
    pub follow: Option<&'static [u32]>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 2 << 30,
            states: u64::MAX,
            threads: 1,
            full: false,
            stop: None,
            journal: None,
            follow: None,
        }
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
    /// On request: [`Limits::stop`].
    Stopped,
    /// The steps that were given were taken: [`Limits::follow`].
    Followed,
    /// The saved steps lead to other states in this version of the design.
    Unfit,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Complete => "all states visited",
            End::Memory => {
                "stopped: the next states need more memory than allowed; allow more, or fewer pages or actors"
            }
            End::States => "stopped at the limit of states",
            End::Stopped => "stopped on request",
            End::Followed => "one way only",
            End::Unfit => "not begun: the saved steps do not fit this version of the design",
        })
    }
}

/// A shortest sequence of steps that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken<S, A> {
    /// The rule.
    pub rule: Rule,
    /// The states, under the names that pages and actors had, the first one included.
    pub states: Vec<S>,
    /// The step from each of them to the next, with the rules it broke. Empty if the sequence could not be repeated
    /// under these names.
    pub steps: Vec<(A, RuleSet)>,
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Explored<S, A> {
    /// Distinct states, names of pages and actors aside.
    pub states: u64,
    /// Steps taken.
    pub steps: u64,
    /// Steps from the initial state to the farthest one.
    pub depth: u32,
    /// Why it ended.
    pub end: End,
    /// A shortest sequence for each rule that breaks, in the order of finding.
    pub broken: Vec<Broken<S, A>>,
}

/// Visits every reachable state of a design, or as many as the limits allow.
pub fn explore<D: Design>(
    design: &D,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Explored<D::State, D::Action> {
    explore_as("", design, limits, progress)
}

/// The same under a name by which the journal of [`Limits::journal`] knows it.
pub fn explore_as<D: Design>(
    name: &str,
    design: &D,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Explored<D::State, D::Action> {
    let mut search = Search::new(design, limits);
    let past = limits.journal.and_then(|journal| journal.past(name));
    let fits = past.is_none_or(|record| search.resume(&record));
    let end = if fits { search.run(RuleSet::of(&[]), progress) } else { End::Unfit };
    if let Some(journal) = limits.journal {
        journal.leave(search.record(name));
    }
    let broken = search.shortest(progress);
    let states = search.states.len() as u64;
    Explored { states, steps: search.steps, depth: search.depth, end, broken }
}

struct Search<'d, D: Design> {
    design: &'d D,
    limits: Limits,
    states: StateSet<D::Encoded>,
    /// For each state but the first which action of its parent led to it, if there is a journal.
    ways: Vec<u16>,
    /// The next state to expand, and the end of its level.
    at: usize,
    level_end: usize,
    steps: u64,
    depth: u32,
    reduced: u64,
    /// Rules that were broken, each with the state from which a step broke it.
    found: Vec<(Rule, StateId)>,
    seen: RuleSet,
    begin: Instant,
}

impl<'d, D: Design> Search<'d, D> {
    fn new(design: &'d D, limits: &Limits) -> Self {
        let mut states = StateSet::new();
        let first = design.encode(&design.initial());
        states.insert(hash_of(&first), &first, StateId::MAX);
        Search {
            design,
            limits: Limits { threads: limits.threads.max(1), ..*limits },
            states,
            ways: Vec::new(),
            at: 0,
            level_end: 1,
            steps: 0,
            depth: 0,
            reduced: 0,
            found: Vec::new(),
            seen: RuleSet::NONE,
            begin: Instant::now(),
        }
    }

    /// Visits states until all are visited, a limit is reached, or all rules of a set that is not empty were broken.
    fn run(&mut self, goal: RuleSet, progress: &mut dyn FnMut(Progress)) -> End {
        let mut next_report = self.steps;
        while self.at < self.level_end {
            while self.at < self.level_end {
                let found_all = !goal.is_empty() && goal.without(self.seen).is_empty();
                if let Some(end) = self.limit_reached().or(found_all.then_some(End::Stopped)) {
                    progress(self.progress());
                    return end;
                }
                let end = self.level_end.min(self.at + CHUNK * self.limits.threads);
                self.round(end);
                self.at = end;
                if self.steps >= next_report {
                    next_report = self.steps + (1 << 20);
                    progress(self.progress());
                }
            }
            self.level_end = self.states.len();
            self.depth += u32::from(self.at < self.level_end);
        }
        progress(self.progress());
        End::Complete
    }

    fn limit_reached(&self) -> Option<End> {
        let Limits { bytes, states, stop, .. } = self.limits;
        // The last numbers are kept for a round under way.
        if self.states.bytes() + self.ways.capacity() * 2 > bytes
            || self.states.len() >= StateId::MAX as usize / 2
        {
            return Some(End::Memory);
        }
        if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Some(End::Stopped);
        }
        (self.states.len() as u64 >= states).then_some(End::States)
    }

    fn progress(&self) -> Progress {
        let (states, bytes) = (self.states.len() as u64, self.states.bytes());
        Progress { states, steps: self.steps, depth: self.depth, bytes, time: self.begin.elapsed() }
    }

    fn round(&mut self, to: usize) {
        let (from, threads) = (self.at, self.limits.threads);
        let level = Level {
            design: self.design,
            states: &self.states,
            seen: self.seen,
            end: self.level_end,
            full: self.limits.full,
        };
        let parts: Vec<Candidates<D::Encoded>> = if threads == 1 {
            vec![level.expand(from..to)]
        } else {
            let share = (to - from).div_ceil(threads);
            thread::scope(|scope| {
                let begin = |worker: usize| (from + worker * share).min(to);
                let level = &level;
                let spawn = |worker| scope.spawn(move || level.expand(begin(worker)..begin(worker + 1)));
                let workers: Vec<_> = (0..threads).map(spawn).collect();
                workers.into_iter().map(|worker| worker.join().expect("a design does not panic")).collect()
            })
        };
        for part in parts {
            self.take(part);
        }
    }

    fn take(&mut self, part: Candidates<D::Encoded>) {
        self.steps += part.steps;
        self.reduced += part.reduced;
        for some in part.unseen.chunks(LOOKS) {
            self.states.touch(some.iter().map(|(hash, ..)| *hash));
            for (hash, state, parent, way) in some {
                let new = self.states.insert(*hash, state, *parent).is_some();
                if new && self.limits.journal.is_some() {
                    self.ways.push(*way);
                }
            }
        }
        for (rule, parent) in part.broken {
            self.find(rule, parent);
        }
    }

    fn find(&mut self, rule: Rule, parent: StateId) {
        if !self.seen.contains(rule) {
            self.seen = self.seen.union(RuleSet::of(&[rule.number()]));
            self.found.push((rule, parent));
        }
    }

    /// What is needed to go on later.
    fn record(&self, name: &str) -> Record {
        let parents = (1..self.states.len()).map(|index| self.states.get(index).1);
        Record {
            name: name.to_owned(),
            at: self.at as u64,
            level_end: self.level_end as u64,
            steps: self.steps,
            depth: self.depth,
            reduced: self.reduced,
            found: self.found.iter().map(|(rule, parent)| (rule.number(), *parent)).collect(),
            ways: parents.zip(self.ways.iter().copied()).collect(),
        }
    }

    /// Repeats the steps of a record that led to new states. False if they do not any more.
    fn resume(&mut self, record: &Record) -> bool {
        let mut scratch = self.design.scratch();
        let (mut actions, mut parent_now, mut state) = (Vec::new(), StateId::MAX, self.design.initial());
        for &(parent, way) in &record.ways {
            if parent as usize >= self.states.len() {
                return false;
            }
            if parent != parent_now {
                parent_now = parent;
                state = self.design.decode(self.states.get(parent as usize).0);
                actions.clear();
                self.design.actions(&state, &mut actions);
            }
            let Some(&action) = actions.get(usize::from(way)) else { return false };
            let next = self.design.encode(&self.design.apply(&mut scratch, &state, action).state);
            if self.states.insert(hash_of(&next), &next, parent).is_none() {
                return false;
            }
            self.ways.push(way);
        }
        let (at, level_end) = (usize::try_from(record.at), usize::try_from(record.level_end));
        let (Ok(at), Ok(level_end)) = (at, level_end) else { return false };
        (self.at, self.level_end, self.steps) = (at, level_end, record.steps);
        (self.depth, self.reduced) = (record.depth, record.reduced);
        for &(rule, parent) in &record.found {
            let Some(rule) = Rule::new(rule).filter(|_| (parent as usize) < self.states.len()) else {
                return false;
            };
            self.find(rule, parent);
        }
        at <= level_end && level_end <= self.states.len()
    }
}
