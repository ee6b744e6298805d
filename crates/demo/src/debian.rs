//! The package graph of Debian bookworm, which is part of the program. `data/README.md` says what it is made of.

use crate::edge_list::{self, EdgeListError};
use crate::graph::Graph;

/// The graph as an adjacency list, packed with gzip.
pub const SHIPPED: &[u8] = include_bytes!("../data/debian-bookworm.graph.gz");

/// Reads the package graph.
///
/// # Errors
///
/// If the file was damaged before the program was built.
pub fn packages() -> Result<Graph, EdgeListError> {
    Ok(edge_list::read(SHIPPED)?.graph)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_holds_the_counts_that_its_description_states() {
        let found = packages().expect("the file is whole").statistics();
        assert_eq!((found.nodes, found.edges, found.merged_edges, found.self_edges), (63_666, 341_418, 0, 0));
    }

    #[test]
    fn a_flipped_bit_in_the_shipped_file_is_found() {
        let mut damaged = SHIPPED.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        assert!(edge_list::read(damaged.as_slice()).is_err());
    }
}
