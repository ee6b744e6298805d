//! The host's part while the device works: settings in, phases one after the other, progress out.
//!
//! The host and the device take turns on the job record: between two phases the host sets or reads a word
//! of it, which is a CPU access to memory the device has just used. Results stay in the node records; read
//! them through [`SharedGraph`].

use crate::graph::Node;
use crate::kernels::{Kernel, Launcher};
use crate::layout::{WORD, batch, job, node};
use crate::memory::{HostMemory, host_address};
use crate::personal::PersonalRanks;
use crate::reference::{NoSuchRoot, PageRank};
use crate::shared_graph::SharedGraph;
use std::error::Error;
use thiserror::Error;

/// Why a job did not end.
#[derive(Debug, Error)]
pub enum RunError<E: Error + 'static> {
    /// The device could not complete a phase.
    #[error("kernel `{}` failed", kernel.name())]
    Launch {
        /// The phase.
        kernel: Kernel,
        /// Why it failed.
        #[source]
        source: E,
    },
    /// The search has no node to start from.
    #[error("the search cannot start")]
    Root(#[from] NoSuchRoot),
    /// The device reached more nodes than there are.
    #[error("the device reached {reached} nodes of {nodes}")]
    Frontier {
        /// What the device counted.
        reached: u64,
        /// Nodes of the graph.
        nodes: usize,
    },
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rounds of PageRank, batches of personalised ranks, or levels of a search, that are done.
    pub done: u32,
    /// How many there will be, where that is known.
    pub total: Option<u32>,
}

/// Runs PageRank on the device; the ranks are then in the node records.
///
/// # Errors
///
/// If the device fails.
pub fn pagerank<M: HostMemory + Launcher>(
    machine: &mut M,
    shared: &SharedGraph,
    settings: &PageRank,
    mut progress: impl FnMut(Progress),
) -> Result<(), RunError<<M as Launcher>::Error>> {
    let record = shared.job();
    machine.write_f64(record + job::DAMPING, settings.damping());
    launch(machine, Kernel::StartRanks, shared)?;
    for round in 0..settings.rounds {
        machine.write_f64(record + job::DANGLING, 0.0);
        launch(machine, Kernel::PushShares, shared)?;
        launch(machine, Kernel::CollectShares, shared)?;
        progress(Progress { done: round + 1, total: Some(settings.rounds) });
    }
    Ok(())
}

/// Runs personalised PageRank on the device, batch by batch; the ranks are then in the rows of the batches. What a batch
/// needs no longer is given back when it ends.
///
/// # Errors
///
/// If the device fails.
pub fn personal_ranks<M: HostMemory + Launcher>(
    machine: &mut M,
    shared: &SharedGraph,
    ranks: &PersonalRanks,
    settings: &PageRank,
    mut progress: impl FnMut(Progress),
) -> Result<(), RunError<<M as Launcher>::Error>> {
    machine.write_f64(shared.job() + job::DAMPING, settings.damping());
    let batches = u32::try_from(ranks.batches().len()).unwrap_or(u32::MAX);
    for (done, &record) in (1..).zip(ranks.batches()) {
        machine.write_u64(shared.job() + job::BATCH, record as u64);
        clear_lanes(machine, record + batch::DANGLING);
        launch(machine, Kernel::StartShares, shared)?;
        for _ in 0..settings.rounds {
            clear_lanes(machine, record + batch::NEXT_DANGLING);
            launch(machine, Kernel::GatherShares, shared)?;
            end_round(machine, record);
        }
        let no_longer_used = host_address(machine.read_u64(record + batch::NEXT_SHARES));
        machine.release(no_longer_used, ranks.rows_bytes());
        progress(Progress { done, total: Some(batches) });
    }
    Ok(())
}

fn clear_lanes(machine: &mut impl HostMemory, field: usize) {
    (0..batch::LANES).for_each(|lane| machine.write_f64(field + lane * WORD, 0.0));
}

/// Makes the shares of this round those that the next starts from.
fn end_round(machine: &mut impl HostMemory, record: usize) {
    let shares = machine.read_u64(record + batch::SHARES);
    let next = machine.read_u64(record + batch::NEXT_SHARES);
    machine.write_u64(record + batch::SHARES, next);
    machine.write_u64(record + batch::NEXT_SHARES, shares);
    for lane in 0..batch::LANES {
        let dangling = machine.read_u64(record + batch::NEXT_DANGLING + lane * WORD);
        machine.write_u64(record + batch::DANGLING + lane * WORD, dangling);
    }
}

/// Searches from `root` on the device; levels and parents are then in the node records.
///
/// # Errors
///
/// If there is no such root, or the device fails.
pub fn bfs<M: HostMemory + Launcher>(
    machine: &mut M,
    shared: &SharedGraph,
    root: Node,
    mut progress: impl FnMut(Progress),
) -> Result<(), RunError<<M as Launcher>::Error>> {
    let nodes = shared.plan().nodes;
    let root_record = shared.node_address(root).ok_or(NoSuchRoot { root, nodes })?;
    launch(machine, Kernel::ClearLevels, shared)?;
    start_search(machine, shared, root_record);
    for level in 1.. {
        machine.write_u64(shared.job() + job::REACHED_LEVEL, u64::from(level));
        launch(machine, Kernel::ExpandFrontier, shared)?;
        let reached = advance_frontier(machine, shared);
        if reached > nodes as u64 {
            return Err(RunError::Frontier { reached, nodes });
        }
        progress(Progress { done: level, total: None });
        if reached == 0 {
            break;
        }
    }
    Ok(())
}

fn launch<M: Launcher>(
    machine: &mut M,
    kernel: Kernel,
    shared: &SharedGraph,
) -> Result<(), RunError<M::Error>> {
    machine.launch(kernel, shared.job()).map_err(|source| RunError::Launch { kernel, source })
}

fn start_search(machine: &mut impl HostMemory, shared: &SharedGraph, root_record: usize) {
    let record = shared.job();
    machine.write_u64(root_record + node::LEVEL, 0);
    let frontier = machine.read_u64(record + job::FRONTIER);
    machine.write_u64(host_address(frontier), root_record as u64);
    machine.write_u64(record + job::FRONTIER_COUNT, 1);
    machine.write_u64(record + job::REACHED_COUNT, 0);
}

/// Makes the reached nodes the frontier and returns how many they are.
fn advance_frontier(machine: &mut impl HostMemory, shared: &SharedGraph) -> u64 {
    let record = shared.job();
    let frontier = machine.read_u64(record + job::FRONTIER);
    let reached = machine.read_u64(record + job::REACHED);
    let count = machine.read_u64(record + job::REACHED_COUNT);
    machine.write_u64(record + job::FRONTIER, reached);
    machine.write_u64(record + job::FRONTIER_COUNT, count);
    machine.write_u64(record + job::REACHED, frontier);
    machine.write_u64(record + job::REACHED_COUNT, 0);
    count
}
