//! Pools of device memory: the driver's side of a pagemap.
//!
//! A pool hands out a range for a folio of some order, or says no; it gets the range back *with its order*, once for
//! each folio, and learns of splits ([`bifolio_folio::Pool`]). What it knows beyond that it tells when asked: whose
//! bytes a device page holds, so that they can be brought home, and how much memory which objects hold.
//!
//! | Pool | As | Objects | Memory is free again | Good for |
//! |---|---|---|---|---|
//! | [`buddy`] | Xe | one for each allocation, over blocks of the buddy allocator | with the last folio of its allocation | any use; the default |
//! | [`freelist`] | Nouveau, repaired | none | with each folio, each piece of one | many small pieces, partial frees |
//! | [`coherent`] | KFD | one for up to 2 MiB of a block, shared by its folios at offsets | with the last folio on the object | memory that the CPU maps; neighbours that travel together |
//! | [`mirror`] | the kernel's HMM test device | none | with each folio; chunks only at the end | tests: an allocation can be told to fail |
//!
//! All of them serve every order from 0 to 9, and make small folios of what large ones left: an order-4 folio out of
//! a free order-9 one. What two of them do alike is one thing: references by number (`counted`), memory in chunks
//! (`chunks`), free folios by order (`free_lists`).
#![forbid(unsafe_code)]

pub mod buddy;
mod chunks;
pub mod coherent;
mod counted;
mod device_pool;
mod error;
mod free_lists;
pub mod freelist;
pub mod mirror;
mod name;
mod owner;
#[cfg(feature = "snapshot")]
pub mod snapshot;
mod sync;

pub use buddy::BuddyPool;
pub use coherent::CoherentPool;
pub use device_pool::{DevicePool, Home, Usage};
pub use error::NewError;
pub use freelist::FreeListPool;
pub use mirror::MirrorPool;
pub use name::{PoolName, UnknownPool};
