//! Page numbers, orders, the packed page word, pagemaps and the life of a device folio.
//!
//! A *folio* is 2^order pages of device memory that are handled as one. This crate is its life cycle and nothing
//! else: no allocator (see [`Pool`]), no bytes, no addresses, no threads, no clock, no system calls.
//!
//! ```text
//!   free --form(order)--> locked --unlock--> live --last put--> ended --folio_free(range, order)--> free
//!                            |     <-lock---
//!                            +--split--> locked pieces --collapse--> locked
//! ```
//!
//! # A free page carries nothing
//!
//! All state of a folio is one 64-bit word at its head page; the words of tails and of free pages are zero. Hence:
//! - forming and freeing cost the same at every order: no tail is written;
//! - nothing stale can be read in a later life, and nothing has to be cleared for the next one;
//! - a folio that is frozen by a split or a collapse and a free page cannot be confused;
//! - the freed range goes to the pool *with its order*, once per folio, after the folio has ended.
//!
//! That is the default, [`Reset::OnFree`]. With [`Reset::OnForm`] the last put leaves order and data behind, as Linux
//! does, and forming overwrites them: a word without its live flag then means as little as zero. The rules
//! and the cost are the same; [`Reset`] tells why.
//!
//! Metadata are 8 bytes a page, and two counters a pagemap: live pages, and collapses.
//!
//! # Example
//!
//! ```
//! use std::sync::Mutex;
//! use bifolio_folio::{FreeRange, MemoryKind, Order, PageMap, Pfn, Pool};
//!
//! /// A pool of ranges that are handed out as they came.
//! struct Shelf(Mutex<Vec<FreeRange>>);
//!
//! impl Pool for Shelf {
//!     fn folio_free(&self, range: FreeRange, _data: u32) {
//!         self.0.lock().unwrap().push(range);
//!     }
//!     fn folio_split(&self, _head: Pfn, _from: Order, _to: Order, _data: u32) {}
//!     fn folio_collapse(&self, _head: Pfn, _from: Order, _to: Order, _data: u32) {}
//! }
//!
//! let shelf = Shelf(Mutex::new(vec![FreeRange::claim(Pfn::ZERO, Order::PMD)]));
//! let map = PageMap::new(MemoryKind::Private, Pfn::ZERO, 512, shelf)?;
//!
//! let range = map.pool().0.lock().unwrap().pop().unwrap();
//! let folio = map.form(range, 42)?.unlock();
//! let second = map.try_get(Pfn::new(77))?;
//! assert_eq!((second.head(), second.order(), second.references()), (Pfn::ZERO, Order::PMD, 2));
//! drop(folio);
//!
//! let locked = second.try_lock().expect("the lock is free");
//! for piece in locked.split(Order::K64).expect("it is the only reference") {
//!     assert_eq!(piece.data(), 42);
//! }
//! assert_eq!(map.pool().0.lock().unwrap().len(), 32);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The rules, and what keeps them
//!
//! | Rule | What | Kept by |
//! |---|---|---|
//! | I1 | no folio is formed over another | [`FreeRange`] is not `Copy`; the head's word must not be live; no page in checked builds |
//! | I2, I6 | the state of a new folio follows from the arguments; no other page is touched | one word is written, as a whole |
//! | I3 | the pagemap is named by the caller, never read from a page | [`PageMap::form`], [`Folio::pagemap`] |
//! | I4 | each folio is freed once, with its order | the put that ends the live word is the one that calls [`Pool::folio_free`] |
//! | I5, I17 | nothing of a folio is touched once it is handed back | handles remember head and order |
//! | I7 | one reference of the backing object per folio | [`Pool::folio_split`], [`Pool::folio_collapse`] |
//! | I8 | the pagemap counts the pages in live folios | counted before the word is written, taken off after the pool is told |
//! | I10 | frozen and free differ | a frozen word is live |
//! | I11 | new folios are locked with one reference | [`PageMap::form`] returns `Folio<Locked>` |
//! | I16 | no form after kill; drained if and only if no page is live | the counter and the kill flag are one word |
//! | I24 | no waiting for a folio lock | there is only [`Folio::try_lock`] |
//!
//! # What the compiler refuses
//!
//! | Mistake | Error | In `tests/ui` |
//! |---|---|---|
//! | to form a folio of a range twice, or to give a range away twice (I1) | `E0382` | `used_twice.rs` |
//! | to clone a range (I1) | `E0599` | `wrong_state.rs` |
//! | to use a reference that was put, unlocked, split or collapsed (I5, I17) | `E0382` | `used_twice.rs` |
//! | to turn a reference that was laid aside back twice | `E0382` | `used_twice.rs` |
//! | to keep a folio longer than its pagemap (I3) | `E0505` | `used_twice.rs` |
//! | to split or collapse without the folio lock, or to have the lock twice (I11) | `E0599`, `E0308` | `wrong_state.rs` |
//! | to wait for the lock of a folio (I24) | `E0599` | `wrong_state.rs` |
//! | to take pages back without their order (I4) | `E0053` | `wrong_state.rs` |
//! | to make a handle or a state of folios outside of this crate | `E0451`, `E0277`, `E0603` | `forged_handle.rs`, `sealed_state.rs`, `private_seal.rs` |
//!
//! What can be done instead of each is in `legal.rs`, which compiles.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod check;
mod collapse;
mod folio;
mod form;
mod order;
mod page_set;
mod pagemap;
mod pfn;
mod pool;
mod range;
mod raw;
mod reset;
mod run;
#[cfg(feature = "snapshot")]
mod snapshot;
mod split;
mod sync;
mod word;

#[cfg(test)]
mod tests;

pub use check::{FolioView, Inconsistency};
pub use collapse::{CollapseError, CollapseErrorKind};
pub use folio::{Folio, Live, Locked, State};
pub use form::{FormError, FormErrorKind};
pub use order::{Order, PAGE_SHIFT, PAGE_SIZE};
pub use page_set::PageSet;
pub use pagemap::{GetError, MemoryKind, PageMap, PageMapError};
pub use pfn::Pfn;
pub use pool::Pool;
pub use range::FreeRange;
pub use raw::RawFolio;
pub use reset::{Reset, UnknownReset};
pub use run::{AlignedRun, BLOCK_PAGES, PageRun};
pub use split::{Pieces, SplitError, SplitErrorKind};
pub use word::{DATA_MAX, REFERENCES_MAX};
