//! [`Action`]: one atomic step of one thread.

use crate::linux::migration::state::Kind;

/// One step; `actor` is the number of a thread that migrates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The program writes a page of system memory.
    CpuWrite { page: u8 },
    /// The device writes a page that it has mapped.
    DeviceWrite { page: u8 },
    /// The device maps the pages of a folio that the process has mapped.
    GpuMap { head: u8 },
    /// The program touches an empty page: it gets a zeroed page of system memory.
    Touch { page: u8 },
    /// The program drops pages (`MADV_DONTNEED`); the device's range is destroyed as a whole.
    Drop { pages: u8 },
    /// Another thread takes a reference of the folio at a page.
    Hold { head: u8 },
    /// It puts that reference.
    PutHeld,
    /// The process begins to die.
    Die,
    /// A thread begins a migration.
    Begin { actor: u8, kind: Kind },
    /// An eviction gets no memory for its arrays.
    BeginWithoutArrays { actor: u8 },
    /// Locks folios and replaces entries by migration entries.
    Collect { actor: u8 },
    /// Gets its target.
    Allocate { actor: u8 },
    /// A fault gets no large page of system memory.
    LargeFails { actor: u8 },
    /// Gets no target, or not all of it, and gives up.
    AllocateFails { actor: u8 },
    /// Copies.
    Copy { actor: u8 },
    /// Moves the mappings of these pages.
    Move { actor: u8, moved: u8 },
    /// Ends: each page has one place again.
    Finalize { actor: u8 },
}
