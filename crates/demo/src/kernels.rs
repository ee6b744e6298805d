//! The device side of the job, written once over [`DeviceMemory`].
//!
//! A kernel is one phase; it gets the address of the job record and nothing else, and finds everything by
//! following pointers. Units share the work without talking: unit `i` of `n` takes chains `i`, `i + n`,
//! `i + 2n`, ... (or blocks of the frontier in the same way). What two units may write at once is written by
//! atomic operations only; where a later step of the phase depends on an earlier one of another unit, there
//! is a launch between them.
//!
//! | kernel | for each | does |
//! |---|---|---|
//! | `StartRanks` | node | rank = 1 / n, incoming = 0 |
//! | `PushShares` | node | adds rank / degree to each target's incoming, or rank to the dangling sum |
//! | `CollectShares` | node | rank = base + d * incoming, incoming = 0 |
//! | `StartShares` | node | share = 1 / degree for the source itself, else 0; eight sources side by side |
//! | `GatherShares` | node | rank of all incoming shares, and from it the share of the next round |
//! | `ClearLevels` | node | level = unreached, parent = none |
//! | `ExpandFrontier` | node of the frontier | claims unreached targets and appends them to the reached |

use crate::layout::{UNREACHED, WORD, batch, job, node};
use crate::memory::{DeviceMemory, Unit};
use crate::reference;
use std::error::Error;

/// Entries of the frontier that a unit takes at a time: one page of pointers.
const FRONTIER_BLOCK: u64 = 512;

/// A phase of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Gives every node the same rank.
    StartRanks,
    /// Hands each node's rank to its targets.
    PushShares,
    /// Makes new ranks of what has arrived.
    CollectShares,
    /// Puts all rank of a batch on its sources.
    StartShares,
    /// Makes the next shares of a batch from the incoming ones.
    GatherShares,
    /// Forgets an earlier search.
    ClearLevels,
    /// Goes one edge further in a search.
    ExpandFrontier,
}

impl Kernel {
    /// Returns the name of the kernel, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartRanks => "start ranks",
            Self::PushShares => "push shares",
            Self::CollectShares => "collect shares",
            Self::StartShares => "start shares",
            Self::GatherShares => "gather shares",
            Self::ClearLevels => "clear levels",
            Self::ExpandFrontier => "expand frontier",
        }
    }
}

/// The device as the host starts it.
pub trait Launcher {
    /// Why a launch failed.
    type Error: Error + 'static;

    /// Runs a kernel on all units of the device and waits for the last one.
    ///
    /// Each unit calls [`run_unit`] with the `job` address. Launches are the barriers
    /// between phases: all writes of one are seen by the next and by the host.
    ///
    /// # Errors
    ///
    /// If a unit could not complete an access. The shared memory then holds a part of the phase's work.
    fn launch(&mut self, kernel: Kernel, job: usize) -> Result<(), Self::Error>;
}

/// Runs one unit's part of a kernel.
///
/// # Errors
///
/// If the memory cannot complete an access; the unit's part is then half done and cannot be resumed.
pub fn run_unit<M: DeviceMemory>(
    kernel: Kernel,
    memory: &mut M,
    job: usize,
    unit: Unit,
) -> Result<(), M::Fault> {
    let job = job as u64;
    match kernel {
        Kernel::StartRanks => start_ranks(memory, job, unit),
        Kernel::PushShares => push_shares(memory, job, unit),
        Kernel::CollectShares => collect_shares(memory, job, unit),
        Kernel::StartShares => start_shares(memory, job, unit),
        Kernel::GatherShares => gather_shares(memory, job, unit),
        Kernel::ClearLevels => clear_levels(memory, job, unit),
        Kernel::ExpandFrontier => expand_frontier(memory, job, unit),
    }
}

fn start_ranks<M: DeviceMemory>(memory: &mut M, job: u64, unit: Unit) -> Result<(), M::Fault> {
    let rank = 1.0 / count(memory.load(job + at(job::NODES))?);
    for_each_node(memory, job, unit, |memory, node| {
        memory.store_f64(node + at(node::RANK), rank)?;
        memory.store_f64(node + at(node::INCOMING), 0.0)
    })
}

