//! `linux-mainline`: v6, and nothing of the folio is read after folio_free
//!
//! What was merged, with the fix of April 2026 (commit 39928984956037) that remembers the pagemap before the callback.

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "linux-mainline",
    about: "v6, and nothing of the folio is read after folio_free",
    init: Init::Rewrite,
    free: Free::Leave,
    order_from: OrderFrom::Folio,
    pagemap_from: PageMapFrom::Memory,
    memory: Memory::Objects,
    folios: Folios::Whole,
    split_takes_references: true,
};
