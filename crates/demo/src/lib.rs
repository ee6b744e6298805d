//! The job of the demonstration: PageRank and breadth-first search over a graph of real pointers.
//!
//! ```text
//!   edge_list --> Graph --order--> Graph --SharedGraph::build--> records in shared memory
//!                                            |                        ^         ^
//!                                            |               host follows    device follows
//!                                            |          (shared_graph)      (kernels, by run)
//!                                            v                        |
//!                                        reference ----- verify <-----+
//! ```
//!
//! - [`graph`], [`edge_list`], [`debian`], [`rmat`], [`order`]: input, on ordinary memory.
//! - [`layout`], [`shared_graph`]: the same graph as records that point to each other, written through
//!   [`memory::HostMemory`].
//! - [`personal`]: what personalised ranks need beside the graph.
//! - [`kernels`], [`run`]: the device side, written once over [`memory::DeviceMemory`], and the host loop
//!   that launches it phase by phase through [`kernels::Launcher`].
//! - [`mod@reference`], [`verify`]: the same results computed plainly, and their comparison.
//! - [`live`]: these three traits over a real space with a device.
//! - [`arena`]: the same over a plain vector, to run all this without a device.
//! - [`told`]: any such memory, with each access of the device told.
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
pub mod personal;
pub mod reference;
pub mod rmat;
pub mod run;
pub mod shared_graph;
pub mod told;
pub mod verify;
