//! What a transaction asks of its runner, and the answers.

use core::fmt::Debug;

use crate::{AlignedRun, DevicePage, Folio, FolioId, Formed, NodeId, PageRun, Rights};

/// One thing to do for a transaction. Each names the outcomes it may have; any other is a broken runner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Allocate device memory and form a folio: [`Outcome::Formed`], [`Outcome::NoMemory`] or [`Outcome::Detached`].
    FormFolio {
        /// The node whose memory it is to be.
        node: NodeId,
        /// The pages it is to hold; its order is the folio's.
        run: AlignedRun,
    },
    /// Make room for a folio on the device by evicting others: `Done` (room was made; it may be gone again),
    /// `NoMemory`, or `Busy` if what could be evicted belongs to other transactions just now. The runner may evict
    /// from this very block, outside the pages of this transaction.
    ReclaimDevice {
        /// The node that is full.
        node: NodeId,
        /// The pages that must fit as one folio.
        run: AlignedRun,
    },
    /// Drop the reference that the block held: `Done`.
    ReleaseFolio {
        /// The folio.
        folio: Folio,
    },
    /// Split a live folio into its two halves: [`Outcome::Split`], or `Busy` if there is another reference of it.
    SplitFolio {
        /// The folio, of order 1 or more.
        folio: Folio,
    },
    /// Make one folio of the two halves of a block, where they are: `Done` (it keeps the lower one's key), `Busy` if there is another reference of either, or `Failed` if they are not of one backing.
    CollapseFolio {
        /// The folio of the lower half.
        lower: Folio,
        /// The folio of the upper half, of the same order.
        upper: Folio,
    },
    /// Reserve system memory: `Done` or `NoMemory`.
    ReserveRam {
        /// The pages whose bytes will be there.
        run: AlignedRun,
    },
    /// Make room in system memory by moving other blocks to the device: `Done`, `NoMemory`, or `Busy` as above.
    ReclaimRam {
        /// Pages that must fit.
        pages: u16,
    },
    /// Give system memory back, with the bytes in it: `Done`.
    ReleaseRam {
        /// The pages that it was reserved for, or that were isolated from it.
        run: AlignedRun,
        /// How many of them were in system memory.
        pages: u16,
    },
    /// Unmap those of the pages that are in system memory from the CPU, so that no thread can write them any more and the
    /// next touch faults: `Done`, or `Busy` if any page cannot be isolated (pinned, shared after fork); then all pages
    /// are mapped as before.
    Isolate {
        /// The pages.
        run: AlignedRun,
    },
    /// Map the pages of system memory that `Isolate` unmapped again and wake sleepers: `Done`.
    Remap {
        /// The pages.
        run: AlignedRun,
    },
    /// Map the pages, filled before, for the CPU and wake sleepers: `Done` or `Failed`; then none was mapped. Where no
    /// thread waits for them, the runner may leave the mapping to the next touch.
    Install {
        /// The pages.
        run: AlignedRun,
        /// The page that a sleeper waits for: may be mapped before the others.
        wanted: Option<u16>,
    },
    /// Map zeros for the CPU at all the pages and wake sleepers: `Done` or `Failed`.
    InstallZero {
        /// The pages.
        run: AlignedRun,
    },
    /// Copy isolated pages of system memory to the device: `Done` or `Failed`.
    CopyToDevice {
        /// Pages to copy.
        run: PageRun,
        /// Device page of the first one.
        to: DevicePage,
    },
    /// Write zeros to device memory: `Done` or `Failed`. Not asked for where the folio was formed cleared.
    ClearDevice {
        /// Pages that are to read as zero.
        run: PageRun,
        /// Device page of the first one.
        to: DevicePage,
    },
    /// Copy a folio to the reserved system memory: `Done` or `Failed`.
    CopyToRam {
        /// The pages to fill.
        run: AlignedRun,
        /// Device page of the first one.
        from: DevicePage,
    },
    /// Enter the pages in the device's page table: `Done` or `Failed`.
    MapDevice {
        /// The pages.
        run: AlignedRun,
        /// Device page of the first one.
        to: DevicePage,
        /// What the device may do with them.
        rights: Rights,
    },
    /// Remove the pages from the device's page table, as far as they are there; on return no unit of the device uses them:
    /// `Done`.
    UnmapDevice {
        /// The device.
        node: NodeId,
        /// The pages.
        run: AlignedRun,
    },
    /// Enter the pages in the device's page table as one, in place of the entries that they have; no unit finds them
    /// missing meanwhile: `Done` or `Failed`; then some of them may be entered still.
    RemapDevice {
        /// The pages.
        run: AlignedRun,
        /// Device page of the first one, where entries lead already.
        to: DevicePage,
        /// What the device may do with them.
        rights: Rights,
    },
    /// Map coherent device memory for the CPU and wake sleepers: `Done` or `Failed`.
    MapCoherent {
        /// The pages.
        run: AlignedRun,
        /// Device page of the first one.
        to: DevicePage,
    },
    /// Unmap coherent device memory from the CPU, so that the next touch faults: `Done` or `Failed`.
    UnmapCoherent {
        /// The pages.
        run: AlignedRun,
    },
    /// Unmap pages from the CPU, coherent mappings included, and forget the bytes of those in system memory:
    /// `Done`, or `Failed`; then no byte is gone.
    Discard {
        /// The pages.
        run: PageRun,
    },
    /// Let accesses of the CPU to these pages do what is in `rights` and nothing else: `Done`, or `Failed`; then they may do
    /// what they could before.
    Protect {
        /// The pages.
        run: PageRun,
        /// What accesses may do.
        rights: Rights,
    },
    /// The transaction ended.
    Finish(Result<Finished, Failure>),
}

