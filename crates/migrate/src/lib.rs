//! The core of shared virtual memory, without I/O.
//!
//! A *block* is 2 MiB of virtual memory: the unit of locking, and of this machine. Each of its 512 pages is in
//! one place at a time:
//!
//! ```text
//!                      install zero                     form, isolate, copy
//!   not live --map--> empty ------------------> ram ------------------------------> device
//!       ^               |                        ^                                    |
//!       |               |                        +---- unmap device, copy, install ---+
//!       +---- unmap ----+----- unmap from anywhere
//! ```
//!
//! Pages of system memory may be pinned ([`Block::pin`]): they stay there, live, until they are unpinned.
//!
//! A [`Transaction`] moves pages between these places. It has no threads, no clock and no system calls: it emits
//! a [`Step`] (form a folio, isolate pages, copy, install), its runner does that step
//! and reports an [`Outcome`], until [`Step::Finish`]. The same transactions run live on userfaultfd, inside a
//! simulated world in the tests, and under a checker. A transaction that fails at any step leaves every byte
//! where it was (I12, I23).
//!
//! A runner, in short: here every step succeeds, and none is really done.
//!
//! ```
//! use bifolio_folio::Order;
//! use bifolio_migrate::{AlignedRun, Block, CpuFaultOrders, Outcome, PageRun, Step, Transaction};
//!
//! let mut block = Block::new();
//! block.map(PageRun::BLOCK);
//!
//! // A page is touched for the first time.
//! let orders = CpuFaultOrders { to_ram: Order::PMD, populate: Order::K64 };
//! let mut fault = Transaction::cpu_fault(&block, 7, orders);
//! let (mut outcome, mut asked) = (Outcome::Start, Vec::new());
//! let finished = loop {
//!     match fault.step(&mut block, outcome) {
//!         Step::Finish(finished) => break finished,
//!         step => asked.push(step), // do it here, and say how it went
//!     }
//!     outcome = Outcome::Done;
//! };
//! let run = AlignedRun::around(7, Order::K64);
//! assert_eq!(asked, [Step::ReserveRam { run }, Step::InstallZero { run }]);
//! assert!(finished.is_ok() && block.ram().contains(7));
//! ```
//!
//! Pages are never taken for slots (I13): what is asked for is a run of pages, not a number.
//!
//! ```compile_fail,E0308
//! # use bifolio_migrate::Step;
//! let one_slot = Step::ReserveRam { run: 1 };
//! ```
//! ```
//! # use bifolio_migrate::{AlignedRun, Step};
//! let all_pages = Step::ReserveRam { run: AlignedRun::block() };
//! ```
//!
//! | Module | What it holds |
//! |---|---|
//! | [`block`] | where the pages of one block are |
//! | [`node`] | names of what is on devices |
//! | [`step`] | what a transaction asks for, and the answers |
//! | [`transaction`] | the machine's interface; [`to_device`], [`to_ram`], [`populate`], [`unmap`], [`protect`], [`split`], [`collapse`] are its kinds |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod block;
mod border;
pub mod collapse;
pub mod node;
mod orders;
pub mod populate;
pub mod protect;
pub mod split;
pub mod step;
pub mod to_device;
pub mod to_ram;
pub mod transaction;
pub mod unmap;

pub use bifolio_folio::{AlignedRun, BLOCK_PAGES, PageRun, PageSet};
pub use block::{Block, InUse, Piece};
pub use node::{DevicePage, Folio, FolioId, Formed, NodeId, Rights};
pub use orders::{CpuFaultOrders, OrderRange};
pub use step::{Failure, Finished, Moved, Outcome, Step};
pub use transaction::Transaction;

/// Bytes in one block.
pub const BLOCK_BYTES: u64 = BLOCK_PAGES as u64 * bifolio_folio::PAGE_SIZE;
