//! The CPU's side of memory: how a span is taken out of view, filled and shown again.
//!
//! Two kinds of memory need different mechanisms, both free of races: [`shared::SharedView`] for memory that was
//! allocated through Bifolio, [`anonymous::AnonymousView`] for the private memory of programs that know
//! nothing of it.

pub mod anonymous;
pub mod shared;
pub mod staging;
mod view;

use view::page_at;
pub use view::{BlockSpan, CpuView, Refused, address_of, span_of};
