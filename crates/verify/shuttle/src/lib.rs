//! The sources of the engine, and the built-in device, compiled against shuttle's locks, atomics and threads, on
//! the simulated machine of `bifolio-sim`.
//!
//! `bifolio-loom` walks through all interleavings of a few operations on one page word. Here whole transactions race:
//! threads of a program, units of a device, handlers, evictions, teardown. That is too much to try everything, so each
//! scenario runs under some hundred schedules: random ones, and ones that preempt threads at few, well spread places (PCT).
//!
//! ```text
//!   shipped      blocks, engine, buffer objects,                                      crate::sync stands on shuttle
//!                built-in device (units, gate, page table)
//!   simulated    sim::view            the program's page table, and the kernel's part of userfaultfd
//!                sim::faulty          calls of the view, the device and the pool that go wrong
//!                sim::oracle          what each word must read as (I27)
//!                simulation::faults   which calls go wrong: by chance, or by a mutant
//!                simulation::machine  all of it together, and the threads
//! ```
//!
//! Each scenario demands: every read returns the last write, unless the page was unmapped meanwhile; no thread waits for ever,
//! and nothing goes round in circles; in the end [`engine::Engine::audit`] is empty, each byte is where its block says, and
//! after all is freed nothing is taken from the pool or the budget.
//!
//! # Running
//!
//! | To | Run |
//! |---|---|
//! | run what CI runs: the same schedules every time | `cargo test -p bifolio-shuttle` |
//! | run longer, each time on other schedules | `BIFOLIO_SHUTTLE_ITERATIONS=100000 cargo test --release -p bifolio-shuttle` |
//! | run one failure again | `BIFOLIO_SHUTTLE_SCHEDULE=9103... cargo test -p bifolio-shuttle NAME` |
//!
//! A failed test prints its schedule: the hexadecimal lines between the quotation marks. It holds as long as neither the
//! scenario nor the sources change.
//!
//! | Scenarios in `tests/races` | What races |
//! |---|---|
//! | `faults` | faults of both sides on the same folios, prefetches, a thread that takes references |
//! | `unmapping` | faults and moves against unmapping part of a folio, and mapping it again |
//! | `eviction` | making room on the device against the victims' use, and two blocks that evict from each other |
//! | `scarcity` | making room in system memory against faults of the device, and an audit |
//! | `peers` | two devices that want the same pages, through system memory, with little device memory, while one is taken away |
//! | `pinning` | pages that stay in system memory against faults of the device, making room, unmapping, teardown |
//! | `reshaping` | splits and collapses against faults of both sides, eviction, unmapping, holders, and each other |
//! | `exclusive` | pages that the device has for itself against touches of the CPU, prefetches, making room, unmapping, and the end of the device |
//! | `buffers` | buffer objects that are made, brought, evicted, pinned, read, written and freed, against each other and folios |
//! | `teardown` | kill, evict, drain, finish against faults of both sides and against holders |
//!
//! # What this cannot find
//!
//! Shuttle takes all atomics for sequentially consistent; weak orderings are for `bifolio-loom`. The page words are those
//! of the real `bifolio-folio`: no thread goes on between two accesses of one within an operation, but
//! [`simulation::machine::Machine::hold`] takes references in between operations. What the kernel does is a model of what
//! the host's tests on the kernel saw; moves of anonymous memory are not modelled.
//!
//! # That it finds something
//!
//! Each [`mutant::Mutant`] is a deliberate fault, found by the schedules of CI (`tests/races/mutants.rs`). It also found
//! faults that were not deliberate. The first transaction had just allocated device memory and not yet formed its folio, or
//! put a folio and not yet returned its memory; the second needed room, saw no victim, and said that there is no memory: the
//! device job ended in vain. The same with system memory that was reserved and not yet a block's: SIGBUS in vain. And where
//! the device refused to enter a buffer object in its page table, it was told to remove what it had not entered.
#![forbid(unsafe_code)]
#![allow(
    dead_code,
    unreachable_patterns,
    rustdoc::broken_intra_doc_links,
    reason = "what is borrowed changes at home: it may hold more than is used here, and link to modules that are not here"
)]

