//! `bifolio demo`: a program and the built-in device on the same pointers, in too little device memory.
//!
//! ```text
//!   args --> input --> plan --> job --> result --> text, JSON
//!            graph     sizes    space,  rows,
//!                               device  verdict
//! ```

mod buffers;
mod input;
mod job;
mod live;
mod plan;
mod result;
mod stages;
mod text;

use std::io;

use bifolio_demo::graph::Graph;
use bifolio_demo::order;
use bifolio_demo::reference::{BadDamping, PageRank};
use bifolio_demo::run::RunError;
use bifolio_host::SetupError;

use crate::args::{DemoCommand, JobArgs};
use crate::demo::input::{Input, InputError, Source};
use crate::demo::job::{Done, Job, JobError};
use crate::demo::plan::{Plan, PlanError};
use crate::demo::result::{DemoReport, Rows};
use crate::demo::stages::Stages;
use crate::exit::{self, Failure};
use crate::output::{JsonTarget, OutputError};
use crate::printable::short_name;
use crate::record::{RecordError, Recorded, Recording};

/// Share of rank that follows the edges, as in the first publication.
const DAMPING: f64 = 0.85;

/// Packages whose neighbourhoods are ranked by default.
const PACKAGE_SOURCES: usize = 128;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is no graph.
    #[error(transparent)]
    Input(#[from] InputError),
    /// No node has the name that the search is to start from.
    #[error("--root {}: the graph has no node of this name", short_name(name))]
    NoSuchRoot {
        /// The name.
        name: String,
    },
    /// The settings of the job are impossible.
    #[error(transparent)]
    Settings(#[from] BadDamping),
    /// The memory does not do.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The job did not come to its end.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The trace cannot be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The report cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Failure for DemoError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Input(InputError::Packages(_)) | Self::Output(_) | Self::Record(_) | Self::Settings(_) => {
                exit::FAILED
            }
            Self::Input(_) | Self::NoSuchRoot { .. } | Self::Plan(_) => exit::USAGE,
            Self::Job(JobError::Space(SetupError::Uffd(_))) => exit::REFUSED,
            Self::Job(JobError::Damaged(_) | JobError::Run(RunError::Frontier { .. })) => exit::BROKEN,
            Self::Job(_) => exit::FAILED,
        }
    }
}

/// Runs a job and reports; returns the exit code.
///
/// # Errors
///
/// If the job does not come to its end, or its report cannot be written.
pub fn demo(command: &DemoCommand) -> Result<u8, DemoError> {
    let args = match command {
        DemoCommand::Pagerank(args) => &args.job,
        DemoCommand::Bfs(args) => &args.job,
    };
    args.output.json.as_ref().map_or(Ok(()), JsonTarget::check)?;
    let input = Input::read(source(args))?;
    let job = resolve(command, &input.graph)?;
    let plan = Plan::resolve(args, &input.graph, job.sources().len())?;
    let stages = Stages::new(args.output.quiet);
    let recording = Recording::begin(&args.record, plan.notes())?;
    let done = job.run(&input.graph, &plan, &recording, &stages)?;
    drop(stages);
    let recorded = recording.finish(&done.figures)?;
    exit::unless_unread(write(&Asked { args, job: &job, input: &input, plan: &plan }, &done))?;
    if !args.output.quiet {
        recorded.iter().for_each(Recorded::tell);
    }
    let damaged = done.buffers.as_ref().is_some_and(|buffers| !buffers.verified);
    let broken = done.verdict.is_err() || damaged || done.figures.violations > 0;
    Ok(if broken { exit::BROKEN } else { exit::OK })
}

fn source(args: &JobArgs) -> Source<'_> {
    match (args.rmat, &args.file) {
        (Some(scale), _) => Source::Rmat { scale, seed: args.seed },
        (None, Some(file)) => Source::File(file),
        (None, None) => Source::Packages,
    }
}

fn resolve(command: &DemoCommand, graph: &Graph) -> Result<Job, DemoError> {
    match command {
        DemoCommand::Pagerank(args) => {
            // Several devices take the rows of shares from each other in every round.
            let packages = matches!(source(&args.job), Source::Packages) && args.job.devices.get() == 1;
            let sources = args.sources.unwrap_or(if packages { PACKAGE_SOURCES } else { 0 });
            let settings = PageRank::new(DAMPING, args.rounds)?;
            Ok(Job::PageRank { settings, sources: order::most_edges(graph, sources) })
        }
        DemoCommand::Bfs(args) => {
            let root = match &args.root {
                Some(name) => graph.names().find(name),
                None => order::busiest(graph),
            };
            let name = || args.root.clone().unwrap_or_default();
            root.map(|root| Job::Bfs { root }).ok_or_else(|| DemoError::NoSuchRoot { name: name() })
        }
    }
}

/// What was asked for.
struct Asked<'a> {
    args: &'a JobArgs,
    job: &'a Job,
    input: &'a Input,
    plan: &'a Plan,
}

/// Writes the report wherever it was asked for.
fn write(asked: &Asked<'_>, done: &Done) -> Result<(), OutputError> {
    let Asked { args, input, plan, .. } = asked;
    let rows = Rows::of(&done.found, &input.graph);
    let near = result::near(asked.job.sources(), &done.found, &input.graph);
    let json = args.output.json.as_ref();
    if !args.output.quiet && json != Some(&JsonTarget::Stdout) {
        text::print(&mut io::stdout().lock(), asked, done, &rows, &near)?;
    }
    let (verified, buffers) = (done.verdict.is_ok(), done.buffers.as_ref());
    let report = DemoReport {
        result: rows,
        near,
        verified,
        data: plan.data,
        devices: plan.devices.get(),
        device_memory: plan.vram,
        plain_seconds: done.plain.as_secs_f64(),
        buffers,
        figures: &done.figures,
    };
    json.map_or(Ok(()), |target| target.write(&report))
}
