//! The CPU's side of memory for heaps and spaces; what implements the trait is [`crate::simulation::view`].

pub mod anonymous;
#[path = "../../../../host/src/views/shared.rs"]
pub mod shared;
#[path = "../../../../host/src/views/staging.rs"]
pub mod staging;
