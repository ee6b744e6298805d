//! [`Action`]: one atomic step of one actor.

/// One step. `actor` is the number of an actor that runs transactions; `page` a page of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A thread of the program writes a page that is in view.
    CpuWrite { page: u8 },
    /// A unit of the device writes a page that is in the device's table.
    DeviceWrite { page: u8 },
    /// A page begins to live.
    Map { page: u8 },
    /// The holder takes a reference of the folio at a device page.
    Hold { head: u8 },
    /// The holder drops its reference.
    DropHeld,
    /// Teardown kills the pagemap.
    Kill,
    /// Teardown ends if the pagemap is drained.
    End,
    /// The program forks.
    Fork,
    /// The child fetches a page from the device.
    Fill { page: u8 },
    /// A page of system memory is pinned.
    Pin { page: u8 },
    /// A page is unpinned.
    Unpin { page: u8 },
    /// An idle actor begins a transaction.
    Begin { actor: u8, request: Request, page: u8 },
    /// An actor does the step that its transaction asks for.
    Step { actor: u8, way: Way },
    /// An actor that makes room looks, without a lock, at the folio at a device page.
    Look { actor: u8, head: u8 },
    /// It tries the block of that folio, and evicts it.
    TryVictim { actor: u8, page: u8 },
    /// It moves pages of system memory to the device.
    MoveOut { actor: u8, page: u8, order: u8 },
    /// It answers whether there is room.
    Answer { actor: u8, answer: RoomAnswer },
}

/// Why a transaction is begun.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Request {
    /// A thread of the program faulted.
    CpuFault,
    /// A unit of the device faulted.
    DeviceFault,
    /// A folio is evicted.
    Evict,
    /// Teardown brings a folio home, beyond the limit of system memory.
    BringHome,
    /// A driver prefetches a page to the device.
    Prefetch,
    /// A page is unmapped.
    Unmap,
    /// A block is unmapped.
    UnmapBlock,
    /// A driver splits a folio where it is.
    Split,
    /// A driver collapses two folios.
    Collapse,
}

/// How a step goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// It is done.
    Done,
    /// It fails or is refused.
    Fails,
    /// It fails, and what it was to replace is gone.
    FailsPartly,
}

/// How a request for room is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomAnswer {
    /// Room was made.
    Room,
    /// Nothing could go.
    Nothing,
    /// What could go is in use.
    Contended,
}
