//! `bifolio trace`: what a trace holds, parts of it, and other formats.

pub mod args;
mod cut;
mod export;
mod info;

use std::io;
use std::path::PathBuf;

use bifolio_trace::export::oracle_general::ExportError;
use bifolio_trace::{Trace, TraceError};

use crate::exit::{self, Failure};
use crate::trace::args::TraceCommand;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum TraceCommandError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The part is empty.
    #[error("--from and --to leave nothing: the trace ends after {seconds:.6} s")]
    EmptyCut {
        /// When the trace ends.
        seconds: f64,
    },
    /// The trace has no such form.
    #[error(transparent)]
    Export(ExportError),
    /// Writing failed.
    #[error("writing {} failed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("writing to standard output failed")]
    Stdout(#[from] io::Error),
}

impl Failure for TraceCommandError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Trace(_)
            | Self::EmptyCut { .. }
            | Self::Export(ExportError::NoAccesses | ExportError::Gaps) => exit::USAGE,
            Self::Export(ExportError::Write(_)) | Self::Write { .. } | Self::Stdout(_) => exit::FAILED,
        }
    }
}

/// Does what was asked for; returns the exit code.
///
/// # Errors
///
/// See [`TraceCommandError`].
pub fn trace(command: &TraceCommand) -> Result<u8, TraceCommandError> {
    match command {
        TraceCommand::Info(args) => info::print(&Trace::open(&args.trace)?, args.json)?,
        TraceCommand::Cut(args) => cut::cut(&Trace::open(&args.trace)?, args)?,
        TraceCommand::Export(args) => export::export(&Trace::open(&args.trace)?, args)?,
    }
    Ok(exit::OK)
}
