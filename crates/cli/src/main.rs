//! The command `bifolio`: parses, dispatches, and turns what came of it into an exit code.
#![forbid(unsafe_code)]

mod amount;
mod args;
mod bench;
mod check;
mod completions;
mod demo;
mod doctor;
mod exit;
mod figures;
mod home;
mod manual;
mod output;
mod pictures;
mod printable;
mod progress;
mod record;
mod replay;
mod report;
mod run;
mod running;
mod stats;
mod table;
mod top;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(show(&error)),
    };
    ExitCode::from(match cli.command {
        Command::Demo(command) => finish(demo::demo(&command)),
        Command::Run(args) => finish(run::run(&args)),
        Command::Home(args) => finish(home::home(&args)),
        Command::Stats(args) => finish(stats::stats(&args)),
        Command::Top(args) => finish(top::top(&args)),
        Command::Check(args) => finish(check::check(&args)),
        Command::Doctor(args) => finish(doctor::doctor(&args)),
        Command::Replay(args) => finish(replay::replay(&args)),
        Command::Report(args) => finish(pictures::report(&args)),
        Command::Trace(command) => finish(trace::trace(&command)),
        Command::Bench(args) => finish(bench::bench(&args)),
        Command::Man(args) => finish(manual::man(&args)),
        Command::Completions(args) => finish(completions::completions(&args)),
    })
}

/// Shows the help that was asked for, or says what is wrong with the arguments; returns the exit code.
fn show(answer: &clap::Error) -> u8 {
    let text = answer.render().to_string();
    let text = printable::printable(&text);
    // Without a reader the exit code still tells.
    if answer.use_stderr() {
        let _: io::Result<()> = write!(io::stderr(), "{text}");
        exit::USAGE
    } else {
        let _: io::Result<()> = write!(io::stdout(), "{text}");
        exit::OK
    }
}

/// Turns the outcome of a subcommand into its exit code, and says once what failed.
fn finish<E: Failure + 'static>(outcome: Result<u8, E>) -> u8 {
    match outcome {
        Ok(code) => code,
        Err(error) if exit::is_broken_pipe(&error) => exit::OK,
        Err(error) => {
            // Without a reader the exit code still tells.
            let _: io::Result<()> =
                writeln!(io::stderr(), "bifolio: {}", printable::printable(&exit::chain(&error)));
            error.exit_code()
        }
    }
}
