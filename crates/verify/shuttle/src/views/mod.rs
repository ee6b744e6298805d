//! The CPU's side of memory for spaces; what implements the trait is [`crate::simulation::view`].

#[path = "../../../../host/src/views/adopted.rs"]
mod adopted;
#[path = "../../../../host/src/views/shared.rs"]
pub mod shared;
