//! Migration in kernels and drivers: 7.3.4, and each fault that was repaired by then, or is still there, by itself.

use crate::design::Bounds;
use crate::designs::options::Options;
use crate::explore::Progress;
use crate::linux::migration::World;
use crate::linux::migration::contract::Migration;
use crate::report::{Report, judge};

/// The core and drm_pagemap of 7.3.4.
pub const LINUX_7_3: Migration = Migration {
    name: "linux-7.3-migrate",
    about: "7.3.4's migration under drm_pagemap: collects, copies, moves what it can, finalizes",
    counts_pages: true,
    falls_back: true,
    reads_before_put: true,
    leaves_object: true,
    marks_retired: true,
    insert_unlocks: true,
    evict_puts_mm: true,
    evict_frees_arrays: true,
    evict_says_compound: true,
    tries_locks: true,
    rechecks_entries: true,
    fault_unmaps_as_mapped: true,
};

/// Nouveau of 7.3.4: `nouveau_dmem_evict_chunk` does not set the compound flag of a large target, and returns early with
/// its arrays.
pub const LINUX_7_3_NOUVEAU: Migration = Migration {
    name: "nouveau-7.3-migrate",
    about: "7.3.4 with Nouveau: an eviction hides that its target is large, or returns with its arrays",
    evict_says_compound: false,
    evict_frees_arrays: false,
    ..LINUX_7_3
};

/// Nouveau of 6.19-rc1, which unmapped 2 MiB as 4 KiB, too.
pub const LINUX_6_19_RC_NOUVEAU: Migration = Migration {
    name: "nouveau-6.19-rc-migrate",
    about: "6.19-rc1 with Nouveau: the same, and a fault unmaps 2 MiB from DMA as 4 KiB",
    fault_unmaps_as_mapped: false,
    ..LINUX_7_3_NOUVEAU
};

/// The series for large device folios before `drm_pagemap_cpages`: `cpages` counts a compound once.
pub const COUNTS_SLOTS: Migration = Migration {
    name: "migrate-counts-slots",
    about: "the collected slots are compared with the pages of the range",
    counts_pages: false,
    ..LINUX_7_3
};

/// drm_pagemap before it fell back to order 0: a fault that got no large page of system memory ended in SIGBUS.
pub const NO_FALL_BACK: Migration = Migration {
    name: "migrate-without-fallback",
    about: "a fault that gets no large page of system memory fails",
    falls_back: false,
    ..LINUX_7_3
};

/// drm_pagemap before it read the order ahead of the put.
pub const READS_AFTER_PUT: Migration = Migration {
    name: "migrate-reads-after-put",
    about: "the error path of an allocation reads the order of a page that it has put",
    reads_before_put: false,
    ..LINUX_7_3
};

/// A caller of drm_pagemap that takes EBUSY for "nothing moved", and frees its object.
pub const CALLER_FREES: Migration = Migration {
    name: "migrate-caller-frees",
    about: "the caller frees the object on an error, though a part was moved",
    leaves_object: false,
    ..LINUX_7_3
};

/// drm_pagemap without the flag MIGRATED in the driver's word, as before 7.3.
pub const UNMARKED: Migration = Migration {
    name: "migrate-without-mark",
    about: "no flag says that the bytes of a folio went home while it is held",
    marks_retired: false,
    ..LINUX_7_3
};

/// Before 63451de16e0a (May 2026): the insertion of a large entry returns with the page table's lock if the process is
/// dying.
pub const INSERT_KEEPS_LOCK: Migration = Migration {
    name: "migrate-keeps-table-lock",
    about: "before 63451de16e0a: no large entry for a dying process, and the page table stays locked",
    insert_unlocks: false,
    ..LINUX_7_3
};

/// Before 847b371debf3: `range_evict` returns with the reference of the address space if it gets no memory for its arrays.
pub const EVICT_KEEPS_MM: Migration = Migration {
    name: "migrate-keeps-mm",
    about: "before 847b371debf3: an eviction without memory for its arrays keeps the address space",
    evict_puts_mm: false,
    ..LINUX_7_3
};

/// What `migrate_vma_collect` avoids by `folio_trylock` (7.3.4).
pub const WAITS_FOR_LOCKS: Migration = Migration {
    name: "migrate-waits-for-locks",
    about: "a fault waits for the folio locks of the neighbours that it takes along, with its own folio locked",
    tries_locks: false,
    ..LINUX_7_3
};

/// Before the repairs of `page_vma_mapped` of May and June 2026.
pub const UNCHECKED: Migration = Migration {
    name: "migrate-unchecked",
    about: "before June 2026: an entry that was found without the lock is not looked at again",
    rechecks_entries: false,
    ..LINUX_7_3
};

/// Explores a design.
pub(super) fn run(
    contract: &Migration,
    bounds: Bounds,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Option<Report> {
    let world = World::new(*contract, bounds.actors);
    let explore = || judge(contract.name, WORLD, bounds, &world, &options.limits, progress);
    options.includes(WORLD).then(explore)
}

/// Name of the world of migrations.
const WORLD: &str = "migration";
