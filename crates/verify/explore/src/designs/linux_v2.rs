//! `linux-v2`: the driver splits a stale large folio when it reuses its memory at a smaller order
//!
//! Version 2 of the series (December 2025): nothing is undone when a folio is freed. A driver that is about to form a
//! smaller folio looks whether its page still belongs to a large one and splits that first, in two steps here: look,
//! then split. Reuse at the same or a larger order finds the old compound as it was.

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "linux-v2",
    about: "the driver splits a stale large folio when it reuses its memory at a smaller order",
    init: Init::SplitStale,
    free: Free::Leave,
    order_from: OrderFrom::Folio,
    pagemap_from: PageMapFrom::Folio,
    memory: Memory::Objects,
    folios: Folios::Whole,
    split_takes_references: true,
};
