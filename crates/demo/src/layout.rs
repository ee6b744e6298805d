//! The graph in shared memory: which records there are, their fields, and how many bytes they take.
//!
//! All fields are 8-byte little-endian words; a pointer is the full address of what it points to, 0 for none.
//!
//! ```text
//!  job record --> chain heads: [ * , * , ... ]        one chain of nodes for each piece of work
//!    |  |                        |
//!    |  |   +--------------------+        next         next
//!    |  |   v                          +--------+   +--------+
//!    |  |  node record 128 bytes ------^        +---^        +--> 0
//!    |  |   | out                | name
//!    |  |   v                    v
//!    |  |  edges: [ *node, *node, ... ]   name bytes
//!    v  v
//!   frontiers: [ *node, ... ]  two, of one entry a node; filled and emptied in turn by the search
//! ```
//!
//! Records lie in node order, so [`crate::order`] decides which of them share a page. Pure arithmetic; the
//! records are written by [`crate::shared_graph`].

use crate::graph::Graph;

/// Bytes of a word, and of a pointer.
pub const WORD: usize = 8;

/// Every section starts at a multiple of this, so that no page holds parts of two sections.
pub const SECTION_ALIGN: usize = 4096;

/// Nodes of one chain unless stated otherwise: 64 KiB of records.
pub const NODES_PER_CHAIN: usize = 512;

/// Level of a node that the search has not reached.
pub const UNREACHED: u64 = u64::MAX;

/// Fields of a node record, as distances from its start in bytes.
pub mod node {
    /// Bytes of a record; a divisor of every page size, so that no record lies on two pages.
    pub const BYTES: usize = 128;
    /// Pointer to the edge array.
    pub const OUT: usize = 0;
    /// Entries of the edge array.
    pub const DEGREE: usize = 8;
    /// Pointer to the next node of the chain.
    pub const NEXT: usize = 16;
    /// Rank, `f64`.
    pub const RANK: usize = 24;
    /// Shares that have arrived in this round, `f64`.
    pub const INCOMING: usize = 32;
    /// Length of the shortest path from the root, or [`UNREACHED`](super::UNREACHED).
    pub const LEVEL: usize = 40;
    /// Pointer to the node from which the search came here; the device writes it, the host follows it.
    pub const PARENT: usize = 48;
    /// Number of the node.
    pub const ID: usize = 56;
    /// Pointer to the name.
    pub const NAME: usize = 64;
    /// Bytes of the name.
    pub const NAME_BYTES: usize = 72;
    /// Pointer to the incoming edges, where [`personal`](crate::personal) has written them.
    pub const IN: usize = 80;
    /// Number of incoming edges.
    pub const IN_DEGREE: usize = 88;
}

/// Fields of the job record, as distances from its start in bytes.
pub mod job {
    /// Bytes of the record.
    pub const BYTES: usize = 128;
    /// Number of nodes.
    pub const NODES: usize = 0;
    /// Pointer to the array of chain heads.
    pub const CHAINS: usize = 8;
    /// Entries of that array.
    pub const CHAIN_COUNT: usize = 16;
    /// Damping factor of PageRank, `f64`.
    pub const DAMPING: usize = 24;
    /// Rank of all nodes without edges in this round, `f64`.
    pub const DANGLING: usize = 32;
    /// Pointer to the array of nodes the search expands now.
    pub const FRONTIER: usize = 40;
    /// Entries of that array.
    pub const FRONTIER_COUNT: usize = 48;
    /// Pointer to the array of nodes the search has just reached.
    pub const REACHED: usize = 56;
    /// Entries of that array.
    pub const REACHED_COUNT: usize = 64;
    /// Level of the nodes being reached.
    pub const REACHED_LEVEL: usize = 72;
    /// Pointer to the record of the batch being ranked.
    pub const BATCH: usize = 80;
}

/// Fields of a batch record of [`personal`](crate::personal) ranks, as distances from its start in bytes.
pub mod batch {
    /// Sources that are ranked together.
    pub const LANES: usize = crate::memory::ROW;
    /// Bytes of a row: a share for each source.
    pub const ROW_BYTES: usize = LANES * super::WORD;
    /// Bytes of the record.
    pub const BYTES: usize = 256;
    /// Pointer to the rows of shares, in the order of the nodes.
    pub const SHARES: usize = 0;
    /// Pointer to the rows that this round makes.
    pub const NEXT_SHARES: usize = 8;
    /// Pointers to the records of the sources, 0 for none.
    pub const SOURCES: usize = 16;
    /// Rank of all nodes without edges, `f64`, for each source.
    pub const DANGLING: usize = SOURCES + LANES * super::WORD;
    /// The same after this round.
    pub const NEXT_DANGLING: usize = DANGLING + LANES * super::WORD;
}

