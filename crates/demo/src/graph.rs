//! A directed graph on ordinary memory, in compressed sparse rows.
//!
//! ```text
//!   starts:  [0,       2, 2,    4]        node 0 -> 1, 2; node 1 -> nothing; node 2 -> 0, 2
//!   targets: [1, 2,       0, 2]           each row ascending, no target twice
//! ```
//!
//! What is kept: an edge that is given twice is kept once and counted ([`Statistics::merged_edges`]); an edge
//! from a node to itself is an edge like any other. This is the plain form: input is read into it, the
//! reference runs on it, and [`crate::shared_graph`] turns it into records that point to each other.

use crate::names::Names;
use thiserror::Error;

/// Number of a node, from 0; never `u32::MAX`, which means "unreached" among levels.
pub type Node = u32;

/// Why edges do not make a graph.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// There are more nodes than 32-bit numbers for them.
    #[error("{nodes} nodes are more than the limit of {limit}")]
    TooManyNodes {
        /// How many there are.
        nodes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// An edge starts or ends at a node that does not exist.
    #[error("edge {source_node} -> {target} leaves the graph of {nodes} nodes")]
    NoSuchNode {
        /// Where the edge starts.
        source_node: Node,
        /// Where it ends.
        target: Node,
        /// How many nodes there are.
        nodes: usize,
    },
}

/// A directed graph with named nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    names: Names,
    starts: Vec<usize>,
    targets: Vec<Node>,
    merged_edges: usize,
}

/// Counts that describe a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Nodes.
    pub nodes: usize,
    /// Edges, each counted once.
    pub edges: usize,
    /// Edges that were given again and merged into an earlier one.
    pub merged_edges: usize,
    /// Edges from a node to itself.
    pub self_edges: usize,
    /// Nodes that no edge leaves.
    pub dangling_nodes: usize,
    /// Edges that leave the busiest node.
    pub out_degree_max: usize,
    /// Edges that enter the most popular node.
    pub in_degree_max: usize,
}

impl Graph {
    /// The most nodes a graph can have.
    pub const NODES_MAX: usize = u32::MAX as usize;

    /// Makes a graph of the named nodes and the given edges, merging equal edges.
    ///
    /// # Errors
    ///
    /// If there are too many nodes, or an edge names one that is not there.
    pub fn from_edges(names: Names, edges: &[(Node, Node)]) -> Result<Self, GraphError> {
        let nodes = names.len();
        if nodes > Self::NODES_MAX {
            return Err(GraphError::TooManyNodes { nodes, limit: Self::NODES_MAX });
        }
        let outside = |&&(source, target): &&(Node, Node)| source.max(target) as usize >= nodes;
        if let Some(&(source_node, target)) = edges.iter().find(outside) {
            return Err(GraphError::NoSuchNode { source_node, target, nodes });
        }
        let (starts, targets) = rows(nodes, edges);
        Ok(Self::merge_rows(names, &starts, targets))
    }

    /// Sorts each row, drops repeated targets and moves the rows together.
    fn merge_rows(names: Names, starts: &[usize], mut targets: Vec<Node>) -> Self {
        let given = targets.len();
        let mut merged_starts = Vec::with_capacity(starts.len());
        merged_starts.push(0);
        let mut kept = 0;
        for bounds in starts.windows(2) {
            targets[bounds[0]..bounds[1]].sort_unstable();
            let row_start = kept;
            for at in bounds[0]..bounds[1] {
                if kept == row_start || targets[kept - 1] != targets[at] {
                    targets[kept] = targets[at];
                    kept += 1;
                }
            }
            merged_starts.push(kept);
        }
        targets.truncate(kept);
        Self { names, starts: merged_starts, targets, merged_edges: given - kept }
    }

    /// Returns the names of the nodes.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Returns how many nodes there are.
    pub fn nodes(&self) -> usize {
        self.names.len()
    }

    /// Returns how many edges there are, each counted once.
    pub fn edges(&self) -> usize {
        self.targets.len()
    }

    /// Visits all nodes, from 0 up.
    #[expect(clippy::cast_possible_truncation, reason = "construction refuses more nodes than `u32` counts")]
    pub fn node_numbers(&self) -> std::ops::Range<Node> {
        0..self.nodes() as Node
    }

    /// Returns where the edges of a node end, ascending; nothing for a node that does not exist.
    pub fn targets(&self, node: Node) -> &[Node] {
        match self.starts.get(node as usize..node as usize + 2) {
            Some(bounds) => &self.targets[bounds[0]..bounds[1]],
            None => &[],
        }
    }

