//! `bifolio replay`: a trace under other policies, side by side.

pub mod args;
mod text;

use std::io::{self, Write};

use bifolio_folio::PAGE_SIZE;
use bifolio_replay::{Limited, Link, Optimum, Outcome, ReplayError, Requests, Source, fewest};
use bifolio_trace::{Trace, TraceError};
use serde::Serialize;

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
    /// Standard output cannot be written.
    #[error("writing to standard output failed")]
    Stdout(#[from] io::Error),
}

impl Failure for ReplayCommandError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Trace(_) | Self::NoMemory => exit::USAGE,
            Self::Replay(ReplayError::Empty | ReplayError::TooSmall { .. }) => exit::USAGE,
            Self::Replay(_) | Self::Stdout(_) => exit::FAILED,
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
    /// Whether every access was recorded, or faults only.
    exact: bool,
    rows: Vec<Row>,
    /// What no policy can beat, if it can be told.
    optimum: Option<Optimum>,
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
    let trace = Trace::open(&args.trace)?;
    let requests = Requests::of(&trace);
    let limited = match requests.limited {
        Limited::Device => "device",
        Limited::System => "system",
    };
    let recorded = || trace.note(&format!("{limited}_memory")).and_then(|bytes| bytes.parse().ok());
    let memory = args.vram.map(|size| size.0).or_else(recorded).ok_or(ReplayCommandError::NoMemory)?;
    let (pages, link) = (memory / PAGE_SIZE, link(args));
    let run = |policy: &bifolio_policy::PolicyName| {
        let outcome = bifolio_replay::replay(&requests, *policy, pages, link)?;
        Ok(Row { policy: policy.to_string(), outcome })
    };
    let rows = args.policy.iter().map(run).collect::<Result<Vec<Row>, ReplayError>>()?;
    let exact = requests.source == Source::Accesses;
    let optimum = if exact { Some(fewest(&requests, pages)?) } else { None };
    let comparison = Comparison { memory, limited, exact, rows, optimum };
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &comparison).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        text::print(&mut out, &comparison)?;
    }
    Ok(exit::OK)
}

fn link(args: &ReplayArgs) -> Link {
    Link { bytes_per_second: args.link.0, latency_ns: args.latency }
}
