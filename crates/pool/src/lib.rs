//! Pools of device memory: the driver's side of a pagemap.
//!
//! A pool hands out a range for a folio of some order, or says no; it gets the range back *with its order*, once for
//! each folio, and learns of splits ([`bifolio_folio::Pool`]). What it knows beyond that it tells when asked: whose
//! bytes a device page holds, so that they can be brought home, and how much memory which objects hold.
//!
//! | Pool | As | Objects |
//! |---|---|---|
//! | [`buddy`] | Xe | one for each allocation, over blocks of the buddy allocator |
#![forbid(unsafe_code)]

pub mod buddy;
mod device_pool;
mod name;

pub use buddy::BuddyPool;
pub use device_pool::{DevicePool, Home, Usage};
pub use name::{NewError, PoolName, UnknownPool};
