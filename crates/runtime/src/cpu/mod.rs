//! The CPU's side of memory: how a span is taken out of view, filled and shown again.
//!
//! Two kinds of memory need different mechanisms, both free of races: [`shared::SharedView`] for memory that was
//! allocated through Bifolio, [`anonymous::AnonymousView`] for the private memory of programs that know
//! nothing of it.

use bifolio_sys::{PAGE, Span};

pub mod anonymous;
pub mod shared;
pub mod staging;
mod view;

pub use view::{CpuView, Place, Refused, address_of, span_of};

/// The page that holds `address`.
fn page_at(address: usize) -> Span {
    Span::new(address & !(PAGE - 1), PAGE).expect("a page of user space")
}
