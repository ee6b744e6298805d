//! Bifolio live: one pointer on the CPU and on a device, on userfaultfd.
//!
//! ```text
//!   CPU touches a page        fault_loop --+                        +-- cpu      the CPU's view
//!                                          +--> engine -----------+-- device   copies, page table
//!   device touches a page     device ------+      |                 +-- pool     device memory (`bifolio-pool`)
//!                                                 +--> statistics
//! ```
//!
//! The [`engine`] runs the transactions of `bifolio-svm` on blocks; [`space`] puts everything together for
//! memory that is allocated through Bifolio, [`heap`] for private memory of programs that know nothing of it.
#![forbid(unsafe_code)]

pub mod blocks;
pub mod cpu;
pub mod device;
pub mod engine;
pub mod fault_loop;
pub mod heap;
pub mod setup;
pub mod space;
pub mod statistics;
mod sync;

pub use bifolio_pool::PoolName;
pub use engine::checked::{Checker, Violation};
pub use engine::plain::PlainError;
pub use engine::{Engine, Side};
pub use heap::{Heap, HeapConfig};
pub use setup::SetupError;
pub use space::object::{Object, ObjectError, Pinned};
pub use space::{Space, SpaceConfig};
pub use statistics::{Counter, Direction, Snapshot, Statistics};
