//! `bifolio home`: a running program's memory comes home for a debugger, and stays there until it is told to go on.

use std::time::Duration;

use bifolio_sys::process;

use crate::args::HomeArgs;
use crate::exit;
use crate::running::{Running, RunningError};

/// The service is looked after so often.
const LOOK: Duration = Duration::from_millis(5);

/// Why memory could not be brought home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no such program.
    #[error(transparent)]
    Find(#[from] RunningError),
    /// It is a job of the demonstration, whose memory comes and goes with its touches.
    #[error("process {0} is `bifolio demo`: only the memory of programs of `bifolio run` is brought home")]
    Job(u32),
    /// It ended first.
    #[error("process {0} ended before its memory was home")]
    Ended(u32),
}

impl exit::Failure for HomeError {
    fn exit_code(&self) -> u8 {
        match self {
            HomeError::Find(error) => error.exit_code(),
            HomeError::Job(_) => exit::USAGE,
            HomeError::Ended(_) => exit::FAILED,
        }
    }
}

/// Brings the memory of a program home, and waits until it is there; or lets the service go on.
///
/// # Errors
///
/// If the program is not one of `bifolio run`, or of another user, or ends first.
pub fn home(args: &HomeArgs) -> Result<u8, HomeError> {
    let Running { keeper, gauges } = Running::find(args.pid)?;
    if gauges.read().is_job {
        return Err(HomeError::Job(args.pid));
    }
    gauges.ask_home(!args.end);
    while !args.end && !gauges.is_home() {
        if !process::exists(keeper) || !process::exists(args.pid) {
            return Err(HomeError::Ended(args.pid));
        }
        std::thread::sleep(LOOK);
    }
    Ok(exit::OK)
}
