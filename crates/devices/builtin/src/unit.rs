//! A unit of the built-in device: a thread that loads and stores by virtual addresses.
//!
//! Each access is translated: by the unit's own TLB, else by a walk of the page table, else the unit takes a
//! page fault, waits for the answer and tries again.

use bifolio_engine::device::{DeviceFault, DeviceRequest, FaultHandler};
use bifolio_folio::Pfn;
use bifolio_migrate::Rights;
use bifolio_sys::{PAGE, SharedBytes};

use crate::gate::Running;
use crate::memory::Memory;
use crate::table::{Table, Translation};

const TLB_ENTRIES: usize = 256;
/// No page has this number: addresses have 48 bits.
const NO_PAGE: usize = usize::MAX;

/// One translation: a virtual page, where its bytes begin in device memory, and whether it serves stores, which is so once
/// a store was marked in the page table.
#[derive(Clone, Copy, Debug)]
struct TlbEntry {
    page: usize,
    offset: usize,
    writes: bool,
}

impl TlbEntry {
    const EMPTY: TlbEntry = TlbEntry { page: NO_PAGE, offset: 0, writes: false };
}

/// A unit that runs a kernel.
pub struct Unit<'d> {
    number: usize,
    running: Running<'d>,
    table: &'d Table,
    memory: SharedBytes<'d>,
    /// The page at the beginning of `memory`.
    first: Pfn,
    handler: &'d dyn FaultHandler,
    tlb: Box<[TlbEntry; TLB_ENTRIES]>,
    /// The change of the page table up to which the TLB is right.
    seen: u64,
    /// Nanoseconds this unit waited for faults.
    fault_ns: u64,
}

impl<'d> Unit<'d> {
    pub(crate) fn new(
        number: usize,
        running: Running<'d>,
        table: &'d Table,
        memory: &'d Memory,
        handler: &'d dyn FaultHandler,
    ) -> Unit<'d> {
        let tlb = Box::new([TlbEntry::EMPTY; TLB_ENTRIES]);
        let seen = running.changes();
        let (memory, first) = (memory.all(), memory.first());
        Unit { number, running, table, memory, first, handler, tlb, seen, fault_ns: 0 }
    }

    /// Loads 8 bytes.
    ///
    /// # Errors
    /// A fault that cannot be answered, or an unaligned address.
    pub fn load(&mut self, address: usize) -> Result<u64, DeviceFault> {
        let offset = self.translate(address, Rights::READ)?;
        Ok(self.memory.load_u64(offset).expect(INSIDE))
    }

    /// Stores 8 bytes.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn store(&mut self, address: usize, value: u64) -> Result<(), DeviceFault> {
        let offset = self.translate(address, Rights::READ | Rights::WRITE)?;
        self.memory.store_u64(offset, value).expect(INSIDE);
        Ok(())
    }

    /// Adds to the `f64` at `address`, atomically among all units.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn add_f64(&mut self, address: usize, value: f64) -> Result<(), DeviceFault> {
        let offset = self.translate(address, Rights::READ | Rights::WRITE)?;
        self.memory.fetch_add_f64(offset, value).expect(INSIDE);
        Ok(())
    }

    /// Adds to the 8 bytes at `address`, atomically among all units, and returns what was there.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn fetch_add(&mut self, address: usize, value: u64) -> Result<u64, DeviceFault> {
        let offset = self.translate(address, Rights::READ | Rights::WRITE)?;
        Ok(self.memory.fetch_add_u64(offset, value).expect(INSIDE))
    }

    /// Replaces `old` by `new` at `address`, atomically among all units; returns what was there.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn compare_exchange(&mut self, address: usize, old: u64, new: u64) -> Result<u64, DeviceFault> {
        let offset = self.translate(address, Rights::READ | Rights::WRITE)?;
        let result = self.memory.compare_exchange_u64(offset, old, new).expect(INSIDE);
        Ok(result.unwrap_or_else(|found| found))
    }

    /// Nanoseconds this unit waited for faults so far.
    pub(crate) fn fault_ns(&self) -> u64 {
        self.fault_ns
    }

    /// The offset in device memory of the 8 bytes at `address`. It may be used until the next call.
    fn translate(&mut self, address: usize, access: Rights) -> Result<usize, DeviceFault> {
        if !address.is_multiple_of(8) {
            return Err(DeviceFault::Unaligned { address });
        }
        if self.running.must_give_way() {
            self.running.give_way();
        }
        let (page, writes) = (address / PAGE, access.contains(Rights::WRITE));
        loop {
            if self.running.changes() != self.seen {
                self.flush();
            }
            let entry = &self.tlb[page % TLB_ENTRIES];
            if entry.page == page && entry.writes >= writes {
                return Ok(entry.offset + address % PAGE);
            }
            match self.table.walk(address, access) {
                Translation::Page(pfn) => self.fill(page, pfn, writes),
                Translation::Missing | Translation::Denied => self.fault(address, access)?,
            }
        }
    }

    fn fill(&mut self, page: usize, pfn: Pfn, writes: bool) {
        let index = pfn.get() - self.first.get();
        let offset = usize::try_from(index).expect("device memory is mapped here") * PAGE;
        self.tlb[page % TLB_ENTRIES] = TlbEntry { page, offset, writes };
    }

    fn flush(&mut self) {
        self.seen = self.running.changes();
        self.tlb.fill(TlbEntry::EMPTY);
    }

    /// Waits for the answer to a page fault. The unit does not run meanwhile, so that the answer may change the
    /// page table.
    fn fault(&mut self, address: usize, access: Rights) -> Result<(), DeviceFault> {
        let start = std::time::Instant::now();
        self.running.pause();
        let unit = u32::try_from(self.number).unwrap_or(u32::MAX);
        let answer = self.handler.device_fault(&DeviceRequest::new(address, access).by_unit(unit));
        self.running.resume();
        self.fault_ns += u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        answer.map(drop)
    }
}

const INSIDE: &str = "translations lead into device memory, at aligned offsets";
