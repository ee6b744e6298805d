//! Comparison of what the device computed with the plain reference.

use crate::graph::{Graph, Node};
use crate::reference::UNREACHED;
use thiserror::Error;

/// Largest difference of two ranks that counts as equal, relative to the reference.
///
/// The device adds shares in another order, so sums differ by rounding: about 1e-16 for each addition, at
/// most some ten thousand additions a node.
pub const RANK_TOLERANCE: f64 = 1e-9;

/// The first difference between a result and its reference.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Mismatch {
    /// The results are of different length.
    #[error("expected results for {expected} nodes, found {found}")]
    Length {
        /// Nodes in the reference.
        expected: usize,
        /// Nodes in the result.
        found: usize,
    },
    /// The rank of a node differs by more than the tolerance.
    #[error("rank of node {node} ({name}): expected {expected:e}, found {found:e}")]
    Rank {
        /// The node.
        node: Node,
        /// Its name.
        name: String,
        /// Rank in the reference.
        expected: f64,
        /// Rank in the result.
        found: f64,
    },
    /// The level of a node differs.
    #[error("level of node {node} ({name}): expected {expected}, found {found}")]
    Level {
        /// The node.
        node: Node,
        /// Its name.
        name: String,
        /// Level in the reference.
        expected: u32,
        /// Level in the result.
        found: u32,
    },
    /// A node's parent does not lead to it.
    #[error("parent of node {node} ({name}): {parent:?} does not lead to it from one level above")]
    Parent {
        /// The node.
        node: Node,
        /// Its name.
        name: String,
        /// The parent in the result.
        parent: Option<Node>,
    },
}

/// Compares ranks; returns the largest relative difference, which is within `tolerance`.
///
/// # Errors
///
/// If the lengths differ, or a rank differs by more than `tolerance` times its reference, or is not a number.
pub fn ranks(graph: &Graph, expected: &[f64], found: &[f64], tolerance: f64) -> Result<f64, Mismatch> {
    same_length(expected, found)?;
    let mut largest = 0.0_f64;
    for ((node, &expected), &found) in (0..).zip(expected).zip(found) {
        let relative = (found - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
        if relative.is_nan() || relative > tolerance {
            return Err(Mismatch::Rank { node, name: name(graph, node), expected, found });
        }
        largest = largest.max(relative);
    }
    Ok(largest)
}

/// Compares levels, exactly.
///
/// # Errors
///
/// If the lengths differ, or any level does.
pub fn levels(graph: &Graph, expected: &[u32], found: &[u32]) -> Result<(), Mismatch> {
    same_length(expected, found)?;
    for ((node, &expected), &found) in (0..).zip(expected).zip(found) {
        if expected != found {
            return Err(Mismatch::Level { node, name: name(graph, node), expected, found });
        }
    }
    Ok(())
}

/// Checks the tree of a search: every reached node but the root has a parent that points to it from one level
/// above, and no other node has a parent. Which of several possible parents it is may differ from run to run.
///
/// # Errors
///
/// If the lengths differ, or a parent is missing or impossible.
pub fn tree(graph: &Graph, levels: &[u32], parents: &[Option<Node>]) -> Result<(), Mismatch> {
    same_length(levels, parents)?;
    for ((node, &level), &parent) in (0..).zip(levels).zip(parents) {
        let possible = match parent {
            None => level == 0 || level == UNREACHED,
            Some(parent) => is_parent(graph, levels, parent, node),
        };
        if !possible {
            return Err(Mismatch::Parent { node, name: name(graph, node), parent });
        }
    }
    Ok(())
}

fn is_parent(graph: &Graph, levels: &[u32], parent: Node, node: Node) -> bool {
    let above = levels.get(parent as usize).and_then(|level| level.checked_add(1));
    above == Some(levels[node as usize]) && graph.targets(parent).binary_search(&node).is_ok()
}

fn same_length<T, U>(expected: &[T], found: &[U]) -> Result<(), Mismatch> {
    if expected.len() == found.len() {
        return Ok(());
    }
    Err(Mismatch::Length { expected: expected.len(), found: found.len() })
}

fn name(graph: &Graph, node: Node) -> String {
    graph.names().get(node).unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        Graph::from_edges(["a", "b"].into_iter().collect(), &[(0, 1)]).expect("all nodes exist")
    }

    #[test]
    fn ranks_within_the_tolerance_are_equal() {
        let largest = ranks(&graph(), &[0.5, 0.25], &[0.5, 0.25 * (1.0 + 1e-12)], 1e-9);
        assert!(largest.is_ok_and(|largest| (5e-13..2e-12).contains(&largest)));
    }

    #[test]
    fn the_first_rank_outside_the_tolerance_is_named() {
        let found = ranks(&graph(), &[0.5, 0.25], &[0.5, 0.26], 1e-9);
        let expected = Mismatch::Rank { node: 1, name: "b".into(), expected: 0.25, found: 0.26 };
        assert_eq!(found, Err(expected));
    }

    #[test]
    fn a_rank_that_is_not_a_number_is_a_mismatch() {
        let found = ranks(&graph(), &[0.5, 0.25], &[f64::NAN, 0.25], 1e-9);
        assert!(matches!(found, Err(Mismatch::Rank { node: 0, .. })));
        assert!(ranks(&graph(), &[0.5, 0.25], &[f64::INFINITY, 0.25], 1e-9).is_err());
    }

    #[test]
    fn the_first_other_level_is_named() {
        assert_eq!(levels(&graph(), &[0, 1], &[0, 1]), Ok(()));
        let found = levels(&graph(), &[0, 1], &[0, u32::MAX]);
        let expected = Mismatch::Level { node: 1, name: "b".into(), expected: 1, found: u32::MAX };
        assert_eq!(found, Err(expected));
    }

    #[test]
    fn a_parent_that_does_not_lead_to_its_node_is_named() {
        assert_eq!(tree(&graph(), &[0, 1], &[None, Some(0)]), Ok(()));
        assert_eq!(tree(&graph(), &[0, UNREACHED], &[None, None]), Ok(()));
        for (levels, parent) in [([0, 1], None), ([0, 1], Some(1)), ([0, 2], Some(0)), ([0, 1], Some(7))] {
            let expected = Mismatch::Parent { node: 1, name: "b".into(), parent };
            assert_eq!(tree(&graph(), &levels, &[None, parent]), Err(expected));
        }
    }

    #[test]
    fn a_short_result_is_a_mismatch() {
        assert_eq!(levels(&graph(), &[0, 1], &[0]), Err(Mismatch::Length { expected: 2, found: 1 }));
    }
}
