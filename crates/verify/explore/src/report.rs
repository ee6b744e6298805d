//! [`Report`]: what was found about a design, a verdict for each rule.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::design::{Bounds, Design, reason_by_construction};
use crate::explore::{End, Limits, Progress, explore_as, follow};
use crate::story::Story;
use bifolio_rules::Rule;

/// Verdict on one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No reachable state breaks it.
    Holds,
    /// It cannot be broken, for this reason; it was not explored.
    ByConstruction(&'static str),
    /// It breaks so.
    Breaks(Box<Story>),
    /// Not broken in the states visited, but not all were.
    Unfinished,
    /// The design cannot express it.
    Absent,
}

/// What the exploration of one model took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which model of the design.
    pub model: &'static str,
    /// Its bounds.
    pub bounds: Bounds,
    /// Distinct states, names of pages and actors aside.
    pub states: u64,
    /// Steps taken.
    pub steps: u64,
    /// Steps to the farthest state.
    pub depth: u32,
    /// Why it ended.
    pub end: End,
    /// Wall-clock time.
    pub time: Duration,
}

impl Part {
    /// Whether all states of the model were visited.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.end == End::Complete
    }
}

/// What is known about a design.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub design: &'static str,
    /// Its models.
    pub parts: Vec<Part>,
    /// Verdicts on I1 to I28, in this order.
    pub verdicts: Vec<(Rule, Verdict)>,
}

/// One verdict as data, for `--json`.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Row {
    /// Name of the design.
    pub design: &'static str,
    /// Name of the rule, such as `I4`.
    pub rule: String,
    /// `null` where the design cannot express the rule, or not all states could be visited.
    pub holds: Option<bool>,
    /// Distinct states visited for this design, all models together.
    pub states: u64,
    /// Steps to the farthest state.
    pub depth: u32,
    /// The shortest sequence that breaks the rule; empty otherwise.
    pub steps: Vec<RowStep>,
    /// Why the rule holds, where it was not explored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
}

/// One step of a sequence as data.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct RowStep {
    /// The actor.
    pub actor: String,
    /// What it did.
    pub step: String,
    /// Lines of the state before, those that changed.
    pub before: Vec<String>,
    /// The same lines after.
    pub after: Vec<String>,
    /// Rules that the step broke.
    pub breaks: Vec<String>,
}

impl Report {
    /// The verdict on a rule.
    #[must_use]
    pub fn verdict(&self, rule: Rule) -> &Verdict {
        &self.verdicts[usize::from(rule.number()) - 1].1
    }

    /// Rules that break, with their stories.
    pub fn stories(&self) -> impl Iterator<Item = &Story> {
        self.verdicts.iter().filter_map(|(_, verdict)| match verdict {
            Verdict::Breaks(story) => Some(&**story),
            _ => None,
        })
    }

    /// Whether any rule breaks.
    #[must_use]
    pub fn breaks(&self) -> bool {
        self.stories().next().is_some()
    }

    /// Whether all states of all models were visited.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.parts.iter().all(Part::is_complete)
    }

    /// Distinct states of all models.
    #[must_use]
    pub fn states(&self) -> u64 {
        self.parts.iter().map(|part| part.states).sum()
    }

    /// Steps to the farthest state of any model.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.parts.iter().map(|part| part.depth).max().unwrap_or(0)
    }

    /// The verdicts as data.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let (states, depth) = (self.states(), self.depth());
        self.verdicts.iter().map(move |(rule, verdict)| {
            let (holds, by, steps) = match verdict {
                Verdict::Holds => (Some(true), None, Vec::new()),
                Verdict::ByConstruction(reason) => (Some(true), Some(*reason), Vec::new()),
                Verdict::Breaks(story) => (Some(false), None, row_steps(story)),
                Verdict::Unfinished | Verdict::Absent => (None, None, Vec::new()),
            };
            Row { design: self.design, rule: rule.to_string(), holds, states, depth, steps, by }
        })
    }

    /// Joins the report on another model of the same design. A rule holds if it holds in each model that
    /// expresses it.
    #[must_use]
    pub fn join(mut self, other: Report) -> Report {
        self.parts.extend(other.parts);
        let pairs = self.verdicts.into_iter().zip(other.verdicts);
        self.verdicts = pairs.map(|((rule, mine), (_, theirs))| (rule, worse(mine, theirs))).collect();
        self
    }
}

fn row_steps(story: &Story) -> Vec<RowStep> {
    let lines = |pick: fn(&crate::story::Change) -> &String, step: &crate::story::Step| {
        step.changes.iter().map(|change| pick(change).clone()).collect()
    };
    let steps = story.steps.iter().map(|step| RowStep {
        actor: step.actor.clone(),
        step: step.text.clone(),
        before: lines(|change| &change.before, step),
        after: lines(|change| &change.after, step),
        breaks: step.broken.iter().map(Rule::to_string).collect(),
    });
    steps.collect()
}

/// The verdict of two models together.
fn worse(one: Verdict, other: Verdict) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Breaks(_) => 4,
        Verdict::Unfinished => 3,
        Verdict::Holds => 2,
        Verdict::ByConstruction(_) => 1,
        Verdict::Absent => 0,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

/// Explores one model of a design and judges all rules.
pub fn judge<D: Design>(
    name: &'static str,
    model: &'static str,
    bounds: Bounds,
    design: &D,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Report {
    let start = Instant::now();
    let explored = match limits.follow {
        Some(choices) => follow(design, choices),
        None => explore_as(&format!("{name}/{model}"), design, limits, progress),
    };
    let time = start.elapsed();
    let verdict = |rule: Rule| {
        if let Some(found) = explored.broken.iter().find(|found| found.rule == rule) {
            return Verdict::Breaks(Box::new(Story::new(name, (model, bounds), design, found)));
        }
        if design.expresses().contains(rule) {
            return if explored.end == End::Complete { Verdict::Holds } else { Verdict::Unfinished };
        }
        reason_by_construction(design, rule).map_or(Verdict::Absent, Verdict::ByConstruction)
    };
    let verdicts = Rule::all().map(|rule| (rule, verdict(rule))).collect();
    let (states, steps, depth, end) = (explored.states, explored.steps, explored.depth, explored.end);
    Report { design: name, parts: vec![Part { model, bounds, states, steps, depth, end, time }], verdicts }
}
