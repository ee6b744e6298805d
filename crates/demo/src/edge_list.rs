//! Graphs as text: edge lists, as SNAP and KONECT publish them, and adjacency lists.
//!
//! ```text
//!   # Directed graph          a comment; a line that begins with % or // is one too
//!   FromNodeId  ToNodeId      a heading, which is left out
//!   bash        libc6         an edge: names and numbers are both just names, compared byte for byte
//!   3           17            columns are separated by white space
//! ```
//!
//! A file whose first line is `# adjacency list` has a line for each node instead: its name, and the names of all nodes
//! that it points to.
//!
//! Nodes are numbered in the order of their first appearance. In an edge list a line with one column, or with more than
//! two (a weight, a time stamp), is an error that names the line: silently dropping a column would make a wrong graph of
//! an unexpected file. Text packed with gzip is recognised by its first bytes.

use crate::graph::{Graph, GraphError, Node};
use crate::names::Numbering;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};
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

/// A graph that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeList {
    /// The graph.
    pub graph: Graph,
    /// The titles of the two columns, where the first line holds them instead of an edge.
    pub heading: Option<(String, String)>,
}

/// Reads an edge list or an adjacency list, packed with gzip or not.
///
/// # Errors
///
/// If reading fails, a line is malformed, or there is no edge.
pub fn read(mut input: impl BufRead) -> Result<EdgeList, EdgeListError> {
    let first = input.fill_buf().map_err(|source| EdgeListError::Read { line: 0, source })?;
    // A reader may hand out a single byte at first; no text starts with the first byte of gzip.
    if first.first() == Some(&GZIP_MAGIC[0]) {
        read_text(BufReader::new(MultiGzDecoder::new(input)))
    } else {
        read_text(input)
    }
}