fn push_shares<M: DeviceMemory>(memory: &mut M, job: u64, unit: Unit) -> Result<(), M::Fault> {
    let mut dangling = 0.0;
    for_each_node(memory, job, unit, |memory, node| {
        let rank = memory.load_f64(node + at(node::RANK))?;
        let degree = memory.load(node + at(node::DEGREE))?;
        if degree == 0 {
            dangling += rank;
            return Ok(());
        }
        let share = rank / count(degree);
        let edges = memory.load(node + at(node::OUT))?;
        for edge in 0..degree {
            let target = memory.load(edges + edge * at(WORD))?;
            memory.add_f64(target + at(node::INCOMING), share)?;
        }
        Ok(())
    })?;
    // One addition a unit: the word would otherwise be the busiest of the whole device.
    memory.add_f64(job + at(job::DANGLING), dangling)
}

fn collect_shares<M: DeviceMemory>(memory: &mut M, job: u64, unit: Unit) -> Result<(), M::Fault> {
    let damping = memory.load_f64(job + at(job::DAMPING))?;
    let dangling = memory.load_f64(job + at(job::DANGLING))?;
    let nodes = count(memory.load(job + at(job::NODES))?);
    let base = reference::base(damping, dangling, nodes);
    for_each_node(memory, job, unit, |memory, node| {
        let incoming = memory.load_f64(node + at(node::INCOMING))?;
        memory.store_f64(node + at(node::RANK), base + damping * incoming)?;
        memory.store_f64(node + at(node::INCOMING), 0.0)
    })
}

fn start_shares<M: DeviceMemory>(memory: &mut M, job: u64, unit: Unit) -> Result<(), M::Fault> {
    let mut lanes = Lanes::read(memory, job)?;
    let rows = memory.load(lanes.batch + at(batch::SHARES))?;
    for_each_node(memory, job, unit, |memory, node| {
        let ranks = lanes.sources.map(|source| if source == node { 1.0 } else { 0.0 });
        lanes.store_shares(memory, rows, node, ranks)
    })?;
    lanes.add_dangling(memory, batch::DANGLING)
}

fn gather_shares<M: DeviceMemory>(memory: &mut M, job: u64, unit: Unit) -> Result<(), M::Fault> {
    let mut lanes = Lanes::read(memory, job)?;
    let damping = memory.load_f64(job + at(job::DAMPING))?;
    let shares = memory.load(lanes.batch + at(batch::SHARES))?;
    let next = memory.load(lanes.batch + at(batch::NEXT_SHARES))?;
    let mut returned = [0.0; batch::LANES];
    for (lane, returned) in returned.iter_mut().enumerate() {
        let dangling = memory.load_f64(lanes.batch + at(batch::DANGLING + lane * WORD))?;
        *returned = reference::returned(damping, dangling);
    }
    for_each_node(memory, job, unit, |memory, node| {
        let mut ranks = incoming_shares(memory, node, shares)?;
        for ((rank, source), returned) in ranks.iter_mut().zip(lanes.sources).zip(returned) {
            *rank = damping * *rank + if source == node { returned } else { 0.0 };
        }
        lanes.store_shares(memory, next, node, ranks)
    })?;
    lanes.add_dangling(memory, batch::NEXT_DANGLING)
}

/// Adds up the rows of all nodes that point to this one.
fn incoming_shares<M: DeviceMemory>(
    memory: &mut M,
    node: u64,
    shares: u64,
) -> Result<[f64; batch::LANES], M::Fault> {
    let mut sums = [0.0; batch::LANES];
    let edges = memory.load(node + at(node::IN))?;
    for edge in 0..memory.load(node + at(node::IN_DEGREE))? {
        let row = shares + memory.load(edges + edge * at(WORD))?;
        sums.iter_mut().zip(memory.load_row(row)?).for_each(|(sum, share)| *sum += share);
    }
    Ok(sums)
}

/// The sources of a batch, and what the unit has found of nodes without edges.
struct Lanes {
    batch: u64,
    sources: [u64; batch::LANES],
    dangling: [f64; batch::LANES],
}

impl Lanes {
    fn read<M: DeviceMemory>(memory: &mut M, job: u64) -> Result<Self, M::Fault> {
        let batch = memory.load(job + at(job::BATCH))?;
        let mut sources = [0; batch::LANES];
        for (lane, source) in sources.iter_mut().enumerate() {
            *source = memory.load(batch + at(batch::SOURCES + lane * WORD))?;
        }
        Ok(Self { batch, sources, dangling: [0.0; batch::LANES] })
    }

    /// Stores a node's ranks as what it hands to each of its targets.
    fn store_shares<M: DeviceMemory>(
        &mut self,
        memory: &mut M,
        rows: u64,
        node: u64,
        ranks: [f64; batch::LANES],
    ) -> Result<(), M::Fault> {
        let degree = memory.load(node + at(node::DEGREE))?;
        let row = rows + memory.load(node + at(node::ID))? * at(batch::ROW_BYTES);
        if degree == 0 {
            self.dangling.iter_mut().zip(ranks).for_each(|(sum, rank)| *sum += rank);
        }
        memory.store_row(row, ranks.map(|rank| rank / count(degree.max(1))))
    }

