//! The engine of Bifolio: runs the transactions of `bifolio-migrate` on a CPU view and on devices.
//!
//! ```text
//!   host: fault loop ----+                    +---- view      how the CPU sees memory (trait)
//!                        +----> engine -------+---- device    copies, page table (trait)
//!   device: page fault --+         |          +---- pool      device memory (`bifolio-pool`)
//!                                  +---> statistics
//! ```
#![forbid(unsafe_code)]

mod advise;
pub mod audit;
pub mod blocks;
pub mod budget;
pub mod buffer;
pub mod clock;
mod decide;
pub mod detach;
pub mod device;
pub mod engine;
pub mod event;
pub mod exclusive;
mod executor;
mod fault;
pub mod node;
pub mod pin;
pub mod query;
mod ram_order;
mod reclaim;
mod remote;
mod request;
pub mod reshape;
mod residents;
mod retry;
mod run;
pub mod sleep;
pub mod statistics;
pub mod stored;
mod sync;
pub mod view;

pub use budget::Budget;
pub use buffer::BufferError;
pub use engine::{Engine, Parts, Side};
pub use event::{Detail, Event, EventKind, Observer};
pub use node::{Node, NodeError, NodeParts, Nodes};
pub use query::{Extent, Residence};
pub use statistics::{Counter, Direction, Snapshot, Statistics};
