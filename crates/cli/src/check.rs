//! `bifolio check`: designs of device folios in small worlds, explored exhaustively under the rules.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bifolio_explore::rules::Rule;
use bifolio_explore::table::{LEGEND, table};
use bifolio_explore::{
    Bounds, BoundsError, End, Entry, Journal, JournalError, Limits, Options, OptionsError, Progress, Report,
    Row, Story, Verdict, designs, find,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::args::CheckArgs;
use crate::exit::{self, Failure};
use crate::figures::grouped;
use crate::output::{self, JsonTarget, OutputError};

/// Why nothing was explored.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no such design.
    #[error("--design {name} is not known; there are {}, and all", names())]
    Design {
        /// What was asked for.
        name: String,
    },
    /// The design has a pool of its own.
    #[error("--pool is for the shipped folios: --design {}", poolable())]
    Pool,
    /// There is no such rule.
    #[error("--rule {name} is not known; rules are I1 to I27")]
    Rule {
        /// What was asked for.
        name: String,
    },
    /// The world is too large, or too small.
    #[error("{design} cannot be explored with --pages {} --max-order {} --actors {}", bounds.pages, bounds.order, bounds.actors)]
    Bounds {
        /// The design.
        design: &'static str,
        /// What was asked for, or is the design's own choice.
        bounds: Bounds,
        /// What is wrong.
        #[source]
        source: BoundsError,
    },
    /// The design has no world of that name.
    #[error("--world {world} is not a world of {design}")]
    World {
        /// The design.
        design: &'static str,
        /// What was asked for.
        world: String,
    },
    /// What was saved cannot be read.
    #[error("--resume {file} cannot be read", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was saved is something else.
    #[error("--resume {file} cannot be gone on with", file = file.display())]
    Journal {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: JournalError,
    },
    /// What was saved does not fit any more.
    #[error("--resume: the steps that were saved for {design} lead elsewhere in this version")]
    Unfit {
        /// The design.
        design: &'static str,
    },
    /// What will be done could not be saved.
    #[error("{file} cannot be written, so nothing could be saved there", file = file.display())]
    NoSaving {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was done cannot be saved.
    #[error("{file} cannot be written, and is as it was", file = file.display())]
    Save {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be noticed.
    #[error("interrupts cannot be noticed")]
    Signals(#[source] io::Error),
    /// The result cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Failure for CheckError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Output(_) | Self::Save { .. } | Self::Signals(_) => exit::FAILED,
            _ => exit::USAGE,
        }
    }
}

/// Explores and reports; returns 1 if a rule breaks, 4 if none does but not all states were visited.
///
/// # Errors
///
/// If the arguments name nothing that can be explored, or the result cannot be written.
pub fn check(args: &CheckArgs) -> Result<u8, CheckError> {
    let rule = args.rule.as_deref().map(rule_named).transpose()?;
    let entries = chosen(if args.all { "all" } else { &args.design })?;
    if args.pool.is_some() && !entries.iter().all(|entry| entry.takes_pools()) {
        return Err(CheckError::Pool);
    }
    let limits = limits(args)?;
    let reports: Vec<Report> =
        entries.into_iter().map(|entry| explore(entry, args, limits)).collect::<Result<_, _>>()?;
    let complete = reports.iter().all(Report::is_complete);
    // Whoever reads only the first line still wants the rest saved, and the verdict.
    exit::unless_unread(report(args, rule, &reports))?;
    if !complete {
        save(args, limits.journal)?;
    }
    let broken = |story: &Story| rule.is_none_or(|rule| rule == story.rule);
    Ok(match (reports.iter().flat_map(Report::stories).any(broken), complete) {
        (true, _) => exit::BROKEN,
        (false, true) => exit::OK,
        (false, false) => exit::FAILED,
    })
}

/// Writes what was found, as it was asked for.
fn report(args: &CheckArgs, rule: Option<Rule>, reports: &[Report]) -> Result<(), OutputError> {
    if args.json {
        let named = rule.map(|rule| rule.to_string());
        let wanted = |row: &Row| named.as_ref().is_none_or(|name| *name == row.rule);
        let rows: Vec<_> = reports.iter().flat_map(Report::rows).filter(wanted).collect();
        return JsonTarget::Stdout.write(&rows);
    }
    Ok(print(&mut io::stdout().lock(), args, rule, reports)?)
}

/// Memory, threads, how to be stopped, and what was done before.
fn limits(args: &CheckArgs) -> Result<Limits, CheckError> {
    let stop: &'static Arc<AtomicBool> = Box::leak(Box::default());
    for signal in [SIGINT, SIGTERM] {
        // The second one ends it at once.
        flag::register_conditional_default(signal, Arc::clone(stop)).map_err(CheckError::Signals)?;
        flag::register(signal, Arc::clone(stop)).map_err(CheckError::Signals)?;
    }
    let bytes = args.memory.map(|memory| usize::try_from(memory.0).unwrap_or(usize::MAX));
    let default = Limits::default();
    Ok(Limits {
        bytes: bytes.unwrap_or(default.bytes),
        threads: args.threads.get(),
        full: args.full,
        stop: Some(stop),
        journal: journal(args, bytes.unwrap_or(default.bytes))?.map(|journal| &*Box::leak(Box::new(journal))),
        ..default
    })
}

/// What was saved, or an empty journal if something may be saved later. A saved exploration is much smaller than its states
/// are in memory, so what does not fit there is refused unread.
fn journal(args: &CheckArgs, bytes: usize) -> Result<Option<Journal>, CheckError> {
    let what = what(args);
    let Some(target) = args.save.as_ref().or(args.resume.as_ref()).cloned() else { return Ok(None) };
    let journal = match args.resume.clone() {
        None => Journal::new(&what),
        Some(file) => {
            let opened =
                File::open(&file).map_err(|source| CheckError::Read { file: file.clone(), source })?;
            let read = Journal::read(BufReader::new(opened), &what, bytes as u64);
            read.map_err(|source| CheckError::Journal { file, source })?
        }
    };
    output::can_be_replaced(&target).map_err(|source| CheckError::NoSaving { file: target, source })?;
    Ok(Some(journal))
}

/// Designs and bounds, as a journal is to be about.
fn what(args: &CheckArgs) -> String {
    let bound =
        |name: &str, bound: Option<u8>| bound.map(|value| format!(" --{name} {value}")).unwrap_or_default();
    let design = if args.all { "all" } else { &args.design };
    let full = if args.full { " --full" } else { "" };
    let large = if args.large { " --large" } else { "" };
    let pool = args.pool.map(|pool| format!(" --pool {pool}")).unwrap_or_default();
    let world = args.world.as_ref().map(|world| format!(" --world '{world}'")).unwrap_or_default();
    let (pages, order) = (bound("pages", args.pages), bound("max-order", args.max_order));
    format!("--design {design}{pool}{world}{pages}{order}{}{full}{large}", bound("actors", args.actors))
}

/// Saves what was done, if that was asked for, and tells how to go on.
fn save(args: &CheckArgs, journal: Option<&Journal>) -> Result<(), CheckError> {
    let Some((file, journal)) = args.save.as_ref().or(args.resume.as_ref()).zip(journal) else {
        return Ok(());
    };
    output::replace(file, &journal.to_bytes())
        .map_err(|source| CheckError::Save { file: file.clone(), source })?;
    let (what, file) = (what(args), file.display());
    // Who does not see it still has the file.
    let _: io::Result<()> = writeln!(io::stderr(), "saved; go on by: bifolio check {what} --resume {file}");
    Ok(())
}

fn chosen(name: &str) -> Result<Vec<&'static Entry>, CheckError> {
    match name {
        "all" => Ok(designs().iter().collect()),
        name => {
            find(name).map(|entry| vec![entry]).ok_or_else(|| CheckError::Design { name: name.to_owned() })
        }
    }
}

