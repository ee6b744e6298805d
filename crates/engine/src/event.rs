//! What happens in an engine, told to observers: one stream of typed events.
//!
//! ```text
//!   request (fault, prefetch, unmap, ...)
//!     Begin -> Step, Done -> Step, Done -> ... -> End        one transaction; those within it come in between
//!     CpuFault, DeviceFault                                   the request's own end
//!   Copied, Victim, Evicted, Reclaimed, Used, Busy, ...       what happened on the way
//! ```
//!
//! Statistics, the checker of rules and traces are observers; the engine knows none of them. An engine without observers
//! makes no event: each place that could tell one tests whether there is a listener, and nothing else is different. The
//! same holds for the steps within transactions if no observer wants them.

use std::sync::Arc;

use bifolio_folio::{FreeRange, Order, Pfn};
use bifolio_migrate::{Block, Failure, Finished, NodeId, Outcome, PageRun, Step};
use bifolio_policy::{Coming, Leaving};
use bifolio_sys::SharedBytes;

use crate::device::{DeviceFault, DeviceRequest, Served, UsedPages};
use crate::node::Node;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Hears what an engine does.
pub trait Observer: Send + Sync {
    /// Hears one event, on the thread that caused it, while that thread holds the locks of the transaction. It must not
    /// call the engine, wait for another thread, or touch memory that the engine manages.
    fn observe(&self, event: &Event<'_>);

    /// How much it wants to hear.
    fn detail(&self) -> Detail {
        Detail::Steps
    }

    /// Whether forming a folio has to look at the word of every page of its range, for this observer to judge.
    fn checks_every_page(&self) -> bool {
        false
    }
}

/// How much an observer wants to hear.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Detail {
    /// What came of requests and transactions, and what was moved.
    Results,
    /// Also the steps of transactions, the folios that are formed, and the waiting for blocks: the kinds of events that are
    /// marked as details.
    Steps,
}

/// Number of a transaction, unique in its engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TransactionId(pub u64);

/// What a transaction is for.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// A fault of the CPU.
    CpuFault,
    /// A fault of a device.
    DeviceFault,
    /// A prefetch to either side.
    Prefetch,
    /// What a policy brings beside the page of a fault.
    Ahead,
    /// An unmapping.
    Unmap,
    /// A split or a collapse that was asked for.
    Reshape,
    /// A pin.
    Pin,
    /// Making room on a device.
    Eviction,
    /// Making room in system memory.
    Reclaim,
    /// Taking a device away.
    Detach,
}

impl Cause {
    /// Why pages come by such a transaction.
    pub(crate) fn coming(self) -> Coming {
        match self {
            Cause::CpuFault | Cause::DeviceFault => Coming::Fault,
            Cause::Eviction | Cause::Reclaim => Coming::Room,
            _ => Coming::Prefetch,
        }
    }

    /// Why pages leave by such a transaction.
    pub(crate) fn leaving(self) -> Leaving {
        match self {
            Cause::Eviction | Cause::Reclaim => Leaving::Evicted,
            Cause::Unmap | Cause::Detach => Leaving::Gone,
            _ => Leaving::Wanted,
        }
    }
}

/// Something that happened.
#[derive(Clone, Copy)]
pub struct Event<'e> {
    /// Its number: events of one engine are numbered in the order in which they were told.
    pub sequence: u64,
    /// The transaction in which it happened, if in one.
    pub transaction: Option<TransactionId>,
    /// What happened.
    pub kind: EventKind<'e>,
}

