//! The built-in device: units that are threads, memory in a memfd, a page table and TLBs of its own.
#![forbid(unsafe_code)]

mod builtin;
mod gate;
mod memory;
mod sync;
mod table;
mod unit;

pub use builtin::{Builtin, Kernel};
pub use memory::{Memory, MemoryError};
pub use unit::Unit;
