//! What a transaction asks of whoever runs it, and the answers.

use bifolio_folio::{Order, Pfn};

use crate::{AlignedRun, PageRun};

/// One thing to do for a transaction. Each names the outcomes it may have; any other is a broken runner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Allocate device memory and form a folio: [`Outcome::Formed`], [`Outcome::NoMemory`] or [`Outcome::Detached`].
    FormFolio {
        /// The pages it is to hold; its order is the folio's.
        span: AlignedRun,
    },
    /// Make room for a folio on the device by evicting others: `Done` (room was made; it may be gone again),
    /// `NoMemory`, or `Busy` if what could be evicted belongs to other transactions just now. The runner may evict
    /// from this very block, outside the span of this transaction.
    ReclaimDevice {
        /// The span that must fit.
        span: AlignedRun,
    },
    /// Drop the reference that the block held: `Done`.
    ReleaseFolio {
        /// The folio.
        folio: Folio,
    },
    /// Split a live folio into its two halves: [`Outcome::Split`], or `Busy` if somebody else holds a reference.
    SplitFolio {
        /// The folio, of order 1 or more.
        folio: Folio,
    },
    /// Make one folio of the two halves of a block, where they are: `Done` (it keeps the lower one's key), `Busy` if somebody else holds a reference of either, or `Failed` if they are not of one backing.
    CollapseFolio {
        /// The folio of the lower half.
        lower: Folio,
        /// The folio of the upper half, of the same order.
        upper: Folio,
    },
    /// Reserve system memory for a span: `Done` or `NoMemory`.
    ReserveRam {
        /// The span whose bytes will be there.
        span: AlignedRun,
    },
    /// Make room in system memory by moving other blocks to the device: `Done`, `NoMemory`, or `Busy` as above.
    ReclaimRam {
        /// Pages that must fit.
        pages: u16,
    },
    /// Give system memory back, with the bytes in it: `Done`.
    ReleaseRam {
        /// The span it was reserved for or taken out of.
        span: AlignedRun,
        /// How many of its pages were in system memory.
        pages: u16,
    },
    /// Take the span's pages of system memory out of the CPU's view, so that nobody can write them any more and
    /// the next touch faults: `Done`, or `Busy` if any page cannot be taken (pinned, shared after fork); then all
    /// pages are in view as before.
    Isolate {
        /// The span.
        span: AlignedRun,
    },
    /// Put the pages of system memory that `Isolate` took back into view and wake sleepers: `Done`.
    Remap {
        /// The span.
        span: AlignedRun,
    },
    /// Show the span, filled before, to the CPU and wake sleepers: `Done` or `Failed`; then no page was shown. Where
    /// nobody waits for it, the runner may leave the showing to the next touch.
    Install {
        /// The span.
        span: AlignedRun,
        /// The page that a sleeper waits for: may be shown before the others.
        wanted: Option<u16>,
    },
    /// Show the whole span as zeros to the CPU and wake sleepers: `Done` or `Failed`.
    InstallZero {
        /// The span.
        span: AlignedRun,
    },
    /// Copy pages of system memory, out of view, to the device: `Done` or `Failed`.
    CopyToDevice {
        /// Pages to copy.
        run: PageRun,
        /// Device page of the first one.
        to: Pfn,
    },
    /// Write zeros to device memory: `Done` or `Failed`.
    ClearDevice {
        /// Pages that are to read as zero.
        run: PageRun,
        /// Device page of the first one.
        to: Pfn,
    },
    /// Copy a folio to the reserved system memory: `Done` or `Failed`.
    CopyToRam {
        /// The span to fill.
        span: AlignedRun,
        /// Device page of its first page.
        from: Pfn,
    },
    /// Enter the span in the device's page table: `Done` or `Failed`.
    MapDevice {
        /// The span.
        span: AlignedRun,
        /// Device page of its first page.
        to: Pfn,
    },
    /// Remove the span from the device's page table, as far as it is there; on return no unit of the device uses it:
    /// `Done`.
    UnmapDevice {
        /// The span.
        span: AlignedRun,
    },
    /// Enter the span in the device's page table as one, in place of the entries that its pages have; no unit finds them
    /// missing meanwhile: `Done` or `Failed`; then some of them may be entered still.
    RemapDevice {
        /// The span.
        span: AlignedRun,
        /// Device page of its first page, where entries lead already.
        to: Pfn,
    },
    /// Map coherent device memory into the CPU's view and wake sleepers: `Done` or `Failed`.
    MapCoherent {
        /// The span.
        span: AlignedRun,
        /// Device page of its first page.
        to: Pfn,
    },
    /// Take coherent device memory out of the CPU's view, so that the next touch faults: `Done` or `Failed`.
    UnmapCoherent {
        /// The span.
        span: AlignedRun,
    },
    /// Drop pages from the CPU's view, coherent mappings included, and forget the bytes of those in system memory:
    /// `Done`, or `Failed`; then no byte is gone.
    Discard {
        /// The pages.
        run: PageRun,
    },
    /// The transaction ended.
    Finish(Result<Finished, Failure>),
}

/// Key of a folio on the device, as the runner gave it out: valid until the folio is released or becomes part of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FolioId(pub u32);

/// A folio that a block holds one reference of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Folio {
    /// First device page.
    pub pfn: Pfn,
    /// Order.
    pub order: Order,
    /// Its key.
    pub id: FolioId,
}

/// How a step went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Nothing was asked yet: what the first call of a transaction is given.
    Start,
    /// The step was done.
    Done,
    /// A folio of the wanted order now belongs to the block.
    Formed(Folio),
    /// The folio was split; its lower half keeps its key.
    Split {
        /// Key of the upper half.
        upper: FolioId,
    },
    /// There is no memory for it.
    NoMemory,
    /// The device is being taken away: no folio is formed from here on.
    Detached,
    /// Somebody else uses the pages or the folio just now.
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
    /// The page was already where it was wanted (somebody else was faster); only mappings were made.
    AlreadyThere(AlignedRun),
    /// One folio went to the device.
    ToDevice(AlignedRun),
    /// One folio came home.
    ToRam(AlignedRun),
    /// Zeros were installed at first touch.
    Populated(AlignedRun),
    /// Pages were unmapped.
    Unmapped(PageRun),
    /// Folios that lie in this run were collapsed as far as they go together.
    Collapsed(PageRun),
    /// Folios that hold pages of this run were split, if they were larger than asked.
    Split(PageRun),
}

/// Why a transaction failed. All bytes are where they were.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// The page belongs to no allocation.
    NotMapped,
    /// No device memory of any allowed order, and nothing could be evicted.
    NoDeviceMemory,
    /// No system memory of any allowed order, and nothing could be moved out.
    NoRam,
    /// A page is in use in a way that forbids to move it.
    Busy,
    /// Bytes could not be copied.
    CopyFailed,
    /// The pages could not be mapped at their new place.
    MapFailed,
    /// A page is pinned: it stays mapped and in system memory until it is unpinned.
    Pinned,
    /// The device is being taken away, so nothing goes there any more.
    Detached,
}
