//! [`Action`]: one operation of one actor.

/// An operation and the actor that does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    /// Number of the actor.
    pub actor: u8,
    /// What it does; where no page is named, with the handle it has.
    pub operation: Operation,
}

/// An operation on the pagemap or its pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Takes free pages; `page` is the first one, or the home page if a shipped pool chooses.
    Allocate { page: u8, order: u8 },
    /// Gets a reference by the number of a page.
    Get { page: u8 },
    /// Takes over the parked reference of the folio at a page.
    Unpark { page: u8, order: u8 },
    /// Parks its reference.
    Park,
    /// Kills the pagemap.
    Kill,
    /// Forms a folio of its range.
    Form,
    /// Gives its range back unformed.
    GiveBack,
    /// Unlocks its folio.
    Unlock,
    /// Tries to lock its folio.
    TryLock,
    /// Splits its folio into pieces of one order.
    Split { to: u8 },
    /// Splits its folio around a page, down to an order.
    SplitAround { page: u8, to: u8 },
    /// Collapses its folio and the parked ones of the block at `first`.
    Collapse { first: u8, to: u8 },
    /// Drops its reference.
    Drop,
    /// Drops the last reference; another actor forms the pages anew inside `folio_free`.
    DropAndReuse,
    /// Asks the shipped pool.
    Pool(PoolOperation),
}

/// What only some of the shipped pools do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolOperation {
    /// Fails the next allocation.
    FailNext,
    /// Releases what died.
    Release,
    /// Closes.
    Close,
}
