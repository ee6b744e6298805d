//! The results computed plainly, on ordinary memory and one thread: what the device has to match.
//!
//! PageRank here: `rank = (1 - d) / n + d * (incoming + dangling / n)` for a fixed number of rounds, all nodes
//! starting at `1 / n`. `incoming` is what the nodes that point here give, each its rank divided evenly over
//! its edges; `dangling` is the rank of all nodes without edges, spread over all nodes. So ranks always
//! sum to 1. Sums run in node order, in `f64`; another order differs by rounding only.
//!
//! Personalised PageRank starts at one node, the source, and what is spread over all nodes above returns to it.

use crate::graph::{Graph, Node};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use thiserror::Error;

/// Level of a node that no path from the root reaches.
pub const UNREACHED: u32 = u32::MAX;

/// Settings of PageRank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PageRank {
    damping: f64,
    /// Number of rounds.
    pub rounds: u32,
}

/// A damping factor outside 0..=1.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("damping factor {damping} is not between 0 and 1")]
pub struct BadDamping {
    /// The factor given.
    pub damping: f64,
}

impl PageRank {
    /// Makes settings.
    ///
    /// # Errors
    ///
    /// If the damping factor is not a number from 0 to 1.
    pub fn new(damping: f64, rounds: u32) -> Result<Self, BadDamping> {
        if (0.0..=1.0).contains(&damping) {
            Ok(Self { damping, rounds })
        } else {
            Err(BadDamping { damping })
        }
    }

    /// Returns the damping factor, from 0 to 1.
    pub fn damping(&self) -> f64 {
        self.damping
    }
}

impl Default for PageRank {
    /// Damping 0.85, as in the first publication, and 20 rounds.
    fn default() -> Self {
        Self { damping: 0.85, rounds: 20 }
    }
}

/// A root that is not in the graph.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("root {root} is not one of {nodes} nodes")]
pub struct NoSuchRoot {
    /// The root given.
    pub root: Node,
    /// Nodes in the graph.
    pub nodes: usize,
}

/// Returns the rank that every node gets in a round, whatever points to it.
///
/// `dangling` is the rank of all nodes without edges in the round before; `nodes` counts all nodes.
pub fn base(damping: f64, dangling: f64, nodes: f64) -> f64 {
    returned(damping, dangling) / nodes
}

/// Computes the rank of each node.
pub fn pagerank(graph: &Graph, settings: &PageRank) -> Vec<f64> {
    let nodes = graph.nodes();
    let mut ranks = vec![1.0 / nodes as f64; nodes];
    for _ in 0..settings.rounds {
        let (incoming, dangling) = push_shares(graph, &ranks);
        let base = base(settings.damping, dangling, nodes as f64);
        for (rank, incoming) in ranks.iter_mut().zip(incoming) {
            *rank = base + settings.damping * incoming;
        }
    }
    ranks
}

/// Returns the rank that the source of personalised ranks gets back in a round, whatever points to it.
///
/// `dangling` is the rank of all nodes without edges in the round before.
pub fn returned(damping: f64, dangling: f64) -> f64 {
    1.0 - damping + damping * dangling
}

/// Computes the rank of each node for one source: all rank starts there, and what does not follow an edge returns there.
pub fn personal(graph: &Graph, settings: &PageRank, source: Node) -> Vec<f64> {
    let mut ranks = vec![0.0; graph.nodes()];
    ranks[source as usize] = 1.0;
    for _ in 0..settings.rounds {
        let (incoming, dangling) = push_shares(graph, &ranks);
        for (rank, incoming) in ranks.iter_mut().zip(incoming) {
            *rank = settings.damping * incoming;
        }
        ranks[source as usize] += returned(settings.damping, dangling);
    }
    ranks
}

/// Hands each node's rank to its targets; returns what arrived, and what had nowhere to go.
fn push_shares(graph: &Graph, ranks: &[f64]) -> (Vec<f64>, f64) {
    let mut incoming = vec![0.0; ranks.len()];
    let mut dangling = 0.0;
    for (node, &rank) in (0..).zip(ranks) {
        let targets = graph.targets(node);
        if targets.is_empty() {
            dangling += rank;
        }
        let share = rank / targets.len() as f64;
        for &target in targets {
            incoming[target as usize] += share;
        }
    }
    (incoming, dangling)
}

/// Computes how many edges the shortest path from the root to each node has; [`UNREACHED`] if there is none.
///
/// # Errors
///
/// If the root is not in the graph.
pub fn bfs(graph: &Graph, root: Node) -> Result<Vec<u32>, NoSuchRoot> {
    let mut levels = vec![UNREACHED; graph.nodes()];
    *levels.get_mut(root as usize).ok_or(NoSuchRoot { root, nodes: graph.nodes() })? = 0;
    let mut frontier = vec![root];
    for level in 1.. {
        let mut next = Vec::new();
        for target in frontier.iter().flat_map(|&node| graph.targets(node)) {
            let slot = &mut levels[*target as usize];
            if *slot == UNREACHED {
                *slot = level;
                next.push(*target);
            }
        }
        if next.is_empty() {
            break;
        }
        frontier = next;
    }
    Ok(levels)
}

