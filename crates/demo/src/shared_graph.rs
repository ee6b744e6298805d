//! A graph in shared memory, written and read by the host through real pointers.
//!
//! [`SharedGraph::build`] writes the records of [`crate::layout`]. Reading starts at the job record and follows the
//! chains; nothing is computed from a node's number, so what the host reads is what the pointers say. What is
//! read has been in the hands of a device and is checked: a chain that is too long or a number that does not
//! exist gives [`Damaged`], not a panic or an endless walk.

use crate::graph::{Graph, Node};
use crate::layout::{NODES_PER_CHAIN, Plan, SECTION_ALIGN, Section, UNREACHED, WORD, job, node};
use crate::memory::{HostMemory, host_address};
use crate::reference;
use std::error::Error;
use thiserror::Error;

/// Why a graph cannot be put into shared memory.
#[derive(Debug, Error)]
pub enum BuildError<E: Error + 'static> {
    /// There is not enough shared memory.
    #[error("allocating {bytes} bytes for {section} failed")]
    Allocate {
        /// What the memory is for.
        section: &'static str,
        /// How much is needed.
        bytes: usize,
        /// Why it failed.
        #[source]
        source: E,
    },
    /// The memory returned is not usable.
    #[error(
        "memory for {section} is at {address:#x}, expected a multiple of {SECTION_ALIGN:#x} other than 0"
    )]
    Misaligned {
        /// What the memory is for.
        section: &'static str,
        /// Where it lies.
        address: usize,
    },
}

/// What the records in shared memory say is impossible.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Damaged {
    /// A chain goes on after all nodes were seen, or ends before.
    #[error("chains hold {found} nodes or more, expected {expected}")]
    Chains {
        /// Nodes of the graph.
        expected: usize,
        /// Nodes seen until the walk was given up.
        found: usize,
    },
    /// A record does not carry the number of a node.
    #[error("node record at {address:#x} has number {number}, expected less than {nodes}")]
    Number {
        /// Where the record lies.
        address: usize,
        /// What it carries.
        number: u64,
        /// Nodes of the graph.
        nodes: usize,
    },
    /// A record's level is neither unreached nor a possible length of a path.
    #[error("node record at {address:#x} has level {level}, expected less than {nodes} or unreached")]
    Level {
        /// Where the record lies.
        address: usize,
        /// What it carries.
        level: u64,
        /// Nodes of the graph.
        nodes: usize,
    },
    /// A name is longer than all names together.
    #[error("node record at {address:#x} has a name of {bytes} bytes, expected at most {limit}")]
    Name {
        /// Where the record lies.
        address: usize,
        /// What it carries.
        bytes: u64,
        /// Bytes of all names.
        limit: usize,
    },
}

/// Where a graph lies in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedGraph {
    plan: Plan,
    job: usize,
    records: usize,
}

impl SharedGraph {
    /// Writes a graph into shared memory, in chains of [`NODES_PER_CHAIN`] nodes.
    ///
    /// # Errors
    ///
    /// If the memory cannot be allocated.
    pub fn build<M: HostMemory>(memory: &mut M, graph: &Graph) -> Result<Self, BuildError<M::Error>> {
        Self::build_in_chains(memory, graph, NODES_PER_CHAIN)
    }

    /// Writes a graph into shared memory, in chains of the given length.
    ///
    /// # Errors
    ///
    /// If the memory cannot be allocated.
    pub fn build_in_chains<M: HostMemory>(
        memory: &mut M,
        graph: &Graph,
        nodes_per_chain: usize,
    ) -> Result<Self, BuildError<M::Error>> {
        let plan = Plan::new(graph, nodes_per_chain);
        let mut addresses = [0; 7];
        for (address, section) in addresses.iter_mut().zip(plan.sections()) {
            *address = allocate(memory, section)?;
        }
        let [job, chains, records, edges, names, frontier, reached] = addresses;
        let shared = Self { plan, job, records };
        shared.write_job(memory, chains, [frontier, reached]);
        shared.write_chains(memory, chains);
        shared.write_nodes(memory, graph, edges, names);
        Ok(shared)
    }

    /// Returns the counts that the graph was made with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the address of the job record, the only thing a kernel is given.
    pub fn job(&self) -> usize {
        self.job
    }

    /// Returns the address of a node's record, or nothing if there is no such node.
    pub fn node_address(&self, node: Node) -> Option<usize> {
        ((node as usize) < self.plan.nodes).then(|| self.record(node as usize))
    }

    fn record(&self, index: usize) -> usize {
        self.records + index * node::BYTES
    }

    fn write_job(&self, memory: &mut impl HostMemory, chains: usize, frontiers: [usize; 2]) {
        memory.write_u64(self.job + job::NODES, self.plan.nodes as u64);
        memory.write_u64(self.job + job::CHAINS, chains as u64);
        memory.write_u64(self.job + job::CHAIN_COUNT, self.plan.chains() as u64);
        memory.write_u64(self.job + job::FRONTIER, frontiers[0] as u64);
        memory.write_u64(self.job + job::REACHED, frontiers[1] as u64);
    }

