//! Worlds of `struct page`: the Linux designs, told apart by a [`Contract`](contract::Contract).
//!
//! ```text
//!   allocate -> claimed -> [look -> split stale] -> init -> formed, locked -> publish, hot or cold -> live
//!   live -> freeze -> split -> live pieces
//!   live -> last put or move home -> [undo] -> folio_free -> [undo] -> drop references of the pagemap
//!   kill -> ... -> end
//! ```
//!
//! Each arrow is one step of one actor; between any two steps any other actor may take some. Others see a step at once, unless
//! the [`MemoryOrder`] is weak. What a folio truly
//! is ([`state::Folio`]) is kept apart from what its words say, and the rules compare the two.

mod action;
pub mod contract;
mod describe;
mod design;
mod encoded;
mod memory_order;
pub mod migration;
pub mod page;
pub mod state;
mod steps;
mod world;

pub use memory_order::MemoryOrder;
pub use world::World;
