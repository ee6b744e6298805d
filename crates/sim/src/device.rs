//! A device: memory, a page table, accesses that fault, and a timeline.
//!
//! Everything is done at once, so whatever was asked for is done by the time it is waited for. With a [`VirtualClock`] the device
//! is busy meanwhile: a copy takes its time on the device's timeline, and [`Device::wait`] lets the clock go on until then.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError};

use bifolio_engine::clock::Clock;
use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, DeviceRequest, FaultHandler, Point, TableUpdate,
    UsedPages,
};
use bifolio_folio::{MemoryKind, Order, PageRun, Pfn};
use bifolio_migrate::Rights;
use bifolio_sys::{HUGE_PAGE, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes, advise};

use super::clock::VirtualClock;
use super::view::ReachableMemory;
use crate::sync::{Mutex, MutexGuard};

/// An entry of the device's page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    to: Pfn,
    rights: Rights,
    /// Used since this was last asked.
    accessed: bool,
    /// Used since it was entered.
    used: bool,
    /// Written since it was entered.
    written: bool,
}

/// A device that does everything at once.
pub struct SimDevice {
    memfd: Option<Memfd>,
    memory: Mapping,
    first: Pfn,
    pages: u64,
    /// Entries by address of the page.
    table: Mutex<BTreeMap<usize, Entry>>,
    /// What was done by entries that were removed, by address of the page, until the page is entered again.
    removed: Mutex<BTreeMap<usize, Entry>>,
    handler: OnceLock<Arc<dyn FaultHandler>>,
    time: Option<Timeline>,
}

/// When the device is busy.
struct Timeline {
    clock: VirtualClock,
    ns_per_page: u64,
    free_at_ns: Mutex<u64>,
}

impl SimDevice {
    /// Makes a device of `pages` pages of memory, numbered from `first` on, which the CPU reaches as `kind` says.
    ///
    /// # Panics
    /// If the machine that simulates has no memory.
    #[must_use]
    pub fn new(kind: MemoryKind, first: Pfn, pages: u64) -> SimDevice {
        let len = usize::try_from(pages).expect("a small device") * PAGE;
        let (protection, place) = (Protection::ReadWrite, Placement::Aligned(HUGE_PAGE));
        let memfd = (kind == MemoryKind::Coherent)
            .then(|| Memfd::create("bifolio-simulated-device", len).expect("memory"));
        let memory = match &memfd {
            Some(memfd) => Mapping::shared(memfd, 0, len, protection, place),
            None => Mapping::anonymous(len, protection, place),
        };
        let memory = memory.expect("address space");
        // Cheaper where the kernel has huge pages, and right where it has none.
        let _: Result<(), _> = advise::hugepage(memory.all());
        let (table, removed, handler) = (Mutex::default(), Mutex::default(), OnceLock::new());
        SimDevice { memfd, memory, first, pages, table, removed, handler, time: None }
    }

    /// The same, with copies that take `ns_per_page` for each page.
    #[must_use]
    pub fn timed(self, clock: VirtualClock, ns_per_page: u64) -> SimDevice {
        let time = Some(Timeline { clock, ns_per_page, free_at_ns: Mutex::new(0) });
        SimDevice { time, ..self }
    }

