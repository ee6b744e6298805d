//! Personalised PageRank in shared memory: what is close to each of many nodes, eight of them at a time.
//!
//! ```text
//!   job record --> batch record --> rows of shares:  [ 8 x f64 | 8 x f64 | ... ]   a row for each node
//!                    |         \--> rows being made: [ 8 x f64 | 8 x f64 | ... ]
//!                    v
//!               8 sources: * --> node record --> incoming edges: [ distance of a row, ... ]
//! ```
//!
//! A share is what a node hands to each node that it points to: its rank divided by its edges. All batches have rows of their
//! own, and work one after the other; when one ends, the rows that its last round has read are given back. Incoming edges
//! serve all batches, so they say how far a row is from the first.

use crate::graph::{Graph, Node};
use crate::layout::{SECTION_ALIGN, Section, WORD, batch, node};
use crate::memory::{HostMemory, host_address};
use crate::shared_graph::{BuildError, SharedGraph, allocate};

/// The batches of a graph in shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalRanks {
    sources: Vec<Node>,
    /// Address of each batch record.
    batches: Vec<usize>,
    rows_bytes: usize,
}

/// Returns how many bytes of shared memory the ranks for so many sources need beside the graph.
pub fn bytes_needed(graph: &Graph, sources: usize) -> usize {
    sections(graph, sources).iter().map(|section| section.bytes.next_multiple_of(SECTION_ALIGN)).sum()
}

/// The sections in the order in which they are allocated; none where there are no sources.
fn sections(graph: &Graph, sources: usize) -> Vec<Section> {
    let batches = sources.div_ceil(batch::LANES);
    if batches == 0 {
        return Vec::new();
    }
    vec![
        Section { name: "incoming edges", bytes: (graph.edges() * WORD).max(WORD) },
        Section { name: "batch records", bytes: batches * batch::BYTES },
        Section { name: "rows of shares", bytes: batches * 2 * rows_bytes(graph.nodes()) },
    ]
}

/// Bytes of the rows of one batch.
fn rows_bytes(nodes: usize) -> usize {
    (nodes * batch::ROW_BYTES).max(WORD).next_multiple_of(SECTION_ALIGN)
}

impl PersonalRanks {
    /// Writes incoming edges and batches beside a graph that is in shared memory.
    ///
    /// # Errors
    ///
    /// If the memory cannot be allocated.
    ///
    /// # Panics
    ///
    /// If a source is not a node of the graph.
    pub fn build<M: HostMemory>(
        memory: &mut M,
        graph: &Graph,
        shared: &SharedGraph,
        sources: &[Node],
    ) -> Result<Self, BuildError<M::Error>> {
        let addresses = sections(graph, sources.len())
            .into_iter()
            .map(|section| allocate(memory, section))
            .collect::<Result<Vec<_>, _>>()?;
        let [edges, records, rows] = addresses[..] else {
            return Ok(Self { sources: Vec::new(), batches: Vec::new(), rows_bytes: 0 });
        };
        write_incoming(memory, graph, shared, edges);
        let rows_bytes = rows_bytes(graph.nodes());
        let mut batches = Vec::new();
        for (index, sources) in sources.chunks(batch::LANES).enumerate() {
            let record = records + index * batch::BYTES;
            let first = rows + index * 2 * rows_bytes;
            memory.write_u64(record + batch::SHARES, first as u64);
            memory.write_u64(record + batch::NEXT_SHARES, (first + rows_bytes) as u64);
            for (lane, &source) in sources.iter().enumerate() {
                let source = shared.node_address(source).expect("sources are nodes of the graph");
                memory.write_u64(record + batch::SOURCES + lane * WORD, source as u64);
            }
            batches.push(record);
        }
        Ok(Self { sources: sources.to_vec(), batches, rows_bytes })
    }

    /// Returns the nodes whose neighbourhoods are ranked.
    pub fn sources(&self) -> &[Node] {
        &self.sources
    }

    /// Returns the address of each batch record.
    pub fn batches(&self) -> &[usize] {
        &self.batches
    }

    /// Returns how many bytes the rows of a batch take, and once more those that a round makes.
    pub fn rows_bytes(&self) -> usize {
        self.rows_bytes
    }

    /// Reads the rank of each node for each source.
    pub fn ranks(&self, memory: &impl HostMemory, graph: &Graph) -> Vec<Vec<f64>> {
        let mut ranks = Vec::with_capacity(self.sources.len());
        let mut rows = vec![0; graph.nodes() * batch::ROW_BYTES];
        for (&record, sources) in self.batches.iter().zip(self.sources.chunks(batch::LANES)) {
            memory.read_bytes(host_address(memory.read_u64(record + batch::SHARES)), &mut rows);
            ranks.extend((0..sources.len()).map(|lane| lane_of(&rows, lane, graph)));
        }
        ranks
    }
}

/// The ranks of one lane: a share is the rank divided by the number of edges, of which none counts as one.
fn lane_of(rows: &[u8], lane: usize, graph: &Graph) -> Vec<f64> {
    let share = |row: &[u8]| {
        let bytes = &row[lane * WORD..][..WORD];
        f64::from_le_bytes(bytes.try_into().expect("of 8 bytes"))
    };
    let edges = graph.node_numbers().map(|node| graph.targets(node).len().max(1) as f64);
    rows.chunks_exact(batch::ROW_BYTES).zip(edges).map(|(row, edges)| share(row) * edges).collect()
}

/// Writes the incoming edges of each node, sources ascending, and lets the node records point to them.
fn write_incoming(memory: &mut impl HostMemory, graph: &Graph, shared: &SharedGraph, edges: usize) {
    let mut incoming = vec![Vec::new(); graph.nodes()];
    for source in graph.node_numbers() {
        graph.targets(source).iter().for_each(|&target| incoming[target as usize].push(source));
    }
    let mut at = edges;
    for (target, sources) in (0..).zip(incoming) {
        let record = shared.node_address(target).expect("a node of the graph");
        memory.write_u64(record + node::IN, at as u64);
        memory.write_u64(record + node::IN_DEGREE, sources.len() as u64);
        for source in sources {
            memory.write_u64(at, u64::from(source) * batch::ROW_BYTES as u64);
            at += WORD;
        }
    }
}
