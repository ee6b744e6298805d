//! `linux-v3`: the compound is undone before folio_free, which no longer learns the order
//!
//! Version 3 (9 January 2026): `free_zone_device_folio` splits before `folio_free`. The driver is one that gives each
//! folio back for itself and asks `folio_order` how much that is, as Nouveau does, here over a buddy allocator.

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "linux-v3",
    about: "the compound is undone before folio_free, which no longer learns the order",
    init: Init::AsFound,
    free: Free::Undo,
    order_from: OrderFrom::Folio,
    pagemap_from: PageMapFrom::Folio,
    memory: Memory::Blocks,
    folios: Folios::Whole,
    split_takes_references: true,
};
