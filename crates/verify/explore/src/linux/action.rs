//! [`Action`]: one atomic step of one thread.

/// A step and the thread that takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    /// Number of the thread.
    pub actor: u8,
    /// What it does.
    pub step: Step,
}

/// A step. `page` and `order` are those of the block or folio that it works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Asks the driver's allocator for a block and gets this one.
    Allocate { page: u8, order: u8 },
    /// Asks for a block and is refused, though a large enough one is free.
    Refused { order: u8 },
    /// Looks for a stale large folio over a block.
    Look { page: u8, order: u8 },
    /// Splits the stale folio that was found, if any.
    SplitStale { page: u8, order: u8 },
    /// `zone_device_page_init`.
    Init { page: u8, order: u8 },
    /// A page of a program moves to a new folio, with its flags: it is hot, or cold.
    Publish { page: u8, order: u8, hot: bool },
    /// Unmaps the folio at a page and puts the last reference.
    Put { page: u8 },
    /// Moves the folio at a page, which is active, to system memory and puts the last reference.
    MoveHome { page: u8 },
    /// Undoes the compound of a folio without references.
    Undo { page: u8, order: u8 },
    /// Calls the driver's `folio_free` for the folio.
    FolioFree { page: u8, order: u8 },
    /// Calls it for one page of the folio, that of this number.
    FolioFreePage { page: u8, order: u8, number: u8 },
    /// Undoes the compound of a folio that was handed back.
    UndoAfter { page: u8, order: u8 },
    /// Drops the references of the pagemap.
    DropPageMap { page: u8, order: u8 },
    /// Freezes the folio at a page to split it to an order.
    Freeze { page: u8, to: u8 },
    /// Splits the frozen folio at a page to an order.
    Split { page: u8, to: u8 },
    /// Other threads see that the mapping and the memory cgroup of a folio are gone.
    SeePut,
    /// Other threads see that a page is not in the compound any more.
    SeeUndone { page: u8 },
    /// Begins teardown.
    Kill,
    /// Ends teardown, if the pagemap has no references.
    End,
}
