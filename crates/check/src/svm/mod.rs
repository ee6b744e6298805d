//! Worlds of shipped transactions: the step machines of `bifolio-svm` over the pagemap of `bifolio-folio`.
//!
//! A program and a device write to a few pages in two blocks while actors run transactions on them: faults of
//! either side, eviction, prefetch, unmap. A step of a transaction is one step here, and each that may fail is
//! also tried failing. Between any two of them the other actor takes steps on the other block, and the program
//! and the device write wherever their page tables let them. Whatever can be read must always be what was
//! written last (I27).
//!
//! Not here: a runner that makes room by a second transaction on the same block, and fork. Making room answers
//! all it may answer; the room itself is made by the other actor, or not.

#[cfg(test)]
mod mutants;
mod perform;
mod state;
mod world;

pub use world::{Size, Transactions};
