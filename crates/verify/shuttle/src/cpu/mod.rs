//! The CPU's side of memory: the shipped trait; who implements it is [`crate::simulation::view`].

pub mod anonymous;
#[path = "../../../../runtime/src/cpu/shared.rs"]
pub mod shared;
#[path = "../../../../runtime/src/cpu/staging.rs"]
pub mod staging;
#[path = "../../../../runtime/src/cpu/view.rs"]
mod view;

use view::page_at;
pub use view::{BlockSpan, CpuView, Refused, address_of, span_of};
