//! `bifolio check`: designs of device folios in small worlds, explored exhaustively under the rules.

mod error;
mod rules;
mod saved;
pub mod story_trace;
mod table;
mod text;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bifolio_explore::{
    Bounds, End, Entry, Limits, MemoryOrder, Options, OptionsError, Progress, Report, Row, Story, designs,
    find,
};
use bifolio_rules::Rule;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

pub use crate::check::error::CheckError;

use crate::args::CheckArgs;
use crate::exit;
use crate::figures::grouped;
use crate::output::{JsonTarget, OutputError};

/// What was found, and in which time.
struct Found<'a> {
    args: &'a CheckArgs,
    /// The rule that was asked for, if one was.
    rule: Option<Rule>,
    reports: Vec<Report>,
    time: Duration,
}

/// Explores and reports; returns 1 if a rule breaks, 4 if none does but not all states were visited.
///
/// # Errors
///
/// If the arguments name nothing that can be explored, or the result cannot be written.
pub fn check(args: &CheckArgs) -> Result<u8, CheckError> {
    let rule = args.rule.as_deref().map(rule_named).transpose()?;
    if args.rules {
        exit::unless_unread(rules::print(rule, args.json))?;
        return Ok(exit::OK);
    }
    let entries = chosen(if args.all { "all" } else { &args.design })?;
    if args.pool.is_some() && !entries.iter().all(|entry| entry.takes_pools()) {
        return Err(CheckError::Pool);
    }
    let entries = with_memory_order(entries, args)?;
    let (limits, start) = (limits(args)?, Instant::now());
    let reports = entries.into_iter().map(|entry| explore(entry, args, limits)).collect::<Result<_, _>>()?;
    let found = Found { args, rule, reports, time: start.elapsed() };
    let complete = found.reports.iter().all(Report::is_complete);
    // If the output is not read to its end, the rest is saved and the verdict stands all the same.
    exit::unless_unread(report(&found))?;
    if let Some(file) = &args.trace {
        story_trace::write(file, found.stories().next(), args)?;
    }
    if !complete {
        saved::save(args, limits.journal)?;
    }
    Ok(match (found.stories().next().is_some(), complete) {
        (true, _) => exit::BROKEN,
        (false, true) => exit::OK,
        (false, false) => exit::FAILED,
    })
}

impl Found<'_> {
    /// Stories of the rules that were asked for.
    fn stories(&self) -> impl Iterator<Item = &Story> {
        let wanted = |story: &&Story| self.rule.is_none_or(|rule| rule == story.rule);
        self.reports.iter().flat_map(Report::stories).filter(wanted)
    }

    /// Whether one design was asked for, not all.
    fn is_of_one_design(&self) -> bool {
        self.reports.len() == 1
    }
}

/// Writes what was found, as it was asked for.
fn report(found: &Found<'_>) -> Result<(), OutputError> {
    if found.args.json {
        let named = found.rule.map(|rule| rule.to_string());
        let wanted = |row: &Row| named.as_ref().is_none_or(|name| *name == row.rule);
        let rows: Vec<_> = found.reports.iter().flat_map(Report::rows).filter(wanted).collect();
        return JsonTarget::Stdout.write(&rows);
    }
    Ok(text::print(&mut io::stdout().lock(), found)?)
}

/// Memory, threads, how to be stopped, and what was done before.
fn limits(args: &CheckArgs) -> Result<Limits, CheckError> {
    let stop: &'static Arc<AtomicBool> = Box::leak(Box::default());
    for signal in [SIGINT, SIGTERM] {
        // The second one ends it at once.
        flag::register_conditional_default(signal, Arc::clone(stop)).map_err(CheckError::Signals)?;
        flag::register(signal, Arc::clone(stop)).map_err(CheckError::Signals)?;
    }
    let default = Limits::default();
    let bytes = args.memory.map(|memory| usize::try_from(memory.0).unwrap_or(usize::MAX));
    let bytes = bytes.unwrap_or(default.bytes);
    Ok(Limits {
        bytes,
        threads: args.threads.get(),
        full: args.full,
        stop: Some(stop),
        journal: saved::journal(args, bytes)?.map(|journal| &*Box::leak(Box::new(journal))),
        ..default
    })
}

fn chosen(name: &str) -> Result<Vec<&'static Entry>, CheckError> {
    match name {
        "all" => Ok(designs().iter().collect()),
        name => {
            find(name).map(|entry| vec![entry]).ok_or_else(|| CheckError::Design { name: name.to_owned() })
        }
    }
}

/// The designs that can be explored with the order of memory that was asked for.
fn with_memory_order(
    entries: Vec<&'static Entry>,
    args: &CheckArgs,
) -> Result<Vec<&'static Entry>, CheckError> {
    if args.memory_order == MemoryOrder::Sequential {
        return Ok(entries);
    }
    let entries: Vec<_> = entries.into_iter().filter(|entry| entry.takes_memory_order()).collect();
    if entries.is_empty() {
        return Err(CheckError::MemoryOrder { design: args.design.clone() });
    }
    Ok(entries)
}

fn rule_named(name: &str) -> Result<Rule, CheckError> {
    let same = |rule: &Rule| rule.to_string() == name;
    Rule::all().find(same).ok_or_else(|| CheckError::Rule { name: name.to_owned() })
}

fn explore(entry: &'static Entry, args: &CheckArgs, limits: Limits) -> Result<Report, CheckError> {
    let Bounds { pages, order, actors } = entry.bounds_over(args.pool);
    let bounds = Bounds {
        pages: args.pages.unwrap_or(pages),
        order: args.max_order.unwrap_or(order),
        actors: args.actors.unwrap_or(actors),
    };
    let (large, pool, world) = (args.large, args.pool, args.world.clone());
    let memory_order = args.memory_order;
    let options = Options { bounds: Some(bounds), limits, large, pool, memory_order, world };
    let bar = progress_bar(io::stderr().is_terminal() && !args.json);
    let report = entry.run(&options, &mut |progress| {
        bar.set_message(format!("{}: {}", entry.name, describe(&progress)));
        bar.tick();
    });
    bar.finish_and_clear();
    let report = report.map_err(|error| match error {
        OptionsError::Bounds(source) => CheckError::Bounds { design: entry.name, bounds, source },
        OptionsError::MemoryOrder { design } => CheckError::MemoryOrder { design: design.to_owned() },
        OptionsError::World { design, world } => CheckError::World { design, world },
    })?;
    if report.parts.iter().any(|part| part.end == End::Unfit) {
        return Err(CheckError::Unfit { design: entry.name });
    }
    Ok(report)
}

/// A line on standard error that is cut to the width of the terminal.
fn progress_bar(shown: bool) -> ProgressBar {
    let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.with_style(ProgressStyle::with_template("{wide_msg}").expect("the template is fixed and well formed"))
}

/// How far an exploration has come, in a line.
fn describe(progress: &Progress) -> String {
    let rate = progress.states as f64 / progress.time.as_secs_f64().max(1e-3) / 1e6;
    let (states, depth, mega) = (grouped(progress.states), progress.depth, progress.bytes >> 20);
    format!("{states} states, depth {depth}, {rate:.2} M/s, {mega} MiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_short_line() {
        let _: ProgressBar = progress_bar(false);
        let time = Duration::from_secs(2);
        let progress = Progress { states: 3_000_000, steps: 9, depth: 57, bytes: 5 << 20, time };
        assert_eq!(describe(&progress), "3,000,000 states, depth 57, 1.50 M/s, 5 MiB");
    }
}
