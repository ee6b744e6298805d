//! Devices: what the engine asks of one, and what a device asks of the engine.
//!
//! # Contract of a device
//!
//! - **Timeline.** Copies and page-table updates are batches on one timeline. Each returns a [`Point`], and
//!   [`Device::wait`] returns once everything up to that point is done. A device that runs asynchronously and one that
//!   does everything at once look alike.
//! - **Threads.** Every method may be called on any thread, by several at once, also on the thread that is inside
//!   [`FaultHandler::device_fault`]. A device that calls the handler while it holds a lock that one of its methods takes
//!   waits for itself.
//! - **Locks.** The engine holds the lock of the block concerned. A method must not touch memory that the engine manages,
//!   nor call the handler: a fault there would wait for that lock.
//! - **Faults.** A device that meets a page without a translation, or without the right for its access, calls the handler
//!   and tries again when that returns. The translation may be gone again by then.
//! - **Unmapping.** Once the point of an [`TableUpdate::Unmap`] or [`TableUpdate::UnmapRemote`] is reached, no access of the
//!   device uses what was unmapped, cached translations included. An error of an unmapping means that the device is lost: nothing of it is used
//!   any more, and what only it held cannot be had back.
//! - **Attaching.** [`Engine::new`](crate::Engine::new) attaches each device once, before it returns.

use std::sync::Arc;

use bifolio_folio::{Order, PageRun, PageSet, Pfn};
use bifolio_migrate::Rights;
use bifolio_sys::{PAGE, SharedBytes};

use crate::sleep::{Seen, Sleeper};

/// What a device can do. The engine honours all of it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Device memory, in pages of 4 KiB: a pagemap with more of them is refused.
    pub pages: u64,
    /// Whether it takes page faults; if not, everything is brought to it before a launch.
    pub faults: bool,
    /// Smallest order that its page table can map: no folio on it is smaller.
    pub smallest_order: Order,
    /// The most that its accesses may do: mappings carry no more rights.
    pub rights: Rights,
    /// Whether its memory is zeros where nothing was written yet, so that empty pages need not be cleared there.
    pub zeroed: bool,
    /// Whether it can use system memory where it is: whether it knows [`TableUpdate::MapRemote`].
    pub remote: bool,
}

impl Capabilities {
    /// A device that takes faults, maps single pages and does every access.
    #[must_use]
    pub fn new(pages: u64) -> Capabilities {
        Capabilities {
            pages,
            faults: true,
            smallest_order: Order::ZERO,
            rights: Rights::READ | Rights::WRITE,
            zeroed: false,
            remote: false,
        }
    }

    /// The same with the ability to use system memory where it is.
    #[must_use]
    pub fn with_remote(self) -> Capabilities {
        Capabilities { remote: true, ..self }
    }

    /// The same without page faults.
    #[must_use]
    pub fn without_faults(self) -> Capabilities {
        Capabilities { faults: false, ..self }
    }

    /// The same with a page table that maps nothing below `order`.
    #[must_use]
    pub fn with_smallest_order(self, order: Order) -> Capabilities {
        Capabilities { smallest_order: order, ..self }
    }

    /// The same with memory that is zeros where nothing was written yet.
    #[must_use]
    pub fn with_zeroed_memory(self) -> Capabilities {
        Capabilities { zeroed: true, ..self }
    }

    /// The same with other rights.
    #[must_use]
    pub fn with_rights(self, rights: Rights) -> Capabilities {
        Capabilities { rights, ..self }
    }
}

/// Bytes that count as moved at each access of a device to system memory where it is: what crosses the link.
pub const REMOTE_ACCESS: u64 = 64;

/// A copy between system memory and device memory.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub enum Copy<'m> {
    /// Bytes to the device, a whole number of pages.
    ToDevice {
        /// Where they are.
        from: SharedBytes<'m>,
        /// First device page.
        to: Pfn,
    },
    /// Bytes to system memory, a whole number of pages.
    ToRam {
        /// First device page.
        from: Pfn,
        /// Where they go.
        to: SharedBytes<'m>,
    },
    /// Zeros to device memory.
    Clear {
        /// First device page.
        to: Pfn,
        /// Number of pages.
        pages: u64,
    },
}

impl Copy<'_> {
    /// First device page.
    #[must_use]
    pub fn page(&self) -> Pfn {
        match *self {
            Copy::ToDevice { to, .. } | Copy::Clear { to, .. } => to,
            Copy::ToRam { from, .. } => from,
        }
    }

    /// How many bytes it writes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match *self {
            Copy::ToDevice { from: bytes, .. } | Copy::ToRam { to: bytes, .. } => bytes.len() as u64,
            Copy::Clear { pages, .. } => pages * bifolio_folio::PAGE_SIZE,
        }
    }
}

