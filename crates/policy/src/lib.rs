//! Policies of migration, chosen at run time: what moves, how much of it, and what leaves.
//!
//! A policy decides for one memory; it does nothing itself. The engine asks it at each fault and when there is no room, and
//! tells it what came of its decisions.
//!
//! ```
//! use bifolio_policy::{Fault, Memory, Policies, PolicyName, Side};
//!
//! let name: PolicyName = "stride+sieve".parse()?;
//! // A device with 16 MiB of memory.
//! let mut policy = name.make(&Memory::device(4096));
//! // Each step of a walk brings four times as much as the one before.
//! let orders = [7usize, 8, 12].map(|page| {
//!     policy.decide(&Fault::new(page << 12, Side::DEVICE, 4096)).orders.largest.get()
//! });
//! assert_eq!(orders, [0, 2, 4]);
//! # Ok::<(), bifolio_policy::UnknownPolicy>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod advice;
pub mod auto;
pub mod belady;
pub mod bounces;
pub mod density;
pub mod eviction;
pub mod fact;
pub mod fault;
pub mod fixed;
pub mod memory;
pub mod miss_curve;
pub mod name;
pub mod page_cache;
pub mod policy;
pub mod streams;
pub mod stride;
pub mod switch;
pub mod throttle;

pub use advice::{Advice, Pattern, Preferred};
pub use eviction::{Eviction, EvictionName, Object, ObjectId, Removal};
pub use fact::{Coming, Fact, Leaving};
pub use fault::{Decision, Fault, Placement, Prefetch};
pub use fixed::{Fixed, FixedOrders};
pub use memory::{Memory, Side};
pub use miss_curve::MissCurve;
pub use name::{Granularity, PolicyName, UnknownPolicy};
pub use policy::{Policies, Policy};
pub use switch::Switch;

/// The worked example of the documentation, tried.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/policies.md")]
mod documentation {}
