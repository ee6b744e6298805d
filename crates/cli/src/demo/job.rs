//! The job itself: on the device, in a space, and once more plainly to compare.

use std::iter;
use std::time::{Duration, Instant};

use bifolio_demo::graph::{Graph, Node};
use bifolio_demo::live::{LiveMachine, NoRoom, OnAccess};
use bifolio_demo::personal::PersonalRanks;
use bifolio_demo::reference::{self, PageRank};
use bifolio_demo::run::{self, RunError};
use bifolio_demo::shared_graph::{BuildError, Damaged, SharedGraph};
use bifolio_demo::verify::{self, Mismatch};
use bifolio_engine::device::DeviceFault;
use bifolio_host::gauges::GaugeError;
use bifolio_host::{BufferError, SetupError, Space};

use crate::demo::buffers::{BufferFigures, Rivals};
use crate::demo::live::Live;
use crate::demo::plan::Plan;
use crate::demo::stages::Stages;
use crate::record::Recording;
use crate::report::Figures;

/// What the device is to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// Rank all nodes, and what is close to some of them.
    PageRank {
        /// Damping and rounds.
        settings: PageRank,
        /// Nodes whose neighbourhoods are ranked too.
        sources: Vec<Node>,
    },
    /// Search from a node.
    Bfs {
        /// Where to start.
        root: Node,
    },
}

/// What the device found, read back through its own pointers.
#[derive(Clone, Debug)]
pub enum Found {
    /// Ranks.
    Ranks {
        /// The rank of each node.
        ranks: Vec<f64>,
        /// The rank of each node for each source.
        personal: Vec<Vec<f64>>,
    },
    /// The level of each node, and from where it was reached.
    Levels {
        /// Levels.
        levels: Vec<u32>,
        /// Parents.
        parents: Vec<Option<Node>>,
    },
}

/// A job that came to its end.
#[derive(Debug)]
pub struct Done {
    /// What the device found.
    pub found: Found,
    /// Largest difference from the plain run, or the first that is too large.
    pub verdict: Result<f64, Mismatch>,
    /// What the plain run took.
    pub plain: Duration,
    /// What became of buffer objects, if there were any.
    pub buffers: Option<BufferFigures>,
    /// What it took.
    pub figures: Figures,
    /// The rules that broke.
    pub violations: Vec<String>,
}

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// There is no space to work in.
    #[error("shared space cannot be made")]
    Space(#[from] SetupError),
    /// The graph does not fit.
    #[error("graph cannot be put into shared memory")]
    Build(#[from] BuildError<NoRoom>),
    /// The device failed.
    #[error("job failed on the device")]
    Run(#[from] RunError<DeviceFault>),
    /// There are no gauges for other commands.
    #[error("no memory for what bifolio stats and bifolio top read")]
    Gauges(#[from] GaugeError),
    /// Buffer objects could not be allocated or used.
    #[error("buffer objects cannot be used")]
    Buffers(#[from] BufferError),
    /// What came back is impossible.
    #[error("records in shared memory are damaged")]
    Damaged(#[from] Damaged),
}

impl Job {
    /// Returns the nodes whose neighbourhoods are ranked.
    pub fn sources(&self) -> &[Node] {
        match self {
            Self::PageRank { sources, .. } => sources,
            Self::Bfs { .. } => &[],
        }
    }

    /// Runs the job on a graph.
    ///
    /// # Errors
    ///
    /// If it does not come to its end. A wrong result is not an error, but a verdict.
    pub fn run(
        &self,
        graph: &Graph,
        plan: &Plan,
        recording: &Recording,
        stages: &Stages,
    ) -> Result<Done, JobError> {
        let live = Live::begin(plan)?;
        let space = Space::new(live.space(plan, recording.observers()))?;
        let started = Instant::now();
        let mut rivals = Rivals::allocate(&space, plan)?;
        let accesses = recording.accesses();
        let tell =
            accesses.as_ref().map(|accesses| |address, unit, write| accesses.record(address, unit, write));
        let on_access = tell.as_ref().map(|tell| tell as OnAccess<'_>);
        let mut machine = LiveMachine::new(&space).telling(on_access);
        let found =
            live.during(&space, || self.on_device(&mut machine, graph, &mut rivals, stages, &live))?;
        let buffers = rivals.finish(&space)?;
        let total = started.elapsed();
        stages.begin("comparing with a plain run");
        let mut broken = space.audit();
        let mut figures = Figures::from(&space.statistics(), total);
        let closed = space.close();
        // The end is judged too; the moves that it took are not the job's.
        broken.extend(space.audit().into_iter().filter(|late| !broken.contains(late)).collect::<Vec<_>>());
        figures.judge_again(&space.statistics());
        let mut violations: Vec<String> = broken.iter().map(ToString::to_string).collect();
        if let Err(held) = closed {
            figures.violations += 1;
            violations.push(held.to_string());
        }
        let (verdict, plain) = self.verify(graph, &found);
        Ok(Done { found, verdict, plain, buffers, figures, violations })
    }

    fn on_device(
        &self,
        machine: &mut LiveMachine<'_>,
        graph: &Graph,
        rivals: &mut Rivals<'_>,
        stages: &Stages,
        live: &Live,
    ) -> Result<Found, JobError> {
        let mut advance = |done| {
            stages.advance(done);
            live.wait_while_paused();
            rivals.use_all();
        };
        stages.begin("building the graph in shared memory");
        let shared = SharedGraph::build(machine, graph)?;
        stages.begin("running on the device");
        match self {
            Self::PageRank { settings, sources } => {
                let batches = PersonalRanks::build(machine, graph, &shared, sources)?;
                run::pagerank(machine, &shared, settings, &mut advance)?;
                run::personal_ranks(machine, &shared, &batches, settings, &mut advance)?;
                stages.begin("reading the ranks");
                let personal = batches.ranks(machine, graph);
                Ok(Found::Ranks { ranks: shared.ranks(machine)?, personal })
            }
            Self::Bfs { root } => {
                run::bfs(machine, &shared, *root, &mut advance)?;
                stages.begin("reading the levels");
                Ok(Found::Levels { levels: shared.levels(machine)?, parents: shared.parents(machine)? })
            }
        }
    }

    /// Compares with a plain run on ordinary memory, and says how long that took.
    fn verify(&self, graph: &Graph, found: &Found) -> (Result<f64, Mismatch>, Duration) {
        let started = Instant::now();
        match (self, found) {
            (Self::PageRank { settings, sources }, Found::Ranks { ranks, personal }) => {
                let expected = reference::pagerank(graph, settings);
                let near = sources.iter().map(|&source| reference::personal(graph, settings, source));
                let near: Vec<Vec<f64>> = near.collect();
                let plain = started.elapsed();
                let pairs = iter::once((&expected, ranks)).chain(near.iter().zip(personal));
                let differences =
                    pairs.map(|(wanted, found)| verify::ranks(graph, wanted, found, verify::RANK_TOLERANCE));
                (differences.reduce(|worst, next| Ok(worst?.max(next?))).expect("ranks of all nodes"), plain)
            }
            (Self::Bfs { root }, Found::Levels { levels, parents }) => {
                let expected = reference::bfs(graph, *root).unwrap_or_default();
                let plain = started.elapsed();
                let agree = verify::levels(graph, &expected, levels);
                (agree.and_then(|()| verify::tree(graph, levels, parents)).map(|()| 0.0), plain)
            }
            _ => unreachable!("each job finds what it looks for"),
        }
    }
}