const _: () = assert!(SECTION_ALIGN.is_multiple_of(node::BYTES) && node::IN_DEGREE + WORD <= node::BYTES);
const _: () = assert!(job::BATCH + WORD <= job::BYTES);
const _: () = assert!(batch::NEXT_DANGLING + batch::LANES * WORD <= batch::BYTES);

/// How many of each thing a graph needs in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Node records.
    pub nodes: usize,
    /// Entries of all edge arrays together.
    pub edges: usize,
    /// Bytes of all names together.
    pub text_bytes: usize,
    /// Nodes of a chain, at least 1; the last chain may have fewer.
    pub nodes_per_chain: usize,
}

impl Plan {
    /// Makes the plan for a graph; `nodes_per_chain` of 0 counts as 1.
    pub fn new(graph: &Graph, nodes_per_chain: usize) -> Self {
        Self {
            nodes: graph.nodes(),
            edges: graph.edges(),
            text_bytes: graph.names().text_bytes(),
            nodes_per_chain: nodes_per_chain.max(1),
        }
    }

    /// Returns how many chains the nodes make.
    pub fn chains(&self) -> usize {
        self.nodes.div_ceil(self.nodes_per_chain)
    }

    /// Returns the bytes of each section, in the order in which they are allocated.
    pub fn sections(&self) -> [Section; 7] {
        // An empty section gets an address of its own all the same.
        let section = |name, bytes: usize| Section { name, bytes: bytes.max(WORD) };
        [
            section("job record", job::BYTES),
            section("chain heads", self.chains() * WORD),
            section("node records", self.nodes * node::BYTES),
            section("edge arrays", self.edges * WORD),
            section("names", self.text_bytes),
            section("first frontier", self.nodes * WORD),
            section("second frontier", self.nodes * WORD),
        ]
    }

    /// Returns the bytes of all sections, each counted in whole multiples of [`SECTION_ALIGN`].
    pub fn bytes(&self) -> usize {
        self.sections().iter().map(|section| section.bytes.next_multiple_of(SECTION_ALIGN)).sum()
    }
}

/// A run of shared memory that holds one kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub name: &'static str,
    /// Its size.
    pub bytes: usize,
}

/// Returns how many bytes of shared memory a graph needs, with chains of [`NODES_PER_CHAIN`].
pub fn bytes_needed(graph: &Graph) -> usize {
    Plan::new(graph, NODES_PER_CHAIN).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_counted_in_whole_pages() {
        let names = ["a", "bb", "c"].into_iter().collect();
        let graph = Graph::from_edges(names, &[(0, 1), (1, 2)]).expect("all nodes exist");
        let plan = Plan::new(&graph, 2);
        assert_eq!(plan.chains(), 2);
        assert_eq!(plan.sections().map(|section| section.bytes), [128, 16, 384, 16, 8, 24, 24]);
        assert_eq!(plan.bytes(), 7 * 4096);
    }

    #[test]
    fn an_empty_section_still_counts() {
        let graph = Graph::from_edges(crate::names::Names::new(), &[]).expect("nothing to refuse");
        assert_eq!(bytes_needed(&graph), 7 * 4096);
    }

    #[test]
    fn fields_of_a_record_do_not_overlap() {
        let node_fields = [
            node::OUT,
            node::DEGREE,
            node::NEXT,
            node::RANK,
            node::INCOMING,
            node::LEVEL,
            node::PARENT,
            node::ID,
            node::NAME,
            node::NAME_BYTES,
            node::IN,
            node::IN_DEGREE,
        ];
        assert!(node_fields.windows(2).all(|pair| pair[0] + WORD == pair[1]));
        let job_fields = [
            job::NODES,
            job::CHAINS,
            job::CHAIN_COUNT,
            job::DAMPING,
            job::DANGLING,
            job::FRONTIER,
            job::FRONTIER_COUNT,
            job::REACHED,
            job::REACHED_COUNT,
            job::REACHED_LEVEL,
            job::BATCH,
        ];
        assert!(job_fields.windows(2).all(|pair| pair[0] + WORD == pair[1]));
    }
}
