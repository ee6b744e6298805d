//! A simulated machine behind the traits of `bifolio-engine`: no userfaultfd, and no threads unless a test has some.
//!
//! ```text
//!   view      the CPU's page table, threads that sleep in faults, SIGBUS        implements CpuView
//!   device    device memory, its page table, its accesses, a timeline           implements Device
//!   clock     virtual time
//!   faulty    decorators that make any view, device or pool fail on demand      FaultyView, FaultyDevice, FaultyPool
//!   oracle    what each word of memory must read as (I27)
//! ```
//!
//! All bytes are real memory of this process, so a write that is lost is seen. What a kernel or a device would not do, such
//! as showing a page that has no memory, is a panic. Memory that is freed is overwritten,
//! unless the view keeps bytes.
//!
//! # Who stands on it
//!
//! | Tests of | With |
//! |---|---|
//! | transactions, in `crates/migrate/tests` | view and devices, several nodes, no engine |
//! | the engine, in `tests/engine` here | everything but threads |
//! | races, in `crates/verify/shuttle` | the view and the decorators, and the built-in device |
//! | the host's views on real userfaultfd, in `crates/host/tests` | the decorators alone |
//!
//! The worlds of `bifolio check` do not. The explorer copies, compares and hashes a state at every step, millions of times a
//! second, and keeps 56 bytes of each: a state must be a value. Here bytes are mapped memory, sleepers sit in queues, and
//! locks stand between them, none of which can be copied or put back. The explorer also tries every answer that a step
//! allows, while a script here picks one, and it knows bytes only as "written last" or "not", which makes states equal
//! that differ in bytes. What both share is what a step may answer: a transaction panics at any outcome that
//! [`Step::allows`](bifolio_migrate::Step::allows) refuses.
//!
//! The sources stand on `sync` alone for locks and atomics, and name each other by `super`: `bifolio-shuttle` compiles
//! them once more, against its scheduler.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bifolio_engine::device::Device;
//! use bifolio_engine::view::CpuView;
//! use bifolio_folio::{MemoryKind, Pfn};
//! use bifolio_sim::faulty::{Call, FailAfter, FaultyDevice};
//! use bifolio_sim::{SimDevice, SimView, Touch};
//!
//! // A touch of a page that is not there sleeps until a fault handler answers it.
//! let view = SimView::of_blocks(1, &[]);
//! let page = view.addresses().start();
//! let Ok(Touch::Asleep(sleeper)) = view.try_touch(page, |bytes| bytes.load_u64(0)) else { panic!("absent") };
//! assert_eq!(view.take_fault(), Some(page));
//! view.poison(page);
//! assert!(view.is_awake(sleeper) && view.try_touch(page, |bytes| bytes.load_u64(0)).is_err());
//!
//! // The second copy of this device fails.
//! let failures = FailAfter::never();
//! let device = FaultyDevice::over(Arc::new(SimDevice::new(MemoryKind::Private, Pfn::ZERO, 64)), failures.clone());
//! failures.fail_after(1);
//! # let _ = (device.capabilities(), Call::Clear);
//! ```
#![forbid(unsafe_code)]

pub mod clock;
pub mod device;
pub mod faulty;
pub mod oracle;
mod sync;
pub mod view;

pub use clock::VirtualClock;
pub use device::SimDevice;
pub use view::{Entry, Quirks, ReachableMemory, Sigbus, SimView, Sleeper, Touch};
