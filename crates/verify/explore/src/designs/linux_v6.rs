//! `linux-v6`: nothing is undone; init rewrites every page of its own range, as posted
//!
//! Version 6 (16 January 2026), which was merged: `zone_device_page_init` gets the pagemap as an argument and rewrites
//! the metadata of each page in its range before it forms the compound.

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "linux-v6",
    about: "nothing is undone; init rewrites every page of its own range, as posted",
    init: Init::Rewrite,
    free: Free::Leave,
    order_from: OrderFrom::Folio,
    pagemap_from: PageMapFrom::Folio,
    memory: Memory::Objects,
    folios: Folios::Whole,
    split_takes_references: true,
};
