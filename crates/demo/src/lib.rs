//! The job of the demonstration: PageRank and breadth-first search over a graph of real pointers.
//!
//! ```text
//!   edge_list --> Graph --order--> Graph --Sheet::build--> records in shared memory
//!                                            |                        ^         ^
//!                                            |               host follows    device follows
//!                                            |               (sheet)         (kernels, by run)
//!                                            v                        |
//!                                        reference ----- verify <-----+
//! ```
//!
//! - [`graph`], [`edge_list`], [`debian`], [`order`]: input, on ordinary memory.
//! - [`layout`], [`sheet`]: the same graph as records that point to each other, written through
//!   [`memory::HostMemory`].
//! - [`kernels`], [`run`]: the device side, written once over [`memory::DeviceMemory`], and the host loop
//!   that launches it phase by phase through [`memory::Launcher`].
//! - [`mod@reference`], [`verify`]: the same results computed plainly, and their comparison.
//! - [`live`]: the three memory traits over a real space with a device.
//! - [`arena`]: the same over a plain vector, to run all this without a device.
#![forbid(unsafe_code)]

pub mod arena;
pub mod debian;
pub mod edge_list;
pub mod graph;
pub mod kernels;
pub mod layout;
pub mod live;
pub mod memory;
pub mod names;
pub mod order;
pub mod reference;
pub mod run;
pub mod sheet;
pub mod verify;