// What the sources know as other crates is this one.
extern crate self as bifolio_builtin;
extern crate self as bifolio_checker;
extern crate self as bifolio_engine;
extern crate self as bifolio_hosted;

#[path = "../../../engine/src/advise.rs"]
mod advise;
#[path = "../../../engine/src/audit.rs"]
pub mod audit;
#[path = "../../../engine/src/blocks.rs"]
pub mod blocks;
#[path = "../../../engine/src/budget.rs"]
pub mod budget;
#[path = "../../../engine/src/buffer/mod.rs"]
pub mod buffer;
#[path = "../../../engine/src/clock.rs"]
pub mod clock;
#[path = "../../../engine/src/decide.rs"]
mod decide;
#[path = "../../../engine/src/detach.rs"]
pub mod detach;
#[path = "../../../engine/src/device.rs"]
pub mod device;
#[path = "../../../engine/src/engine.rs"]
pub mod engine;
#[path = "../../../engine/src/event.rs"]
pub mod event;
#[path = "../../../engine/src/exclusive.rs"]
pub mod exclusive;
#[path = "../../../engine/src/executor.rs"]
mod executor;
#[path = "../../../engine/src/fault.rs"]
mod fault;
#[path = "../../../engine/src/node.rs"]
pub mod node;
#[path = "../../../engine/src/pin.rs"]
pub mod pin;
#[path = "../../../engine/src/query.rs"]
mod query;
#[path = "../../../engine/src/ram_order.rs"]
mod ram_order;
#[path = "../../../engine/src/reclaim.rs"]
mod reclaim;
#[path = "../../../engine/src/remote.rs"]
mod remote;
#[path = "../../../engine/src/request.rs"]
mod request;
#[path = "../../../engine/src/reshape.rs"]
pub mod reshape;
#[path = "../../../engine/src/residents.rs"]
mod residents;
#[path = "../../../engine/src/retry.rs"]
mod retry;
#[path = "../../../engine/src/run.rs"]
mod run;
#[path = "../../../engine/src/sleep.rs"]
pub mod sleep;
#[path = "../../../engine/src/statistics.rs"]
pub mod statistics;
#[path = "../../../engine/src/view.rs"]
pub mod view;

#[path = "../../../devices/builtin/src/builtin.rs"]
pub mod builtin;
#[path = "../../../devices/builtin/src/unit.rs"]
mod unit;

#[path = "../../../devices/hosted/src/atomic_op.rs"]
mod atomic_op;
#[path = "../../../devices/hosted/src/caches.rs"]
mod caches;
#[path = "../../../devices/hosted/src/caching.rs"]
mod caching;
#[path = "../../../devices/hosted/src/gate.rs"]
mod gate;
#[path = "../../../devices/hosted/src/hosted.rs"]
pub mod hosted;
#[path = "../../../devices/hosted/src/memory.rs"]
mod memory;
#[path = "../../../devices/hosted/src/owner.rs"]
mod owner;
#[path = "../../../devices/hosted/src/port.rs"]
mod port;
#[path = "../../../devices/hosted/src/small.rs"]
mod small;
#[path = "../../../devices/hosted/src/table.rs"]
mod table;
#[path = "../../../devices/hosted/src/tlb.rs"]
mod tlb;

#[path = "../../../host/src/fault_loop.rs"]
pub mod fault_loop;
#[path = "../../../host/src/setup.rs"]
pub mod setup;

pub mod checker;
pub mod mutant;
pub mod runner;
pub mod sim;
pub mod simulation;
pub mod space;
mod sync;
pub mod views;

pub use atomic_op::{AtomicOp, AtomicWidth};
pub use budget::Budget;
pub use builtin::{Builtin, Kernel};
pub use checker::{Checker, Observed};
pub use engine::{Engine, Parts, Side};
pub use hosted::Hosted;
pub use memory::{Memory, MemoryError};
pub use node::{Node, NodeError, NodeParts};
pub use port::{Port, Refused, Translation};
pub use statistics::{Counter, Statistics};
pub use unit::Unit;
