//! The sources of `bifolio-folio` and of the pools, compiled against loom's atomics and locks, and
//! what must hold in every interleaving.
//!
//! Each module of these crates takes them from `crate::sync`. Here that module stands on loom, so the very
//! same lines run under the model checker, without any compiler flag: `cargo test -p bifolio-loom`. Outside of
//! tests this crate is empty.
//!
//! One property per test, two or three threads each. loom walks through all interleavings of their atomic
//! operations, and through all values that weak orderings let a load see.

#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(dead_code, reason = "the tests use a part of the borrowed modules")]
#![expect(
    clippy::wrong_self_convention,
    reason = "clippy spares exported methods, which `from_raw` is at home"
)]

extern crate alloc;
// What the pools know as another crate is this one.
extern crate self as bifolio_folio;

#[path = "../../../folio/src/check.rs"]
mod check;
#[path = "../../../folio/src/collapse.rs"]
mod collapse;
#[path = "../../../folio/src/folio.rs"]
mod folio;
#[path = "../../../folio/src/form.rs"]
mod form;
#[path = "../../../folio/src/order.rs"]
mod order;
#[path = "../../../folio/src/page_set.rs"]
mod page_set;
#[path = "../../../folio/src/pagemap.rs"]
mod pagemap;
#[path = "../../../folio/src/pfn.rs"]
mod pfn;
#[path = "../../../folio/src/pool.rs"]
mod pool;
#[path = "../../../folio/src/range.rs"]
mod range;
#[path = "../../../folio/src/raw.rs"]
mod raw;
#[path = "../../../folio/src/reset.rs"]
mod reset;
#[path = "../../../folio/src/run.rs"]
mod run;
#[path = "../../../folio/src/split.rs"]
mod split;
#[path = "../../../folio/src/word.rs"]
mod word;

#[path = "../../../pool/src/backing.rs"]
mod backing;
#[path = "../../../pool/src/buddy.rs"]
mod buddy;
#[path = "../../../pool/src/chunks.rs"]
mod chunks;
#[path = "../../../pool/src/coherent.rs"]
mod coherent;
#[path = "../../../pool/src/counted.rs"]
mod counted;
#[path = "../../../pool/src/device_pool.rs"]
mod device_pool;
#[path = "../../../pool/src/error.rs"]
mod error;
#[path = "../../../pool/src/free_lists.rs"]
mod free_lists;
#[path = "../../../pool/src/freelist.rs"]
mod freelist;
#[path = "../../../pool/src/handed_out.rs"]
mod handed_out;
#[path = "../../../pool/src/mirror.rs"]
mod mirror;
#[path = "../../../pool/src/objects.rs"]
mod objects;
#[path = "../../../pool/src/offset.rs"]
mod offset;

mod collapses;
mod ledger;
mod lives;
mod pools;
mod references;
mod splits;
mod sync;
mod teardown;

use device_pool::{Allocation, Contents, DevicePool, Rmap, Usage};
use error::NewError;
use freelist::FreeListPool;
use order::Order;
use page_set::PageSet;
use pfn::Pfn;
use pool::Pool;
use range::FreeRange;
use run::AlignedRun;
use word::DATA_MAX;
