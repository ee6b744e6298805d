//! A device and a pool that break their promises when they are told to.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Barrier, OnceLock, Weak};

use bifolio_folio::{FreeRange, Order, Pfn, Pool};
use bifolio_pool::{Allocation, BuddyPool, Contents, DevicePool, Rmap, Usage};
use bifolio_sys::SharedBytes;

use super::memory_device::MemoryDevice;
use super::rig::DEVICE_PAGES;
use crate::device::{Capabilities, Copy, Device, DeviceError, FaultHandler, Point, TableUpdate, UsedPages};

/// How the device or the pool breaks its promise.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Lie {
    Nothing,
    /// A byte arrives wrong on the device.
    CopyToDevice,
    /// A byte arrives wrong in system memory.
    CopyToRam,
    /// Memory that should be zeros is not.
    Clear,
    /// Somebody writes what was taken out of view.
    WriteMeanwhile,
    /// Bytes on the device change although nothing maps them.
    Rot,
    /// The same memory is handed out again.
    HandOutAgain,
    /// Memory beyond the device is handed out.
    HandOutBeyond,
    /// Free memory is refused.
    Refuse,
    /// The object goes with the first folio.
    ForgetObject,
    /// Objects are released by the put.
    ReleaseInPut,
    /// No lie: who asks what the objects add up to is met, and met again before he gets an answer.
    MeetInUsage,
}

pub(super) struct Lies {
    told: AtomicU8,
    pub(super) meeting: Barrier,
}

impl Default for Lies {
    fn default() -> Lies {
        Lies { told: AtomicU8::new(Lie::Nothing as u8), meeting: Barrier::new(2) }
    }
}

impl Lies {
    pub(super) fn tells(&self, lie: Lie) -> bool {
        self.told.load(Ordering::Relaxed) == lie as u8
    }

    pub(super) fn begin(&self, lie: Lie) {
        self.told.store(lie as u8, Ordering::Relaxed);
    }
}

pub(super) struct LyingDevice {
    pub(super) inner: MemoryDevice,
    pub(super) lies: Arc<Lies>,
}

impl LyingDevice {
    fn spoil(bytes: SharedBytes<'_>) {
        let byte: u8 = bytes.read(5).expect("a page has it");
        bytes.write(5, byte ^ 1).expect("a page has it");
    }
}

impl Device for LyingDevice {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        self.inner.attach(handler);
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        let device = |page| self.inner.inspect(page, 1).expect("inside of the device");
        for copy in batch {
            if let (Copy::ToRam { from, .. }, true) = (copy, self.lies.tells(Lie::Rot)) {
                Self::spoil(device(*from));
            }
        }
        let point = self.inner.copy(batch);
        for copy in batch {
            match *copy {
                Copy::ToDevice { to, .. } if self.lies.tells(Lie::CopyToDevice) => Self::spoil(device(to)),
                Copy::Clear { to, .. } if self.lies.tells(Lie::Clear) => Self::spoil(device(to)),
                Copy::ToRam { to, .. } if self.lies.tells(Lie::CopyToRam) => Self::spoil(to),
                Copy::ToDevice { from, .. } if self.lies.tells(Lie::WriteMeanwhile) => Self::spoil(from),
                _ => {}
            }
        }
        point
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        self.inner.update(batch)
    }

    fn wait(&self, point: Point) -> Result<(), DeviceError> {
        self.inner.wait(point)
    }

    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        self.inner.test_and_clear_accessed(address, order)
    }

    fn used_pages(&self, address: usize, order: Order) -> UsedPages {
        self.inner.used_pages(address, order)
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        // Who rots in silence must not be looked at.
        if self.lies.tells(Lie::Rot) { None } else { self.inner.inspect(first, pages) }
    }
}

#[derive(Debug)]
pub(super) struct LyingPool {
    pub(super) inner: BuddyPool,
    pub(super) lies: Arc<Lies>,
    /// The pool as the engine has it.
    pub(super) outer: Arc<OnceLock<Weak<dyn DevicePool>>>,
}

impl std::fmt::Debug for Lies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lies")
    }
}

impl DevicePool for LyingPool {
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        if self.lies.tells(Lie::Refuse) {
            return None;
        }
        let Allocation { range, data, cleared } = self.inner.allocate(order, rmap, contents)?;
        let head = match () {
            () if self.lies.tells(Lie::HandOutAgain) => Pfn::ZERO,
            () if self.lies.tells(Lie::HandOutBeyond) => Pfn::new(DEVICE_PAGES),
            () => range.head(),
        };
        Some(Allocation { range: FreeRange::claim(head, order), data, cleared })
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        if self.lies.tells(Lie::ForgetObject) { None } else { self.inner.rmap_of(page, data) }
    }

    fn can_allocate(&self, order: Order, rmap: Rmap) -> bool {
        self.inner.can_allocate(order, rmap)
    }

    fn free_pages(&self) -> u64 {
        self.inner.free_pages()
    }

    fn usage(&self) -> Usage {
        if self.lies.tells(Lie::MeetInUsage) {
            self.lies.meeting.wait();
            self.lies.meeting.wait();
        }
        self.inner.usage()
    }

    fn release(&self) -> u64 {
        self.inner.release()
    }
}

impl Pool for LyingPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        self.inner.folio_free(range, data);
        if self.lies.tells(Lie::ReleaseInPut) {
            let outer = self.outer.get().and_then(Weak::upgrade).expect("the engine is there");
            outer.release();
        }
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.inner.folio_split(head, from, to, data);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.inner.folio_collapse(head, from, to, data);
    }
}
