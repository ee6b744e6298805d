//! `bifolio report`: draws a trace.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bifolio_trace::Trace;
use clap::Args;

use crate::exit;
use crate::trace::TraceCommandError;

/// What `report` can be told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// The trace.
    pub trace: PathBuf,
    /// The HTML file to write, `-` is standard output; of a name that ends with .svg the first picture alone.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  bifolio demo pagerank --trace t.bifolio       record
  bifolio report t.bifolio -o report.html       draw
  bifolio demo pagerank --report report.html    both, without a trace";

/// Draws a trace; returns the exit code.
///
/// # Errors
///
/// If the trace cannot be read, or the file cannot be written.
pub fn report(args: &ReportArgs) -> Result<u8, TraceCommandError> {
    let trace = Trace::open(&args.trace)?;
    let alone = args.output.extension().is_some_and(|end| end == "svg");
    let drawn = if alone { bifolio_report::address_space_svg(&trace) } else { bifolio_report::html(&trace) };
    if args.output == Path::new("-") {
        io::stdout().write_all(drawn.as_bytes())?;
    } else {
        std::fs::write(&args.output, drawn)
            .map_err(|source| TraceCommandError::Write { path: args.output.clone(), source })?;
    }
    Ok(exit::OK)
}
