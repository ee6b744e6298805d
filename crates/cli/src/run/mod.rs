//! `bifolio run`: an unmodified program with its heap on device memory.
//!
//! The program is started with the library `libbifolio_heap.so` loaded into it; everything else happens in there.
//! Here it is waited for, signals are passed on, and the counters, which it shares with us, are reported.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use bifolio_host::Statistics;
use bifolio_host::heap::RAM_LEAST;
use bifolio_host::heap::settings::{Settings, VARIABLE};
use bifolio_sys::{Access, Features, MapError, Memfd, PAGE, Reads, ReadyError, SysError, Uffd};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::args::RunArgs;
use crate::exit;
use crate::figures::bytes;
use crate::output::{JsonTarget, OutputError};
use crate::report::Figures;
use crate::report::text::print_program;

mod program;

use program::{Program, ProgramError};

/// Why a program was not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is not one that can be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A size is too small.
    #[error("{name} of {} is too little: give at least {}", bytes(*.given), bytes(*.least as u64))]
    TooSmall {
        /// The argument.
        name: &'static str,
        /// What was given.
        given: u64,
        /// The least.
        least: usize,
    },
    /// No library to load.
    #[error("libbifolio_heap.so is not beside {}: keep the files of one build together", beside.display())]
    NoLibrary {
        /// Where it was looked for.
        beside: PathBuf,
    },
    /// No userfaultfd, or one without moves.
    #[error("page faults cannot be caught; `bifolio doctor` says what this machine grants")]
    Refused(#[from] ReadyError),
    /// No memory for the counters.
    #[error("no memory for the counters")]
    Memory(#[from] SysError),
    /// No memory for the counters.
    #[error("no memory for the counters")]
    Map(#[from] MapError),
    /// It could not be started, or not be waited for.
    #[error("{} cannot be run", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be passed on.
    #[error("signals cannot be passed on")]
    Signals(#[source] io::Error),
    /// The report could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl exit::Failure for RunError {
    fn exit_code(&self) -> u8 {
        match self {
            RunError::Program(error) => error.exit_code(),
            RunError::TooSmall { .. } => exit::USAGE,
            RunError::Refused(_) => exit::REFUSED,
            _ => exit::FAILED,
        }
    }
}

/// What `--json` holds.
#[derive(Debug, Serialize)]
struct Report {
    exit: i32,
    #[serde(flatten)]
    figures: Figures,
}

/// Runs a program; returns the code to exit with. If the program was ended by a signal, so is this process.
///
/// # Errors
///
/// If it cannot be run, or the report cannot be written.
pub fn run(args: &RunArgs) -> Result<u8, RunError> {
    let (name, arguments) = args.program.split_first().expect("the argument parser asks for a program");
    let program = Program::find(name)?;
    args.output.json.as_ref().map_or(Ok(()), JsonTarget::check)?;
    let counters = Memfd::create("bifolio-statistics", PAGE)?;
    let statistics = Statistics::shared(&counters)?;
    let settings = settings(args, &counters)?;
    let library = library()?;
    note_access(args.output.quiet)?;
    let start = Instant::now();
    let status = spawn(&program, arguments, &settings, library).and_then(|child| wait(child, &program))?;
    let figures = Figures::from(&statistics.snapshot(), start.elapsed());
    report(args, &figures, status)?;
    Ok(end_as(status))
}

fn settings(args: &RunArgs, counters: &Memfd) -> Result<Settings, RunError> {
    let half = bifolio_sys::host::Host::read().ram_bytes / 2;
    let size = |name, given: Option<u64>, least: usize| {
        let given = given.unwrap_or(half);
        usize::try_from(given).ok().filter(|given| *given >= least).ok_or(RunError::TooSmall {
            name,
            given,
            least,
        })
    };
    let parent = bifolio_sys::process::pid();
    Ok(Settings {
        ram: size("--ram", args.ram.map(|size| size.0), RAM_LEAST)?,
        vram: size("--vram", args.vram.map(|size| size.0), PAGE)?,
        threshold: size("--threshold", Some(args.threshold.0), PAGE)?,
        pool: args.pool,
        reset: args.reset,
        checked: args.checked,
        parent,
        statistics: format!("/proc/{parent}/fd/{}", counters.as_fd().as_raw_fd()).into(),
    })
}

/// The library of the same build: beside this command, or where cargo leaves it when it is not asked for by name. Of
/// several, the one built last.
fn library() -> Result<PathBuf, RunError> {
    let beside = std::env::current_exe().unwrap_or_default();
    let folder = beside.parent().unwrap_or(Path::new("."));
    let places = [folder.to_owned(), folder.join("deps"), folder.join("..")];
    let built = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let found = places.map(|place| place.join("libbifolio_heap.so")).into_iter().rev();
    found.filter(|path| path.is_file()).max_by_key(built).ok_or(RunError::NoLibrary { beside })
}

/// Makes sure that a heap can work at all, and says once if it can only do so in part.
fn note_access(quiet: bool) -> Result<(), RunError> {
    let (uffd, _) = Uffd::open_ready(Reads::Blocking, Features::MOVE, Features::empty())?;
    if uffd.access() == Access::UserModeOnly && !quiet {
        let note = "bifolio: only faults of user mode are caught here: blocks under the threshold stay plain memory, \
                    and unusual system calls on others may fail; see `bifolio doctor`";
        let _: io::Result<()> = writeln!(io::stderr(), "{note}");
    }
    Ok(())
}

fn spawn(
    program: &Program,
    arguments: &[OsString],
    settings: &Settings,
    library: PathBuf,
) -> Result<Child, RunError> {
    let mut preload = library.into_os_string();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    Command::new(&program.path)
        .arg0(&program.name)
        .args(&program.arguments)
        .args(arguments)
        .env("LD_PRELOAD", preload)
        .env(VARIABLE, settings.to_string())
        .spawn()
        .map_err(|source| RunError::Start { path: program.path.clone(), source })
}

/// Waits for the program, and passes on the signals that were meant for it. Those of the keyboard reach it anyway.
fn wait(mut child: Child, program: &Program) -> Result<ExitStatus, RunError> {
    let mut signals =
        Signals::new([SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGQUIT]).map_err(RunError::Signals)?;
    let (handle, pid) = (signals.handle(), child.id());
    let status = std::thread::scope(|scope| {
        scope.spawn(move || {
            for signal in signals.forever().filter(|signal| ![SIGINT, SIGQUIT].contains(signal)) {
                // A program that is gone needs no signal any more.
                let _: Result<(), SysError> = bifolio_sys::process::send_signal(pid, signal);
            }
        });
        let status = child.wait();
        handle.close();
        status
    });
    status.map_err(|source| RunError::Start { path: program.path.clone(), source })
}

fn report(args: &RunArgs, figures: &Figures, status: ExitStatus) -> Result<(), RunError> {
    if let Some(json) = &args.output.json {
        json.write(&Report { exit: code_of(status), figures: *figures })?;
    }
    if !args.output.quiet {
        let mut text = b"\n".to_vec();
        print_program(&mut text, figures).map_err(OutputError::from)?;
        // The reader of the report may be gone; the program has run all the same.
        let _: io::Result<()> = io::stderr().write_all(&text);
    }
    Ok(())
}

/// The exit code, or 128 and the signal, as shells say.
fn code_of(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or_default()
}

fn end_as(status: ExitStatus) -> u8 {
    if let Some(signal) = status.signal() {
        // Comes back only for signals that do not end a process, which then did not end ours.
        let _: io::Result<()> = signal_hook::low_level::emulate_default_handler(signal);
    }
    u8::try_from(code_of(status) & 0xff).unwrap_or(exit::FAILED)
}
