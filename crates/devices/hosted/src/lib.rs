//! Hosted devices: Bifolio keeps the memory and the page table, and a model of the device reads, writes and asks for pages
//! through [`Port`]s.
//!
//! ```text
//!   model --try_load, try_store, try_atomic--> Port --TLB, page table--> device memory
//!     |                                          |
//!     |  <------ Refused::Fault(request) --------+   no translation, or not for this access
//!     +--resolve(request)----------------------> engine: copies, evicts, maps; then the model tries again
//! ```
//!
//! A port has no thread: an access is tried and says at once whether it was done, and the model decides when a fault is
//! answered. It is used by one thread at a time; any number of ports work at the same time. A hit costs two stores, the look
//! at a number, and a look in the port's own TLB: no lock, no fence (see `gate`).
//!
//! What a thread may do between two calls of a port: anything. It holds nothing that the engine could wait for, so it may
//! touch shared memory by host pointers, sleep, launch, or wait for a thread that faults. The one exception is an address
//! that it was given by [`Port::translate`]. Models that keep translations for longer use a [`CachingPort`].
//!
//! ```
//! use std::sync::Arc;
//! use bifolio_engine::device::Device;
//! use bifolio_folio::Pfn;
//! use bifolio_hosted::{Hosted, Memory, Refused};
//!
//! let device = Arc::new(Hosted::new(Memory::new(Pfn::ZERO, 64)?, 0x10_0000..0x20_0000));
//! let mut port = device.open_port(0);
//! // Nothing is mapped yet, so an access is a fault; its owner has it answered (here there is no engine to do so).
//! let Err(Refused::Fault(request)) = port.try_load::<u64>(0x10_0008) else { panic!("nothing is there") };
//! assert_eq!((request.address, request.pages), (0x10_0008, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod atomic_op;
mod caches;
mod caching;
mod gate;
mod hosted;
mod memory;
mod owner;
mod port;
mod small;
mod sync;
mod table;
mod tlb;

pub use atomic_op::{AtomicOp, AtomicWidth};
pub use caches::Invalidation;
pub use caching::CachingPort;
pub use hosted::Hosted;
pub use memory::{Memory, MemoryError};
pub use port::{Port, Refused, Translation};
