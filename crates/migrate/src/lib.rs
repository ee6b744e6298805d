//! The core of shared virtual memory, without I/O.
//!
//! A *block* is 2 MiB of virtual memory: the unit of locking, and of this machine. Each of its 512 pages is in
//! one place at a time:
//!
//! ```text
//!                      install zero                     form, take out, copy
//!   not live --map--> empty ------------------> ram ------------------------------> device
//!       ^               |                        ^                                    |
//!       |               |                        +---- unmap device, copy, install ---+
//!       +---- unmap ----+----- unmap from anywhere
//! ```
//!
//! Pages of system memory may be pinned ([`Block::pin`]): they stay there, live, until they are unpinned.
//!
//! A [`Transaction`] moves pages between these places. It has no threads, no clock and no system calls: it emits
//! a [`Step`] (form a folio, take a span out of the CPU's view, copy, install), whoever runs it does that step
//! and reports an [`Outcome`], until [`Step::Finish`]. The same transactions run live on userfaultfd, inside a
//! simulated world in the tests, and under a checker. A transaction that fails at any step leaves every byte
//! where it was (I12, I23).
//!
//! A runner, in short: here every step succeeds, and none is really done.
//!
//! ```
//! use bifolio_folio::{MemoryKind, Order};
//! use bifolio_migrate::{AlignedRun, Block, Granularity, Outcome, PageRun, Step, Transaction};
//!
//! let policy = Granularity { largest: Order::PMD, smallest: Order::ZERO, populate: Order::K64 };
//! let mut block = Block::new(MemoryKind::Private);
//! block.map(PageRun::BLOCK);
//!
//! // A page is touched for the first time.
//! let mut fault = Transaction::cpu_fault(&block, 7, &policy);
//! let (mut outcome, mut asked) = (Outcome::Start, Vec::new());
//! let finished = loop {
//!     match fault.step(&mut block, outcome) {
//!         Step::Finish(finished) => break finished,
//!         step => asked.push(step), // do it here, and say how it went
//!     }
//!     outcome = Outcome::Done;
//! };
//! let span = AlignedRun::around(7, Order::K64);
//! assert_eq!(asked, [Step::ReserveRam { span }, Step::InstallZero { span }]);
//! assert!(finished.is_ok() && block.ram().contains(7));
//! ```
//!
//! Pages are never taken for slots (I13): what is asked for is a span, not a number.
//!
//! ```compile_fail,E0308
//! # use bifolio_migrate::Step;
//! let one_slot = Step::ReserveRam { span: 1 };
//! ```
//! ```
//! # use bifolio_migrate::{AlignedRun, Step};
//! let all_pages = Step::ReserveRam { span: AlignedRun::block() };
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`block`] | where the pages of one block are |
//! | [`step`] | what a transaction asks for, and the answers |
//! | [`transaction`] | the machine's interface; [`to_device`], [`to_ram`], [`populate`], [`unmap`], [`split`], [`collapse`] are its kinds |
//! | [`policy`] | which order to move, chosen at run time |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod block;
pub mod collapse;
pub mod policy;
pub mod populate;
pub mod split;
pub mod step;
pub mod to_device;
pub mod to_ram;
pub mod transaction;
pub mod unmap;

pub use bifolio_folio::{AlignedRun, BLOCK_PAGES, PageRun, PageSet};
pub use block::{Block, InUse, Piece};
pub use policy::{Granularity, Policy};
pub use step::{Failure, Finished, Folio, FolioId, Moved, Outcome, Step};
pub use transaction::Transaction;

/// Bytes in one block.
pub const BLOCK_BYTES: u64 = BLOCK_PAGES as u64 * bifolio_folio::PAGE_SIZE;
