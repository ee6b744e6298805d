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
//! let locked = second.try_lock().expect("nobody else has the lock");
//! for piece in locked.split(Order::K64).expect("nobody else has a reference") {
//!     assert_eq!(piece.data(), 42);
//! }
//! assert_eq!(map.pool().0.lock().unwrap().len(), 32);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The rules, and who keeps them
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
//! Each is followed by its legal twin. `map` is a pagemap, `range` a free range, `folio` a handle in the state
//! that the text tells.
//!
//! A range is used up by forming a folio, even by a failed attempt (which gives it back in the error).
//!
//! ```compile_fail,E0382
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(map: &PageMap<P>, range: FreeRange) {
//! let folio = map.form(range, 0);
//! let again = map.form(range, 0); // use of moved value
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(map: &PageMap<P>, range: FreeRange) {
//! if let Err(error) = map.form(range, 0) {
//!     let again = map.form(error.range, 0);
//! }
//! # }
//! ```
//!
//! A reference that was put is gone.
//!
//! ```compile_fail,E0382
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Live>) {
//! drop(folio);
//! folio.references(); // borrow of moved value
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Live>) {
//! let second = folio.clone();
//! drop(folio);
//! second.references();
//! # }
//! ```
//!
//! A folio is published once.
//!
//! ```compile_fail,E0382
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Locked>) {
//! let live = folio.unlock();
//! let twice = folio.unlock(); // use of moved value
//! # }
//! ```
//! ```compile_fail,E0599
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Locked>) {
//! let twice = folio.unlock().unlock(); // no such method on a live folio
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Locked>) {
//! let live = folio.unlock();
//! if let Ok(locked) = live.try_lock() {
//!     let again = locked.unlock();
//! }
//! # }
//! ```
//!
//! There is one lock holder.
//!
//! ```compile_fail,E0599
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Locked>) {
//! let second_holder = folio.clone(); // `Clone` needs `Live`
//! # }
//! ```
//! ```compile_fail,E0599
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Locked>) {
//! let second_holder = folio.try_lock(); // already locked
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Locked>) {
//! let reference_without_lock: Result<Folio<'_, P, Live>, GetError> = folio.get();
//! # }
//! ```
//!
//! Only the lock holder splits, and the whole is gone afterwards.
//!
//! ```compile_fail,E0599
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Live>) {
//! let pieces = folio.split(Order::ZERO); // not locked
//! # }
//! ```
//! ```compile_fail,E0382
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Locked>) {
//! let pieces = folio.split(Order::ZERO);
//! let whole = folio.unlock(); // use of moved value
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Live>) {
//! if let Ok(locked) = folio.try_lock() {
//!     match locked.split(Order::ZERO) {
//!         Ok(pieces) => pieces.for_each(drop),
//!         Err(error) => drop(error.folio.unlock()),
//!     }
//! }
//! # }
//! ```
//!
//! Only lock holders collapse, and the pieces are gone afterwards.
//!
//! ```compile_fail,E0599
//! # use bifolio_folio::*;
//! # fn twin<'m, P: Pool>(lower: Folio<'m, P, Live>, upper: Folio<'m, P, Live>) {
//! let whole = lower.collapse(upper); // not locked
//! # }
//! ```
//! ```compile_fail,E0308
//! # use bifolio_folio::*;
//! # fn twin<'m, P: Pool>(lower: Folio<'m, P, Locked>, upper: Folio<'m, P, Live>) {
//! let whole = lower.collapse(upper); // the other is not locked
//! # }
//! ```
//! ```compile_fail,E0382
//! # use bifolio_folio::*;
//! # fn twin<'m, P: Pool>(lower: Folio<'m, P, Locked>, upper: Folio<'m, P, Locked>) {
//! let whole = lower.collapse(upper);
//! let piece = upper.unlock(); // use of moved value
//! # }
//! ```
//! ```compile_fail,E0382
//! # use bifolio_folio::*;
//! # fn twin<'m, P: Pool>(pieces: Vec<Folio<'m, P, Locked>>) {
//! let whole = Folio::collapse_all(pieces);
//! pieces.into_iter().for_each(drop); // use of moved value
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<'m, P: Pool>(lower: Folio<'m, P, Locked>, upper: Folio<'m, P, Live>) {
//! if let Ok(upper) = upper.try_lock() {
//!     match lower.collapse(upper) {
//!         Ok(whole) => drop(whole.unlock()),
//!         Err(error) => drop(error.pieces.map(Folio::unlock)),
//!     }
//! }
//! # }
//! # fn many<'m, P: Pool>(pieces: Vec<Folio<'m, P, Locked>>) {
//! match Folio::collapse_all(pieces) {
//!     Ok(whole) => drop(whole.unlock()),
//!     Err(error) => error.pieces.into_iter().for_each(drop),
//! }
//! # }
//! ```
//!
//! No pool takes pages back without their order (I4), and nobody waits for a folio's lock (I24).
//!
//! ```compile_fail,E0053
//! # use bifolio_folio::*;
//! # struct Shelf;
//! impl Pool for Shelf {
//!     fn folio_free(&self, head: Pfn, data: u32) {} // not a range, which has an order
//! #     fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}
//! #     fn folio_collapse(&self, _: Pfn, _: Order, _: Order, _: u32) {}
//! }
//! ```
//! ```compile_fail,E0599
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(folio: Folio<'_, P, Live>) {
//! let locked = folio.lock(); // no such method
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # struct Shelf;
//! impl Pool for Shelf {
//!     fn folio_free(&self, range: FreeRange, data: u32) {}
//! #     fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}
//! #     fn folio_collapse(&self, _: Pfn, _: Order, _: Order, _: u32) {}
//! }
//! # fn twin<P: Pool>(folio: Folio<'_, P, Live>) {
//! if let Err(error) = folio.try_lock() {
//!     drop(error); // somebody else has it
//! }
//! # }
//! ```
//!
//! Nobody makes a folio, or a state of one, out of nothing.
//!
//! ```compile_fail,E0451
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(map: &PageMap<P>, folio: Folio<'_, P, Live>) {
//! let (head, order) = (folio.head(), folio.order());
//! let forged = Folio::<P, Locked> { map, head, order, state: std::marker::PhantomData }; // private fields
//! # }
//! ```
//! ```compile_fail,E0603
//! use bifolio_folio::folio::sealed::State; // private module
//! ```
//! ```compile_fail,E0277
//! struct Unheard;
//! impl bifolio_folio::State for Unheard {} // sealed
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(map: &PageMap<P>, folio: Folio<'_, P, Live>) {
//! let (head, order) = (folio.head(), folio.order());
//! let by_number: Result<Folio<'_, P, Live>, GetError> = map.try_get(head);
//! fn any_state<P: Pool, S: State>(_: Folio<'_, P, S>) {}
//! any_state(folio);
//! # }
//! ```
//!
//! A reference laid aside comes back once.
//!
//! ```compile_fail,E0382
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(map: &PageMap<P>, raw: RawFolio) {
//! let folio = map.from_raw(raw);
//! let twice = map.from_raw(raw); // use of moved value
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(map: &PageMap<P>, raw: RawFolio) {
//! let folio = map.from_raw(raw);
//! let twice = map.from_raw(folio.into_raw());
//! # }
//! ```
//!
//! No folio outlives its pagemap.
//!
//! ```compile_fail,E0505
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(map: PageMap<P>, range: FreeRange) {
//! let folio = map.form(range, 0);
//! drop(map); // still borrowed
//! drop(folio);
//! # }
//! ```
//! ```
//! # use bifolio_folio::*;
//! # fn twin<P: Pool>(map: PageMap<P>, range: FreeRange) {
//! let folio = map.form(range, 0);
//! drop(folio);
//! drop(map);
//! # }
//! ```

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