    /// Visits all edges, by source and then by target.
    pub fn edge_pairs(&self) -> impl Iterator<Item = (Node, Node)> {
        self.node_numbers().flat_map(|node| self.targets(node).iter().map(move |&target| (node, target)))
    }

    /// Counts the edges that enter each node.
    pub fn in_degrees(&self) -> Vec<u32> {
        let mut degrees = vec![0_u32; self.nodes()];
        for &target in &self.targets {
            degrees[target as usize] += 1;
        }
        degrees
    }

    /// Returns the share of all edges that enter the `count` most popular nodes, from 0 to 1.
    pub fn concentration(&self, count: usize) -> f64 {
        if self.targets.is_empty() {
            return 0.0;
        }
        let mut degrees = self.in_degrees();
        degrees.sort_unstable_by(|a, b| b.cmp(a));
        let hits: u64 = degrees.iter().take(count).map(|&degree| u64::from(degree)).sum();
        hits as f64 / self.edges() as f64
    }

    /// Returns how many equal edges were merged when the graph was made.
    pub fn merged_edges(&self) -> usize {
        self.merged_edges
    }

    /// Counts what describes the graph.
    pub fn statistics(&self) -> Statistics {
        let degrees = self.node_numbers().map(|node| self.targets(node).len());
        Statistics {
            nodes: self.nodes(),
            edges: self.edges(),
            merged_edges: self.merged_edges,
            self_edges: self.edge_pairs().filter(|(source, target)| source == target).count(),
            dangling_nodes: degrees.clone().filter(|&degree| degree == 0).count(),
            out_degree_max: degrees.max().unwrap_or(0),
            in_degree_max: self.in_degrees().into_iter().max().unwrap_or(0) as usize,
        }
    }
}

/// Sorts edges into rows by their source, in the order given within a row.
fn rows(nodes: usize, edges: &[(Node, Node)]) -> (Vec<usize>, Vec<Node>) {
    let mut starts = vec![0_usize; nodes + 1];
    for &(source, _) in edges {
        starts[source as usize + 1] += 1;
    }
    for node in 0..nodes {
        starts[node + 1] += starts[node];
    }
    let mut next = starts.clone();
    let mut targets = vec![0; edges.len()];
    for &(source, target) in edges {
        let at = &mut next[source as usize];
        targets[*at] = target;
        *at += 1;
    }
    (starts, targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn named(nodes: usize) -> Names {
        let names: Vec<String> = (0..nodes).map(|node| format!("n{node}")).collect();
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn equal_edges_are_merged_and_counted() {
        let graph = Graph::from_edges(named(3), &[(0, 2), (0, 1), (0, 2), (2, 2)]).expect("all nodes exist");
        assert_eq!(graph.targets(0), [1, 2]);
        let expected = Statistics {
            nodes: 3,
            edges: 3,
            merged_edges: 1,
            self_edges: 1,
            dangling_nodes: 1,
            out_degree_max: 2,
            in_degree_max: 2,
        };
        assert_eq!(graph.statistics(), expected);
    }

    #[test]
    fn an_edge_to_a_missing_node_is_refused() {
        let refused = Graph::from_edges(named(2), &[(0, 1), (1, 2)]);
        assert_eq!(refused, Err(GraphError::NoSuchNode { source_node: 1, target: 2, nodes: 2 }));
    }

    #[test]
    fn a_graph_without_nodes_is_a_graph() {
        let graph = Graph::from_edges(Names::new(), &[]).expect("nothing to refuse");
        assert_eq!(graph.statistics(), Statistics::default());
        assert_eq!(graph.targets(0), [0; 0]);
        assert!(graph.concentration(10).abs() < f64::EPSILON);
    }

    #[test]
    fn concentration_is_the_share_of_the_most_popular() {
        let graph = Graph::from_edges(named(4), &[(0, 3), (1, 3), (2, 3), (3, 0)]).expect("all nodes exist");
        assert!((graph.concentration(1) - 0.75).abs() < 1e-12);
        assert!((graph.concentration(4) - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn rows_hold_the_set_of_edges(edges in prop::collection::vec((0_u32..20, 0_u32..20), 0..200)) {
            let graph = Graph::from_edges(named(20), &edges).expect("all nodes exist");
            let model: BTreeSet<_> = edges.iter().copied().collect();
            prop_assert_eq!(graph.edge_pairs().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(graph.merged_edges(), edges.len() - model.len());
        }
    }
}
