//! Which order to move: a policy, chosen at run time.

use bifolio_folio::Order;

/// Decides how much moves at a time.
pub trait Policy: Send + Sync {
    /// Largest and smallest order of a folio that goes to the device.
    fn to_device_orders(&self) -> (Order, Order);

    /// Largest order that a CPU fault brings home; larger folios are split around the page.
    fn to_ram_order(&self) -> Order;

    /// Largest order of zeros that a first touch by the CPU installs.
    fn populate_order(&self) -> Order;
}

/// The policy of fixed orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granularity {
    /// Largest order in each direction.
    pub largest: Order,
    /// Smallest order to the device.
    pub smallest: Order,
    /// Largest order at first touch.
    pub populate: Order,
}

impl Granularity {
    /// Folios that a device memory of this many pages must be able to hold at once. Fewer, and one fault throws
    /// out what the last one brought; measured on pagerank at 1/16 of the data.
    const FOLIOS_MIN: u64 = 64;

    /// Chooses orders that leave room for several folios, both in `device_pages` of device memory and in
    /// `ram_pages` of system memory.
    #[must_use]
    pub fn for_memory(device_pages: u64, ram_pages: u64) -> Granularity {
        let fitting = |pages: u64| {
            Order::largest_fitting(pages / Self::FOLIOS_MIN).unwrap_or(Order::ZERO).min(Order::PMD)
        };
        let ram = fitting(ram_pages);
        Granularity { largest: fitting(device_pages).min(ram), smallest: Order::ZERO, populate: ram }
    }
}

impl Policy for Granularity {
    fn to_device_orders(&self) -> (Order, Order) {
        (self.largest, self.smallest)
    }

    fn to_ram_order(&self) -> Order {
        self.largest
    }

    fn populate_order(&self) -> Order {
        self.populate
    }
}