fn read_text(mut input: impl BufRead) -> Result<EdgeList, EdgeListError> {
    let mut edges = Edges::default();
    let mut bytes = Vec::new();
    let mut lines = 0;
    while read_line(&mut input, &mut bytes, lines + 1)? {
        lines += 1;
        let text = std::str::from_utf8(&bytes).map_err(|_| EdgeListError::NotText { line: lines })?;
        edges.add_line(text, lines)?;
    }
    edges.finish(lines)
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

/// The first line of an adjacency list.
const ADJACENCY: &str = "# adjacency list";

/// How a comment begins, in lists of SNAP, of KONECT and of others.
const COMMENTS: [&str; 3] = ["#", "%", "//"];

/// Usual titles of the two columns, in lower case.
const TITLES: [(&str, &str); 4] =
    [("fromnodeid", "tonodeid"), ("from", "to"), ("source", "target"), ("src", "dst")];

/// The edges read so far.
#[derive(Default)]
struct Edges {
    adjacency: bool,
    numbering: Numbering,
    pairs: Vec<(Node, Node)>,
}

impl Edges {
    fn add_line(&mut self, text: &str, line: u64) -> Result<(), EdgeListError> {
        // Windows tools put a mark before the first line.
        let text = if line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let text = text.trim();
        self.adjacency |= line == 1 && text == ADJACENCY;
        if text.is_empty() || COMMENTS.iter().any(|comment| text.starts_with(comment)) {
            return Ok(());
        }
        let mut columns = text.split_whitespace();
        let source = columns.next().unwrap_or_default();
        if !self.adjacency && columns.clone().count() != 1 {
            return Err(EdgeListError::Columns { line, columns: 1 + columns.count() });
        }
        let source = self.number(source, line)?;
        columns.try_for_each(|target| {
            let target = self.number(target, line)?;
            self.pairs.push((source, target));
            Ok(())
        })
    }

    fn number(&mut self, name: &str, line: u64) -> Result<Node, EdgeListError> {
        self.numbering.number(name).ok_or(EdgeListError::TooManyNodes { line })
    }

    fn finish(self, lines: u64) -> Result<EdgeList, EdgeListError> {
        if self.pairs.is_empty() {
            return Err(EdgeListError::NoEdges { lines });
        }
        let begins_with_heading = self.begins_with_heading();
        let (names, mut pairs) = (self.numbering.into_names(), self.pairs);
        if !begins_with_heading {
            return Ok(EdgeList { graph: Graph::from_edges(names, &pairs)?, heading: None });
        }
        let heading = names.get(0).zip(names.get(1)).map(|(from, to)| (from.to_owned(), to.to_owned()));
        pairs.remove(0);
        pairs.iter_mut().for_each(|(from, to)| (*from, *to) = (*from - 2, *to - 2));
        let graph = Graph::from_edges(names.iter().skip(2).collect(), &pairs)?;
        Ok(EdgeList { graph, heading })
    }

    /// Tells whether the first line holds titles: no other line names its nodes, and they are usual titles, or words
    /// over columns of numbers.
    fn begins_with_heading(&self) -> bool {
        let Some((&(0, 1), edges)) = self.pairs.split_first() else { return false };
        if self.adjacency || edges.is_empty() || edges.iter().any(|&(from, to)| from < 2 || to < 2) {
            return false;
        }
        let names = self.numbering.names();
        let mut words = names.iter().map(|name| !name.bytes().all(|byte| byte.is_ascii_digit()));
        let usual = |(from, to)| {
            names.get(0).is_some_and(|name| name.eq_ignore_ascii_case(from))
                && names.get(1).is_some_and(|name| name.eq_ignore_ascii_case(to))
        };
        TITLES.into_iter().any(usual) || (words.by_ref().take(2).all(|word| word) && !words.any(|word| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::io::Write;

    fn pack(text: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(text).expect("a vector takes all");
        packer.finish().expect("a vector takes all")
    }

    fn graph(text: &[u8]) -> Graph {
        let list = read(text).expect("well formed");
        assert_eq!(list.heading, None);
        list.graph
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
        let graph = graph(b"# Nodes: 3\n\n1 2\r\n  2\t3  \n# end");
        assert_eq!(graph.names().iter().collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(graph.edge_pairs().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    }

    #[test]
    fn comments_of_other_collections_are_no_edges() {
        let graph = graph(b"% directed\n// comment\n%% 1 2\n1 2\n//x\n# 3 4");
        assert_eq!(graph.edge_pairs().collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(message(b"% 1 2\n// 1 2\n"), "expected at least one edge, found none in 2 lines");
    }

    #[test]
    fn a_heading_is_no_edge() {
        for heading in ["FromNodeId\tToNodeId", "here there"] {
            let list = read(format!("# a comment\n{heading}\n1 2\n2 3\n").as_bytes()).expect("well formed");
            assert_eq!(list.graph.names().iter().collect::<Vec<_>>(), ["1", "2", "3"]);
            assert_eq!(list.graph.edge_pairs().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
            let (from, to) = list.heading.expect("titles were left out");
            assert_eq!(format!("{from} {to}"), heading.replace('\t', " "));
        }
        let list = read(&b"Source Target\nbash libc6\n"[..]).expect("well formed");
        assert_eq!(list.graph.names().iter().collect::<Vec<_>>(), ["bash", "libc6"]);
    }

    #[test]
    fn a_first_edge_that_other_lines_go_on_with_is_no_heading() {
        for text in
            ["from to\nto from\n", "a b\n1 2\nb 1\n", "a b\nc 1\n", "a 1\n2 3\n", "a a\n1 2\n", "a b\n"]
        {
            assert_eq!(graph(text.as_bytes()).edges(), text.lines().count(), "{text:?}");
        }
    }

    #[test]
    fn an_adjacency_list_has_a_line_for_each_node() {
        let graph = graph(b"# adjacency list\n# of three nodes\nb a\na\nc a b c\n");
        assert_eq!(graph.names().iter().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(graph.edge_pairs().collect::<Vec<_>>(), [(0, 1), (2, 0), (2, 1), (2, 2)]);
    }

    #[test]
    fn adjacency_lists_say_so_in_their_first_line() {
        assert_eq!(
            message(b"#\n# adjacency list\na b c\n"),
            "line 3: expected two columns (source and target), found 3"
        );
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_name() {
        let graph = graph("\u{feff}a b\n".as_bytes());
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
        assert_eq!(graph(&pack(b"a b\n")).edges(), 1);
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

    /// Every edge a line, or every node.
    fn write(graph: &Graph, adjacency: bool) -> Vec<u8> {
        let name = |node| graph.names().get(node).expect("edges stay inside");
        let mut text = if adjacency { format!("{ADJACENCY}\n") } else { String::new() };
        for node in graph.node_numbers() {
            let targets: Vec<&str> = graph.targets(node).iter().map(|&target| name(target)).collect();
            if adjacency {
                text += &format!("{} {}\n", name(node), targets.join(" "));
            } else {
                targets.iter().for_each(|target| text += &format!("{}\t{target}\n", name(node)));
            }
        }
        text.into_bytes()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            edges in prop::collection::vec(("[a-z0-9.+-]{1,8}", "[a-z0-9.+-]{1,8}"), 1..60),
            adjacency in any::<bool>(),
            packed in any::<bool>(),
        ) {
            let mut numbering = Numbering::new();
            let pairs: Vec<_> = edges
                .iter()
                .filter_map(|(from, to)| Some((numbering.number(from)?, numbering.number(to)?)))
                .collect();
            let graph = Graph::from_edges(numbering.into_names(), &pairs).expect("all nodes exist");
            let text = write(&graph, adjacency);
            let text = if packed { pack(&text) } else { text };
            let again = read(text.as_slice()).expect("well formed");
            let heading = again.heading.clone();
            let kept = named_edges(&again.graph).into_iter().chain(heading).collect::<BTreeSet<_>>();
            prop_assert_eq!(kept, edges.into_iter().collect());
            prop_assert!(again.heading.is_none() || !adjacency);
        }

        #[test]
        fn any_bytes_give_a_graph_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(list) = read(bytes.as_slice()) {
                prop_assert!(list.graph.edges() > 0);
            }
        }

        #[test]
        fn damaged_packed_bytes_never_panic(at in 0_usize..60, flip in 1_u8..) {
            let mut packed = pack(b"a b\nb c\nc a\n");
            let at = at % packed.len();
            packed[at] ^= flip;
            // Damage to the header's time or name changes nothing; everything else must be an error.
            if let Ok(list) = read(packed.as_slice()) {
                prop_assert_eq!(list.graph.edges(), 3);
            }
        }
    }
}
