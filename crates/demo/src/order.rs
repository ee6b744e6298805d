//! The order of the nodes in memory: which nodes become neighbours.
//!
//! A page holds many node records. What a device needs at once should lie on few pages, so the order of the
//! nodes decides how often too little memory hurts. Two orders:
//!
//! - [`by_popularity`]: most popular first; ties by name. The nodes that most edges point to share pages.
//! - [`hot_then_named`]: the most popular first, and all others by name. A cold package mostly names its
//!   kin (`libfoo-dev` and `libfoo1`), which then lie beside it.
//!
//! PageRank on the package graph misses least by the first while device memory holds a quarter of the data, and by the second
//! when it holds a sixteenth; `examples/locality.rs` prints the figures.

use crate::graph::{Graph, GraphError, Node};
use crate::names::Names;
use std::cmp::Reverse;
use thiserror::Error;

/// Why a list of nodes is not an order of a graph.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OrderError {
    /// The list is longer or shorter than the graph.
    #[error("order lists {listed} nodes of a graph of {nodes}")]
    Length {
        /// Nodes listed.
        listed: usize,
        /// Nodes in the graph.
        nodes: usize,
    },
    /// A node is listed twice or does not exist.
    #[error("order lists node {node} twice, or the graph has no such node")]
    NotOnce {
        /// The node.
        node: Node,
    },
}

/// Lists the nodes by falling in-degree, ties by name.
pub fn by_popularity(graph: &Graph) -> Vec<Node> {
    let degrees = graph.in_degrees();
    let mut order: Vec<Node> = graph.node_numbers().collect();
    order.sort_by_key(|&node| (Reverse(degrees[node as usize]), graph.names().get(node), node));
    order
}

/// Lists the `hot` most popular nodes as [`by_popularity`] does, then all others by name.
pub fn hot_then_named(graph: &Graph, hot: usize) -> Vec<Node> {
    let mut order = by_popularity(graph);
    let cold = order.get_mut(hot..).unwrap_or_default();
    cold.sort_by_key(|&node| (graph.names().get(node), node));
    order
}

/// Returns the node with the most edges out of it, the lowest number among equals: a root for a search.
pub fn busiest(graph: &Graph) -> Option<Node> {
    most_edges(graph, 1).first().copied()
}

/// Lists the `count` nodes with the most edges out of them, most first, the lowest number first among equals.
pub fn most_edges(graph: &Graph, count: usize) -> Vec<Node> {
    let key = |node: &Node| (Reverse(graph.targets(*node).len()), *node);
    let mut nodes: Vec<Node> = graph.node_numbers().collect();
    if count < nodes.len() {
        nodes.select_nth_unstable_by_key(count, key);
        nodes.truncate(count);
    }
    nodes.sort_unstable_by_key(key);
    nodes
}

/// Numbers the nodes anew: the first of `order` becomes node 0. Names and edges stay what they are.
///
/// # Errors
///
/// If `order` does not list every node of the graph exactly once.
pub fn renumber(graph: &Graph, order: &[Node]) -> Result<Graph, OrderError> {
    let places = places(graph.nodes(), order)?;
    let names: Names = order.iter().filter_map(|&node| graph.names().get(node)).collect();
    let edges: Vec<_> =
        graph.edge_pairs().map(|(from, to)| (places[from as usize], places[to as usize])).collect();
    let renumbered: Result<Graph, GraphError> = Graph::from_edges(names, &edges);
    Ok(renumbered.expect("every new number is the place of a node in the order"))
}

/// Returns the new number of each old node.
fn places(nodes: usize, order: &[Node]) -> Result<Vec<Node>, OrderError> {
    const UNPLACED: Node = Node::MAX;
    if order.len() != nodes {
        return Err(OrderError::Length { listed: order.len(), nodes });
    }
    let mut places = vec![UNPLACED; nodes];
    for (place, &node) in (0..).zip(order) {
        match places.get_mut(node as usize) {
            Some(slot) if *slot == UNPLACED => *slot = place,
            _ => return Err(OrderError::NotOnce { node }),
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sample() -> Graph {
        let names: Names = ["d", "c", "b", "a"].into_iter().collect();
        Graph::from_edges(names, &[(1, 0), (2, 0), (0, 2), (0, 1), (3, 1)]).expect("all nodes exist")
    }

    fn named_edges(graph: &Graph) -> BTreeSet<(String, String)> {
        let name = |node| graph.names().get(node).expect("edges stay inside").to_owned();
        graph.edge_pairs().map(|(from, to)| (name(from), name(to))).collect()
    }

    #[test]
    fn popular_nodes_come_first_and_ties_go_by_name() {
        // c and d have two edges in, b has one, a none.
        assert_eq!(by_popularity(&sample()), [1, 0, 2, 3]);
    }

    #[test]
    fn cold_nodes_follow_by_name() {
        assert_eq!(hot_then_named(&sample(), 1), [1, 3, 2, 0]);
        assert_eq!(hot_then_named(&sample(), 100), by_popularity(&sample()));
    }

    #[test]
    fn the_busiest_node_is_the_lowest_of_equals() {
        assert_eq!(busiest(&sample()), Some(0));
    }

    #[test]
    fn renumbering_keeps_names_and_edges() {
        let graph = sample();
        let renumbered = renumber(&graph, &by_popularity(&graph)).expect("a full order");
        assert_eq!(renumbered.names().iter().collect::<Vec<_>>(), ["c", "d", "b", "a"]);
        assert_eq!(named_edges(&renumbered), named_edges(&graph));
    }

    #[test]
    fn an_order_that_is_not_a_permutation_is_refused() {
        let graph = sample();
        assert_eq!(renumber(&graph, &[0, 1]), Err(OrderError::Length { listed: 2, nodes: 4 }));
        assert_eq!(renumber(&graph, &[0, 1, 1, 2]), Err(OrderError::NotOnce { node: 1 }));
        assert_eq!(renumber(&graph, &[0, 1, 2, 4]), Err(OrderError::NotOnce { node: 4 }));
    }

    proptest! {
        #[test]
        fn any_order_keeps_the_named_edges(
            edges in prop::collection::vec((0_u32..12, 0_u32..12), 0..60),
            order in Just((0_u32..12).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let names: Vec<String> = (0..12).map(|node| format!("n{node}")).collect();
            let graph = Graph::from_edges(names.iter().map(String::as_str).collect(), &edges)
                .expect("all nodes exist");
            let renumbered = renumber(&graph, &order).expect("a full order");
            prop_assert_eq!(named_edges(&renumbered), named_edges(&graph));
        }
    }
}
