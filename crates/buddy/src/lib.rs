//! Buddy allocator over address ranges: naturally aligned blocks of any order, from bitmaps, without touching the
//! memory.
//!
//! ```
//! use bifolio_buddy::Buddy;
//!
//! let mut buddy = Buddy::new(1000).unwrap();
//! let page = buddy.allocate(9).unwrap();
//! assert_eq!(page % 512, 0);
//! buddy.free(page, 9).unwrap();
//! assert!(buddy.free(page, 9).is_err());
//! ```

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
mod error;
mod free_index;
mod region;

pub use block::Block;
pub use buddy::Buddy;
pub use check::Inconsistency;
pub use error::{AllocateError, FreeError, NewError};
