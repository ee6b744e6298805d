//! `linux-6.18-nouveau`: free lists of large folios and of single pages; nothing is ever undone
//!
//! Chunks that hold large folios only or single pages only, each kind with its list. A folio is pushed by
//! `folio_order` and popped as it is: a free large folio is never split, single pages are never merged. (The driver as
//! it was before the thread; the name follows the thread's habit of calling it by the release.)

use crate::linux::contract::{Contract, Folios, Free, Init, Memory, OrderFrom, PageMapFrom};

/// The contract.
pub const CONTRACT: Contract = Contract {
    name: "linux-6.18-nouveau",
    about: "free lists of large folios and of single pages; nothing is ever undone",
    init: Init::AsFound,
    free: Free::Leave,
    order_from: OrderFrom::Folio,
    pagemap_from: PageMapFrom::Folio,
    memory: Memory::Lists,
    folios: Folios::Whole,
    split_takes_references: true,
};
