//! Random graphs with few busy nodes and many quiet ones, after R-MAT (Chakrabarti, Zhan, Faloutsos, 2004).
//!
//! The square of all pairs is halved both ways again and again; each edge falls into one of the four parts with the
//! probabilities of the Graph500 benchmark, until one pair is left. The same scale and seed make the same graph.

use crate::graph::{Graph, Node};
use crate::names::Names;

/// The largest scale: a graph has 2^scale nodes.
pub const SCALE_MAX: u32 = 26;

/// Edges that are drawn for each node, before equal ones are merged.
pub const EDGES_PER_NODE: usize = 4;

/// How many edges of 100 fall into the parts: neither end in the upper half, the target, the source; the rest: both.
const PARTS: [u64; 3] = [57, 19, 19];

/// Makes a graph of 2^scale nodes, which are named by their numbers.
///
/// # Panics
///
/// If the scale is above [`SCALE_MAX`].
pub fn graph(scale: u32, seed: u64) -> Graph {
    assert!(scale <= SCALE_MAX, "scale {scale} is above {SCALE_MAX}");
    let nodes = 1_usize << scale;
    let mut random = SplitMix(seed);
    let edges: Vec<(Node, Node)> = (0..nodes * EDGES_PER_NODE).map(|_| edge(scale, &mut random)).collect();
    let mut names = Names::new();
    (0..nodes).for_each(|node| names.push(&node.to_string()));
    Graph::from_edges(names, &edges).expect("both ends are below the number of nodes")
}

fn edge(scale: u32, random: &mut SplitMix) -> (Node, Node) {
    let (mut source, mut target) = (0, 0);
    for _ in 0..scale {
        let (from, to) = part(random.below(100));
        (source, target) = (source << 1 | from, target << 1 | to);
    }
    (source, target)
}

/// The half of the sources and the half of the targets that a draw of 0 to 99 falls into.
fn part(draw: u64) -> (Node, Node) {
    let [neither, target, source] = PARTS;
    if draw < neither {
        (0, 0)
    } else if draw < neither + target {
        (0, 1)
    } else if draw < neither + target + source {
        (1, 0)
    } else {
        (1, 1)
    }
}

/// The generator `SplitMix64` (Steele, Lea, Flood, 2014), as its results must never change.
pub struct SplitMix(pub u64);

impl SplitMix {
    /// Draws 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Draws a number below `limit`, which is below 2^32.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((self.draw() >> 32) * limit) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generator_gives_the_published_numbers() {
        let mut random = SplitMix(1_234_567);
        assert_eq!(random.draw(), 6_457_827_717_110_365_317);
        assert_eq!(random.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn same_seed_makes_the_same_graph() {
        assert_eq!(graph(8, 1), graph(8, 1));
        assert_ne!(graph(8, 1), graph(8, 2));
    }

    #[test]
    fn few_nodes_have_most_edges() {
        let found = graph(12, 1).statistics();
        assert_eq!((found.nodes, found.edges + found.merged_edges), (4096, 4 * 4096));
        assert!(found.out_degree_max > 50 * EDGES_PER_NODE / 2, "{found:?}");
        assert!(found.dangling_nodes > found.nodes / 4, "{found:?}");
    }
}
