//! The package graph of Debian bookworm that is part of the project, and the decoder of its format.
//!
//! The format, and where the facts come from, are told in `data/README.md`; `scripts/make-debian-graph.py`
//! writes it. In short:
//!
//! ```text
//!   gzip( "bifolio-graph 1\n" "source: ...\n"... "packages: P\n" "strong: S\n" "weak: W\n" "\n"
//!         P names, ascending:  varint(bytes shared with the last name) varint(rest) rest
//!         P rows, S targets:   varint(count) then varint(target - last target - 1)...
//!         P rows, W targets:   the same; no target that is also strong )
//! ```
//!
//! Everything the format promises is checked, so a damaged or doctored file gives an error, never a panic or
//! a wrong graph: gzip's own checksum, each count of the header, the order of names and targets, and the end.

use crate::graph::{Graph, GraphError, Node};
use crate::names::Names;
use flate2::bufread::GzDecoder;
use std::io::{self, Read};
use thiserror::Error;

/// The package graph of Debian bookworm, packed.
pub const SHIPPED: &[u8] = include_bytes!("../../../data/debian-bookworm.graph.gz");

/// Most bytes that are unpacked; more means that the file is not what it claims.
pub const UNPACKED_BYTES_MAX: u64 = 256 << 20;

/// Which relations between packages count as edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relations {
    /// Pre-Depends and Depends: what must be installed as well.
    Strong,
    /// Strong ones, Recommends and Suggests: every dependency that a package declares.
    All,
}