/// A change of the device's page table.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableUpdate {
    /// Enters `2^order` pages.
    Map {
        /// Virtual address of the first page.
        address: usize,
        /// Device page of the first page.
        to: Pfn,
        /// Order.
        order: Order,
        /// What the device may do there.
        rights: Rights,
    },
    /// Enters `2^order` pages as one, in place of the entries they have, smaller or larger, which lead to the same
    /// device pages. Units that run find each page there all the time, if it was, and its use stays remembered.
    Remap {
        /// Virtual address of the first page.
        address: usize,
        /// Device page of the first page.
        to: Pfn,
        /// Order.
        order: Order,
        /// What the device may do there.
        rights: Rights,
    },
    /// Enters `2^order` pages of system memory, which the device uses where the CPU has them, under the same addresses. An
    /// entry that was used `uses` times leads nowhere any more: the next access is a fault. Only for devices that say so:
    /// [`Capabilities::remote`].
    MapRemote {
        /// Virtual address of the first page.
        address: usize,
        /// Order.
        order: Order,
        /// What the device may do there.
        rights: Rights,
        /// How many accesses each page is good for.
        uses: u32,
    },
    /// Removes `2^order` pages of system memory; once the point is reached, no unit uses them where they are.
    UnmapRemote {
        /// Virtual address of the first page.
        address: usize,
        /// Order.
        order: Order,
    },
    /// Removes `2^order` pages, whatever the orders they were entered at; once the point is reached, no unit uses them.
    Unmap {
        /// Virtual address of the first page.
        address: usize,
        /// Order.
        order: Order,
    },
}

impl TableUpdate {
    /// The virtual address of the first page, and the order.
    #[must_use]
    pub fn pages(&self) -> (usize, Order) {
        match *self {
            TableUpdate::Map { address, order, .. }
            | TableUpdate::Remap { address, order, .. }
            | TableUpdate::MapRemote { address, order, .. }
            | TableUpdate::UnmapRemote { address, order }
            | TableUpdate::Unmap { address, order } => (address, order),
        }
    }

    /// Its pages one by one: the virtual address, and of a page of the device that is entered its number and the rights.
    pub fn each_page(&self) -> impl Iterator<Item = (usize, Option<(Pfn, Rights)>)> {
        let (address, order) = self.pages();
        let entered = match *self {
            TableUpdate::Map { to, rights, .. } | TableUpdate::Remap { to, rights, .. } => Some((to, rights)),
            TableUpdate::Unmap { .. } | TableUpdate::UnmapRemote { .. } | TableUpdate::MapRemote { .. } => {
                None
            }
        };
        (0..order.pages()).zip((address..).step_by(PAGE)).map(move |(page, address)| {
            (address, entered.map(|(to, rights)| (Pfn::new(to.get() + page), rights)))
        })
    }
}

/// A place on a device's timeline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Point(pub u64);

/// Which of some mapped pages a device used since they were mapped. Pages are counted from the first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsedPages {
    /// Pages that were read or written.
    pub accessed: PageSet,
    /// Pages that were written. The bytes of all others are still those that were copied there.
    pub written: PageSet,
}

impl UsedPages {
    /// No page was used.
    pub const NONE: UsedPages = UsedPages { accessed: PageSet::EMPTY, written: PageSet::EMPTY };

    /// Any page may have been written: what a device says that cannot tell.
    #[must_use]
    pub fn unknown() -> UsedPages {
        let mut all = PageSet::EMPTY;
        all.insert(PageRun::BLOCK);
        UsedPages { accessed: all, written: all }
    }
}

/// Why a device did not do what it was asked.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceError {
    /// Pages outside of the device's memory.
    #[error("device page {first} and the {pages} after it are outside of device memory")]
    OutOfRange {
        /// First page.
        first: Pfn,
        /// Number of pages.
        pages: u64,
    },
    /// Addresses outside of what the device's page table covers.
    #[error("address {0:#x} is outside of the device's page table")]
    NoTable(usize),
    /// A copy or a change of a kind that the device does not know.
    #[error("device does not support this")]
    Unsupported,
    /// The device is gone.
    #[error("device is lost")]
    Lost,
}

/// A page request of a device.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceRequest {
    /// The address of the access.
    pub address: usize,
    /// Pages from there on that the device is about to use; at least one.
    pub pages: u32,
    /// What it wants to do.
    pub access: Rights,
    /// Which unit of the device asks.
    pub unit: u32,
    /// The device's own number of the request; it comes back in the answer.
    pub tag: u64,
}

impl DeviceRequest {
    /// A request of unit 0 for one page.
    #[must_use]
    pub fn new(address: usize, access: Rights) -> DeviceRequest {
        DeviceRequest { address, pages: 1, access, unit: 0, tag: 0 }
    }