/// The kinds of events. Times are in nanoseconds of the engine's clock, addresses in bytes.
#[non_exhaustive]
#[derive(Clone, Copy)]
pub enum EventKind<'e> {
    /// Detail: a transaction begins on a block that its thread has locked.
    Begin {
        /// What it is for.
        cause: Cause,
        /// The block.
        context: &'e dyn StepContext,
    },
    /// Detail: a step is about to be done.
    Step {
        /// The step.
        step: &'e Step,
        /// The block and the bytes, before it.
        context: &'e dyn StepContext,
    },
    /// Detail: a step was done.
    Done {
        /// The step.
        step: &'e Step,
        /// Its outcome.
        outcome: Outcome,
        /// The block and the bytes, after it.
        context: &'e dyn StepContext,
    },
    /// A transaction ended.
    End {
        /// What it was for.
        cause: Cause,
        /// How it ended.
        result: &'e Result<Finished, Failure>,
        /// The block, and what is left staged.
        context: &'e dyn StepContext,
    },
    /// Pages became part of an allocation, and are empty, but for those that are [`EventKind::Filled`].
    Mapped {
        /// Address of the first page.
        address: usize,
        /// Number of bytes.
        bytes: usize,
    },
    /// Pages that have just been mapped hold bytes already, in system memory.
    Filled {
        /// Address of the first page.
        address: usize,
        /// Number of bytes.
        bytes: usize,
    },
    /// A fault of the CPU was answered.
    CpuFault {
        /// The address that was touched.
        address: usize,
        /// What came of it.
        result: &'e Result<Finished, Failure>,
        /// How long it took to answer.
        wait_ns: u64,
    },
    /// A thread has read so many messages of the kernel at once: faults of the CPU, and seldom what the program did to its
    /// mappings. They are answered one by one.
    MessagesRead {
        /// How many.
        messages: usize,
    },
    /// A fault of a device was answered.
    DeviceFault {
        /// The device.
        node: NodeId,
        /// What it asked for.
        request: &'e DeviceRequest,
        /// What came of it.
        result: &'e Result<Served, DeviceFault>,
        /// How long it took to answer.
        wait_ns: u64,
    },
    /// Detail: a folio is about to be formed.
    Forming {
        /// The device.
        node: &'e Node,
        /// Its memory.
        range: &'e FreeRange,
        /// The pool's number for it.
        data: u32,
    },
    /// Detail: a folio was formed, and is still locked.
    Formed {
        /// The device.
        node: &'e Node,
        /// The folio.
        folio: &'e LockedFolio<'e>,
        /// The pool's number that was given.
        data: u32,
    },
    /// Detail: no folio was formed since a page of the range is in one already.
    FormRefused {
        /// The device.
        node: &'e Node,
        /// The range.
        range: &'e FreeRange,
        /// The page.
        page: Pfn,
    },
    /// Bytes of folios were copied.
    Copied {
        /// The device.
        node: NodeId,
        /// Whether to the device.
        to_device: bool,
        /// Number of bytes; zero if the copy failed, or if the other side has all of them still.
        bytes: u64,
        /// Number of pages that are there now, copied or not; zero if the copy failed.
        pages: u16,
        /// How long it took.
        time_ns: u64,
    },
    /// Detail: a folio is about to be evicted.
    Victim {
        /// The device.
        node: NodeId,
        /// The folio that was looked for.
        wanted: Pfn,
        /// The folio that the block has there now.
        found: Option<Pfn>,
    },
    /// A folio was evicted to make room on the device.
    Evicted {
        /// The device.
        node: NodeId,
        /// Address of its first page.
        address: usize,
    },
    /// Pages were moved to a device to make room in system memory.
    Reclaimed {
        /// Address of the first page.
        address: usize,
        /// Number of pages.
        pages: u16,
    },
    /// A device may use pages of system memory where they are: nothing moved.
    MappedRemotely {
        /// The device.
        node: NodeId,
        /// Address of the first page.
        address: usize,
        /// How many pages: a run of this order.
        order: Order,
        /// How many accesses each page is good for, before the next one is a fault.
        uses: u32,
    },
    /// What a device did with the pages of a folio while they were mapped there.
    Used {
        /// The device.
        node: NodeId,
        /// Address of the first page.
        address: usize,
        /// Which pages it read and wrote.
        used: &'e UsedPages,
    },
    /// A transaction found something in use and left all pages where they were.
    Busy,
    /// Detail: a thread is about to wait for the lock of a block.
    Waiting {
        /// Address of the block.
        block: usize,
    },
    /// A folio was split into its halves.
    Split {
        /// The device.
        node: NodeId,
    },
    /// Two halves became one folio.
    Collapsed {
        /// The device.
        node: NodeId,
    },
    /// Pages were taken beyond the limit of system memory, since both memories are full.
    BeyondLimit {
        /// Number of pages.
        pages: u64,
    },
    /// A device said that it is lost, or did not unmap what it was told to. Told once for each device.
    DeviceLost {
        /// The device.
        node: NodeId,
        /// Address of the block that was worked on.
        block: usize,
    },
    /// A page cannot be brought back, and is about to be poisoned: a touch of it raises SIGBUS.
    Poisoned {
        /// Its address.
        address: usize,
        /// Why.
        why: Failure,
    },
    /// A buffer object was evicted to system memory.
    BufferEvicted {
        /// The device.
        node: NodeId,
    },
    /// A buffer object that had been evicted came back to its device.
    BufferReturned {
        /// The device.
        node: NodeId,
    },
    /// Bytes of a buffer object were copied.
    BufferCopied {
        /// The device.
        node: NodeId,
        /// Number of bytes; zero if the copy failed.
        bytes: u64,
        /// How long it took.
        time_ns: u64,
    },
    /// An audit compared something with a walk over it.
    Audit(&'e bifolio_rules::AuditEvent<'e>),
    /// A device was killed: no folio is formed there any more.
    Killed {
        /// The device.
        node: NodeId,
    },
}

