//! The command `bifolio`: parses, dispatches, and turns what came of it into an exit code.
#![forbid(unsafe_code)]

mod amount;
mod args;
mod bench;
mod check;
mod demo;
mod doctor;
mod exit;
mod figures;
mod output;
mod report;
mod run;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    ExitCode::from(match Cli::parse().command {
        Command::Demo(command) => finish(demo::demo(&command)),
        Command::Run(args) => finish(run::run(&args)),
        Command::Check(args) => finish(check::check(&args)),
        Command::Doctor(args) => finish(doctor::doctor(&args)),
        Command::Bench(args) => finish(bench::bench(&args)),
    })
}

/// Turns the outcome of a subcommand into its exit code, and tells an error once.
fn finish<E: Failure + 'static>(outcome: Result<u8, E>) -> u8 {
    match outcome {
        Ok(code) => code,
        Err(error) if exit::is_broken_pipe(&error) => exit::OK,
        Err(error) => {
            // If nobody reads standard error either, the code still tells.
            let _: io::Result<()> = writeln!(io::stderr(), "bifolio: {}", exit::chain(&error));
            error.exit_code()
        }
    }
}