/// Why bytes are not a package graph.
#[derive(Debug, Error)]
pub enum PackageGraphError {
    /// Unpacking failed, or the checksum of gzip does not match.
    #[error("unpacking failed")]
    Unpack(#[source] io::Error),
    /// The file unpacks to more than [`UNPACKED_BYTES_MAX`].
    #[error("unpacked size is over the limit of {limit} bytes", limit = UNPACKED_BYTES_MAX)]
    TooLong,
    /// The header lacks a line.
    #[error("expected the header line `{expected}`, found {found:?}")]
    Header {
        /// How the line starts.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The bytes end too early.
    #[error("data ends inside {part}")]
    Truncated {
        /// What was being read.
        part: &'static str,
    },
    /// A number does not fit.
    #[error("number in {part} is too large")]
    NumberTooLarge {
        /// What was being read.
        part: &'static str,
    },
    /// A name is not valid, or not greater than the one before it.
    #[error("name of package {package} is not UTF-8 text greater than the name before it")]
    Name {
        /// Number of the package.
        package: usize,
    },
    /// A row names a package that does not exist.
    #[error("package {package} names package {target} of {packages}")]
    Target {
        /// Number of the package.
        package: Node,
        /// The number it names.
        target: u64,
        /// How many packages there are.
        packages: usize,
    },
    /// The header and the rows disagree.
    #[error("expected {expected} {part}, found {found}")]
    EdgeCount {
        /// Which rows.
        part: &'static str,
        /// What the header says.
        expected: u64,
        /// What the rows hold.
        found: u64,
    },
    /// Bytes follow the last row.
    #[error("{bytes} bytes follow the last row")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// The edges do not make a graph.
    #[error("edges do not make a graph")]
    Graph(#[from] GraphError),
}

/// A decoded package graph, with its two kinds of edges apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageGraph {
    sources: Vec<String>,
    names: Names,
    strong: Vec<(Node, Node)>,
    weak: Vec<(Node, Node)>,
}

impl PackageGraph {
    /// Decodes the graph that is part of the project.
    ///
    /// # Errors
    ///
    /// If the file was damaged before the program was built.
    pub fn shipped() -> Result<Self, PackageGraphError> {
        Self::decode(SHIPPED)
    }

    /// Decodes a packed package graph and checks all of it.
    ///
    /// # Errors
    ///
    /// If the bytes are anything else than one whole, consistent package graph.
    pub fn decode(packed: &[u8]) -> Result<Self, PackageGraphError> {
        let plain = unpack(packed)?;
        let mut input = Input { rest: &plain };
        let header = Header::read(&mut input)?;
        let names = read_names(&mut input, header.packages)?;
        let strong = read_rows(&mut input, "strong relations", names.len(), header.strong)?;
        let weak = read_rows(&mut input, "weak relations", names.len(), header.weak)?;
        if !input.rest.is_empty() {
            return Err(PackageGraphError::TrailingBytes { bytes: input.rest.len() });
        }
        Ok(Self { sources: header.sources, names, strong, weak })
    }

    /// Returns one line for each package list that the graph was made from, with its date.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Makes the graph of the chosen relations; its nodes are the packages, by name.
    ///
    /// # Errors
    ///
    /// If there are more packages than a graph can have nodes.
    pub fn into_graph(self, relations: Relations) -> Result<Graph, PackageGraphError> {
        let mut edges = self.strong;
        if relations == Relations::All {
            edges.extend(self.weak);
        }
        Ok(Graph::from_edges(self.names, &edges)?)
    }
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, PackageGraphError> {
    let mut plain = Vec::new();
    let mut unpacker = GzDecoder::new(packed).take(UNPACKED_BYTES_MAX + 1);
    unpacker.read_to_end(&mut plain).map_err(PackageGraphError::Unpack)?;
    if plain.len() as u64 > UNPACKED_BYTES_MAX {
        return Err(PackageGraphError::TooLong);
    }
    Ok(plain)
}

struct Header {
    sources: Vec<String>,
    packages: u64,
    strong: u64,
    weak: u64,
}

impl Header {
    fn read(input: &mut Input<'_>) -> Result<Self, PackageGraphError> {
        input.expect_line("bifolio-graph 1")?;
        let mut sources = Vec::new();
        while let Some(source) = input.peek_line().and_then(|line| line.strip_prefix("source: ")) {
            sources.push(source.to_owned());
            input.line();
        }
        let header = Self {
            sources,
            packages: input.count_line("packages: ")?,
            strong: input.count_line("strong: ")?,
            weak: input.count_line("weak: ")?,
        };
        input.expect_line("")?;
        Ok(header)
    }
}

fn read_names(input: &mut Input<'_>, packages: u64) -> Result<Names, PackageGraphError> {
    let mut names = Names::new();
    let mut name = Vec::new();
    let mut last = Vec::new();
    for _ in 0..packages {
        let package = names.len();
        let shared = input.length("names")?;
        let rest = input.length("names")?;
        if shared > name.len() {
            return Err(PackageGraphError::Name { package });
        }
        last.clone_from(&name);
        name.truncate(shared);
        name.extend_from_slice(input.bytes(rest, "names")?);
        match std::str::from_utf8(&name) {
            Ok(text) if package == 0 || name > last => names.push(text),
            _ => return Err(PackageGraphError::Name { package }),
        }
    }
    Ok(names)
}

fn read_rows(
    input: &mut Input<'_>,
    part: &'static str,
    packages: usize,
    expected: u64,
) -> Result<Vec<(Node, Node)>, PackageGraphError> {
    let mut edges = Vec::new();
    for package in (0..=Node::MAX).take(packages) {
        // Each target takes at least one byte, so a false count runs into the end and costs no memory.
        let mut next = 0_u64;
        for _ in 0..input.varint(part)? {
            let step = input.varint(part)?;
            let target = next.checked_add(step).ok_or(PackageGraphError::NumberTooLarge { part })?;
            match Node::try_from(target) {
                Ok(node) if (node as usize) < packages => edges.push((package, node)),
                _ => return Err(PackageGraphError::Target { package, target, packages }),
            }
            next = target + 1;
        }
    }
    let found = edges.len() as u64;
    if found != expected {
        return Err(PackageGraphError::EdgeCount { part, expected, found });
    }
    Ok(edges)
}

/// The bytes not read yet.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn peek_line(&self) -> Option<&'a str> {
        let end = self.rest.iter().position(|&byte| byte == b'\n')?;
        std::str::from_utf8(&self.rest[..end]).ok()
    }

    fn line(&mut self) -> Option<&'a str> {
        let line = self.peek_line()?;
        self.rest = &self.rest[line.len() + 1..];
        Some(line)
    }

    fn expect_line(&mut self, expected: &'static str) -> Result<(), PackageGraphError> {
        let found = self.line().unwrap_or_default();
        if found == expected {
            return Ok(());
        }
        Err(PackageGraphError::Header { expected, found: found.to_owned() })
    }

    fn count_line(&mut self, expected: &'static str) -> Result<u64, PackageGraphError> {
        let found = self.line().unwrap_or_default();
        let count = found.strip_prefix(expected).and_then(|count| count.parse().ok());
        count.ok_or_else(|| PackageGraphError::Header { expected, found: found.to_owned() })
    }

    fn bytes(&mut self, count: usize, part: &'static str) -> Result<&'a [u8], PackageGraphError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(PackageGraphError::Truncated { part })?;
        self.rest = rest;
        Ok(bytes)
    }

