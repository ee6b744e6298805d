//! `reuse-without-reset`: any order is formed over whatever the last life left
//!
//! What the changelogs of v5 and v6 describe: large folios over a buddy allocator without any repair, neither when a
//! folio is freed nor when it is formed. No version of the series; the bug that all of them repair.

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "reuse-without-reset",
    about: "any order is formed over whatever the last life left",
    init: Init::AsFound,
    free: Free::Leave,
    order_from: OrderFrom::Folio,
    pagemap_from: PageMapFrom::Folio,
    memory: Memory::Blocks,
    folios: Folios::Whole,
    split_takes_references: true,
};
