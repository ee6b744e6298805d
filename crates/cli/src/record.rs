//! Recording a run: what can be asked for, and the recorder that does it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bifolio_engine::Observer;
use bifolio_trace::{
    Accesses, LIMIT_LEAST, Options, Recorder, Told, Trace, TraceError, Written, command_words, machine_notes,
};
use clap::{ArgGroup, Args};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::amount::Size;
use crate::figures::{bytes, counted, grouped};
use crate::output::can_be_written;

/// What is recorded of a run.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("recorded").multiple(true))]
pub struct RecordArgs {
    /// Record what happens to FILE, for `bifolio trace` and `bifolio report`.
    #[arg(long, value_name = "FILE", group = "recorded")]
    pub trace: Option<PathBuf>,
    /// Draw what happened, as one HTML file that needs no network.
    #[arg(long, value_name = "FILE", group = "recorded")]
    pub report: Option<PathBuf>,
    /// Longest trace; beyond it the newest events replace the oldest.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = limit)]
    pub trace_limit: Size,
}

/// What is recorded of a device that runs here, whose accesses can be told.
#[derive(Debug, Args)]
pub struct DeviceRecordArgs {
    /// As of any run.
    #[command(flatten)]
    pub record: RecordArgs,
    /// Record every page that the device accesses as well, not only what moves: slow and long, but exact.
    #[arg(long, requires = "recorded")]
    pub trace_accesses: bool,
}

impl RecordArgs {
    /// Whether anything is recorded.
    pub fn is_asked_for(&self) -> bool {
        self.trace.is_some() || self.report.is_some()
    }
}

fn limit(text: &str) -> Result<Size, String> {
    let size: Size = text.parse().map_err(|error: crate::amount::SizeError| error.to_string())?;
    let enough = size.0 >= LIMIT_LEAST;
    enough.then_some(size).ok_or_else(|| format!("a trace needs {} at least", bytes(LIMIT_LEAST)))
}

/// Why a run was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be written.
    #[error("recording {} failed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no room for a trace that is only recorded to be drawn.
    #[error("a temporary trace cannot be recorded; give --trace FILE to say where")]
    Temporary(#[source] io::Error),
    /// The trace cannot be read back.
    #[error(transparent)]
    Read(#[from] TraceError),
}

/// A run being recorded, or not.
pub struct Recording(Option<Active>);

struct Active {
    recorder: Recorder,
    path: PathBuf,
    /// The file, if it goes away again.
    temporary: Option<NamedTempFile>,
    report: Option<PathBuf>,
    accesses: bool,
}

/// What was recorded.
#[derive(Debug)]
pub struct Recorded {
    trace: Option<PathBuf>,
    report: Option<PathBuf>,
    written: Written,
}

impl Recording {
    /// Begins to record what a device here does, if that was asked for.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn begin(
        args: &DeviceRecordArgs,
        mut notes: Vec<(&'static str, String)>,
    ) -> Result<Recording, RecordError> {
        let accesses = if args.trace_accesses { "exact" } else { "used" };
        notes.push(("accesses", accesses.to_owned()));
        Recording::start(&args.record, args.trace_accesses, notes, Recorder::create)
    }

    /// Begins to record what the process beside a program does.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn begin_shared(
        args: &RecordArgs,
        mut notes: Vec<(&'static str, String)>,
        told: Told,
    ) -> Result<Recording, RecordError> {
        notes.push(("accesses", "faults".to_owned()));
        Recording::start(args, false, notes, |path, options| Recorder::create_shared(path, options, told))
    }

    fn start(
        args: &RecordArgs,
        accesses: bool,
        notes: Vec<(&'static str, String)>,
        create: impl FnOnce(&Path, &Options) -> io::Result<Recorder>,
    ) -> Result<Recording, RecordError> {
        if !args.is_asked_for() {
            return Ok(Recording(None));
        }
        for path in args.trace.iter().chain(&args.report) {
            can_be_written(path).map_err(failed(path))?;
        }
        let temporary = if args.trace.is_none() { Some(temporary()?) } else { None };
        let path = temporary.as_ref().map(|file| file.path().to_owned()).or_else(|| args.trace.clone());
        let path = path.expect("one of both is there");
        let notes = about_this_run().into_iter().chain(notes);
        let options = Options { limit: args.trace_limit.0, ..Options::new(notes) };
        let recorder = create(&path, &options).map_err(failed(&path))?;
        let report = args.report.clone();
        Ok(Recording(Some(Active { recorder, path, temporary, report, accesses })))
    }

    /// The observers that record, for a space.
    pub fn observers(&self) -> Vec<Arc<dyn Observer>> {
        self.0.iter().map(|active| active.recorder.observer()).collect()
    }

    /// What records each access, if that was asked for.
    pub fn accesses(&self) -> Option<Accesses> {
        self.0.as_ref().filter(|active| active.accesses).map(|active| active.recorder.accesses())
    }

    /// Ends the recording with the figures of the run, as its JSON holds them.
    ///
    /// # Errors
    ///
    /// If the file could not be written.
    pub fn finish(self, figures: &impl Serialize) -> Result<Option<Recorded>, RecordError> {
        let Some(Active { recorder, path, temporary, report, .. }) = self.0 else { return Ok(None) };
        let figures = serde_json::to_string(figures).expect("figures are plain data");
        let written = recorder.finish([("figures", figures)]).map_err(failed(&path))?;
        if let Some(report) = &report {
            let html = bifolio_report::html(&Trace::open(&path)?);
            std::fs::write(report, html).map_err(failed(report))?;
        }
        let trace = temporary.is_none().then_some(path);
        Ok(Some(Recorded { trace, report, written }))
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> RecordError {
    move |source| RecordError::Write { path: path.to_owned(), source }
}

fn temporary() -> Result<NamedTempFile, RecordError> {
    NamedTempFile::with_prefix("bifolio-trace-").map_err(RecordError::Temporary)
}

impl Recorded {
    /// Says on standard error what was recorded, and what is missing.
    #[expect(clippy::print_stderr, reason = "standard output is the report's")]
    pub fn tell(&self) {
        let Written { events, lost, replaced, bytes: length } = self.written;
        if let Some(trace) = &self.trace {
            let (trace, length) = (trace.display(), bytes(length));
            eprintln!("trace: {trace}, {}, {length}", counted(events - replaced, "event"));
        }
        if let Some(report) = &self.report {
            eprintln!("report: {}", report.display());
        }
        if replaced > 0 {
            eprintln!("  {} older ones were replaced: see --trace-limit", grouped(replaced));
        }
        if lost > 0 {
            eprintln!("  {} were lost: more happened at once than could be written", grouped(lost));
        }
    }
}

/// What ran, and on what.
pub fn about_this_run() -> Vec<(&'static str, String)> {
    let words = command_words();
    let command = match words.split_first() {
        Some((_, rest)) => format!("bifolio {}", rest.join(" ")),
        None => "bifolio".to_owned(),
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    [("command", command), ("version", version)].into_iter().chain(machine_notes()).collect()
}
