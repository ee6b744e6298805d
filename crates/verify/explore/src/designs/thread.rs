//! What was proposed in the thread and beside it, December 2025 to February 2026.

use crate::designs::kernels::{MAINLINE, MAINLINE_FIXED};
use crate::linux::contract::{Calls, Contract, Free, HandBack, Init, Memory, OrderFrom, PageMapFrom, Reset};

/// December 2025: nothing is undone when a folio is freed. A driver that is about to form a smaller folio looks whether its
/// page still belongs to a large one and splits that first, in two steps here: look, then split. Reuse at the same or a
/// larger order finds the old compound as it was.
pub const V2: Contract = Contract {
    name: "linux-v2",
    aliases: &[],
    about: "the driver splits a stale large folio when it reuses its memory at a smaller order",
    init: Init::SplitStale,
    init_pagemap: PageMapFrom::Page,
    free_pagemap: PageMapFrom::Page,
    ..MAINLINE
};

/// 9 January 2026: `free_zone_device_folio` splits before `folio_free`. The driver is one that gives each folio back by
/// itself and asks `folio_order` how much that is, as Nouveau does, here over a buddy allocator.
pub const V3: Contract = Contract {
    name: "linux-v3",
    aliases: &[],
    about: "the compound is undone before folio_free, which no longer learns the order",
    init: Init::AsFound,
    init_pagemap: PageMapFrom::Page,
    free: Free::Undo,
    free_pagemap: PageMapFrom::Page,
    memory: Memory::Blocks,
    ..MAINLINE
};

/// 11 January 2026: the repair of v3 in the sense of its review. The freeing path still reads `folio->pgmap` after
/// `folio_free`, as all versions did until April 2026.
pub const V4: Contract = Contract {
    name: "linux-v4",
    aliases: &[],
    about: "as v3, with the order as an argument of folio_free",
    order_from: OrderFrom::Argument,
    ..V3
};

/// 16 January 2026, which was merged: `zone_device_page_init` gets the pagemap as an argument and rewrites the metadata of
/// each page in its range before it forms the compound.
pub const V6: Contract = Contract {
    name: "linux-v6",
    aliases: &[],
    about: "nothing is undone; init rewrites every page of its own range, as posted",
    free_pagemap: PageMapFrom::Page,
    ..MAINLINE
};

/// The question that the thread began with: may `free_zone_device_folio` call `->folio_free` once for each page?
pub const FREE_PER_PAGE: Contract = Contract {
    name: "free-per-page",
    aliases: &[],
    about: "the compound is undone, then folio_free is called for each of its pages",
    init: Init::AsFound,
    init_pagemap: PageMapFrom::Page,
    free: Free::Undo,
    calls: Calls::PerPage,
    free_pagemap: PageMapFrom::Page,
    ..MAINLINE
};

/// The sketch of 7 January 2026: the compound is undone after `folio_free`, with all flags; the pagemap, which is in the same
/// word as the link, is wiped with it.
pub const RESET_AFTER_FREE: Contract = Contract {
    name: "reset-after-free",
    aliases: &[],
    about: "the compound is undone after folio_free has handed the memory back",
    init: Init::AsFound,
    init_pagemap: PageMapFrom::Page,
    free: Free::UndoAfter,
    reset: Reset::AllFlags,
    free_pagemap: PageMapFrom::Page,
    ..MAINLINE
};

/// "Let the driver handle the split": the driver reads the order, undoes the compound and then gives the memory back.
pub const UNDO_IN_DRIVER: Contract = Contract {
    name: "undo-in-driver",
    aliases: &[],
    about: "the driver undoes the compound inside folio_free, before it gives the memory back",
    init: Init::AsFound,
    init_pagemap: PageMapFrom::Page,
    free: Free::UndoInDriver,
    free_pagemap: PageMapFrom::Page,
    ..MAINLINE
};

/// v4's contract carried to its end: all flags are cleared, the pagemap is remembered, and the driver is one with objects.
pub const SPLIT_ON_FREE: Contract = Contract {
    name: "split-on-free",
    aliases: &[],
    about: "v4 with all flags cleared and the pagemap remembered, over objects",
    reset: Reset::AllFlags,
    free_pagemap: PageMapFrom::Caller,
    memory: Memory::Objects,
    ..V4
};

/// The same over an allocator that takes memory back by a plain store, such as a list without a lock whose push has no
/// barrier. Differs from it with a weak order of memory only.
pub const SPLIT_WITHOUT_BARRIER: Contract = Contract {
    name: "split-without-barrier",
    aliases: &[],
    about: "split-on-free, with memory handed back by a plain store (--memory-order weak shows it)",
    hand_back: HandBack::Plain,
    ..SPLIT_ON_FREE
};

/// Mainline with its flags repaired, over such an allocator.
pub const MAINLINE_WITHOUT_BARRIER: Contract = Contract {
    name: "mainline-without-barrier",
    aliases: &[],
    about: "linux-mainline-fixed, with memory handed back by a plain store (the same)",
    hand_back: HandBack::Plain,
    ..MAINLINE_FIXED
};

/// Device-private pages outside of the physical address space (the series of January and February 2026, v6 of 2 February).
/// They have no physical address, but each keeps a `struct page`, in an array of the pagemap; the freeing path is that of
/// its base.
pub const PRIVATE_OFFSETS: Contract = Contract {
    name: "private-offsets",
    aliases: &[],
    about: "device-private pages without physical addresses: their struct pages are used as before",
    ..V6
};

/// What the changelogs of v5 and v6 describe: large folios over a buddy allocator without any repair, neither when a folio
/// is freed nor when it is formed. No version of the series; the bug that all of them repair.
pub const REUSE_WITHOUT_RESET: Contract = Contract {
    name: "reuse-without-reset",
    aliases: &[],
    about: "any order is formed over whatever the last life left",
    init: Init::AsFound,
    init_pagemap: PageMapFrom::Page,
    free_pagemap: PageMapFrom::Page,
    memory: Memory::Blocks,
    ..MAINLINE
};

/// A driver without its part of the split callback. It is the worked example of docs/adding-a-design.md.
pub const SPLIT_WITHOUT_REFERENCES: Contract = Contract {
    name: "split-without-references",
    aliases: &[],
    about: "linux-mainline with a driver that takes no references when a folio is split",
    split_takes_references: false,
    ..MAINLINE
};
