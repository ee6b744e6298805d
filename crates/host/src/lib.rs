//! Bifolio live: one pointer on the CPU and on a device, on userfaultfd.
//!
//! ```text
//!   CPU touches a page        fault_loop --+                        +-- cpu      the CPU's view
//!                                          +--> engine -----------+-- device   copies, page table
//!   device touches a page     device ------+      |                 +-- pool     device memory (`bifolio-pool`)
//!                                                 +--> statistics
//! ```
//!
//! The engine (`bifolio-engine`) runs the transactions of `bifolio-migrate` on blocks; [`space`] puts everything together for
//! memory that is allocated through Bifolio, [`in_place`] for the private memory of programs that know nothing of it.
//!
//! A device of one's own takes the place of the built-in one by [`Space::with_device`]: `examples/own_device.rs` is one, and
//! [`device`] has the contract. One dependency is enough: what a program or a device needs of other crates is named here too.
//!
//! ```
//! use bifolio_host::{AddressRange, Counter, DeviceFault, Kernel, PAGE, Space, SpaceConfig, Unit};
//!
//! /// Adds 1 to the first word of every page.
//! struct Increment(AddressRange);
//!
//! impl Kernel for Increment {
//!     fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
//!         for at in (self.0.start()..self.0.end()).step_by(PAGE).skip(unit).step_by(units) {
//!             let value = memory.load(at)?;
//!             memory.store(at, value + 1)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! // Addresses for 16 MiB, and 1 MiB of device memory.
//! let config = SpaceConfig::new(16 << 20, 1 << 20);
//! # let space = match Space::new(config) {
//! #     Err(bifolio_host::SetupError::Uffd(_)) => return Ok(()), // nothing to show where faults cannot be caught
//! #     space => space?,
//! # };
//! # /*
//! let space = Space::new(config)?;
//! # */
//! let bytes = 4 << 20;
//! let span = AddressRange::new(space.allocate(bytes)?, bytes)?;
//! space.window(span).store_u64(0, 41)?;
//! space.launch(&Increment(span))?; // its faults bring pages to the device, and evict others
//! assert_eq!(space.window(span).load_u64(0)?, 42); // a fault of the CPU brings the page home
//! assert!(space.statistics().get(Counter::Evictions) > 0);
//! space.free(span.start())?;
//! space.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod fault_loop;
pub mod gauges;
pub mod in_place;
pub mod setup;
pub mod space;
mod sync;
pub mod touchers;
pub mod views;

pub use bifolio_builtin::{
    AtomicOp, AtomicWidth, Builtin, CachingPort, Hosted, Invalidation, Kernel, Memory, MemoryError, Port,
    Refused, Translation, Unit,
};
pub use bifolio_engine::detach::DetachError;
pub use bifolio_engine::device::DeviceFault;
pub use bifolio_engine::{
    BufferError, Counter, Direction, Engine, Extent, Residence, Side, Snapshot, Statistics,
};
pub use bifolio_engine::{Detail, Event, EventKind, Observer, device, sleep};
pub use bifolio_folio::{MemoryKind, Order, PageRun, PageSet, Pfn, Reset};
pub use bifolio_migrate::{Failure, NodeId, Rights};
pub use bifolio_policy::{Advice, FixedOrders, Pattern, Policies, Policy, PolicyName, Preferred, Switch};
pub use bifolio_pool::PoolName;
pub use bifolio_rules::Violation;
pub use bifolio_sys::{AddressRange, Mapping, PAGE, Placement, ProgramMemory, Protection, SharedBytes};
pub use setup::SetupError;
pub use space::adopt::AdoptError;
pub use space::buffer::{Buffer, Pinned};
pub use space::{DeviceSlot, Space, SpaceConfig};
