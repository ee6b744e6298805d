//! Page numbers, orders, the packed page word, pagemaps and the life of a device folio.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
mod folio;
mod form;
mod order;
mod pagemap;
mod pfn;
mod pool;
mod range;
mod raw;
mod split;
mod sync;
mod word;

pub use check::{FolioView, Inconsistency};
pub use folio::{Folio, Live, Locked, State};
pub use form::{FormError, FormErrorKind};
pub use order::{Order, PAGE_SHIFT, PAGE_SIZE};
pub use pagemap::{GetError, MemoryKind, PageMap, PageMapError};
pub use pfn::Pfn;
pub use pool::Pool;
pub use range::FreeRange;
pub use raw::RawFolio;
pub use split::{Pieces, SplitError, SplitErrorKind};
pub use word::{DATA_MAX, REFERENCES_MAX};
