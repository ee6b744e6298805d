//! What the core's migration and a driver do right or wrong: the ways in which the designs of migration differ.

/// The migration of a kernel and a driver. Each field is one thing that was, or is, done wrong somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migration {
    /// Name of the design.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Whether what was collected is compared in pages. Otherwise in slots, of which a large folio has one.
    pub counts_pages: bool,
    /// Whether a fault goes on with single pages if system memory has no large page left.
    pub falls_back: bool,
    /// Whether the error path of that allocation reads a page before it is put, not after.
    pub reads_before_put: bool,
    /// Whether the object is left to the core where only a part could be moved. Otherwise the driver frees it, too.
    pub leaves_object: bool,
    /// Whether a folio whose bytes went home is marked, so that an eviction passes it over.
    pub marks_retired: bool,
    /// Whether a large entry that cannot be inserted, as the process is dying, gives the page table's lock back.
    pub insert_unlocks: bool,
    /// Whether an eviction that gets no memory for its arrays gives its reference of the process back.
    pub evict_puts_mm: bool,
    /// Whether an eviction that found nothing gives its arrays back.
    pub evict_frees_arrays: bool,
    /// Whether an eviction says that its large target is a compound.
    pub evict_says_compound: bool,
    /// Whether a fault leaves out folios whose lock it does not get at once. Otherwise it waits for each that it found.
    pub tries_locks: bool,
    /// Whether an entry that was found without the page table's lock is compared again.
    pub rechecks_entries: bool,
    /// Whether a fault unmaps its target from DMA with the size it was mapped with. Otherwise as a single page.
    pub fault_unmaps_as_mapped: bool,
}