    fn write_chains(&self, memory: &mut impl HostMemory, chains: usize) {
        for chain in 0..self.plan.chains() {
            let head = self.record(chain * self.plan.nodes_per_chain);
            memory.write_u64(chains + chain * WORD, head as u64);
        }
    }

    /// Writes the records in their order in memory, each with its edges and its name.
    fn write_nodes(&self, memory: &mut impl HostMemory, graph: &Graph, mut edges: usize, mut names: usize) {
        for (node, name) in graph.node_numbers().zip(graph.names().iter()) {
            let targets = graph.targets(node);
            let record = self.record(node as usize);
            memory.write_u64(record + node::OUT, if targets.is_empty() { 0 } else { edges as u64 });
            memory.write_u64(record + node::DEGREE, targets.len() as u64);
            memory.write_u64(record + node::NEXT, self.next_in_chain(node as usize));
            memory.write_u64(record + node::LEVEL, UNREACHED);
            memory.write_u64(record + node::ID, u64::from(node));
            memory.write_u64(record + node::NAME, names as u64);
            memory.write_u64(record + node::NAME_BYTES, name.len() as u64);
            for &target in targets {
                memory.write_u64(edges, self.record(target as usize) as u64);
                edges += WORD;
            }
            memory.write_bytes(names, name.as_bytes());
            names += name.len();
        }
    }

    fn next_in_chain(&self, index: usize) -> u64 {
        let next = index + 1;
        let ends_chain = next == self.plan.nodes || next.is_multiple_of(self.plan.nodes_per_chain);
        if ends_chain { 0 } else { self.record(next) as u64 }
    }
}

/// Reading, by following pointers.
impl SharedGraph {
    /// Reads the rank of each node.
    ///
    /// # Errors
    ///
    /// If the records are damaged.
    pub fn ranks(&self, memory: &impl HostMemory) -> Result<Vec<f64>, Damaged> {
        let mut ranks = vec![0.0; self.plan.nodes];
        self.visit(memory, |node, record| {
            ranks[node as usize] = memory.read_f64(record + node::RANK);
            Ok(())
        })?;
        Ok(ranks)
    }

    /// Reads the level of each node, [`reference::UNREACHED`] for those the search did not reach.
    ///
    /// # Errors
    ///
    /// If the records are damaged.
    pub fn levels(&self, memory: &impl HostMemory) -> Result<Vec<u32>, Damaged> {
        let mut levels = vec![reference::UNREACHED; self.plan.nodes];
        self.visit(memory, |node, record| {
            levels[node as usize] = self.level(memory, record)?;
            Ok(())
        })?;
        Ok(levels)
    }

    /// Follows each node's pointer to the node from which the search reached it; nothing for the root and
    /// for what was not reached.
    ///
    /// # Errors
    ///
    /// If the records are damaged.
    pub fn parents(&self, memory: &impl HostMemory) -> Result<Vec<Option<Node>>, Damaged> {
        let mut parents = vec![None; self.plan.nodes];
        self.visit(memory, |node, record| {
            let parent = host_address(memory.read_u64(record + node::PARENT));
            if parent != 0 {
                parents[node as usize] = Some(self.number(memory, parent)?);
            }
            Ok(())
        })?;
        Ok(parents)
    }

    /// Reads the name of a node where its record points to it; nothing if there is no such node.
    ///
    /// # Errors
    ///
    /// If the record is damaged.
    pub fn name(&self, memory: &impl HostMemory, node: Node) -> Result<Option<String>, Damaged> {
        let Some(address) = self.node_address(node) else { return Ok(None) };
        let bytes = memory.read_u64(address + node::NAME_BYTES);
        let limit = self.plan.text_bytes;
        let length = usize::try_from(bytes).ok().filter(|&length| length <= limit);
        let mut name = vec![0; length.ok_or(Damaged::Name { address, bytes, limit })?];
        memory.read_bytes(host_address(memory.read_u64(address + node::NAME)), &mut name);
        Ok(Some(String::from_utf8_lossy(&name).into_owned()))
    }

    /// Visits every node of every chain.
    fn visit(
        &self,
        memory: &impl HostMemory,
        mut see: impl FnMut(Node, usize) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        let expected = self.plan.nodes;
        let chains = host_address(memory.read_u64(self.job + job::CHAINS));
        let mut found = 0;
        for chain in 0..self.plan.chains() {
            let mut record = host_address(memory.read_u64(chains + chain * WORD));
            while record != 0 {
                found += 1;
                if found > expected {
                    return Err(Damaged::Chains { expected, found });
                }
                see(self.number(memory, record)?, record)?;
                record = host_address(memory.read_u64(record + node::NEXT));
            }
        }
        if found == expected { Ok(()) } else { Err(Damaged::Chains { expected, found }) }
    }

    fn number(&self, memory: &impl HostMemory, address: usize) -> Result<Node, Damaged> {
        let nodes = self.plan.nodes;
        let number = memory.read_u64(address + node::ID);
        let node = Node::try_from(number).ok().filter(|&node| (node as usize) < nodes);
        node.ok_or(Damaged::Number { address, number, nodes })
    }

