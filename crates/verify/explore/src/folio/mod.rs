//! Worlds of shipped folios: the pagemap of `bifolio-folio` runs here, not a model of it.
//!
//! ```text
//!   nothing --allocate--> range --form--> locked <--try lock/unlock--> reference --shelve/take-- shelf
//!      |                    +--give back    +--split, collapse, drop     +--drop, the last: free
//!      +--get by number--------------------------------------------------^
//! ```
//!
//! A step is one operation of the crate, on a pagemap into which the words of the state were put. What happens
//! inside an operation is walked through by loom in `bifolio-loom`. After each step words, counter, backings and
//! free pages are compared with what the handles that exist say.

pub mod fault;
pub mod kept;
pub mod lanes;
pub mod ledger;
pub mod pooled;
pub mod state;

mod collapse;
mod judge;
#[cfg(test)]
mod mutants;
mod operations;
mod sabotage;
mod tell;
mod world;

pub use pooled::Pooled;
pub use world::Folios;
