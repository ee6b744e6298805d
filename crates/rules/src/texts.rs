//! Sentence and source of each rule, in the order of their numbers.

use super::{COUNT, Info};

const fn info(short: &'static str, sentence: &'static str, source: &'static str) -> Info {
    Info { short, sentence, source }
}

pub(super) static TEXTS: [Info; COUNT as usize] = [
    info(
        "no forming twice",
        "a range is formed into a compound only if no page of it is part of a compound",
        "the thread: Nouveau forms a folio over its own stale head, hidden because only order 9 exists",
    ),
    info(
        "init is total",
        "after init(p, k) every metadata field of the 2^k pages is a function of p, k and pagemap only",
        "changelogs of v5 and v6: hang on the next lock, crashes",
    ),
    info(
        "pagemap known",
        "every page's pagemap can be found at all times; init gets it from the caller, never from the page",
        "reason for the pagemap argument of v5",
    ),
    info(
        "order is told once",
        "the order at which a folio was freed reaches its owner exactly once",
        "review of v3: folio_free of Nouveau reads folio_order",
    ),
    info(
        "hands off after free",
        "once folio_free has handed the memory back, the freeing path touches nothing of the folio",
        "fixed by commit 39928984956037",
    ),
    info(
        "own range only",
        "init and reset touch only their own range",
        "the thread: two threads that allocate two parts of one old large folio; why folio_reset_order was no help",
    ),
    info(
        "object references",
        "references of an object = live folios on it + holders in flight",
        "reason for folio_split of drm_pagemap",
    ),
    info(
        "pagemap references",
        "references of the pagemap = pages in live folios; a split does not change them",
        "the page count of init and free",
    ),
    info(
        "any order from free",
        "free memory can be handed out at any order up to its free block, in clean state",
        "the thread: an order-4 folio out of a free order-9 one",
    ),
    info(
        "frozen is not free",
        "frozen (being split) and free (the allocator's) can be told apart by what the page holds",
        "the thread: Zi Yan and Gunthorpe on compound data left on a folio without references",
    ),
    info(
        "born locked, dies clean",
        "a new folio leaves init locked with one reference; a freed one is unlocked, unmapped, uncharged, without references",
        "assertions in v4 to v6",
    ),
    info(
        "finalize is total",
        "after finalize each slot is mapped to one of source and destination, all locks and references returned, whatever failed",
        "protocol of migrate_vma",
    ),
    info(
        "pages with pages",
        "migration compares numbers of pages with numbers of pages, never with slots",
        "large-folio migration: 1 slot of 512 pages gave a spurious EBUSY",
    ),
    info(
        "granularity agrees",
        "large source with small destination: split the source or refuse; small with large: refuse",
        "as read: eviction of a Nouveau chunk without the compound flag",
    ),
    info(
        "last put does not sleep",
        "the last put may come in atomic context: what may sleep is deferred",
        "asynchronous release of zdd and svm_bo",
    ),
    info(
        "teardown",
        "no init after kill; teardown ends if and only if no page is live",
        "memunmap_pages; init after kill only warns in the kernel",
    ),
    info(
        "no read after put",
        "a folio is not read after the caller's last reference was dropped",
        "as read: error path that populates system memory in drm_pagemap",
    ),
    info(
        "exits release",
        "every way out releases locks, page tables and references of the address space",
        "fixed by 63451de16e0a and 847b371debf3",
    ),
    info(
        "4 KiB when 2 MiB fails",
        "what fails at 2 MiB must be able to succeed at 4 KiB, in both directions",
        "open in drm_pagemap and in Nouveau: SIGBUS when no large page is left",
    ),
    info(
        "unmap as mapped",
        "DMA is unmapped with the address and size it was mapped with",
        "as read: Nouveau unmaps a 2 MiB mapping as 4 KiB",
    ),
    info(
        "inside the backing",
        "page number to device address stays inside the owner's backing",
        "as read: Nouveau registers 128 x 2 MiB of pages over one pinned object of 2 MiB",
    ),
    info(
        "lost books fail safe",
        "bookkeeping that is lost for want of memory fails to the safe side",
        "as read: dirty tracker of the kernel's buddy allocator",
    ),
    info(
        "partial success",
        "after partial success moved pages keep the backing and unmoved ones do not",
        "drm_pagemap: EBUSY is returned though part of the range moved",
    ),
    info(
        "no waiting on locks",
        "two transactions never wait on each other's folio locks",
        "collect takes folio locks by trylock only",
    ),
    info(
        "one pagemap a range",
        "all device pages of one mapped range come from one pagemap",
        "gpusvm answers EOPNOTSUPP to a second one",
    ),
    info(
        "looked at again",
        "an entry found without the page-table lock is compared again after taking it",
        "fixes of page_vma_mapped, May and June 2026",
    ),
    info(
        "bytes",
        "the bytes at an address are those last written, across migrate, split, evict, fork, fault and free",
        "the oracle of Bifolio",
    ),
];
