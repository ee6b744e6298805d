//! `split-without-references`: linux-mainline with a driver that takes no references when a folio is split
//!
//! A driver without its part of the split callback. It is the worked example of docs/adding-a-design.md.

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "split-without-references",
    about: "linux-mainline with a driver that takes no references when a folio is split",
    init: Init::Rewrite,
    free: Free::Leave,
    order_from: OrderFrom::Folio,
    pagemap_from: PageMapFrom::Memory,
    memory: Memory::Objects,
    folios: Folios::Whole,
    split_takes_references: false,
};
