//! What happens in a world, as plain numbers: [`Event`].
//!
//! | Group | Told by | Judged |
//! |---|---|---|
//! | [`PoolEvent`] | the pool of a node, or what stands before it | I1, I4, I7, I9, I11, I15, I21, I22 |
//! | [`FolioEvent`] | the pagemap of a node, or what calls it | I1, I2, I3, I6, I7, I8, I10, I11, I14, I16, I17, I23, I25, I26 |
//! | [`DeviceEvent`] | the device of a node, or what stands before it | I5, I20, I21, I22, I25 |
//! | [`TransactionEvent`] | what runs migrations | I12, I13, I18, I19, I23, I24 |
//! | [`BytesEvent`] | what copies | I27, I28 |
//! | [`AuditEvent`] | a walk over everything | I2, I4, I7, I8, I12, I13, I16 |
//!
//! Units: `node` is the number of a device; `head`, `page`, `first` count device pages of 4 KiB, as their node numbers
//! them; `order` is the power of two of a number of pages; `data` is a pool's number for the object of a
//! range; `block` is the address of a 2 MiB block of memory, in bytes; virtual pages are addresses divided by 4096.
//!
//! Events of one page come in the order in which they happened, and so do events of one block.

use crate::PageRange;
use crate::judge::Residency;

/// Something that happened, or was seen.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A node joined. All pages of its pagemap are free.
    NodeAdded {
        /// The node.
        node: u8,
        /// Its pages.
        pagemap: PageRange,
    },
    /// A pool handed out memory, refused to, or took it back.
    Pool {
        /// The node.
        node: u8,
        /// What happened.
        event: PoolEvent,
    },
    /// A folio was formed, changed or named.
    Folio {
        /// The node.
        node: u8,
        /// What happened.
        event: FolioEvent,
    },
    /// A device used its memory, or its page table changed.
    Device {
        /// The node.
        node: u8,
        /// What happened.
        event: DeviceEvent,
    },
    /// A migration went a step further.
    Transaction {
        /// The block that it has locked.
        block: u64,
        /// What happened.
        event: TransactionEvent,
    },
    /// Bytes were looked at, copied or shown.
    Bytes(BytesEvent<'a>),
    /// Something was compared with a walk over it.
    Audit(AuditEvent<'a>),
}

/// What memory is handed out for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A folio will be formed of it.
    Folio,
    /// It never becomes a folio: it is memory of a buffer object, or is cleared and given back.
    Buffer,
}

/// A pool handed out memory, refused to, or took it back.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolEvent {
    /// A range was handed out.
    Allocated {
        /// First page.
        head: u64,
        /// Order of the range.
        order: u8,
        /// Order that was asked for.
        wanted: u8,
        /// Number of its object.
        data: u32,
        /// What it is for.
        purpose: Purpose,
        /// Whether the pool says that all its bytes are zero.
        cleared: bool,
    },
    /// A range was refused.
    Refused {
        /// Order that was asked for.
        wanted: u8,
        /// Largest order that could be had at that time, as far as is known.
        largest_free: Option<u8>,
    },
    /// A range of which no folio was formed, or that was a buffer's, goes back, and the pool is told its order.
    GivenBack {
        /// First page.
        head: u64,
        /// Order that the pool is told.
        order: u8,
        /// Number of the object that the pool is told.
        data: u32,
        /// Whether the pool is told that all its bytes are zero.
        cleared: bool,
    },
    /// A folio was put for the last time. Its range goes back, and the pool is told its order.
    Freed {
        /// First page.
        head: u64,
        /// Order that the pool is told.
        order: u8,
        /// Number of the object that the pool is told.
        data: u32,
    },
    /// The pool has taken a range back.
    PutDone {
        /// First page.
        head: u64,
        /// Order that the pool was told.
        order: u8,
        /// How often objects were released within the put.
        released: u64,
    },
    /// The pool was asked for the object of a range that is held.
    ObjectAsked {
        /// First page of the range.
        head: u64,
        /// Number of the object.
        data: u32,
        /// Whether the pool has it.
        exists: bool,
    },
}