    /// The address after the last page that is asked for.
    #[must_use]
    pub fn end(&self) -> usize {
        let pages = usize::try_from(self.pages).unwrap_or(usize::MAX);
        (self.address & !(PAGE - 1)).saturating_add(pages.saturating_mul(PAGE))
    }

    /// The same for more pages.
    #[must_use]
    pub fn with_pages(self, pages: u32) -> DeviceRequest {
        DeviceRequest { pages: pages.max(1), ..self }
    }

    /// The same by another unit.
    #[must_use]
    pub fn by_unit(self, unit: u32) -> DeviceRequest {
        DeviceRequest { unit, ..self }
    }

    /// The same with a tag.
    #[must_use]
    pub fn with_tag(self, tag: u64) -> DeviceRequest {
        DeviceRequest { tag, ..self }
    }
}

/// What answering a page request took. A model of time charges for it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Served {
    /// The tag of the request.
    pub tag: u64,
    /// Bytes that were copied to the device.
    pub moved_in: u64,
    /// Bytes that were copied from it, to make room.
    pub moved_out: u64,
    /// Folios that were evicted.
    pub evicted: u64,
    /// Order of the folio that holds the page now.
    pub order: Order,
    /// Whether the page was there already: another request for it was served first.
    pub was_there: bool,
}

/// A fault that could not be answered: the job that met it ends.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceFault {
    /// The address belongs to no allocation.
    #[error("device access to {address:#x}, which belongs to no allocation")]
    NotMapped {
        /// The address.
        address: usize,
    },
    /// The access is not allowed there.
    #[error("device access to {address:#x} is not allowed: {access:?}")]
    Denied {
        /// The address.
        address: usize,
        /// What was wanted.
        access: Rights,
    },
    /// The device is being taken away, or is gone: see [`Engine::detach`](crate::Engine::detach).
    #[error("device access to {address:#x} after the device was detached")]
    Detached {
        /// The address.
        address: usize,
    },
    /// Not even one page could be brought to the device.
    #[error("device page fault at {address:#x} cannot be answered: {why}")]
    Unanswered {
        /// The address.
        address: usize,
        /// Why the last try failed.
        why: bifolio_migrate::Failure,
    },
    /// An access that is not aligned to its size.
    #[error("device access to {address:#x} is not aligned")]
    Unaligned {
        /// The address.
        address: usize,
    },
}

/// What answers the page faults of a device.
pub trait FaultHandler: Send + Sync {
    /// Brings the page that is asked for to the device and into its page table.
    ///
    /// # Errors
    /// If that is impossible; the page is where it was.
    fn device_fault(&self, request: &DeviceRequest) -> Result<Served, DeviceFault>;
}

/// A device with memory of its own. The [module](self) has its contract.
pub trait Device: Send + Sync {
    /// What it can do. Always the same.
    fn capabilities(&self) -> Capabilities;

    /// Tells it what answers its faults. Called once, before the first launch. The handler does not keep the engine
    /// alive: without it, faults are answered by [`DeviceFault::Detached`].
    fn attach(&self, handler: Arc<dyn FaultHandler>);

    /// Copies in the given order.
    ///
    /// # Errors
    /// If any copy is impossible; those before it may be done.
    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError>;

    /// Changes the page table in the given order.
    ///
    /// # Errors
    /// If any change is impossible; those before it may be done. For an unmapping it means that the device is lost.
    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError>;

    /// Returns when everything up to `point` is done. A device that does everything at once has nothing to wait for.
    ///
    /// # Errors
    /// If the device was lost before.
    fn wait(&self, point: Point) -> Result<(), DeviceError> {
        let _ = point;
        Ok(())
    }

    /// Tells whether any of the `2^order` mapped pages at `address` was used since this was last asked. Behind a cache of
    /// translations that includes what was used through the cache. A device that cannot tell says `false`.
    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        let _ = (address, order);
        false
    }

    /// Which of the `2^order` pages at `address` were used since they were mapped last. Asked while they are mapped, it tells
    /// what was done so far; asked once an unmapping of them is done, all that was done by that mapping.
    fn used_pages(&self, address: usize, order: Order) -> UsedPages {
        let _ = (address, order);
        UsedPages::unknown()
    }

    /// Takes note that a thread of this process sleeps in a fault of the CPU, and so uses nothing that the device gave it: an
    /// unmapping need not wait for it. The host says so before it answers the fault.
    fn thread_sleeps(&self, sleeper: Sleeper) -> Seen {
        let _ = sleeper;
        Seen::Known
    }

    /// The bytes of `pages` pages of device memory, to check them; `None` if they cannot be had here without a copy.
    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        let _ = (first, pages);
        None
    }
}