/// Returns the `count` highest nodes and their scores, highest first, the lowest number first among equals.
pub fn highest(scores: &[f64], count: usize) -> Vec<(Node, f64)> {
    let mut best = BinaryHeap::with_capacity(count.min(scores.len()) + 1);
    for (node, &score) in (0..).zip(scores) {
        best.push(Reverse(Scored { score, node: Reverse(node) }));
        if best.len() > count {
            best.pop();
        }
    }
    best.into_sorted_vec().into_iter().map(|Reverse(entry)| (entry.node.0, entry.score)).collect()
}

/// A score that sorts by value and then by falling node number.
struct Scored {
    score: f64,
    node: Reverse<Node>,
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(self.node.cmp(&other.node))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scored {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian;
    use crate::names::Names;
    use proptest::prelude::*;

    fn graph(nodes: usize, edges: &[(Node, Node)]) -> Graph {
        let names: Vec<String> = (0..nodes).map(|node| node.to_string()).collect();
        let names: Names = names.iter().map(String::as_str).collect();
        Graph::from_edges(names, edges).expect("all nodes exist")
    }

    #[test]
    fn a_ring_shares_its_rank_evenly() {
        let ranks = pagerank(&graph(4, &[(0, 1), (1, 2), (2, 3), (3, 0)]), &PageRank::default());
        assert!(ranks.iter().all(|rank| (rank - 0.25).abs() < 1e-12));
    }

    #[test]
    fn one_round_is_what_the_formula_gives() {
        // 0 -> 1, 0 -> 2, 1 -> 2, 2 dangles; each starts with 1/3.
        let settings = PageRank::new(0.5, 1).expect("a valid factor");
        let ranks = pagerank(&graph(3, &[(0, 1), (0, 2), (1, 2)]), &settings);
        let base = (0.5 + 0.5 / 3.0) / 3.0;
        let expected = [base, base + 0.5 / 6.0, base + 0.5 * (1.0 / 6.0 + 1.0 / 3.0)];
        assert!(ranks.iter().zip(expected).all(|(rank, wanted)| (rank - wanted).abs() < 1e-15));
    }

    #[test]
    fn libc6_is_the_highest_package_and_ranks_sum_to_one() {
        let graph = debian::packages().expect("the file is whole");
        let ranks = pagerank(&graph, &PageRank::default());
        assert!((ranks.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let (highest, _) = highest(&ranks, 10)[0];
        assert_eq!(graph.names().get(highest), Some("libc6"));
    }

    #[test]
    fn personal_ranks_stay_near_their_source() {
        // 0 -> 1 -> 2, 3 -> 0: nothing leads from 0 to 3, and 2 returns its rank to 0.
        let ranks = personal(&graph(4, &[(0, 1), (1, 2), (3, 0)]), &PageRank::default(), 0);
        assert!((ranks.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{ranks:?}");
        assert!(ranks[0] > ranks[1] && ranks[1] > ranks[2] && ranks[2] > 0.0, "{ranks:?}");
        assert!(ranks[3] <= 0.0);
    }

    #[test]
    fn levels_are_lengths_of_shortest_paths() {
        let graph = graph(6, &[(0, 1), (1, 2), (0, 2), (2, 3), (3, 0), (4, 0)]);
        assert_eq!(bfs(&graph, 0), Ok(vec![0, 1, 1, 2, UNREACHED, UNREACHED]));
    }

    #[test]
    fn a_root_outside_the_graph_is_refused() {
        assert_eq!(bfs(&graph(2, &[]), 2), Err(NoSuchRoot { root: 2, nodes: 2 }));
    }

    #[test]
    fn a_damping_factor_outside_its_range_is_refused() {
        assert_eq!(PageRank::new(1.5, 1), Err(BadDamping { damping: 1.5 }));
        assert!(PageRank::new(f64::NAN, 1).is_err());
    }

    #[test]
    fn no_nodes_give_no_ranks() {
        assert_eq!(pagerank(&graph(0, &[]), &PageRank::default()), []);
    }

    proptest! {
        #[test]
        fn highest_is_the_head_of_the_sorted_list(
            scores in prop::collection::vec(0_u8..5, 0..30),
            count in 0_usize..12,
        ) {
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            let mut model: Vec<(Node, f64)> = (0..).zip(scores.iter().copied()).collect();
            model.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            model.truncate(count);
            prop_assert_eq!(highest(&scores, count), model);
        }
    }
}