/// What the words of the pages of a folio lead to, as found by page number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words {
    /// First page and order of the folio that the first page leads to.
    pub first: Option<(u64, u8)>,
    /// First page and order of the folio that the last page leads to.
    pub last: Option<(u64, u8)>,
    /// The pool's number for its object that the folio holds.
    pub data: u32,
}

/// A folio as it was found right after it was formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewFolio {
    /// First page that was given.
    pub head: u64,
    /// Order that was given.
    pub order: u8,
    /// Number of the object that was given.
    pub data: u32,
    /// The node whose pagemap the folio leads to.
    pub pagemap: Option<u8>,
    /// What its words lead to.
    pub words: Words,
    /// Whether it is locked.
    pub locked: bool,
    /// References that it has. Others may have found it by its page number already.
    pub references: u64,
}

/// A folio was formed, changed or named.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FolioEvent {
    /// A folio is about to be formed of a range that was handed out.
    Forming {
        /// First page.
        head: u64,
    },
    /// No folio was formed, because the words say that a page of the range is in one already.
    FoundBusy {
        /// First page of the range.
        head: u64,
        /// Order of the range.
        order: u8,
        /// The page.
        page: u64,
    },
    /// A folio was formed.
    Formed(NewFolio),
    /// A page next to a new folio was looked at, for long enough that changes by others had ended.
    NeighbourSeen {
        /// The page.
        page: u64,
        /// First page and order of the folio that it leads to.
        found: Option<(u64, u8)>,
    },
    /// A folio, frozen, is split; its object is told.
    Split {
        /// First page.
        head: u64,
        /// Order before.
        from: u8,
        /// Order of the pieces.
        to: u8,
        /// Number of the object that is told.
        data: u32,
    },
    /// Folios, frozen, become one; their object is told.
    Collapsed {
        /// First page.
        head: u64,
        /// Order of the pieces.
        from: u8,
        /// Order of the whole.
        to: u8,
        /// Number of the object that is told.
        data: u32,
    },
    /// A step names a page of a folio, or the first page of one of a certain order.
    Named {
        /// The page.
        page: u64,
        /// Order of the run of pages that the folio moves to or from; `None` if a part of the folio is named.
        order: Option<u8>,
    },
    /// A folio that was looked for without the lock of its block was looked for again with it.
    Rechecked {
        /// First page of the folio that was looked for.
        wanted: u64,
        /// First page of the folio of this node that the block has there.
        found: Option<u64>,
    },
    /// A block has pages on a folio.
    InBlock {
        /// First page of the folio.
        head: u64,
        /// Order of the folio.
        order: u8,
    },
    /// The pagemap was killed: no folio may be formed from here on.
    Killed,
    /// The pages in live folios were counted, while folios are formed and freed.
    LivePagesRead {
        /// The counter of the pagemap, read while no other event of this node could be observed.
        counted: u64,
    },
}

/// A device used its memory, or its page table changed.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceEvent {
    /// Device memory is about to be read or written by a copy.
    Accessed {
        /// The pages.
        pages: PageRange,
    },
    /// Device memory was written by a copy.
    Written {
        /// The pages.
        pages: PageRange,
    },
    /// Device memory was filled with zeros.
    Cleared {
        /// The pages.
        pages: PageRange,
    },
    /// Device memory is about to be entered into a page table, of the device or of the CPU.
    Mapping {
        /// The pages.
        pages: PageRange,
    },
    /// Device memory was entered into the page table of its device.
    Mapped {
        /// Virtual pages.
        at: PageRange,
        /// First device page.
        head: u64,
    },
    /// Virtual pages are removed from the page table of the device.
    Unmapped {
        /// Virtual pages.
        at: PageRange,
    },
    /// Device memory was shown to the CPU.
    Shown {
        /// The pages.
        pages: PageRange,
    },
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It did what it was to do, or there was nothing to do.
    Done,
    /// It gave up for want of memory on either side.
    NoMemory,
    /// It gave up for another reason.
    Failed,
}

