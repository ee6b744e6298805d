//! The CPU's side of memory: the shipped trait; who implements it is [`crate::simulation::view`].

#[path = "../../../runtime/src/cpu/view.rs"]
mod view;

pub use view::{CpuView, Place, Refused, address_of, span_of};
