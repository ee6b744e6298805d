//! Explorer of small worlds: designs of device folios, under rules that are checked in every reachable state.
//!
//! A *design* says how folios are formed, freed and split, and how memory is kept. It is run in a world of a few
//! pages by a few actors that interleave in every way, each able to be interrupted between any two steps, and
//! each allocation able to fail. Each transition is judged by the [`rules`]. The result is, for each rule,
//! "holds in all N states", or the shortest sequence that breaks it.
//!
//! ```
//! use bifolio_explore::rules::Rule;
//! use bifolio_explore::{Options, Verdict};
//!
//! let design = bifolio_explore::find("linux-v3").expect("a design of that name");
//! let report = design.run(&Options::default(), &mut |_| ())?;
//! let Verdict::Breaks(story) = report.verdict(Rule::known(4)) else { panic!("v3 loses the order") };
//! println!("{story}");
//! # Ok::<(), bifolio_explore::OptionsError>(())
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`design`] | what a design is to the explorer |
//! | [`explore`], [`set`] | breadth-first search; the states seen |
//! | `journal` | explorations saved to a file |
//! | `story`, `report` | what was found, for people and programs |
//! | `linux` | worlds of `struct page` |
//! | `folio` | worlds of shipped folios |
//! | `migrate` | worlds of shipped transactions |
//! | `designs` | the designs, and the list of them |
#![forbid(unsafe_code)]

mod bits;
pub mod design;
mod designs;
pub mod explore;
mod folio;
mod journal;
mod linux;
mod migrate;
mod mutate;
mod report;
pub mod set;
mod story;
#[cfg(test)]
mod tests;

pub use bifolio_rules as rules;
pub use design::{Bounds, BoundsError};
pub use designs::{Entry, Options, OptionsError, Subject, designs, find};
pub use explore::{End, Limits, Progress};
pub use journal::{Journal, JournalError};
pub use linux::MemoryOrder;
pub use report::{Part, Report, Row, RowStep, Verdict};
pub use story::{Change, Step, Story};
