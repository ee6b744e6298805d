//! The graph of the demonstration: Debian's packages, an edge list, or a random graph.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use bifolio_demo::debian;
use bifolio_demo::edge_list::{self, EdgeList, EdgeListError};
use bifolio_demo::graph::Graph;
use bifolio_demo::order;
use bifolio_demo::rmat;

/// Where the graph comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Debian's packages, which are part of the program.
    Packages,
    /// An edge list; `-` is standard input.
    File(&'a str),
    /// A random graph of 2^scale nodes.
    Rmat {
        /// How often the number of nodes doubles.
        scale: u32,
        /// What the random numbers begin with.
        seed: u64,
    },
}

/// A graph, its nodes in the order in which they will lie in memory.
#[derive(Debug)]
pub struct Input {
    /// The graph.
    pub graph: Graph,
    /// What it is.
    pub title: String,
    /// The titles of the columns, which were left out, if there were any.
    pub heading: Option<(String, String)>,
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
    Packages(#[source] EdgeListError),
}

impl Input {
    /// Reads or makes the graph.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it is not an edge list.
    pub fn read(source: Source<'_>) -> Result<Self, InputError> {
        let (title, list) = match source {
            Source::Packages => {
                let graph = debian::packages().map_err(InputError::Packages)?;
                ("Debian's packages".to_owned(), EdgeList { graph, heading: None })
            }
            Source::Rmat { scale, seed } => {
                let graph = rmat::graph(scale, seed);
                (format!("an R-MAT graph, scale {scale}, seed {seed}"), EdgeList { graph, heading: None })
            }
            Source::File("-") => {
                ("standard input".to_owned(), from_edges("standard input", io::stdin().lock())?)
            }
            Source::File(path) => (path.to_owned(), from_edges(path, open(Path::new(path))?)?),
        };
        let EdgeList { graph, heading } = list;
        let repeated = graph.merged_edges();
        let places = order::by_popularity(&graph);
        let graph = order::renumber(&graph, &places).expect("an order lists every node once");
        Ok(Self { graph, title, heading, repeated })
    }
}

fn open(path: &Path) -> Result<BufReader<File>, InputError> {
    let opened = File::open(path);
    opened.map(BufReader::new).map_err(|source| InputError::Open { path: path.to_owned(), source })
}

fn from_edges(title: &str, input: impl io::BufRead) -> Result<EdgeList, InputError> {
    edge_list::read(input).map_err(|source| InputError::EdgeList { title: title.to_owned(), source })
}
