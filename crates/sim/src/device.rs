//! A device: memory, a page table, accesses that fault, and a timeline.
//!
//! Everything is done at once, so whatever was asked for is done by the time it is waited for. With a [`VirtualClock`] the device
//! is busy meanwhile: a copy takes its time on the device's timeline, and [`Device::wait`] lets the clock go on until then. So
//! does each access to system memory where it is, which crosses the link with 64 bytes.

use std::collections::BTreeMap;
use std::iter::repeat;
use std::sync::{Arc, OnceLock, PoisonError};

use bifolio_engine::clock::Clock;
use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, DeviceRequest, FaultHandler, Point, REMOTE_ACCESS,
    TableUpdate, UsedPages,
};
use bifolio_folio::{MemoryKind, Order, PageRun, Pfn};
use bifolio_migrate::Rights;
use bifolio_sys::{HUGE_PAGE, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes, advise};

use super::clock::VirtualClock;
use super::view::ReachableMemory;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Where an entry of the device's page table leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    /// To memory of the device.
    Device(Pfn),
    /// To system memory, for so many more accesses.
    System { uses: u32 },
}

/// An entry of the device's page table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    to: Target,
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
    /// System memory, at the addresses where the CPU has it, if the device can use it there.
    system: OnceLock<Arc<Mapping>>,
    remote_accesses: AtomicU64,
    /// Entries by address of the page.
    table: Mutex<BTreeMap<usize, Entry>>,
    /// What was done by entries that were removed, by address of the page, until the page is entered again.
    removed: Mutex<BTreeMap<usize, Entry>>,
    handler: OnceLock<Arc<dyn FaultHandler>>,
    time: Option<Timeline>,
    copies_bytes: bool,
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
        let (system, remote_accesses) = (OnceLock::new(), AtomicU64::new(0));
        SimDevice {
            memfd,
            memory,
            first,
            pages,
            system,
            remote_accesses,
            table,
            removed,
            handler,
            time: None,
            copies_bytes: true,
        }
    }

    /// The same without copying any byte: for runs that look at none, where only times and counts matter.
    #[must_use]
    pub fn without_bytes(self) -> SimDevice {
        SimDevice { copies_bytes: false, ..self }
    }

    /// Lets it use system memory where it is. To be called before it is attached to an engine, which asks once.
    pub fn reach_system(&self, memory: &Arc<Mapping>) {
        self.system.get_or_init(|| Arc::clone(memory));
    }

    /// Accesses to system memory so far.
    #[must_use]
    pub fn remote_accesses(&self) -> u64 {
        // Relaxed: a statistic, which guards no other memory.
        self.remote_accesses.load(Ordering::Relaxed)
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

    /// Where in the device's memory its page table leads from `address`, and what the device may do there.
    #[must_use]
    pub fn entry(&self, address: usize) -> Option<(Pfn, Rights)> {
        let entry = self.table().get(&page_of(address)).copied()?;
        match entry.to {
            Target::Device(pfn) => Some((pfn, entry.rights)),
            Target::System { .. } => None,
        }
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
        let (to, _) = use_entry(&mut table, address, access, 1)?;
        match to {
            Target::Device(pfn) => Some(work(self.page(pfn))),
            Target::System { .. } => {
                self.cross_link(1);
                let system = self.system.get().expect("only then an entry leads there");
                let offset = page_of(address) - system.span().start();
                Some(work(system.bytes(offset, PAGE).expect("a page of the view")))
            }
        }
    }

    /// Accesses the page at `address` so many times in a row, without looking at its bytes; returns how often it could before
    /// an access faults.
    pub fn try_accesses(&self, address: usize, access: Rights, times: u32) -> u32 {
        match use_entry(&mut self.table(), address, access, times) {
            Some((Target::Device(_), done)) => done,
            Some((Target::System { .. }, done)) => {
                self.cross_link(done);
                done
            }
            None => 0,
        }
    }

    /// Counts accesses to system memory, and lets their time pass.
    fn cross_link(&self, accesses: u32) {
        self.remote_accesses.fetch_add(accesses.into(), Ordering::Relaxed);
        if let Some(Timeline { clock, ns_per_page, .. }) = &self.time {
            clock.advance(u64::from(accesses) * REMOTE_ACCESS * ns_per_page / PAGE as u64);
        }
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
            self.fault(address, access)?;
        }
    }

    /// Asks the handler for the page at `address`.
    ///
    /// # Errors
    /// As the handler.
    ///
    /// # Panics
    /// If no handler is attached.
    pub fn fault(&self, address: usize, access: Rights) -> Result<(), DeviceFault> {
        let handler = self.handler.get().expect("a handler is attached");
        handler.device_fault(&DeviceRequest::new(address, access)).map(drop)
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
                let to = self.part(to, pages(from))?;
                if self.copies_bytes {
                    to.copy_from(from).expect("the same length");
                }
                Ok(pages(from))
            }
            Copy::ToRam { from, to } => {
                let from = self.part(from, pages(to))?;
                if self.copies_bytes {
                    to.copy_from(from).expect("the same length");
                }
                Ok(pages(to))
            }
            Copy::Clear { to, pages } => {
                let to = self.part(to, pages)?;
                if self.copies_bytes {
                    to.fill_zero();
                }
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
        let targets = (to.get()..).map(|page| Target::Device(Pfn::new(page)));
        self.enter_targets(addresses(address, order).zip(targets), rights);
        Ok(())
    }

    fn enter_targets(&self, entries: impl Iterator<Item = (usize, Target)>, rights: Rights) {
        let (mut table, mut removed) = (self.table(), self.removed());
        for (address, to) in entries {
            removed.remove(&address);
            let old = table.get(&address).copied().filter(|old| old.to == to);
            let new = Entry { to, rights, accessed: false, used: false, written: false };
            table.insert(address, old.map_or(new, |old| Entry { rights, ..old }));
        }
    }

    fn update_one(&self, update: TableUpdate) -> Result<(), DeviceError> {
        match update {
            TableUpdate::Map { address, to, order, rights }
            | TableUpdate::Remap { address, to, order, rights } => self.enter(address, to, order, rights),
            TableUpdate::MapRemote { address, order, rights, uses } if self.system.get().is_some() => {
                self.enter_targets(addresses(address, order).zip(repeat(Target::System { uses })), rights);
                Ok(())
            }
            TableUpdate::Unmap { address, order } | TableUpdate::UnmapRemote { address, order } => {
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

/// Uses an entry for up to `times` accesses; tells where it leads, and how many it is good for. `None` if the first one faults.
fn use_entry(
    table: &mut BTreeMap<usize, Entry>,
    address: usize,
    access: Rights,
    times: u32,
) -> Option<(Target, u32)> {
    let entry = table.get_mut(&page_of(address)).filter(|entry| entry.rights.contains(access))?;
    let done = match &mut entry.to {
        Target::Device(_) => times,
        Target::System { uses: 0 } => return None,
        Target::System { uses } => {
            let done = times.min(*uses);
            *uses -= done;
            done
        }
    };
    (entry.accessed, entry.used) = (true, true);
    entry.written |= access.contains(Rights::WRITE);
    Some((entry.to, done))
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
        let capabilities = Capabilities::new(self.pages);
        if self.system.get().is_some() { capabilities.with_remote() } else { capabilities }
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
