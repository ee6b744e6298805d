//! Pools of device memory: the driver's side of a pagemap.
//!
//! A pool hands out a range for a folio of some order, or refuses; it gets the range back *with its order*, once for each
//! folio, and learns of splits ([`bifolio_folio::Pool`]). It also keeps the reverse mapping of each device page, for
//! evictions, and tells how much memory its objects hold and which memory is cleared.
//!
//! | Pool | As | Objects | Memory is free again | Good for |
//! |---|---|---|---|---|
//! | [`buddy`] | Xe | one for each allocation, over blocks of the buddy allocator | with the last folio of its allocation | any use; the default |
//! | [`freelist`] | Nouveau, repaired | none | with each folio, each piece of one | many small pieces, partial frees |
//! | [`coherent`] | KFD | one for up to 2 MiB of a block, shared by its folios at offsets | with the last folio on the object | memory that the CPU maps; neighbours that are moved together |
//! | [`mirror`] | the kernel's HMM test device | none | with each folio; chunks only at the end | tests: an allocation can be told to fail |
//!
//! All of them serve every order from 0 to 9, and make small folios of what large ones left: an order-4 folio out of
//! a free order-9 one. They share their parts: references and the ranges that are handed out (`counted`, `handed_out`),
//! reverse mappings (`backing`), memory in chunks (`chunks`), free folios by order (`free_lists`).
//!
//! ```
//! use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
//! use bifolio_pool::{Allocation, Contents, DevicePool, PoolName, Rmap};
//!
//! let pool: PoolName = "buddy".parse()?;
//! let map = PageMap::new(MemoryKind::Private, Pfn::ZERO, 512, pool.make(512)?)?;
//! let rmap = Rmap { block: 0, page: 0 }; // the bytes that it is to hold
//! let allocation = map.pool().allocate(Order::PMD, rmap, Contents::Any);
//! let Allocation { range, data, .. } = allocation.expect("nothing is in use");
//! let folio = map.form(range, data)?;
//! assert_eq!(map.pool().rmap_of(Pfn::new(77), data), Some(Rmap { block: 0, page: 77 }));
//!
//! // One reference of the object for each piece (I7), and memory again with the last of them.
//! let pieces: Vec<_> = folio.split(Order::K64).expect("it is the only reference").collect();
//! assert_eq!(map.pool().usage().references, 32);
//! drop(pieces);
//! assert!(map.pool().can_allocate(Order::PMD, rmap));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod backing;
pub mod buddy;
mod chunks;
pub mod coherent;
mod counted;
mod device_pool;
mod error;
mod free_lists;
pub mod freelist;
mod handed_out;
pub mod mirror;
mod name;
mod objects;
mod offset;
#[cfg(feature = "snapshot")]
pub mod snapshot;
mod sync;
#[cfg(test)]
mod tests;

pub use buddy::BuddyPool;
pub use coherent::CoherentPool;
pub use device_pool::{Allocation, Contents, DevicePool, Rmap, Usage};
pub use error::NewError;
pub use freelist::FreeListPool;
pub use mirror::MirrorPool;
pub use name::{PoolName, UnknownPool};
pub use offset::OffsetPool;
