//! `linux-v4`: as v3, with the order as an argument of folio_free
//!
//! Version 4 (11 January 2026): the repair of v3 in the sense of its review. The freeing path still reads
//! `folio->pgmap` after `folio_free`, as all versions did until April 2026.

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "linux-v4",
    about: "as v3, with the order as an argument of folio_free",
    init: Init::AsFound,
    free: Free::Undo,
    order_from: OrderFrom::Argument,
    pagemap_from: PageMapFrom::Folio,
    memory: Memory::Blocks,
    folios: Folios::Whole,
    split_takes_references: true,
};