/// A migration went a step further.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionEvent {
    /// A thread is about to wait for the lock of the block.
    Waiting {
        /// Blocks that the thread has locked for transactions.
        holding: u64,
    },
    /// A transaction has locked the block, and begins.
    Began {
        /// Where the pages of the block are.
        pages: Residency,
    },
    /// The transaction waits for others, which make room and may move pages of this block too.
    Paused {
        /// Where the pages of the block are.
        pages: Residency,
    },
    /// The transaction goes on after that.
    Resumed {
        /// Where the pages of the block are.
        pages: Residency,
    },
    /// The transaction asked for memory, on either side.
    MemoryAsked {
        /// Order that it asked for.
        order: u8,
        /// Smallest order that it may go down to.
        smallest: u8,
    },
    /// The transaction took pages from the budget of system memory, or gave them back.
    Reserved {
        /// Pages taken; negative: given back.
        pages: i64,
    },
    /// A folio was formed for the transaction.
    FolioTaken {
        /// The node.
        node: u8,
        /// First page.
        head: u64,
    },
    /// The transaction releases a folio.
    FolioReleased {
        /// The node.
        node: u8,
        /// First page.
        head: u64,
        /// Order.
        order: u8,
    },
    /// The transaction has ended; the block is still locked.
    Ended {
        /// How it ended.
        ending: Ending,
        /// Where the pages of the block are.
        pages: Residency,
        /// Pages of the block that are on the folio that was formed for the transaction; bit i for page i.
        committed: [u64; 8],
        /// Whether pages are still out of the CPU's view.
        staged: bool,
    },
}

/// Where bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// System memory of a block, which a transaction has out of the CPU's view.
    Ram {
        /// The block.
        block: u64,
        /// Number of the first page in the block.
        first: u16,
    },
    /// Memory of a node.
    Device {
        /// The node.
        node: u8,
        /// First device page.
        first: u64,
    },
}

/// Bytes were looked at, copied or shown. Digests are those of [`digest`](crate::digest::digest()), one a page.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BytesEvent<'a> {
    /// Bytes were looked at. Where they were looked at before, copied or cleared, nothing should have written since.
    Seen {
        /// Where they are.
        place: Place,
        /// Their digests.
        digests: &'a [u64],
    },
    /// Bytes were copied.
    Copied {
        /// Source.
        from: Place,
        /// Destination.
        to: Place,
        /// Number of pages.
        pages: u64,
        /// Digests of the destination, after the copy, if they can be had.
        arrived: Option<&'a [u64]>,
    },
    /// System memory that the transaction of a block had out of view was shown or given up: it may be written.
    InView {
        /// The block.
        block: u64,
    },
}

/// A counter. Each is judged by one rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counter {
    /// References of all objects of a pool: I7.
    ObjectReferences,
    /// Pages that a pool has handed out: I7.
    PoolPages,
    /// Pages in live folios of a pagemap: I8.
    LivePages,
    /// Pages of system memory that are resident: I13.
    ResidentPages,
}

/// A structure that can walk itself. What it finds breaks one rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Structure {
    /// The words of a pagemap: I2.
    Pagemap,
    /// The objects and lists of a pool: I7.
    Pool,
    /// The pieces and page sets of a block, against each other and against the words of its folios: I12.
    Block,
}

/// Something was compared with a walk over it, while it did not change.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditEvent<'a> {
    /// A counter was compared with what it counts.
    Counted {
        /// The counter.
        counter: Counter,
        /// Its value.
        counted: u64,
        /// What was found.
        found: u64,
    },
    /// A structure walked itself.
    Walked {
        /// The structure.
        structure: Structure,
        /// What contradicts itself, if anything does.
        fault: Option<&'a str>,
    },
    /// A pool was asked how many frees, splits and collapses it has refused so far, because no such range was handed out at
    /// that order.
    Refusals {
        /// The node.
        node: u8,
        /// The answer.
        refusals: u64,
    },
    /// The pagemap of a node, which was killed, was asked whether its teardown may end.
    Teardown {
        /// The node.
        node: u8,
        /// The answer.
        ends: bool,
        /// Pages that were found in live folios.
        live_pages: u64,
    },
}
