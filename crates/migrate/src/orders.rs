//! How large the folios of a transaction may be.

use bifolio_folio::Order;

/// Orders that a folio may have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OrderRange {
    /// The order to begin with.
    pub largest: Order,
    /// The order below which to give up.
    pub smallest: Order,
}

/// Orders of what a CPU fault brings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CpuFaultOrders {
    /// Largest order that comes to system memory; larger folios are split around the page.
    pub to_ram: Order,
    /// Largest order of zeros at a first touch.
    pub populate: Order,
}
