//! `bifolio completions`: what a shell needs to complete the command line.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::exit;

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("writing to standard output failed")]
pub struct CompletionsError(#[from] io::Error);

impl exit::Failure for CompletionsError {
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}

/// Prints the completions of a shell; returns the exit code.
///
/// # Errors
///
/// If they cannot be written.
pub fn completions(args: &CompletionsArgs) -> Result<u8, CompletionsError> {
    // The generators panic where they cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bifolio", &mut script);
    io::stdout().write_all(&script)?;
    Ok(exit::OK)
}
