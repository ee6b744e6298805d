//! What a policy governs: one memory of an engine, and the side that it serves.

use bifolio_folio::Order;
use bifolio_migrate::NodeId;

/// Where pages are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// On a device.
    Device(NodeId),
    /// In system memory.
    Ram,
}

impl Side {
    /// On the first device.
    pub const DEVICE: Side = Side::Device(NodeId(0));
}

/// A memory for which a policy decides: the memory of one device, or system memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// The side whose faults bring pages here.
    pub side: Side,
    /// Its size in pages; of system memory, the limit.
    pub pages: u64,
    /// Pages of the smallest memory of the engine, this one included. What moves has to fit there too.
    pub least_pages: u64,
    /// Smallest order that can come here.
    pub smallest: Order,
    /// Whether the side can use pages where they are: [`Placement::Remote`](crate::Placement::Remote).
    pub remote: bool,
    /// Whether nothing tells which of its pages are used.
    pub blind: bool,
}

impl Memory {
    /// The memory of the first device, of so many pages, beside system memory without a limit.
    #[must_use]
    pub fn device(pages: u64) -> Memory {
        let smallest = Order::ZERO;
        Memory { side: Side::DEVICE, pages, least_pages: pages, smallest, remote: false, blind: false }
    }

    /// The largest order, up to that of a block, of which `folios` fit into each memory at once.
    #[must_use]
    pub fn largest_of(&self, folios: u64) -> Order {
        let fitting = Order::largest_fitting(self.least_pages / folios).unwrap_or(Order::ZERO);
        fitting.min(Order::PMD).max(self.smallest)
    }
}
