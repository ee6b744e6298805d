//! Running programs of `bifolio run`, and jobs of `bifolio demo`: found by the number of a process, or all of this user.
//!
//! The process of the command has the gauges open, a file of its own user: that is where it is asked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use bifolio_host::gauges::is_gauges;
use bifolio_host::gauges::{GaugeError, Gauges};
use bifolio_sys::Memfd;

use crate::exit;

/// Why the program was not found.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    /// No process has this number.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// It is no process of ours.
    #[error(
        "process {0} is of neither `bifolio run` nor `bifolio demo`: give the number of its program, or of the command"
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

/// A program of `bifolio run`, or a job of `bifolio demo`.
pub struct Running {
    /// Process of the command that started it.
    pub keeper: u32,
    /// What the command and the service share.
    pub gauges: Gauges,
}

/// A process that has gauges open.
struct Holder {
    pid: u32,
    path: PathBuf,
}

impl Running {
    /// Finds one by its process, or that of the command.
    ///
    /// # Errors
    ///
    /// If the process is neither, or of another user.
    pub fn find(pid: u32) -> Result<Running, RunningError> {
        let parent = parent_of(pid).ok_or(RunningError::NoProcess(pid))?;
        for process in [pid, parent] {
            match gauges_of(process) {
                Ok(Some(path)) => return Running::open(&Holder { pid: process, path }, pid),
                Err(source) if process == pid => return Err(RunningError::Foreign { pid, source }),
                Ok(None) | Err(_) => {}
            }
        }
        Err(RunningError::NotManaged(pid))
    }

    /// All of this user, by their processes. What ends meanwhile is left out.
    pub fn all() -> Vec<Running> {
        let mut holders: BTreeMap<u64, Vec<Holder>> = BTreeMap::new();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            if let Ok(Some(path)) = gauges_of(pid)
                && let Ok(file) = fs::metadata(&path)
            {
                holders.entry(file.ino()).or_default().push(Holder { pid, path });
            }
        }
        let keepers = holders.values().filter_map(|group| {
            // The command has its program, or a service, as a child.
            let is_child = |holder: &Holder| {
                let parent = parent_of(holder.pid);
                group.iter().any(|other| Some(other.pid) == parent)
            };
            group.iter().find(|holder| !is_child(holder))
        });
        let mut all: Vec<_> = keepers.filter_map(|keeper| Running::open(keeper, keeper.pid).ok()).collect();
        all.sort_by_key(|running| running.keeper);
        all
    }

    fn open(holder: &Holder, pid: u32) -> Result<Running, RunningError> {
        let foreign = |source| RunningError::Foreign { pid, source };
        let file = File::options().read(true).write(true).open(&holder.path).map_err(foreign)?;
        let failed = |source| RunningError::Gauges { pid, source };
        let gauges = Gauges::open_found(&Memfd::from(OwnedFd::from(file))).map_err(failed)?;
        Ok(Running { keeper: holder.pid, gauges })
    }

    /// The command line that started it, without the path of the command; `None` if it has ended.
    pub fn command(&self) -> Option<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.keeper)).ok()?;
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let first = words.next().filter(|word| !word.is_empty())?;
        let name = first.rsplit('/').next().unwrap_or_default().to_owned();
        let words: Vec<_> = std::iter::once(name.into()).chain(words).collect();
        Some(words.join(" ").trim_end().to_owned())
    }
}

/// The parent of a process, if there is such a process.
fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok()
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
