//! What a job found, as text and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bifolio_demo::graph::{Graph, Node};
use bifolio_demo::reference::{self, UNREACHED};
use serde::Serialize;

use crate::demo::buffers::BufferFigures;
use crate::demo::job::Found;
use crate::figures::grouped;
use crate::printable::short_name;
use crate::report::Figures;
use crate::table;

/// How many of the highest nodes are shown.
const HIGHEST: usize = 10;

/// The rows of a result.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Rows {
    /// The highest nodes and their ranks, highest first.
    Ranks(Vec<(String, f64)>),
    /// How many nodes each level has; no level: those that were not reached.
    Levels(Vec<(Option<u32>, u64)>),
}

/// How many nodes close to a source are shown.
const NEAREST: usize = 3;

/// What is close to a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    /// The node.
    pub node: String,
    /// The highest other nodes and their ranks for this node, highest first.
    pub nearest: Vec<(String, f64)>,
}

/// Sums up what is close to each source.
pub fn near(sources: &[Node], found: &Found, graph: &Graph) -> Vec<Near> {
    let Found::Ranks { personal, .. } = found else { return Vec::new() };
    let nearest = |source, ranks: &[f64]| {
        let highest = reference::highest(ranks, NEAREST + 1).into_iter().filter(|(node, _)| *node != source);
        highest.take(NEAREST).map(|(node, rank)| (name(graph, node), rank)).collect()
    };
    let pairs = sources.iter().zip(personal);
    pairs
        .map(|(&source, ranks)| Near { node: name(graph, source), nearest: nearest(source, ranks) })
        .collect()
}

fn name(graph: &Graph, node: Node) -> String {
    graph.names().get(node).unwrap_or("?").to_owned()
}

/// The JSON of a job: what was found, and what it took.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport<'a> {
    /// What was found.
    pub result: Rows,
    /// What is close to some nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Near>,
    /// Whether it equals the plain run.
    pub verified: bool,
    /// Bytes of the data.
    pub data: u64,
    /// Number of devices.
    pub devices: usize,
    /// Bytes of the memory of each device.
    pub device_memory: u64,
    /// Seconds that the plain run took.
    pub plain_seconds: f64,
    /// What became of buffer objects, if there were any. The field keeps the name that scripts know.
    #[serde(rename = "objects", skip_serializing_if = "Option::is_none")]
    pub buffers: Option<&'a BufferFigures>,
    /// What it took.
    #[serde(flatten)]
    pub figures: &'a Figures,
}

impl Rows {
    /// Sums up what a job found.
    pub fn of(found: &Found, graph: &Graph) -> Self {
        match found {
            Found::Ranks { ranks, .. } => {
                let highest = reference::highest(ranks, HIGHEST).into_iter();
                Self::Ranks(highest.map(|(node, rank)| (name(graph, node), rank)).collect())
            }
            Found::Levels { levels, .. } => Self::Levels(count_levels(levels)),
        }
    }

    /// Writes the rows as text.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let pairs: Vec<(String, String)> = match self {
            Self::Ranks(ranks) => {
                ranks.iter().map(|(name, rank)| (short_name(name), format!("{rank:.4}"))).collect()
            }
            Self::Levels(levels) => {
                let name = |level: Option<u32>| {
                    level.map_or("not reached".to_owned(), |level| format!("level {level}"))
                };
                levels.iter().map(|(level, nodes)| (name(*level), grouped(*nodes))).collect()
            }
        };
        table::print_list(out, &pairs)
    }
}

/// Counts the nodes of each level, those not reached last.
fn count_levels(levels: &[u32]) -> Vec<(Option<u32>, u64)> {
    let mut counts = BTreeMap::new();
    for &level in levels {
        // `UNREACHED` is the largest number, so it sorts last.
        *counts.entry(level).or_insert(0_u64) += 1;
    }
    counts.into_iter().map(|(level, nodes)| ((level != UNREACHED).then_some(level), nodes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_not_reached_are_counted_last() {
        let counts = count_levels(&[UNREACHED, 1, 0, 1, UNREACHED, 1]);
        assert_eq!(counts, [(Some(0), 1), (Some(1), 3), (None, 2)]);
    }

    #[test]
    fn json_rows_are_pairs() {
        let ranks = Rows::Ranks(vec![("libc6".to_owned(), 0.5)]);
        let levels = Rows::Levels(vec![(Some(0), 1), (None, 2)]);
        assert_eq!(serde_json::to_string(&ranks).expect("plain data"), r#"[["libc6",0.5]]"#);
        assert_eq!(serde_json::to_string(&levels).expect("plain data"), "[[0,1],[null,2]]");
    }
}