fn names() -> String {
    designs().iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

/// Designs that can be explored over a shipped pool.
fn poolable() -> String {
    let names = designs().iter().filter(|entry| entry.takes_pools()).map(|entry| entry.name);
    names.collect::<Vec<_>>().join(" or ")
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
    let options = Options { bounds: Some(bounds), limits, large, pool, world };
    let talks = io::stderr().is_terminal() && !args.json;
    let report = entry.run(&options, &mut |progress| {
        if talks {
            // Progress that nobody sees is no loss.
            let _: io::Result<()> = write!(io::stderr(), "\r{}: {}\x1b[K", entry.name, told(&progress));
        }
    });
    if talks {
        let _: io::Result<()> = write!(io::stderr(), "\r\x1b[K");
    }
    let report = report.map_err(|error| match error {
        OptionsError::Bounds(source) => CheckError::Bounds { design: entry.name, bounds, source },
        OptionsError::World { design, world } => CheckError::World { design, world },
    })?;
    if report.parts.iter().any(|part| part.end == End::Unfit) {
        return Err(CheckError::Unfit { design: entry.name });
    }
    Ok(report)
}

/// How far an exploration has come, in a line.
fn told(progress: &Progress) -> String {
    let Progress { states, steps, depth, bytes, time } = *progress;
    let (states, steps, mega) = (grouped(states), grouped(steps), bytes >> 20);
    let rate = progress.states as f64 / time.as_secs_f64().max(1e-3) / 1e6;
    format!("{states} states ({rate:.2} M/s), {steps} steps, depth {depth}, {mega} MiB")
}

fn print(out: &mut impl Write, args: &CheckArgs, rule: Option<Rule>, reports: &[Report]) -> io::Result<()> {
    let wanted = |story: &&Story| rule.is_none_or(|rule| rule == story.rule);
    let stories = reports.iter().flat_map(Report::stories).filter(wanted);
    if args.dot {
        for story in stories {
            write!(out, "{}", story.dot())?;
        }
        return out.flush();
    }
    writeln!(out, "{}\n{LEGEND}", table(reports))?;
    for report in reports {
        print_parts(out, report)?;
    }
    if !args.all && args.design != "all" || rule.is_some() {
        for story in stories {
            writeln!(out, "\n{story}")?;
        }
    }
    if let Some(rule) = rule {
        print_unbroken(out, rule, reports)?;
    }
    out.flush()
}

/// The designs that have no story to tell about a rule, and why not.
fn print_unbroken(out: &mut impl Write, rule: Rule, reports: &[Report]) -> io::Result<()> {
    for (at, report) in reports.iter().enumerate() {
        let (design, states) = (report.design, grouped(report.states()));
        let why = match report.verdict(rule) {
            Verdict::Breaks(_) => continue,
            Verdict::Holds => format!("{design} keeps {rule} in all {states} states"),
            Verdict::ByConstruction(reason) => format!("{design} cannot break {rule}: {reason}"),
            Verdict::Unfinished => {
                format!("{design} keeps {rule} in the {states} states visited, which are not all")
            }
            Verdict::Absent => format!("{design} does not express {rule}"),
        };
        writeln!(out, "{}{why}", if at == 0 { "\n" } else { "" })?;
    }
    Ok(())
}

/// The worlds of one design: how large they are, and how fast they were walked.
fn print_parts(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for part in &report.parts {
        let Bounds { pages, order, actors } = part.bounds;
        let (states, seconds) = (grouped(part.states), part.time.as_secs_f64());
        writeln!(
            out,
            "{}/{}: {pages} pages, orders to {order}, {actors} actors: {states} states, {} steps, depth {}, {}, {seconds:.2} s",
            report.design,
            part.model,
            grouped(part.steps),
            part.depth,
            part.end
        )?;
    }
    Ok(())
}
