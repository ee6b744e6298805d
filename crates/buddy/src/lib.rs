#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
#[macro_use]
extern crate std;

mod bit_tree;
mod block;
mod buddy;
mod check;
mod chunk;
mod cleared;
mod clearing;
mod contents;
mod dirty;
mod error;
mod figures;
mod free_index;
mod give_back;
mod leaf;
mod owned;
mod picture;
mod recent;
mod region;
mod request;
mod search;
mod search_contents;
mod serve;
mod snapshot;
mod walk;

pub use block::BuddyBlock;
pub use buddy::Buddy;
pub use check::Inconsistency;
pub use error::{AllocateError, FreeError, NewError};
pub use figures::Figures;
pub use free_index::MAX_ORDER;
pub use owned::OwnedBuddy;
pub use picture::Picture;
pub use request::{Grant, Request};
pub use snapshot::{RegionSnapshot, Snapshot};
pub use walk::{BlockState, PageState};
