//! `bifolio check`: designs of device folios in small worlds, explored exhaustively under the rules.

use std::io::{self, IsTerminal, Write};

use bifolio_check::rules::Rule;
use bifolio_check::table::{LEGEND, table};
use bifolio_check::{Bounds, BoundsError, Entry, Options, Report, Story, designs, find};

use crate::args::CheckArgs;
use crate::exit::{self, Failure};
use crate::figures::grouped;
use crate::output::{JsonTarget, OutputError};

/// Why nothing was explored.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no such design.
    #[error("--design {name} is not known; there are {}, and all", names())]
    Design {
        /// What was asked for.
        name: String,
    },
    /// There is no such rule.
    #[error("--rule {name} is not known; rules are I1 to I27")]
    Rule {
        /// What was asked for.
        name: String,
    },
    /// The world is too large, or too small.
    #[error("design {design} cannot be explored so")]
    Bounds {
        /// The design.
        design: &'static str,
        /// What is wrong.
        #[source]
        source: BoundsError,
    },
    /// The result cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Failure for CheckError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Output(_) => exit::FAILED,
            _ => exit::USAGE,
        }
    }
}

/// Explores and reports; returns 1 if a rule breaks.
///
/// # Errors
///
/// If the arguments name nothing that can be explored, or the result cannot be written.
pub fn check(args: &CheckArgs) -> Result<u8, CheckError> {
    let rule = args.rule.as_deref().map(rule_named).transpose()?;
    let reports: Vec<Report> =
        chosen(&args.design)?.into_iter().map(|entry| explore(entry, args)).collect::<Result<_, _>>()?;
    if args.json {
        let rows: Vec<_> = reports.iter().flat_map(Report::rows).collect();
        JsonTarget::Stdout.write(&rows)?;
    } else {
        print(&mut io::stdout().lock(), args, rule, &reports).map_err(OutputError::from)?;
    }
    Ok(if reports.iter().any(Report::breaks) { exit::BROKEN } else { exit::OK })
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

fn rule_named(name: &str) -> Result<Rule, CheckError> {
    let same = |rule: &Rule| rule.to_string() == name;
    Rule::all().find(same).ok_or_else(|| CheckError::Rule { name: name.to_owned() })
}

fn explore(entry: &'static Entry, args: &CheckArgs) -> Result<Report, CheckError> {
    let mut options = Options { large: args.large, ..Options::default() };
    if args.pages.is_some() || args.max_order.is_some() || args.actors.is_some() {
        let Bounds { pages, order, actors } = entry.bounds;
        options.bounds = Some(Bounds {
            pages: args.pages.unwrap_or(pages),
            order: args.max_order.unwrap_or(order),
            actors: args.actors.unwrap_or(actors),
        });
    }
    options.limits.threads = args.threads.get();
    if let Some(memory) = args.memory {
        options.limits.bytes = usize::try_from(memory.0).unwrap_or(usize::MAX);
    }
    let talks = io::stderr().is_terminal() && !args.json;
    let report = entry.run(&options, &mut |progress| {
        if talks {
            let (states, depth) = (grouped(progress.states), progress.depth);
            // Progress that nobody sees is no loss.
            let _: io::Result<()> = write!(io::stderr(), "\r{}: {states} states, depth {depth} ", entry.name);
        }
    });
    if talks {
        let _: io::Result<()> = write!(io::stderr(), "\r\x1b[K");
    }
    report.map_err(|source| CheckError::Bounds { design: entry.name, source })
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
    if args.design != "all" || rule.is_some() {
        for story in stories {
            writeln!(out, "\n{story}")?;
        }
    }
    out.flush()
}

/// The worlds of one design: how large they are, and how fast they were walked.
fn print_parts(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for part in &report.parts {
        let Bounds { pages, order, actors } = part.bounds;
        let (states, seconds) = (grouped(part.states), part.time.as_secs_f64());
        writeln!(
            out,
            "{}/{}: {pages} pages, orders to {order}, {actors} actors: {states} states, depth {}, {}, {seconds:.2} s",
            report.design, part.model, part.depth, part.end
        )?;
    }
    Ok(())
}
