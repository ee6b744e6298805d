//! Deliberate faults, which show that the tests can fail: each is found by one of them.

use std::cell::Cell;

/// One deliberate fault of the machine below, or of the locks, that stands for a mistake of the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// A block that is tried is waited for: two transactions wait for each other (I24).
    TryLockWaits,
    /// Pages are isolated after they were copied: what is written meanwhile is lost (I27).
    IsolatesAfterCopy,
    /// Pages are mapped without waking the threads that wait for them.
    MapsWithoutWaking,
    /// A page that cannot be brought is poisoned without waking the threads that wait for it.
    PoisonsWithoutWaking,
    /// What is unmapped stays in the CPU's page table: its bytes can still be read.
    UnmappedStaysMapped,
    /// Coherent pages that the device is to have for itself stay in the CPU's page table.
    CoherentStaysMapped,
    /// The device keeps translations that it was told to drop: it writes to pages that have left (I27).
    DeviceKeepsTranslations,
    /// The device says that a copy is done which was not.
    DeviceForgetsCopies,
    /// Device memory is shown to its next owner as the last one left it (I22).
    DeviceDoesNotClear,
    /// A split takes no references of the backing: it is freed under the other pieces (I7).
    SplitTakesNoReference,
    /// The memory of a folio that was allocated and not formed is not given back.
    GivesNothingBack,
    /// Pages or objects that are pinned are unpinned at once.
    PinEndsAtOnce,
    /// Of pages that are to be pinned, the last one is forgotten.
    PinForgetsLastPage,
    /// A collapse leaves the references of the backing as they are: its memory never comes back (I7).
    CollapseKeepsReferences,
    /// What is entered in place of what a split or a collapse left leads to the first page of the folio (I27).
    DeviceRemapsToHead,
    /// The memory of what died stays with the pool for ever.
    ReleasesNothing,
}

std::thread_local! {
    /// All threads of a simulation run on one thread of the machine.
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Tells whether `mutant` is to be done.
#[must_use]
pub fn is(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Does `mutant` in all simulations that `work` runs on this thread.
pub fn with<R>(mutant: Mutant, work: impl FnOnce() -> R) -> R {
    ACTIVE.set(Some(mutant));
    let result = work();
    ACTIVE.set(None);
    result
}
