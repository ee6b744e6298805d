//! `bifolio replay`: a trace under other policies, side by side.

pub mod args;
mod text;
mod what_if;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bifolio_folio::PAGE_SIZE;
use bifolio_policy::PolicyName;
use bifolio_replay::{
    Link, Optimum, Outcome, PageMisses, ReplayError, Requests, Source, fewest, page_misses,
};
use bifolio_trace::export::oracle_general;
use bifolio_trace::{Trace, TraceError};
use serde::Serialize;

use crate::check::{CheckError, story_trace};
use crate::exit::{self, Failure};
use crate::replay::args::ReplayArgs;

/// Why nothing was replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayCommandError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// Neither the trace nor the command says how much memory the device has.
    #[error("the trace does not say how much memory there was: give --vram")]
    NoMemory,
    /// It cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The picture cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a story, and cannot be taken again.
    #[error(transparent)]
    Story(#[from] CheckError),
    /// Standard output cannot be written.
    #[error("writing to standard output failed")]
    Stdout(#[from] io::Error),
}

impl Failure for ReplayCommandError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Trace(_) | Self::NoMemory => exit::USAGE,
            Self::Story(error) => error.exit_code(),
            Self::Replay(
                ReplayError::Empty
                | ReplayError::FaultsOnly
                | ReplayError::Gaps
                | ReplayError::TooSmall { .. },
            ) => exit::USAGE,
            Self::Replay(_) | Self::Write { .. } | Self::Stdout(_) => exit::FAILED,
        }
    }
}

/// Policies side by side.
#[derive(Debug, Serialize)]
struct Comparison {
    /// Bytes of the memory that is limited.
    memory: u64,
    /// Which one that is: `device` or `system`.
    limited: &'static str,
    /// Whether every access was recorded and is there.
    exact: bool,
    /// What the touches are.
    #[serde(skip)]
    source: Source,
    rows: Vec<Row>,
    /// What no policy can beat, if it can be told.
    optimum: Option<Optimum>,
    /// What misses under each order of use alone, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    orders: Vec<PageMisses>,
}

/// What one policy did.
#[derive(Debug, Serialize)]
struct Row {
    policy: String,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Replays a trace; returns the exit code.
///
/// # Errors
///
/// See [`ReplayCommandError`].
pub fn replay(args: &ReplayArgs) -> Result<u8, ReplayCommandError> {
    let (trace, requests) = read(&args.trace)?;
    if let Some(story) = trace.as_ref().filter(|trace| story_trace::is_story(trace)) {
        return Ok(story_trace::replay(story)?);
    }
    if args.what_if {
        what_if::tell(args, &requests, link(args))?;
        return Ok(exit::OK);
    }
    let limited = requests.limited.as_str();
    let recorded = || trace.as_ref()?.note(&format!("{limited}_memory")).and_then(|bytes| bytes.parse().ok());
    let memory = args.vram.map(|size| size.0).or_else(recorded).ok_or(ReplayCommandError::NoMemory)?;
    let (pages, link) = (memory / PAGE_SIZE, link(args));
    let run = |policy: &PolicyName| {
        let outcome = bifolio_replay::replay(&requests, *policy, pages, link)?;
        Ok(Row { policy: policy.to_string(), outcome })
    };
    let policies = if args.policy.is_empty() { usual_policies() } else { args.policy.clone() };
    let rows = policies.iter().map(run).collect::<Result<Vec<Row>, ReplayError>>()?;
    let source = requests.source;
    let exact = source == Source::Accesses;
    let optimum = if exact { Some(fewest(&requests, pages)?) } else { None };
    let orders = if args.orders { page_misses(&requests, pages)? } else { Vec::new() };
    let comparison = Comparison { memory, limited, exact, source, rows, optimum, orders };
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &comparison).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        text::print(&mut out, &comparison)?;
    }
    Ok(exit::OK)
}

/// Reads the trace, if it is one of Bifolio, and its touches.
fn read(path: &Path) -> Result<(Option<Trace>, Requests), ReplayCommandError> {
    match Trace::open(path) {
        Ok(trace) => {
            let requests = Requests::of(&trace);
            Ok((Some(trace), requests))
        }
        Err(error @ TraceError::NotATrace { .. }) => {
            let pages = std::fs::read(path).ok().and_then(|bytes| oracle_general::read(&bytes));
            let pages = pages.ok_or(error)?;
            Ok((None, Requests::of_pages(&pages)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Those that are compared if none is named.
fn usual_policies() -> Vec<PolicyName> {
    USUAL.map(|name| name.parse().expect("a name of a policy")).to_vec()
}

const USUAL: [&str; 4] = ["auto", "fixed+lru", "fixed+s3fifo", "density+lru"];

fn link(args: &ReplayArgs) -> Link {
    Link { bytes_per_second: args.link.0, latency_ns: args.latency, access_ns: 0 }
}
