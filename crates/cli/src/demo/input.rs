//! The graph of the demonstration: Debian's packages, or an edge list.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use bifolio_demo::debian::{PackageGraph, PackageGraphError, Relations};
use bifolio_demo::edge_list::{self, EdgeListError};
use bifolio_demo::graph::Graph;
use bifolio_demo::order;

/// A graph, its nodes in the order in which they will lie in memory.
#[derive(Debug)]
pub struct Input {
    /// The graph.
    pub graph: Graph,
    /// What it is.
    pub title: String,
    /// Edges that were listed more than once, and are kept once.
    pub repeated: usize,
}

/// Why there is no graph.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be opened.
    #[error("opening {} failed", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The file is not an edge list.
    #[error("{title} is not an edge list")]
    EdgeList {
        /// The file.
        title: String,
        /// What is wrong.
        #[source]
        source: EdgeListError,
    },
    /// The graph inside this program is damaged.
    #[error("the package graph inside this program is damaged")]
    Packages(#[from] PackageGraphError),
}

impl Input {
    /// Reads `file` (`-`: standard input), or takes the package graph.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it is not an edge list.
    pub fn read(file: Option<&str>) -> Result<Self, InputError> {
        let (title, graph) = match file {
            None => ("Debian's packages".to_owned(), packages()?),
            Some("-") => from_edges("standard input", io::stdin().lock())?,
            Some(path) => from_edges(path, open(Path::new(path))?)?,
        };
        let repeated = graph.merged_edges();
        let places = order::by_popularity(&graph);
        let graph = order::renumber(&graph, &places).expect("an order lists every node once");
        Ok(Self { graph, title, repeated })
    }
}

fn packages() -> Result<Graph, PackageGraphError> {
    PackageGraph::shipped()?.into_graph(Relations::All)
}

fn open(path: &Path) -> Result<BufReader<File>, InputError> {
    let opened = File::open(path);
    opened.map(BufReader::new).map_err(|source| InputError::Open { path: path.to_owned(), source })
}

fn from_edges(title: &str, input: impl io::BufRead) -> Result<(String, Graph), InputError> {
    let title = title.to_owned();
    match edge_list::read(input) {
        Ok(graph) => Ok((title, graph)),
        Err(source) => Err(InputError::EdgeList { title, source }),
    }
}