impl Step {
    /// Tells whether `outcome` is one that the step may have. A transaction panics at any other.
    #[must_use]
    pub fn allows(&self, outcome: &Outcome) -> bool {
        use Outcome::{Busy, Detached, Done, Failed, NoMemory};
        match *self {
            Step::FormFolio { node, run } => match outcome {
                Outcome::Formed(Formed { folio, .. }) => folio.node == node && folio.order == run.order(),
                other => matches!(other, NoMemory | Detached),
            },
            Step::ReserveRam { .. } => matches!(outcome, Done | NoMemory),
            Step::ReclaimDevice { .. } | Step::ReclaimRam { .. } => matches!(outcome, Done | NoMemory | Busy),
            Step::SplitFolio { .. } => matches!(outcome, Outcome::Split { .. } | Busy),
            Step::CollapseFolio { .. } => matches!(outcome, Done | Busy | Failed),
            Step::Isolate { .. } => matches!(outcome, Done | Busy),
            Step::ReleaseFolio { .. }
            | Step::ReleaseRam { .. }
            | Step::Remap { .. }
            | Step::UnmapDevice { .. } => *outcome == Done,
            Step::Install { .. }
            | Step::InstallZero { .. }
            | Step::CopyToDevice { .. }
            | Step::ClearDevice { .. }
            | Step::CopyToRam { .. }
            | Step::MapDevice { .. }
            | Step::RemapDevice { .. }
            | Step::MapCoherent { .. }
            | Step::UnmapCoherent { .. }
            | Step::Discard { .. }
            | Step::Protect { .. } => matches!(outcome, Done | Failed),
            Step::Finish(_) => false,
        }
    }
}

/// How a step went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Nothing was asked yet: what the first call of a transaction is given.
    Start,
    /// The step was done.
    Done,
    /// A folio of the wanted order, on the wanted node, now belongs to the block.
    Formed(Formed),
    /// The folio was split; its lower half keeps its key.
    Split {
        /// Key of the upper half.
        upper: FolioId,
    },
    /// There is no memory for it.
    NoMemory,
    /// The device is being taken away: no folio is formed there from here on.
    Detached,
    /// The pages or the folio are in use just now.
    Busy,
    /// It could not be done; nothing changed.
    Failed,
}

/// A transaction that succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Finished {
    /// What it did.
    pub moved: Moved,
    /// How often it went down an order.
    pub fallbacks: u8,
    /// Live splits it made.
    pub splits: u16,
}

/// What a transaction did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Moved {
    /// The page was already where it was wanted (another transaction was faster); only mappings were made.
    AlreadyThere(AlignedRun),
    /// One folio went to a device.
    ToDevice(AlignedRun),
    /// One folio came to system memory.
    ToRam(AlignedRun),
    /// Zeros were installed at first touch.
    Populated(AlignedRun),
    /// Pages were unmapped.
    Unmapped(PageRun),
    /// Pages were given other rights.
    Protected(PageRun),
    /// Folios that lie in this run were collapsed as far as they go together.
    Collapsed(PageRun),
    /// Folios that hold pages of this run were split, if they were larger than asked.
    Split(PageRun),
}

/// Why a transaction failed. All bytes are readable where they were; pages that were to go from one device to another may
/// be in system memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Failure {
    /// The page belongs to no allocation.
    #[error("address belongs to no allocation")]
    NotMapped,
    /// The page may not be accessed in this way.
    #[error("access is not allowed")]
    Denied,
    /// No device memory of any allowed order, and nothing could be evicted.
    #[error("no device memory, and nothing that could be evicted")]
    NoDeviceMemory,
    /// No system memory of any allowed order, and nothing could be moved out.
    #[error("no system memory, and nothing that could be moved out")]
    NoRam,
    /// A page is in use in a way that forbids to move it.
    #[error("a page or a folio is in use")]
    Busy,
    /// Bytes could not be copied.
    #[error("bytes could not be copied")]
    CopyFailed,
    /// The pages could not be mapped at their new place.
    #[error("pages could not be mapped at their new place")]
    MapFailed,
    /// A page is pinned: it stays mapped and in system memory until it is unpinned.
    #[error("a page is pinned")]
    Pinned,
    /// The device is being taken away, so nothing goes there any more.
    #[error("the device is being taken away")]
    Detached,
}

/// Refuses an outcome that the last step cannot have.
pub(crate) fn illegal(phase: &impl Debug, outcome: Outcome) -> ! {
    panic!("{outcome:?} is no outcome of the step in phase {phase:?}")
}
