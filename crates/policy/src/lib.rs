//! Policies of migration, chosen at run time: which orders move.
//!
//! A policy decides; it does nothing itself. The engine asks it once for each fault and passes the answer to the
//! [`Transaction`](bifolio_migrate::Transaction).
//!
//! ```
//! use bifolio_folio::Order;
//! use bifolio_policy::{FixedOrders, Policy};
//!
//! // 16 MiB of device memory and more than enough system memory: 64 folios of 256 KiB fit on the device.
//! let policy = FixedOrders::for_memory(4096, 1 << 20);
//! let orders = policy.to_device_orders();
//! assert_eq!((orders.largest.get(), orders.smallest), (6, Order::ZERO));
//! ```
#![no_std]
#![forbid(unsafe_code)]

use bifolio_folio::Order;
use bifolio_migrate::{CpuFaultOrders, OrderRange};

/// Decides how much moves at a time.
pub trait Policy: Send + Sync {
    /// Orders of folios that go to a device.
    fn to_device_orders(&self) -> OrderRange;

    /// Orders of what a CPU fault brings.
    fn cpu_fault_orders(&self) -> CpuFaultOrders;
}

/// The policy of fixed orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedOrders {
    /// Largest order in each direction.
    pub largest: Order,
    /// Smallest order to the device.
    pub smallest: Order,
    /// Largest order at first touch.
    pub populate: Order,
}

impl FixedOrders {
    /// Folios that a device memory of this many pages must be able to hold at once. Fewer, and one fault throws
    /// out what the last one brought; measured on pagerank at 1/16 of the data.
    const FOLIOS_MIN: u64 = 64;

    /// Chooses orders that leave room for several folios, both in `device_pages` of device memory and in
    /// `ram_pages` of system memory.
    #[must_use]
    pub fn for_memory(device_pages: u64, ram_pages: u64) -> FixedOrders {
        let fitting = |pages: u64| {
            Order::largest_fitting(pages / Self::FOLIOS_MIN).unwrap_or(Order::ZERO).min(Order::PMD)
        };
        let ram = fitting(ram_pages);
        FixedOrders { largest: fitting(device_pages).min(ram), smallest: Order::ZERO, populate: ram }
    }
}

impl Policy for FixedOrders {
    fn to_device_orders(&self) -> OrderRange {
        OrderRange { largest: self.largest, smallest: self.smallest }
    }

    fn cpu_fault_orders(&self) -> CpuFaultOrders {
        CpuFaultOrders { to_ram: self.largest, populate: self.populate }
    }
}
