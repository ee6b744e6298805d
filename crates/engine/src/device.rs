//! Devices: what the runtime asks of one, and the built-in one.
//!
//! A device takes batches on one timeline: copies and page-table updates return a [`Point`], and
//! [`Device::wait`] returns once everything up to that point is done. So a device that runs asynchronously and
//! one that does everything at once look alike. A device that meets a page it has no translation for tells the
//! [`FaultHandler`] it was attached to, and goes on when that returns.

use std::sync::Weak;

use bifolio_folio::{Order, Pfn};
use bifolio_sys::SharedBytes;

/// What a device can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Device memory, in pages of 4 KiB.
    pub pages: u64,
    /// Whether it takes page faults; if not, everything must be moved to it before a launch.
    pub faults: bool,
    /// Smallest order that its page table can map.
    pub smallest_order: Order,
}

/// A copy between system memory and device memory.
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

/// A change of the device's page table.
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
    },
    /// Removes `2^order` pages, whatever the orders they were entered at; once the point is reached, no unit uses them.
    Unmap {
        /// Virtual address of the first page.
        address: usize,
        /// Order.
        order: Order,
    },
}

/// A place on a device's timeline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Point(pub u64);

/// Why a device did not do what it was asked.
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
    /// The device is gone.
    #[error("device is lost")]
    Lost,
}

/// A fault that could not be answered: the job that met it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceFault {
    /// The address belongs to no allocation.
    #[error("device access to {address:#x}, which belongs to no allocation")]
    NotMapped {
        /// The address.
        address: usize,
    },
    /// The device is being taken away, or is gone: see [`Engine::detach`](crate::Engine::detach).
    #[error("device access to {address:#x} after the device was detached")]
    Detached {
        /// The address.
        address: usize,
    },
    /// Not even one page could be brought to the device.
    #[error("device page fault at {address:#x} cannot be answered: {why:?}")]
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
    /// Brings the page that holds `address` to the device and into its page table.
    ///
    /// # Errors
    /// If that is impossible; the page is where it was.
    fn device_fault(&self, address: usize) -> Result<(), DeviceFault>;
}

/// A device with memory of its own.
pub trait Device: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Tells it who answers its faults. Called once, before the first launch. The handler owns the device, so the
    /// device must not own the handler.
    fn attach(&self, handler: Weak<dyn FaultHandler>);

    /// Copies in the given order.
    ///
    /// # Errors
    /// If any copy is impossible; those before it may be done.
    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError>;

    /// Changes the page table in the given order.
    ///
    /// # Errors
    /// If any change is impossible; those before it may be done.
    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError>;

    /// Returns when everything up to `point` is done.
    ///
    /// # Errors
    /// If the device was lost before.
    fn wait(&self, point: Point) -> Result<(), DeviceError>;

    /// Tells whether any of the `2^order` mapped pages at `address` was used since this was last asked. A device
    /// that cannot tell says `false`.
    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool;

    /// Number of the `2^order` mapped pages at `address` that were used since they were mapped.
    fn touched_pages(&self, address: usize, order: Order) -> u64;

    /// The bytes of `pages` pages of device memory, for whoever checks them; `None` if they cannot be had here without
    /// a copy.
    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        let _ = (first, pages);
        None
    }
}
