//! A running program of `bifolio run`, found by the number of its process or of the command.
//!
//! The process of `bifolio run` has the gauges open, a file of its own user: that is where the service is asked.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use bifolio_host::in_place::gauges::is_gauges;
use bifolio_host::in_place::{GaugeError, Gauges};
use bifolio_sys::Memfd;

use crate::exit;

/// Why the program was not found.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
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
}

impl exit::Failure for RunningError {
    fn exit_code(&self) -> u8 {
        match self {
            RunningError::NoProcess(_) | RunningError::NotManaged(_) => exit::USAGE,
            RunningError::Foreign { .. } | RunningError::Gauges { .. } => exit::REFUSED,
        }
    }
}

/// A program of `bifolio run`.
pub struct Running {
    /// Process of the command that started it.
    pub keeper: u32,
    /// What the command and the service share.
    pub gauges: Gauges,
}

impl Running {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// If the process is not one of `bifolio run`, or of another user.
    pub fn find(pid: u32) -> Result<Running, RunningError> {
        let (keeper, path) = find(pid)?;
        let foreign = |source| RunningError::Foreign { pid, source };
        let file = File::options().read(true).write(true).open(path).map_err(foreign)?;
        let failed = |source| RunningError::Gauges { pid, source };
        let gauges = Gauges::open_found(Memfd::from(OwnedFd::from(file))).map_err(failed)?;
        Ok(Running { keeper, gauges })
    }
}

/// The process that has the gauges open, this one or its parent, and their file.
fn find(pid: u32) -> Result<(u32, PathBuf), RunningError> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| RunningError::NoProcess(pid))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let parent = parent.and_then(|number| number.trim().parse().ok());
    for process in [Some(pid), parent].into_iter().flatten() {
        match gauges_of(process) {
            Ok(Some(path)) => return Ok((process, path)),
            Err(source) if process == pid => return Err(RunningError::Foreign { pid, source }),
            Ok(None) | Err(_) => {}
        }
    }
    Err(RunningError::NotManaged(pid))
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
