//! [`CheckError`]: why nothing was explored, or the result was not written.

use std::io;
use std::path::PathBuf;

use bifolio_explore::{Bounds, BoundsError, JournalError, designs};

use crate::exit::{self, Failure};
use crate::output::OutputError;

/// Why nothing was explored.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no such design.
    #[error("--design {name} is not known; there are {}, and all", names())]
    Design {
        /// What was asked for.
        name: String,
    },
    /// The design has a pool of its own.
    #[error("--pool is for the shipped folios: --design {}", poolable())]
    Pool,
    /// The design has one order of memory.
    #[error(
        "--memory-order weak is for designs of device folios in Linux, such as linux-mainline; {design} is none"
    )]
    MemoryOrder {
        /// What was asked for.
        design: String,
    },
    /// There is no such rule.
    #[error("--rule {name} is not known; rules are I1 to I{}", bifolio_rules::COUNT)]
    Rule {
        /// What was asked for.
        name: String,
    },
    /// The world is too large, or too small.
    #[error("{design} cannot be explored with --pages {} --max-order {} --actors {}", bounds.pages, bounds.order, bounds.actors)]
    Bounds {
        /// The design.
        design: &'static str,
        /// What was asked for, or is the design's own choice.
        bounds: Bounds,
        /// What is wrong.
        #[source]
        source: BoundsError,
    },
    /// The design has no world of that name.
    #[error("--world {world} is not a world of {design}")]
    World {
        /// The design.
        design: &'static str,
        /// What was asked for.
        world: String,
    },
    /// No rule was broken, so there is nothing to write.
    #[error("--trace {file}: nothing was written, since the rule does not break", file = file.display())]
    NoStory {
        /// The file.
        file: PathBuf,
    },
    /// A story cannot be written.
    #[error("--trace {file} cannot be written", file = file.display())]
    Trace {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A trace of a story does not say what it is a story of, or nothing that is known here.
    #[error("the trace of a story lacks its {what}, or this version does not know it")]
    Story {
        /// What is missing.
        what: &'static str,
    },
    /// What was saved cannot be read.
    #[error("--resume {file} cannot be read", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was saved is something else.
    #[error("--resume {file} cannot be gone on with", file = file.display())]
    Journal {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: JournalError,
    },
    /// What was saved does not fit any more.
    #[error("--resume: the steps that were saved for {design} lead elsewhere in this version")]
    Unfit {
        /// The design.
        design: &'static str,
    },
    /// What will be done could not be saved.
    #[error("{file} cannot be written, so nothing could be saved there", file = file.display())]
    NoSaving {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was done cannot be saved.
    #[error("{file} cannot be written, and is as it was", file = file.display())]
    Save {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be noticed.
    #[error("interrupts cannot be noticed")]
    Signals(#[source] io::Error),
    /// The result cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Failure for CheckError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Output(_) | Self::Save { .. } | Self::Signals(_) | Self::Trace { .. } => exit::FAILED,
            _ => exit::USAGE,
        }
    }
}

fn names() -> String {
    designs().iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

/// Designs that can be explored over a shipped pool.
fn poolable() -> String {
    let names = designs().iter().filter(|entry| entry.takes_pools()).map(|entry| entry.name);
    names.collect::<Vec<_>>().join(" or ")
}
