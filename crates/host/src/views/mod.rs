//! The CPU's side of memory on Linux: how a span is isolated from the program, filled and mapped again.
//!
//! Two kinds of memory need different mechanisms, both free of races: [`shared::SharedView`] for memory that was
//! allocated through Bifolio, the view of [`in_place`](crate::in_place) for the private memory of programs that know nothing
//! of it.

mod adopted;
pub mod shared;

pub use adopted::AdoptError;
#[cfg(test)]
pub(crate) use adopted::injected;
