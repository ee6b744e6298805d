//! `bifolio stats`: the figures of a running program, so far.

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use bifolio_host::gauges::GaugeReading;
use serde::Serialize;

use crate::args::StatsArgs;
use crate::exit;
use crate::figures::bytes;
use crate::report::Figures;
use crate::report::text::print_program;
use crate::run::memory::MemoryFigures;
use crate::running::{Running, RunningError};

/// Ticks in a second, in the files of processes: the same on all machines that Bifolio runs on.
const TICKS: f64 = 100.0;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// There is no such program.
    #[error(transparent)]
    Find(#[from] RunningError),
    /// Standard output cannot be written.
    #[error("writing to standard output failed")]
    Stdout(#[from] io::Error),
}

impl exit::Failure for StatsError {
    fn exit_code(&self) -> u8 {
        match self {
            StatsError::Find(error) => error.exit_code(),
            StatsError::Stdout(_) => exit::FAILED,
        }
    }
}

/// What `--json` prints: what the report of `run` has, and what is where just now.
#[derive(Debug, Serialize)]
struct Stats {
    /// Bytes that are managed and resident.
    resident: u64,
    /// Bytes that are away, or on devices.
    away: u64,
    /// What decides how much comes and what leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(flatten)]
    figures: Figures,
    /// Of a program of `run`.
    #[serde(flatten)]
    memory: Option<MemoryFigures>,
}

/// Prints the figures; returns the exit code.
///
/// # Errors
///
/// See [`StatsError`].
pub fn stats(args: &StatsArgs) -> Result<u8, StatsError> {
    let Running { keeper, gauges } = Running::find(args.pid)?;
    let reading = gauges.read();
    let GaugeReading { resident, away, is_job, .. } = reading;
    let figures = Figures::from(&gauges.statistics().snapshot(), age(keeper).unwrap_or_default());
    let memory = (!is_job).then(|| MemoryFigures::from(&reading));
    let policy = reading.policy.map(|name| name.to_string());
    let stats = Stats { resident, away, policy, figures, memory };
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &stats).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print_program(&mut out, &stats.figures)?;
        if let Some(policy) = &stats.policy {
            writeln!(out, "policy     {policy}")?;
        }
        let (resident, away) = (bytes(resident), bytes(away));
        match &stats.memory {
            Some(memory) => {
                memory.print(&mut out)?;
                writeln!(out, "now: {resident} managed and resident, {away} away")?;
            }
            None => writeln!(out, "now: {resident} in system memory, {away} on devices")?,
        }
    }
    Ok(exit::OK)
}

/// How long a process has run.
fn age(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in brackets, may hold anything; what is counted comes after it.
    let start: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let up: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(up - start / TICKS).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_young() {
        let age = age(std::process::id()).expect("it runs");
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }
}
