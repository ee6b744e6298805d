//! `bifolio run`: an unmodified program with its heap on device memory.
//!
//! The program is started with the library `libbifolio_heap.so` loaded into it; everything else happens in there.
//! Here it is waited for, signals are passed on, and the counters, which it shares with us, are reported.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Instant;

use bifolio_host::gauges::{GaugeError, Gauges, Queues};
use bifolio_host::in_place::settings::Settings;
use bifolio_sys::{Access, Features, Memfd, Reads, ReadyError, SysError, Uffd};
use bifolio_trace::Told;
use serde::Serialize;

use crate::args::RunArgs;
use crate::exit;
use crate::figures::bytes;
use crate::output::{JsonTarget, OutputError};
use crate::record::{RecordError, Recorded, Recording};
use crate::report::Figures;
use crate::report::text::print_program;

mod child;
pub mod memory;
mod program;
mod sizes;

use child::Runner;
use memory::MemoryFigures;
use program::{Program, ProgramError};
use sizes::Sizes;

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
    /// No counters.
    #[error("no counters for the program, which are a file in memory: `ulimit -f` limits files")]
    Gauges(#[from] GaugeError),
    /// It could not be started, or not be waited for.
    #[error("{} cannot be run", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There may be no more processes.
    #[error("{} cannot be run: `ulimit -u` limits processes", path.display())]
    Processes {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its end cannot be waited for.
    #[error("the end of a program cannot be waited for here")]
    Watch(#[source] SysError),
    /// A size is beyond the machine.
    #[error("{name} of {} is more than the {} of memory that this machine has", bytes(*.given), bytes(*.machine))]
    TooLarge {
        /// The argument.
        name: &'static str,
        /// What was given.
        given: u64,
        /// What there is.
        machine: u64,
    },
    /// The program lost its service, and was ended.
    #[error("the program was ended, since its memory could not be had any more: {0}")]
    Lost(String),
    /// Signals cannot be passed on.
    #[error("signals cannot be passed on")]
    Signals(#[source] SysError),
    /// The report could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The run could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl exit::Failure for RunError {
    fn exit_code(&self) -> u8 {
        match self {
            RunError::Program(error) => error.exit_code(),
            RunError::TooSmall { .. } | RunError::TooLarge { .. } => exit::USAGE,
            RunError::Refused(_) | RunError::Gauges(_) | RunError::Watch(_) | RunError::Processes { .. } => {
                exit::REFUSED
            }
            RunError::Start { source, .. } if source.kind() == io::ErrorKind::OutOfMemory => exit::REFUSED,
            RunError::Start { .. } => exit::NOT_RUNNABLE,
            _ => exit::FAILED,
        }
    }
}

/// What `--json` holds.
#[derive(Debug, Serialize)]
struct Report<'m> {
    exit: i32,
    #[serde(flatten)]
    figures: Figures,
    #[serde(flatten)]
    memory: &'m MemoryFigures,
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
    let runner = Runner::new()?;
    let nonce = RandomState::new().hash_one(std::process::id());
    let (counters, gauges) = Gauges::create(nonce, queues(args))?;
    let settings = settings(args, &counters, nonce)?;
    let library = library()?;
    note_access(args.output.quiet)?;
    let recording = record(args, &settings, &gauges)?;
    let start = Instant::now();
    let status = runner.run(&program, arguments, &settings, library, &gauges)?;
    let figures = Figures::from(&gauges.statistics().snapshot(), start.elapsed());
    let reading = gauges.read();
    if let Some(why) = reading.failure {
        return Err(RunError::Lost(why));
    }
    let memory = MemoryFigures::from(&reading);
    let report = Report { exit: code_of(status), figures, memory: &memory };
    write_report(args, &report)?;
    let recorded = recording.map_or(Ok(None), |recording| recording.finish(&report))?;
    if !args.output.quiet {
        recorded.iter().for_each(Recorded::tell);
    }
    Ok(end_as(status))
}

fn queues(args: &RunArgs) -> Queues {
    match args.record.is_asked_for() {
        false => Queues::None,
        true if args.call_sites => Queues::CallSites,
        true => Queues::Events,
    }
}

/// Begins to record, if that was asked for.
fn record(args: &RunArgs, settings: &Settings, gauges: &Gauges) -> Result<Option<Recording>, RunError> {
    let Some(events) = gauges.events().cloned() else { return Ok(None) };
    let notes = vec![
        ("data", "private memory of a program".to_owned()),
        ("device_memory", settings.vram.to_string()),
        ("system_memory", settings.ram.to_string()),
        ("pool", settings.pool.to_string()),
        ("policy", settings.policy.to_string()),
        ("checked", settings.checked.to_string()),
    ];
    // The service has the program's memory, and so its modules; it is there as long as there are events.
    let (call_sites, service) = (gauges.call_sites().cloned(), gauges.clone());
    let told = Told { events, call_sites, process: Box::new(move || service.service()) };
    Ok(Some(Recording::begin_shared(&args.record, notes, told)?))
}

fn settings(args: &RunArgs, counters: &Memfd, nonce: u64) -> Result<Settings, RunError> {
    let Sizes { ram, vram } = Sizes::choose(args)?;
    Ok(Settings {
        ram,
        vram,
        pool: args.pool,
        policy: args.policy,
        reset: args.reset,
        checked: args.checked,
        parent: bifolio_sys::process::pid(),
        counters: counters.as_fd().as_raw_fd(),
        nonce,
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
        let note = "bifolio: only faults of user mode are caught here; see `bifolio doctor`";
        let _: io::Result<()> = writeln!(io::stderr(), "{note}");
    }
    Ok(())
}

fn write_report(args: &RunArgs, report: &Report<'_>) -> Result<(), RunError> {
    if let Some(json) = &args.output.json {
        json.write(report)?;
    }
    if !args.output.quiet {
        let mut text = b"\n".to_vec();
        print_program(&mut text, &report.figures).map_err(OutputError::from)?;
        report.memory.print(&mut text).map_err(OutputError::from)?;
        // If nothing reads it any more, the program has run all the same.
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
        // The program's own core is not to be written over.
        bifolio_sys::process::no_core_dump();
        // Comes back only for signals that do not end a process, which then did not end ours.
        let _: io::Result<()> = signal_hook::low_level::emulate_default_handler(signal);
    }
    u8::try_from(code_of(status) & 0xff).unwrap_or(exit::FAILED)
}