/// A folio that was just formed.
pub type LockedFolio<'m> = bifolio_folio::Folio<'m, Arc<dyn bifolio_pool::DevicePool>, bifolio_folio::Locked>;

/// What can be looked at while a step is done: the block is locked, and nothing changes meanwhile.
pub trait StepContext {
    /// Address of the block.
    fn base(&self) -> usize;

    /// Where its pages are.
    fn block(&self) -> &Block;

    /// Whether pages are out of the CPU's view.
    fn is_staged(&self) -> bool;

    /// The smallest order that the transaction may go down to by this step.
    fn smallest_order(&self) -> bifolio_folio::Order;

    /// The bytes of pages of the block that are out of the CPU's view; `None` if none are.
    fn ram_bytes(&self, run: PageRun) -> Option<SharedBytes<'_>>;

    /// The bytes of device pages; `None` if they cannot be had without a copy.
    fn device_bytes(&self, node: NodeId, first: Pfn, pages: u64) -> Option<SharedBytes<'_>>;
}

/// The observers of an engine.
#[derive(Default)]
pub(crate) struct Observers {
    all: Box<[Arc<dyn Observer>]>,
    /// Those of them that want details.
    detailed: Box<[Arc<dyn Observer>]>,
    sequence: AtomicU64,
    transactions: AtomicU64,
}

impl Observers {
    pub(crate) fn new(all: Vec<Arc<dyn Observer>>) -> Observers {
        let wants = |observer: &&Arc<dyn Observer>| observer.detail() == Detail::Steps;
        let detailed = all.iter().filter(wants).cloned().collect();
        Observers { all: all.into(), detailed, ..Observers::default() }
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn listen(&self) -> bool {
        !self.all.is_empty()
    }

    /// Whether any wants details.
    #[inline]
    pub(crate) fn want_details(&self) -> bool {
        !self.detailed.is_empty()
    }

    pub(crate) fn check_every_page(&self) -> bool {
        self.detailed.iter().any(|observer| observer.checks_every_page())
    }

    /// A number for a transaction that begins.
    #[inline]
    pub(crate) fn next_transaction(&self) -> Option<TransactionId> {
        // Relaxed: the number must only be another one.
        self.listen().then(|| TransactionId(self.transactions.fetch_add(1, Ordering::Relaxed)))
    }

    /// Tells what came of something.
    #[inline]
    pub(crate) fn tell<'e>(&self, transaction: Option<TransactionId>, kind: impl FnOnce() -> EventKind<'e>) {
        if self.listen() {
            self.tell_each(&self.all, transaction, kind());
        }
    }

    /// Tells a detail.
    #[inline]
    pub(crate) fn tell_detail<'e>(
        &self,
        transaction: Option<TransactionId>,
        kind: impl FnOnce() -> EventKind<'e>,
    ) {
        if self.want_details() {
            self.tell_each(&self.detailed, transaction, kind());
        }
    }

    #[inline(never)]
    fn tell_each(
        &self,
        observers: &[Arc<dyn Observer>],
        transaction: Option<TransactionId>,
        kind: EventKind<'_>,
    ) {
        // Relaxed: the number orders the events; what they tell of is ordered by the locks that are held.
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let event = Event { sequence, transaction, kind };
        observers.iter().for_each(|observer| observer.observe(&event));
    }
}