    fn level(&self, memory: &impl HostMemory, address: usize) -> Result<u32, Damaged> {
        let nodes = self.plan.nodes;
        let level = memory.read_u64(address + node::LEVEL);
        if level == UNREACHED {
            return Ok(reference::UNREACHED);
        }
        let possible = u32::try_from(level).ok().filter(|&level| (level as usize) < nodes);
        possible.ok_or(Damaged::Level { address, level, nodes })
    }
}

/// Allocates a section, on pages of its own.
pub(crate) fn allocate<M: HostMemory>(
    memory: &mut M,
    section: Section,
) -> Result<usize, BuildError<M::Error>> {
    let Section { name, bytes } = section;
    let address = memory.allocate(bytes, SECTION_ALIGN).map_err(|source| BuildError::Allocate {
        section: name,
        bytes,
        source,
    })?;
    if address == 0 || !address.is_multiple_of(SECTION_ALIGN) {
        return Err(BuildError::Misaligned { section: name, address });
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::names::Names;

    fn built(nodes_per_chain: usize) -> (Arena, SharedGraph, Graph) {
        let names = ["bash", "libc6", "gcc", "alone"].into_iter().collect();
        let graph = Graph::from_edges(names, &[(0, 1), (2, 0), (2, 1)]).expect("all nodes exist");
        let mut arena = Arena::new(64 * 1024);
        let shared = SharedGraph::build_in_chains(&mut arena, &graph, nodes_per_chain).expect("enough room");
        (arena, shared, graph)
    }

    #[test]
    fn edges_and_names_are_reached_through_pointers() {
        let (arena, shared, _) = built(3);
        let record = shared.node_address(2).expect("node 2 exists");
        let edges = host_address(arena.read_u64(record + node::OUT));
        let target = host_address(arena.read_u64(edges + WORD));
        assert_eq!(arena.read_u64(target + node::ID), 1);
        assert_eq!(shared.name(&arena, 1), Ok(Some("libc6".to_owned())));
        assert_eq!(shared.name(&arena, 4), Ok(None));
    }

    #[test]
    fn a_node_without_edges_points_to_none() {
        let (arena, shared, _) = built(3);
        let record = shared.node_address(3).expect("node 3 exists");
        assert_eq!(arena.read_u64(record + node::OUT), 0);
        assert_eq!(arena.read_u64(record + node::DEGREE), 0);
    }

    #[test]
    fn a_new_sheet_has_no_ranks_levels_or_parents() {
        for nodes_per_chain in [0, 1, 2, 3, 4, 512] {
            let (arena, shared, _) = built(nodes_per_chain);
            assert_eq!(shared.ranks(&arena), Ok(vec![0.0; 4]));
            assert_eq!(shared.levels(&arena), Ok(vec![reference::UNREACHED; 4]));
            assert_eq!(shared.parents(&arena), Ok(vec![None; 4]));
        }
    }

    #[test]
    fn a_chain_that_runs_in_a_circle_is_found() {
        let (mut arena, shared, _) = built(4);
        let first = shared.node_address(0).expect("node 0 exists");
        let last = shared.node_address(3).expect("node 3 exists");
        arena.write_u64(last + node::NEXT, first as u64);
        assert_eq!(shared.ranks(&arena), Err(Damaged::Chains { expected: 4, found: 5 }));
        arena.write_u64(first + node::NEXT, 0);
        assert_eq!(shared.ranks(&arena), Err(Damaged::Chains { expected: 4, found: 1 }));
    }

    #[test]
    fn impossible_numbers_and_levels_are_found() {
        let (mut arena, shared, _) = built(4);
        let address = shared.node_address(1).expect("node 1 exists");
        arena.write_u64(address + node::LEVEL, 4);
        assert_eq!(shared.levels(&arena), Err(Damaged::Level { address, level: 4, nodes: 4 }));
        arena.write_u64(address + node::ID, 9);
        assert_eq!(shared.ranks(&arena), Err(Damaged::Number { address, number: 9, nodes: 4 }));
        arena.write_u64(address + node::NAME_BYTES, 1 << 40);
        assert_eq!(shared.name(&arena, 1), Err(Damaged::Name { address, bytes: 1 << 40, limit: 17 }));
    }

    #[test]
    fn too_little_memory_names_the_section() {
        let (_, _, graph) = built(4);
        let mut arena = Arena::new(3 * SECTION_ALIGN);
        let error = SharedGraph::build(&mut arena, &graph).expect_err("seven sections do not fit");
        assert_eq!(error.to_string(), "allocating 24 bytes for edge arrays failed");
    }

    #[test]
    fn the_plan_states_what_building_uses() {
        let (_, _, graph) = built(4);
        let nothing = Graph::from_edges(Names::new(), &[]).expect("nothing to refuse");
        for graph in [graph, nothing] {
            let mut arena = Arena::new(crate::layout::bytes_needed(&graph));
            assert!(SharedGraph::build(&mut arena, &graph).is_ok());
        }
    }
}
