//! [`Story`]: a shortest sequence that breaks a rule, step by step, ready to be pasted into a mail.

use std::fmt::{self, Write as _};

use crate::design::{Bounds, Design};
use crate::explore::Broken;
use bifolio_rules::{Rule, RuleSet};

/// A line of the state that a step changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was there; empty if nothing was.
    pub before: String,
    /// What is there now; empty if nothing is.
    pub after: String,
}

/// One step of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The actor.
    pub actor: String,
    /// What it did.
    pub text: String,
    /// Lines of the state that changed: page words, counters.
    pub changes: Vec<Change>,
    /// Rules that the step broke.
    pub broken: Vec<Rule>,
}

/// How a rule is broken in the fewest steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The design.
    pub design: &'static str,
    /// The world of the design.
    pub world: &'static str,
    /// The size of the world.
    pub bounds: Bounds,
    /// The steps once more, for [`Limits::follow`](crate::Limits::follow): the place of each in the list of all that can be done
    /// in the state before it.
    pub choices: Vec<u32>,
    /// The rule that breaks at the last step.
    pub rule: Rule,
    /// How the world is scaled.
    pub scale: String,
    /// The state before the first step.
    pub begin: Vec<String>,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Story {
    /// Makes a story of what the explorer found.
    pub fn new<D: Design>(
        name: &'static str,
        (world, bounds): (&'static str, Bounds),
        design: &D,
        found: &Broken<D::State, D::Action>,
    ) -> Story {
        let steps = found.steps.iter().zip(found.states.windows(2));
        let mut named = RuleSet::NONE;
        let steps = steps.map(|((action, broken), pair)| {
            // A rule that stays broken from some step on is named once.
            let broken = broken.without(named);
            named = named.union(broken);
            let described = design.describe(&pair[0], *action, &pair[1]);
            let changes = changes(&design.view(&pair[0]), &design.view(&pair[1]));
            Step { actor: described.actor, text: described.text, changes, broken: broken.iter().collect() }
        });
        Story {
            design: name,
            world,
            bounds,
            choices: choices(design, found),
            rule: found.rule,
            scale: design.scale(),
            begin: design.view(&found.states[0]),
            steps: steps.collect(),
        }
    }

    /// Draws the story as a graph for Graphviz.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut out =
            format!("digraph \"{} {}\" {{\n  node [shape=box fontname=monospace];\n", self.design, self.rule);
        node(&mut out, 0, &self.begin, &[]);
        for (number, step) in (1..).zip(&self.steps) {
            let lines: Vec<String> = step.changes.iter().map(|change| change.after.clone()).collect();
            node(&mut out, number, &lines, &step.broken);
            let label = escape(&format!("{number}. {}\n{}", step.actor, step.text));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  s{} -> s{number} [label=\"{label}\"];", number - 1);
        }
        out.push_str("}\n");
        out
    }
}

/// The place of each action in the list of those of its state.
fn choices<D: Design>(design: &D, found: &Broken<D::State, D::Action>) -> Vec<u32> {
    let mut list = Vec::new();
    let place = |((action, _), state): (&(D::Action, RuleSet), &D::State)| {
        list.clear();
        design.actions(state, &mut list);
        let at = list.iter().position(|listed| listed == action);
        u32::try_from(at.expect("what was done could be done")).expect("few actions")
    };
    found.steps.iter().zip(&found.states).map(place).collect()
}

fn node(out: &mut String, number: usize, lines: &[String], broken: &[Rule]) {
    let lines: Vec<String> =
        lines.iter().filter(|line| !line.is_empty()).map(|line| escape(line) + "\\l").collect();
    let broken: Vec<String> = broken.iter().map(|rule| format!("breaks {rule}\\l")).collect();
    let color = if broken.is_empty() { "" } else { " color=red" };
    let _ = writeln!(out, "  s{number} [label=\"{}{}\"{color}];", lines.concat(), broken.concat());
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Pairs lines of the same name (what stands before the colon) and keeps those that differ.
fn changes(before: &[String], after: &[String]) -> Vec<Change> {
    let find = |lines: &[String], line: &str| lines.iter().find(|other| name(other) == name(line)).cloned();
    let mut out = Vec::new();
    for line in before {
        let now = find(after, line).unwrap_or_default();
        if now != *line {
            out.push(Change { before: line.clone(), after: now });
        }
    }
    for line in after.iter().filter(|line| find(before, line).is_none()) {
        out.push(Change { before: String::new(), after: line.clone() });
    }
    out
}

fn name(line: &str) -> &str {
    line.split(':').next().unwrap_or(line)
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.rule.info();
        writeln!(f, "{} breaks {}: {}", self.design, self.rule, info.sentence)?;
        writeln!(f, "World: {}. Shortest sequence, {} steps.", self.scale, self.steps.len())?;
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "\n{number:3}. {} {}", step.actor, step.text)?;
            for change in &step.changes {
                write_change(f, change)?;
            }
            for rule in &step.broken {
                writeln!(f, "     => breaks {rule}, {}", rule.info().short)?;
            }
        }
        Ok(())
    }
}

fn write_change(f: &mut fmt::Formatter<'_>, change: &Change) -> fmt::Result {
    if !change.before.is_empty() {
        writeln!(f, "       - {}", change.before)?;
    }
    if !change.after.is_empty() {
        writeln!(f, "       + {}", change.after)?;
    }
    Ok(())
}
