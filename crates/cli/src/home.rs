//! `bifolio home`: a running program's memory comes home for a debugger, and stays there until it is told to go on.
//!
//! The program was started by `bifolio run`, whose process has the gauges open: that is where the service is asked.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use bifolio_host::in_place::gauges::is_gauges;
use bifolio_host::in_place::{GaugeError, Gauges};
use bifolio_sys::{Memfd, process};

use crate::args::HomeArgs;
use crate::exit;

/// The service is looked after so often.
const LOOK: Duration = Duration::from_millis(5);

/// Why memory could not be brought home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No process has this number.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// It is no program that `bifolio run` started, nor `bifolio run` itself.
    #[error(
        "process {0} was not started by `bifolio run`: give the number of its program, or of the command"
    )]
    NotManaged(u32),
    /// It belongs to another user.
    #[error("process {pid} belongs to another user")]
    Foreign {
        /// The process.
        pid: u32,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// Its gauges cannot be mapped.
    #[error("the gauges of process {pid} cannot be opened")]
    Gauges {
        /// The process.
        pid: u32,
        /// Why.
        #[source]
        source: GaugeError,
    },
    /// It ended first.
    #[error("process {0} ended before its memory was home")]
    Ended(u32),
}

impl exit::Failure for HomeError {
    fn exit_code(&self) -> u8 {
        match self {
            HomeError::NoProcess(_) | HomeError::NotManaged(_) => exit::USAGE,
            HomeError::Foreign { .. } | HomeError::Gauges { .. } => exit::REFUSED,
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
    let (keeper, path) = find(args.pid)?;
    let foreign = |source| HomeError::Foreign { pid: args.pid, source };
    let file = File::options().read(true).write(true).open(path).map_err(foreign)?;
    let failed = |source| HomeError::Gauges { pid: args.pid, source };
    let gauges = Gauges::open_found(Memfd::from(OwnedFd::from(file))).map_err(failed)?;
    gauges.ask_home(!args.end);
    while !args.end && !gauges.is_home() {
        if !process::exists(keeper) || !process::exists(args.pid) {
            return Err(HomeError::Ended(args.pid));
        }
        std::thread::sleep(LOOK);
    }
    Ok(exit::OK)
}

/// The process that has the gauges open, this one or its parent, and their file.
fn find(pid: u32) -> Result<(u32, PathBuf), HomeError> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| HomeError::NoProcess(pid))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let parent = parent.and_then(|number| number.trim().parse().ok());
    for process in [Some(pid), parent].into_iter().flatten() {
        match gauges_of(process) {
            Ok(Some(path)) => return Ok((process, path)),
            Err(source) if process == pid => return Err(HomeError::Foreign { pid, source }),
            Ok(None) | Err(_) => {}
        }
    }
    Err(HomeError::NotManaged(pid))
}

/// The gauges among the descriptors of a process.
fn gauges_of(pid: u32) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        // A descriptor that was closed meanwhile is none.
        if is_gauges(&path).unwrap_or(false) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
