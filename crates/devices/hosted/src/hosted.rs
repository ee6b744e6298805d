//! The device: memory, a page table, and the ports that use them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, DeviceRequest, FaultHandler, Point, Served,
    TableUpdate, UsedPages,
};
use bifolio_engine::sleep::{Seen, Sleeper};
use bifolio_folio::{Order, Pfn};
use bifolio_sys::{PAGE, SharedBytes};

use crate::caches::Caches;
use crate::gate::Gate;
use crate::memory::Memory;
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::table::Table;

/// How long a change of the page table waits for a port that holds a translation, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// A device whose memory and page table are here.
pub struct Hosted {
    pub(crate) memory: Memory,
    pub(crate) table: Table,
    pub(crate) gate: Gate,
    pub(crate) caches: Caches,
    capabilities: Capabilities,
    patience: Duration,
    handler: OnceLock<Arc<dyn FaultHandler>>,
    point: AtomicU64,
    lost: AtomicBool,
    /// Accesses to system memory where it is.
    remote: AtomicU64,
}

impl Hosted {
    /// Makes a device of this memory, with a page table for `addresses`, that can do everything.
    #[must_use]
    pub fn new(memory: Memory, addresses: Range<usize>) -> Hosted {
        let capabilities = Capabilities::new(memory.pages());
        let capabilities = if memory.has_system() { capabilities.with_remote() } else { capabilities };
        Hosted::with_capabilities(memory, addresses, capabilities, PATIENCE)
    }

    /// Makes a device of this memory, with a page table for `addresses`. A port that holds a translation for longer than
    /// `patience` after the engine needs the page back is the end of the device: it is lost.
    ///
    /// # Panics
    /// If it is to have more pages than its memory.
    #[must_use]
    pub fn with_capabilities(
        memory: Memory,
        addresses: Range<usize>,
        capabilities: Capabilities,
        patience: Duration,
    ) -> Hosted {
        assert!(capabilities.pages <= memory.pages(), "a device has the pages of its memory");
        Hosted {
            memory,
            table: Table::new(addresses),
            gate: Gate::new(),
            caches: Caches::default(),
            patience,
            // A memfd holds zeros where nothing was written.
            capabilities: capabilities.with_zeroed_memory(),
            handler: OnceLock::new(),
            point: AtomicU64::new(0),
            lost: AtomicBool::new(false),
            remote: AtomicU64::new(0),
        }
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Invalidations that caching ports were told so far, and how many were not acknowledged in time.
    #[must_use]
    pub fn invalidations(&self) -> (u64, u64) {
        self.caches.counts()
    }

    /// How many accesses went to system memory where it is since this was last asked.
    pub fn take_remote_accesses(&self) -> u64 {
        self.remote.swap(0, Ordering::Relaxed)
    }

    /// Counts an access to system memory.
    pub(crate) fn count_remote(&self) {
        self.remote.fetch_add(1, Ordering::Relaxed);
    }

    /// Declares the device lost: no port gets at its memory from its next access on, and no page is brought there. The engine
    /// brings home what it holds, as pages are touched.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.gate.next_epoch();
    }

    /// Whether it was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Has the engine answer a page request, on this thread.
    ///
    /// # Errors
    /// As [`FaultHandler::device_fault`]; [`DeviceFault::Detached`] if there is no engine, or the device is lost.
    pub fn resolve(&self, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        match self.handler.get() {
            Some(handler) if !self.is_lost() => handler.device_fault(request),
            _ => Err(DeviceFault::Detached { address: request.address }),
        }
    }

    fn next_point(&self) -> Point {
        Point(self.point.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Makes the changes. What was removed is out of use before anything else is entered, and in the end.
    fn apply(&self, batch: &[TableUpdate]) -> Result<(), DeviceError> {
        let unmaps = |update: &TableUpdate| {
            matches!(update, TableUpdate::Unmap { .. } | TableUpdate::UnmapRemote { .. })
        };
        for alike in batch.chunk_by(|one, next| unmaps(one) == unmaps(next)) {
            alike.iter().try_for_each(|update| self.apply_one(update))?;
            // New translations harm no port: what was not mapped is in no TLB.
            if unmaps(&alike[0]) {
                self.settle(alike)?;
            }
        }
        Ok(())
    }

    fn settle(&self, removed: &[TableUpdate]) -> Result<(), DeviceError> {
        // One port that was waited for in vain is enough.
        let patience = if self.is_lost() { Duration::ZERO } else { self.patience };
        let removed: Vec<(usize, Order)> = removed.iter().map(TableUpdate::pages).collect();
        let settled = self.gate.settle(patience).and_then(|()| self.caches.invalidate(&removed, patience));
        settled.inspect_err(|_| self.lose())
    }

    fn apply_one(&self, update: &TableUpdate) -> Result<(), DeviceError> {
        match *update {
            TableUpdate::Map { .. } | TableUpdate::Remap { .. } | TableUpdate::MapRemote { .. }
                if self.is_lost() =>
            {
                Err(DeviceError::Lost)
            }
            TableUpdate::Map { address, to, order, rights } => {
                self.table.map(address, to, order.pages(), rights);
                Ok(())
            }
            TableUpdate::Remap { address, to, order, rights } => {
                self.table.remap(address, to, order.pages(), rights);
                Ok(())
            }
            TableUpdate::MapRemote { address, order, rights, uses } => {
                let page = (address - self.table.addresses().start) / PAGE;
                let to = self.memory.system_pfn(page).ok_or(DeviceError::Unsupported)?;
                self.table.map_remote(address, to, order.pages(), rights, uses);
                Ok(())
            }
            TableUpdate::Unmap { address, order } | TableUpdate::UnmapRemote { address, order } => {
                self.table.unmap(address, order.pages());
                Ok(())
            }
            _ => Err(DeviceError::Unsupported),
        }
    }
}

impl Device for Hosted {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        let again = self.handler.set(handler).is_err();
        debug_assert!(!again, "a device is attached once");
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        // The memory of a device that is lost is still here, and can be read.
        let to_device = |copy: &Copy<'_>| !matches!(copy, Copy::ToRam { .. });
        if self.is_lost() && batch.iter().any(to_device) {
            return Err(DeviceError::Lost);
        }
        batch.iter().try_for_each(|copy| self.memory.copy(*copy))?;
        Ok(self.next_point())
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        for update in batch {
            let (address, order) = update.pages();
            if !self.table.covers(address, order.pages()) {
                return Err(DeviceError::NoTable(address));
            }
        }
        self.apply(batch)?;
        Ok(self.next_point())
    }

    fn wait(&self, _point: Point) -> Result<(), DeviceError> {
        // Everything was done before its point was given out.
        Ok(())
    }

    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        let accessed = self.table.test_and_clear_accessed(address, order.pages());
        if accessed {
            // Ports walk the table again, so that the next use is marked.
            self.gate.next_epoch();
        }
        // What is done through a translation that was given away is not marked.
        accessed || self.caches.keep_any(address, order)
    }

    fn used_pages(&self, address: usize, order: Order) -> UsedPages {
        self.table.used_pages(address, order.pages())
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.memory.part(first, pages).ok()
    }

    fn thread_sleeps(&self, sleeper: Sleeper) -> Seen {
        self.gate.see_asleep(sleeper).and(self.caches.see_asleep(sleeper))
    }
}
