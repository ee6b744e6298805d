//! What `bifolio trace` can be told.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What can be done with a trace.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum TraceCommand {
    /// Say what a trace holds, and whether it is whole.
    Info(InfoArgs),
    /// Copy a part of a trace.
    Cut(CutArgs),
    /// Write a trace as JSON lines, or for another program.
    Export(ExportArgs),
}

const EXAMPLES: &str = "\
Examples:
  bifolio demo pagerank --trace t.bifolio        record
  bifolio trace info t.bifolio                   what it holds
  bifolio trace cut t.bifolio --from 100ms --to 200ms -o part.bifolio
  bifolio trace export t.bifolio -o t.perfetto   open it at ui.perfetto.dev
  bifolio trace export t.bifolio --format json -o -";

/// What `trace info` can be told.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The trace.
    pub trace: PathBuf,
    /// Print JSON instead of the text.
    #[arg(long)]
    pub json: bool,
}

/// What `trace cut` can be told.
#[derive(Debug, Args)]
pub struct CutArgs {
    /// The trace.
    pub trace: PathBuf,
    /// Leave out what was before, such as 100ms or 1.5s.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = nanoseconds)]
    pub from: u64,
    /// Leave out what was from then on.
    #[arg(long, value_name = "TIME", value_parser = nanoseconds)]
    pub to: Option<u64>,
    /// The trace to write.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// What `trace export` can be told.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The trace.
    pub trace: PathBuf,
    /// The format.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// The file to write; `-` is standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// Formats that a trace can be written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object in each line.
    Json,
    /// TrackEvent, for the viewer at ui.perfetto.dev.
    #[default]
    Perfetto,
    /// The accesses, for cache simulators such as libCacheSim.
    OracleGeneral,
}

/// Takes a time.
pub fn nanoseconds(text: &str) -> Result<u64, String> {
    let units = [("ns", 1e0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    let found = units.iter().find_map(|(unit, length)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number * length).filter(|nanoseconds| (0.0..1e18).contains(nanoseconds))
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between zero and 1e18")]
    found.map(|found| found as u64).ok_or_else(|| "expected a time such as 1.5s, 100ms or 20us".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_units() {
        let times = ["1.5s", "100ms", "20us", "1500000000ns"].map(nanoseconds);
        assert_eq!(times, [1_500_000_000, 100_000_000, 20_000, 1_500_000_000].map(Ok));
        assert!(["", "5", "s", "-1s", "1h", "nans", "1e30s"].iter().all(|text| nanoseconds(text).is_err()));
    }
}
