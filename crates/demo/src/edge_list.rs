//! Edge lists as SNAP and others publish them: one edge a line, two names, `#` comments.
//!
//! ```text
//!   # Directed graph: who depends on whom
//!   bash   libc6          names and numbers are both just names, compared byte for byte
//!   3      17             columns are separated by white space
//! ```
//!
//! Nodes are numbered in the order of their first appearance. A line with one column, or with more than two
//! (a weight, a time stamp), is an error that names the line: silently dropping a column would make a wrong
//! graph of an unexpected file. Text packed with gzip is recognised by its first bytes.

use crate::graph::{Graph, GraphError, Node};
use crate::names::{Names, Numbering};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read, Write};
use thiserror::Error;

/// Longest line that is read, in bytes; a longer one means that the file is not an edge list.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why a text is not an edge list.
#[derive(Debug, Error)]
pub enum EdgeListError {
    /// Reading or unpacking failed.
    #[error("reading after line {line} failed")]
    Read {
        /// The last line that was read, from 1; 0 if none was.
        line: u64,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A line does not hold exactly two names.
    #[error("line {line}: expected two columns (source and target), found {columns}")]
    Columns {
        /// The line, from 1.
        line: u64,
        /// How many columns it has.
        columns: usize,
    },
    /// A line is not UTF-8 text.
    #[error("line {line}: expected UTF-8 text, found other bytes")]
    NotText {
        /// The line, from 1.
        line: u64,
    },
    /// A line is longer than [`LINE_BYTES_MAX`].
    #[error("line {line}: expected at most {limit} bytes, found more", limit = LINE_BYTES_MAX)]
    LineTooLong {
        /// The line, from 1.
        line: u64,
    },
    /// The file names more nodes than can be numbered.
    #[error("line {line}: more than {limit} nodes", limit = Graph::NODES_MAX)]
    TooManyNodes {
        /// The line, from 1.
        line: u64,
    },
    /// The file holds no edge at all.
    #[error("expected at least one edge, found none in {lines} lines")]
    NoEdges {
        /// Lines read.
        lines: u64,
    },
    /// The edges do not make a graph.
    #[error("edges do not make a graph")]
    Graph(#[from] GraphError),
}

/// Reads an edge list, packed with gzip or not.
///
/// # Errors
///
/// If reading fails, a line is malformed, or there is no edge.
pub fn read(mut input: impl BufRead) -> Result<Graph, EdgeListError> {
    let first = input.fill_buf().map_err(|source| EdgeListError::Read { line: 0, source })?;
    // A reader may hand out a single byte at first; no text starts with the first byte of gzip.
    if first.first() == Some(&GZIP_MAGIC[0]) {
        read_text(BufReader::new(MultiGzDecoder::new(input)))
    } else {
        read_text(input)
    }
}

/// Writes a graph as an edge list. A node without edges is not written, for the format has no place for it.
///
/// # Errors
///
/// If writing fails.
pub fn write(graph: &Graph, output: &mut impl Write) -> io::Result<()> {
    let names: Vec<&str> = graph.names().iter().collect();
    for (from, to) in graph.edge_pairs() {
        writeln!(output, "{}\t{}", names[from as usize], names[to as usize])?;
    }
    Ok(())
}

fn read_text(mut input: impl BufRead) -> Result<Graph, EdgeListError> {
    let mut edges = Edges::default();
    let mut bytes = Vec::new();
    let mut lines = 0;
    while read_line(&mut input, &mut bytes, lines + 1)? {
        lines += 1;
        let text = std::str::from_utf8(&bytes).map_err(|_| EdgeListError::NotText { line: lines })?;
        edges.add_line(text, lines)?;
    }
    let (names, pairs) = edges.finish(lines)?;
    Ok(Graph::from_edges(names, &pairs)?)
}

/// Reads the next line into `bytes`; says whether there was one.
fn read_line(input: &mut impl BufRead, bytes: &mut Vec<u8>, line: u64) -> Result<bool, EdgeListError> {
    bytes.clear();
    let limit = LINE_BYTES_MAX as u64 + 1;
    let mut limited = input.by_ref().take(limit);
    limited.read_until(b'\n', bytes).map_err(|source| EdgeListError::Read { line: line - 1, source })?;
    if bytes.len() > LINE_BYTES_MAX {
        return Err(EdgeListError::LineTooLong { line });
    }
    Ok(!bytes.is_empty())
}

/// The edges read so far.
#[derive(Default)]
struct Edges {
    numbering: Numbering,
    pairs: Vec<(Node, Node)>,
}

impl Edges {
    fn add_line(&mut self, text: &str, line: u64) -> Result<(), EdgeListError> {
        // Windows tools put a mark before the first line.
        let text = if line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let mut columns = text.split_whitespace();
        let (Some(from), Some(to), None) = (columns.next(), columns.next(), columns.next()) else {
            return Err(EdgeListError::Columns { line, columns: text.split_whitespace().count() });
        };
        let pair = (self.number(from, line)?, self.number(to, line)?);
        self.pairs.push(pair);
        Ok(())
    }

    fn number(&mut self, name: &str, line: u64) -> Result<Node, EdgeListError> {
        self.numbering.number(name).ok_or(EdgeListError::TooManyNodes { line })
    }

    fn finish(self, lines: u64) -> Result<(Names, Vec<(Node, Node)>), EdgeListError> {
        if self.pairs.is_empty() {
            return Err(EdgeListError::NoEdges { lines });
        }
        Ok((self.numbering.into_names(), self.pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pack(text: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(text).expect("a vector takes all");
        packer.finish().expect("a vector takes all")
    }

    fn message(text: &[u8]) -> String {
        read(text).expect_err("the text is malformed").to_string()
    }

    fn named_edges(graph: &Graph) -> BTreeSet<(String, String)> {
        let names: Vec<&str> = graph.names().iter().collect();
        graph.edge_pairs().map(|(a, b)| (names[a as usize].into(), names[b as usize].into())).collect()
    }

    #[test]
    fn comments_and_empty_lines_are_skipped() {
        let graph = read(&b"# Nodes: 3\n\n1 2\r\n  2\t3  \n# end"[..]).expect("well formed");
        assert_eq!(graph.names().iter().collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(graph.edge_pairs().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_name() {
        let graph = read("\u{feff}a b\n".as_bytes()).expect("well formed");
        assert_eq!(graph.names().get(0), Some("a"));
    }

    #[test]
    fn a_line_of_one_or_three_columns_is_named() {
        assert_eq!(message(b"a b\n\nc\n"), "line 3: expected two columns (source and target), found 1");
        assert_eq!(message(b"a b\nb c 0.5\n"), "line 2: expected two columns (source and target), found 3");
    }

    #[test]
    fn bytes_that_are_not_text_are_named() {
        assert_eq!(message(b"a b\n\xff\xfe c\n"), "line 2: expected UTF-8 text, found other bytes");
    }

    #[test]
    fn an_endless_line_is_refused() {
        let endless = vec![b'x'; LINE_BYTES_MAX + 10];
        assert_eq!(message(&endless), "line 1: expected at most 65536 bytes, found more");
    }

    #[test]
    fn a_file_without_edges_is_refused() {
        assert_eq!(message(b"# nothing\n"), "expected at least one edge, found none in 1 lines");
        assert_eq!(message(b""), "expected at least one edge, found none in 0 lines");
    }

    #[test]
    fn packed_text_is_unpacked() {
        let graph = read(pack(b"a b\n").as_slice()).expect("well formed");
        assert_eq!(graph.edges(), 1);
    }

    #[test]
    fn damaged_packed_text_is_an_error() {
        let mut packed = pack(b"a b\nb c\n");
        let end = packed.len();
        packed[end - 6] ^= 1;
        assert!(matches!(read(packed.as_slice()), Err(EdgeListError::Read { .. })));
        packed.truncate(end - 4);
        assert!(matches!(read(packed.as_slice()), Err(EdgeListError::Read { .. })));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            edges in prop::collection::vec(("[a-z0-9.+-]{1,8}", "[a-z0-9.+-]{1,8}"), 1..60),
            packed in any::<bool>(),
        ) {
            let mut numbering = Numbering::new();
            let pairs: Vec<_> = edges
                .iter()
                .filter_map(|(from, to)| Some((numbering.number(from)?, numbering.number(to)?)))
                .collect();
            let graph = Graph::from_edges(numbering.into_names(), &pairs).expect("all nodes exist");
            let mut text = Vec::new();
            write(&graph, &mut text).expect("a vector takes all");
            let text = if packed { pack(&text) } else { text };
            let again = read(text.as_slice()).expect("well formed");
            prop_assert_eq!(named_edges(&again), edges.into_iter().collect());
        }

        #[test]
        fn any_bytes_give_a_graph_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(graph) = read(bytes.as_slice()) {
                prop_assert!(graph.edges() > 0);
            }
        }

        #[test]
        fn damaged_packed_bytes_never_panic(at in 0_usize..60, flip in 1_u8..) {
            let mut packed = pack(b"a b\nb c\nc a\n");
            let at = at % packed.len();
            packed[at] ^= flip;
            // Damage to the header's time or name changes nothing; everything else must be an error.
            if let Ok(graph) = read(packed.as_slice()) {
                prop_assert_eq!(graph.edges(), 3);
            }
        }
    }
}