    fn varint(&mut self, part: &'static str) -> Result<u64, PackageGraphError> {
        let mut value = 0;
        // Nine groups of seven bits; nothing here needs more.
        for shift in (0..63).step_by(7) {
            let byte = self.bytes(1, part)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(PackageGraphError::NumberTooLarge { part })
    }

    fn length(&mut self, part: &'static str) -> Result<usize, PackageGraphError> {
        usize::try_from(self.varint(part)?).map_err(|_| PackageGraphError::NumberTooLarge { part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    /// Three packages: a -> b, c (strong), b -> a (weak).
    const HEADER: &[u8] = b"bifolio-graph 1\nsource: a test\npackages: 3\nstrong: 2\nweak: 1\n\n";
    const NAMES: &[u8] = &[0, 2, b'a', b'a', 1, 1, b'b', 0, 1, b'c'];
    const ROWS: &[u8] = &[2, 1, 0, 0, 0, 0, 1, 0, 0];

    fn pack(parts: &[&[u8]]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&parts.concat()).expect("a vector takes all");
        packer.finish().expect("a vector takes all")
    }

    fn message(parts: &[&[u8]]) -> String {
        PackageGraph::decode(&pack(parts)).expect_err("the file is malformed").to_string()
    }

    #[test]
    fn a_small_file_is_decoded() {
        let decoded = PackageGraph::decode(&pack(&[HEADER, NAMES, ROWS])).expect("well formed");
        assert_eq!(decoded.sources(), ["a test"]);
        let strong = decoded.clone().into_graph(Relations::Strong).expect("a graph");
        assert_eq!(strong.names().iter().collect::<Vec<_>>(), ["aa", "ab", "c"]);
        assert_eq!(strong.edge_pairs().collect::<Vec<_>>(), [(0, 1), (0, 2)]);
        let all = decoded.into_graph(Relations::All).expect("a graph");
        assert_eq!(all.edge_pairs().collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 0)]);
    }

    #[test]
    fn the_shipped_file_holds_the_counts_that_its_description_states() {
        let packages = PackageGraph::shipped().expect("the file is whole");
        assert_eq!(packages.sources().len(), 3);
        let strong = packages.clone().into_graph(Relations::Strong).expect("a graph").statistics();
        assert_eq!((strong.nodes, strong.edges, strong.merged_edges), (63_666, 276_341, 0));
        let all = packages.into_graph(Relations::All).expect("a graph").statistics();
        assert_eq!((all.nodes, all.edges, all.merged_edges), (63_666, 341_418, 0));
        assert_eq!(all.self_edges, 0);
    }

    #[test]
    fn a_wrong_header_is_named() {
        assert_eq!(message(&[b"other\n"]), "expected the header line `bifolio-graph 1`, found \"other\"");
        assert_eq!(
            message(&[b"bifolio-graph 1\npackages: many\n"]),
            "expected the header line `packages: `, found \"packages: many\""
        );
    }

    #[test]
    fn names_out_of_order_are_refused() {
        let swapped = &[0, 1, b'b', 0, 1, b'a', 0, 1, b'c'];
        assert_eq!(
            message(&[HEADER, swapped, ROWS]),
            "name of package 1 is not UTF-8 text greater than the name before it"
        );
        let shares_too_much = &[5, 1, b'b'];
        assert_eq!(
            message(&[HEADER, shares_too_much]),
            "name of package 0 is not UTF-8 text greater than the name before it"
        );
    }

    #[test]
    fn a_target_outside_the_graph_is_refused() {
        assert_eq!(message(&[HEADER, NAMES, &[1, 3]]), "package 0 names package 3 of 3");
    }

    #[test]
    fn counts_that_disagree_are_refused() {
        let one_edge_less = &[1, 1, 0, 0, 0, 1, 0, 0];
        assert_eq!(message(&[HEADER, NAMES, one_edge_less]), "expected 2 strong relations, found 1");
    }

    #[test]
    fn missing_and_additional_bytes_are_refused() {
        assert_eq!(message(&[HEADER, &NAMES[..3]]), "data ends inside names");
        assert_eq!(message(&[HEADER, NAMES, &ROWS[..6]]), "data ends inside weak relations");
        assert_eq!(message(&[HEADER, NAMES, ROWS, b"xy"]), "2 bytes follow the last row");
    }

    #[test]
    fn an_endless_number_is_refused() {
        assert_eq!(message(&[HEADER, NAMES, &[0xff; 12]]), "number in strong relations is too large");
    }

    #[test]
    fn a_flipped_bit_in_the_shipped_file_is_found() {
        let mut damaged = SHIPPED.to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x10;
        assert!(PackageGraph::decode(&damaged).is_err());
    }

    proptest! {
        #[test]
        fn a_damaged_body_gives_an_error_or_a_consistent_graph(
            at in 0_usize..(HEADER.len() + NAMES.len() + ROWS.len()),
            byte in any::<u8>(),
        ) {
            let mut plain = [HEADER, NAMES, ROWS].concat();
            plain[at] = byte;
            if let Ok(decoded) = PackageGraph::decode(&pack(&[&plain])) {
                let graph = decoded.into_graph(Relations::All).expect("targets were checked");
                prop_assert_eq!(graph.nodes(), 3);
            }
        }

        #[test]
        fn any_packed_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let decoded = PackageGraph::decode(&pack(&[HEADER, &body]));
            prop_assert!(decoded.is_err() || !body.is_empty());
        }
    }
}
