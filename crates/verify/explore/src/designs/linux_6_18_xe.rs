//! `linux-6.18-xe`: buddy-backed objects, single pages only, a reference of the object for each
//!
//! Before large folios: a buffer object of the range's size, every page a folio of order 0 with a reference of the
//! object, which goes back to the allocator with the last one.

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "linux-6.18-xe",
    about: "buddy-backed objects, single pages only, a reference of the object for each",
    init: Init::AsFound,
    free: Free::Leave,
    order_from: OrderFrom::Folio,
    pagemap_from: PageMapFrom::Folio,
    memory: Memory::Objects,
    folios: Folios::Singles,
    split_takes_references: true,
};
