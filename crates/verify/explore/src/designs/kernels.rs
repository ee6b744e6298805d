//! Kernels and drivers as they were released.
//!
//! Versions that were read: 7.3.4 (Debian's source), 6.19-rc1 (commit d245f9b4ab80 and what came with it), 6.18.44 (the
//! type information of a running kernel, and the lines that d245f9b4ab80 removed).

use crate::linux::contract::{
    Calls, CompoundInfo, Contract, Folios, Free, HandBack, Init, Memory, OrderFrom, PageMapFrom, Reset,
};

/// What was merged as commit 12b2285bf3d1 (6.19) with the fix 39928984956037 of April 2026, over the objects of Xe: 7.3.4.
pub const MAINLINE: Contract = Contract {
    name: "linux-mainline",
    aliases: &["linux-7.3", "linux-7.3-xe"],
    about: "7.3.4 with Xe: each page is rewritten when a folio is formed, but for its flags above bit 7",
    init: Init::Rewrite,
    init_pagemap: PageMapFrom::Caller,
    free: Free::Leave,
    reset: Reset::LowByte,
    calls: Calls::PerFolio,
    order_from: OrderFrom::Folio,
    free_pagemap: PageMapFrom::Caller,
    memory: Memory::Objects,
    hand_back: HandBack::Ordered,
    folios: Folios::Whole,
    split_takes_references: true,
    compound_info: CompoundInfo::Link,
};

/// The one-line repair of mainline: `zone_device_page_init` clears every flag that a free page of system memory must not
/// have, as the kernel does it when such a page is freed.
pub const MAINLINE_FIXED: Contract = Contract {
    name: "linux-mainline-fixed",
    aliases: &[],
    about: "linux-mainline, with all flags of the last life cleared when a folio is formed",
    reset: Reset::AllFlags,
    ..MAINLINE
};

/// Before large device folios: single pages, each with a reference of its object. `page_free` is called with the
/// pagemap remembered.
pub const LINUX_6_18: Contract = Contract {
    name: "linux-6.18",
    aliases: &["linux-6.18-xe"],
    about: "6.18 with Xe: single pages only, each with a reference of its object; the pagemap is remembered",
    init: Init::AsFound,
    init_pagemap: PageMapFrom::Page,
    folios: Folios::Singles,
    ..MAINLINE
};

/// Nouveau with large folios, as it came with 6.19-rc1. Chunks hold large folios only or single pages only, each kind with
/// its list. A folio is pushed by `folio_order` and popped as it is: a free large folio is never split, single pages are
/// never merged. The core reads the pagemap after `folio_free`.
pub const LINUX_6_19_RC_NOUVEAU: Contract = Contract {
    name: "linux-6.19-rc-nouveau",
    aliases: &["linux-6.18-nouveau"],
    about: "6.19-rc1 with Nouveau: lists of large folios and of single pages; nothing is ever undone",
    init: Init::AsFound,
    init_pagemap: PageMapFrom::Page,
    free_pagemap: PageMapFrom::Page,
    memory: Memory::Lists,
    ..MAINLINE
};

/// Nouveau on the core of 7.3.4. It takes the pagemap from the page that it is about to form a folio of.
pub const LINUX_7_3_NOUVEAU: Contract = Contract {
    name: "linux-7.3-nouveau",
    aliases: &[],
    about: "7.3.4 with Nouveau: its lists, over a core that rewrites each page",
    init_pagemap: PageMapFrom::Page,
    memory: Memory::Lists,
    ..MAINLINE
};

/// The mirror device of the kernel's HMM tests: lists as Nouveau's, and the order from the page that backs the folio.
pub const LINUX_7_3_TEST_HMM: Contract = Contract {
    name: "linux-7.3-test-hmm",
    aliases: &[],
    about: "7.3.4 with lib/test_hmm.c: lists, and the order from the page that backs the folio",
    order_from: OrderFrom::Backing,
    ..LINUX_7_3_NOUVEAU
};

/// AMD's driver: single pages, a reference of the object for each. It sets its data before the folio is formed, so a reset
/// that cleared the driver's word would break it.
pub const LINUX_7_3_KFD: Contract = Contract {
    name: "linux-7.3-kfd",
    aliases: &[],
    about: "7.3.4 with KFD: single pages only, each with a reference of its object",
    init_pagemap: PageMapFrom::Page,
    folios: Folios::Singles,
    ..MAINLINE
};