    /// Adds what the unit has found to a field of the batch.
    fn add_dangling<M: DeviceMemory>(&self, memory: &mut M, field: usize) -> Result<(), M::Fault> {
        for (lane, &amount) in self.dangling.iter().enumerate() {
            memory.add_f64(self.batch + at(field + lane * WORD), amount)?;
        }
        Ok(())
    }
}

fn clear_levels<M: DeviceMemory>(memory: &mut M, job: u64, unit: Unit) -> Result<(), M::Fault> {
    for_each_node(memory, job, unit, |memory, node| {
        memory.store(node + at(node::LEVEL), UNREACHED)?;
        memory.store(node + at(node::PARENT), 0)
    })
}

fn expand_frontier<M: DeviceMemory>(memory: &mut M, job: u64, unit: Unit) -> Result<(), M::Fault> {
    let frontier = memory.load(job + at(job::FRONTIER))?;
    let length = memory.load(job + at(job::FRONTIER_COUNT))?;
    let reached = Reached {
        nodes: memory.load(job + at(job::REACHED))?,
        counter: job + at(job::REACHED_COUNT),
        level: memory.load(job + at(job::REACHED_LEVEL))?,
    };
    for block in own_share(length.div_ceil(FRONTIER_BLOCK), unit) {
        let start = block * FRONTIER_BLOCK;
        for entry in start..length.min(start + FRONTIER_BLOCK) {
            let node = memory.load(frontier + entry * at(WORD))?;
            reached.add_targets_of(memory, node)?;
        }
    }
    Ok(())
}

/// The nodes that a search reaches in this phase.
struct Reached {
    nodes: u64,
    counter: u64,
    level: u64,
}

impl Reached {
    fn add_targets_of<M: DeviceMemory>(&self, memory: &mut M, node: u64) -> Result<(), M::Fault> {
        let degree = memory.load(node + at(node::DEGREE))?;
        let edges = memory.load(node + at(node::OUT))?;
        for edge in 0..degree {
            let target = memory.load(edges + edge * at(WORD))?;
            self.claim(memory, target, node)?;
        }
        Ok(())
    }

    /// Appends a node unless it was reached before; only one unit can win it.
    fn claim<M: DeviceMemory>(&self, memory: &mut M, target: u64, parent: u64) -> Result<(), M::Fault> {
        let level = target + at(node::LEVEL);
        // Most targets were reached long ago; looking first spares them an atomic operation.
        if memory.load(level)? != UNREACHED {
            return Ok(());
        }
        if memory.compare_exchange(level, UNREACHED, self.level)? != UNREACHED {
            return Ok(());
        }
        memory.store(target + at(node::PARENT), parent)?;
        let place = memory.fetch_add(self.counter, 1)?;
        memory.store(self.nodes + place * at(WORD), target)
    }
}

/// Calls `visit` with the address of each node of the unit's chains.
fn for_each_node<M: DeviceMemory>(
    memory: &mut M,
    job: u64,
    unit: Unit,
    mut visit: impl FnMut(&mut M, u64) -> Result<(), M::Fault>,
) -> Result<(), M::Fault> {
    let chains = memory.load(job + at(job::CHAINS))?;
    let chain_count = memory.load(job + at(job::CHAIN_COUNT))?;
    for chain in own_share(chain_count, unit) {
        let mut node = memory.load(chains + chain * at(WORD))?;
        while node != 0 {
            visit(memory, node)?;
            node = memory.load(node + at(node::NEXT))?;
        }
    }
    Ok(())
}

/// Returns which of `pieces` pieces of work are the unit's: every n-th, so that dense regions are shared.
fn own_share(pieces: u64, unit: Unit) -> impl Iterator<Item = u64> {
    (u64::from(unit.index)..pieces).step_by(unit.count.max(1) as usize)
}

/// Turns a distance in bytes into the type of device addresses.
const fn at(distance: usize) -> u64 {
    distance as u64
}

/// Turns a count into a number to calculate with; exact below 2^53.
fn count(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_share_all_pieces_without_overlap() {
        for count in 1..5 {
            let mut pieces: Vec<u64> =
                (0..count).flat_map(|index| own_share(7, Unit { index, count })).collect();
            pieces.sort_unstable();
            assert_eq!(pieces, [0, 1, 2, 3, 4, 5, 6]);
        }
    }
}
