//! Folios of the same orders at every fault.

use alloc::boxed::Box;

use bifolio_folio::Order;
use bifolio_migrate::{CpuFaultOrders, OrderRange};

use crate::eviction::{Eviction, EvictionName};
use crate::fault::{Decision, Fault};
use crate::memory::{Memory, Side};
use crate::policy::{Policies, Policy};

/// Orders that never change.
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
    /// Folios that a device memory must be able to hold at once. Fewer, and one fault throws out what the last one
    /// brought; measured on pagerank at 1/16 of the data.
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

    /// Orders of folios that go to a device.
    #[must_use]
    pub fn to_device_orders(&self) -> OrderRange {
        OrderRange { largest: self.largest, smallest: self.smallest }
    }

    /// Orders of what a CPU fault brings.
    #[must_use]
    pub fn cpu_fault_orders(&self) -> CpuFaultOrders {
        CpuFaultOrders { to_ram: self.largest, populate: self.populate }
    }
}

impl Policies for FixedOrders {
    fn make(&self, memory: &Memory) -> Box<dyn Policy> {
        Box::new(Fixed::new(*self, memory, EvictionName::Lru))
    }
}

/// The policy of fixed orders.
#[derive(Debug)]
pub struct Fixed {
    decision: Decision,
    eviction: Box<dyn Eviction>,
}

impl Fixed {
    /// Folios of `orders`, which leave in the order of `eviction`.
    #[must_use]
    pub fn new(orders: FixedOrders, memory: &Memory, eviction: EvictionName) -> Fixed {
        let FixedOrders { largest, smallest, populate } = orders;
        let smallest = match memory.side {
            Side::Device(_) => smallest.max(memory.smallest),
            Side::Ram => Order::ZERO,
        };
        let orders = OrderRange { largest: largest.max(smallest), smallest };
        let decision = Decision { populate, ..Decision::moving(orders) };
        Fixed { decision, eviction: eviction.make(memory.pages) }
    }
}

impl Policy for Fixed {
    fn decide(&mut self, _fault: &Fault) -> Decision {
        self.decision
    }

    fn orders(&self) -> OrderRange {
        self.decision.orders
    }

    fn constant(&self) -> Option<Decision> {
        Some(self.decision)
    }

    fn eviction(&mut self) -> &mut dyn Eviction {
        &mut self.eviction
    }
}