    /// Its memory, for the view to reach: of the coherent kind alone.
    #[must_use]
    pub fn reachable(&self) -> Option<ReachableMemory<'_>> {
        Some(ReachableMemory { memfd: self.memfd.as_ref()?, first: self.first })
    }

    /// The bytes of one page of its memory.
    ///
    /// # Panics
    /// If it has no such page.
    #[must_use]
    pub fn page(&self, pfn: Pfn) -> SharedBytes<'_> {
        self.part(pfn, 1).expect("a page of the device")
    }

    /// Where the device's page table leads from `address`, and what the device may do there.
    #[must_use]
    pub fn entry(&self, address: usize) -> Option<(Pfn, Rights)> {
        self.table().get(&page_of(address)).map(|entry| (entry.to, entry.rights))
    }

    /// Does `access` on the bytes of the page at `address`, as a unit of the device; `None` if that faults. No other thread
    /// goes on between the look at the page table and the access.
    pub fn try_access<R>(
        &self,
        address: usize,
        access: Rights,
        work: impl FnOnce(SharedBytes<'_>) -> R,
    ) -> Option<R> {
        let mut table = self.table();
        let entry = table.get_mut(&page_of(address))?;
        if !entry.rights.contains(access) {
            return None;
        }
        (entry.accessed, entry.used) = (true, true);
        entry.written |= access.contains(Rights::WRITE);
        Some(work(self.page(entry.to)))
    }

    /// Does `access` on the bytes of the page at `address`, and asks the handler for the page as long as it is missing.
    ///
    /// # Errors
    /// As the handler.
    ///
    /// # Panics
    /// If no handler is attached.
    pub fn access<R>(
        &self,
        address: usize,
        access: Rights,
        mut work: impl FnMut(SharedBytes<'_>) -> R,
    ) -> Result<R, DeviceFault> {
        loop {
            if let Some(result) = self.try_access(address, access, &mut work) {
                return Ok(result);
            }
            let handler = self.handler.get().expect("a handler is attached");
            handler.device_fault(&DeviceRequest::new(address, access))?;
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<usize, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked behind the table, never in front of it.
    fn removed(&self) -> MutexGuard<'_, BTreeMap<usize, Entry>> {
        self.removed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self, first: Pfn, pages: u64) -> Result<SharedBytes<'_>, DeviceError> {
        let outside = DeviceError::OutOfRange { first, pages };
        let bytes = |pages: u64| usize::try_from(pages).ok()?.checked_mul(PAGE);
        let index = first.get().checked_sub(self.first.get()).ok_or(outside)?;
        let (offset, len) = bytes(index).zip(bytes(pages)).ok_or(outside)?;
        self.memory.bytes(offset, len).map_err(|_| outside)
    }

    fn copy_one(&self, copy: Copy<'_>) -> Result<u64, DeviceError> {
        let pages = |bytes: SharedBytes<'_>| (bytes.len() / PAGE) as u64;
        match copy {
            Copy::ToDevice { from, to } => {
                self.part(to, pages(from))?.copy_from(from).expect("the same length");
                Ok(pages(from))
            }
            Copy::ToRam { from, to } => {
                to.copy_from(self.part(from, pages(to))?).expect("the same length");
                Ok(pages(to))
            }
            Copy::Clear { to, pages } => {
                self.part(to, pages)?.fill_zero();
                Ok(pages)
            }
            _ => Err(DeviceError::Unsupported),
        }
    }

    /// Enters `2^order` pages in the page table, with these rights. What was used there is forgotten, unless the entries
    /// stay the same.
    ///
    /// # Errors
    /// If the device has no such pages; nothing changes.
    pub fn enter(&self, address: usize, to: Pfn, order: Order, rights: Rights) -> Result<(), DeviceError> {
        self.part(to, order.pages())?;
        let (mut table, mut removed) = (self.table(), self.removed());
        for (address, to) in addresses(address, order).zip((to.get()..).map(Pfn::new)) {
            removed.remove(&address);
            let old = table.get(&address).copied().filter(|old| old.to == to);
            let new = Entry { to, rights, accessed: false, used: false, written: false };
            table.insert(address, old.map_or(new, |old| Entry { rights, ..old }));
        }
        Ok(())
    }

    fn update_one(&self, update: TableUpdate) -> Result<(), DeviceError> {
        match update {
            TableUpdate::Map { address, to, order, rights }
            | TableUpdate::Remap { address, to, order, rights } => self.enter(address, to, order, rights),
            TableUpdate::Unmap { address, order } => {
                let (mut table, mut removed) = (self.table(), self.removed());
                for address in addresses(address, order) {
                    removed.extend(table.remove(&address).map(|entry| (address, entry)));
                }
                Ok(())
            }
            _ => Err(DeviceError::Unsupported),
        }
    }
}

fn page_of(address: usize) -> usize {
    address & !(PAGE - 1)
}

/// Addresses of the `2^order` pages from `address` on.
fn addresses(address: usize, order: Order) -> impl Iterator<Item = usize> {
    (0..1usize << order.get()).map(move |page| address + page * PAGE)
}

impl Timeline {
    /// Has the device work for as long as that many pages take; returns when it will be done.
    fn after(&self, pages: u64) -> Point {
        let mut free_at = self.free_at_ns.lock().unwrap_or_else(PoisonError::into_inner);
        *free_at = self.clock.now_ns().max(*free_at) + pages * self.ns_per_page;
        Point(*free_at)
    }
}

impl Device for SimDevice {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.pages)
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        assert!(self.handler.set(handler).is_ok(), "a device is attached once");
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        let pages = batch.iter().map(|copy| self.copy_one(*copy)).sum::<Result<u64, _>>()?;
        Ok(self.time.as_ref().map_or(Point(0), |time| time.after(pages)))
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        batch.iter().try_for_each(|update| self.update_one(*update))?;
        Ok(self.time.as_ref().map_or(Point(0), |time| time.after(0)))
    }

    fn wait(&self, Point(ns): Point) -> Result<(), DeviceError> {
        self.time.iter().for_each(|time| time.clock.advance_to(ns));
        Ok(())
    }

    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        let mut table = self.table();
        let mut clear = |address| {
            table.get_mut(&address).is_some_and(|entry: &mut Entry| std::mem::take(&mut entry.accessed))
        };
        // All are asked, so that each use counts once.
        addresses(address, order).fold(false, |any, address| clear(address) | any)
    }

    fn used_pages(&self, address: usize, order: Order) -> UsedPages {
        let (table, removed) = (self.table(), self.removed());
        let mut used = UsedPages::NONE;
        for (page, address) in (0..).zip(addresses(address, order)) {
            let entry = table.get(&address).or_else(|| removed.get(&address));
            if entry.is_some_and(|entry| entry.used) {
                used.accessed.insert(PageRun::single(page));
            }
            if entry.is_some_and(|entry| entry.written) {
                used.written.insert(PageRun::single(page));
            }
        }
        used
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.part(first, pages).ok()
    }
}
