//! A unit of the built-in device: a thread that loads and stores by virtual addresses.
//!
//! Each access is translated: by the unit's own TLB, else by a walk of the page table, else the unit takes a
//! page fault, waits for the answer and tries again.

use bifolio_folio::Pfn;
use bifolio_sys::{PAGE, SharedBytes};

use crate::gate::Running;
use crate::table::Table;
use bifolio_engine::device::{DeviceFault, FaultHandler};

const TLB_ENTRIES: usize = 256;
/// No page has this number: addresses have 48 bits.
const NO_PAGE: usize = usize::MAX;

/// One translation: a virtual page, and where its bytes begin in device memory.
#[derive(Clone, Copy, Debug)]
struct TlbEntry {
    page: usize,
    offset: usize,
}

/// A unit that runs a kernel.
pub struct Unit<'d> {
    running: Running<'d>,
    table: &'d Table,
    memory: SharedBytes<'d>,
    handler: &'d dyn FaultHandler,
    tlb: Box<[TlbEntry; TLB_ENTRIES]>,
    /// The change of the page table up to which the TLB is right.
    seen: u64,
    /// Nanoseconds this unit waited for faults.
    fault_ns: u64,
}

impl<'d> Unit<'d> {
    pub(crate) fn new(
        running: Running<'d>,
        table: &'d Table,
        memory: SharedBytes<'d>,
        handler: &'d dyn FaultHandler,
    ) -> Unit<'d> {
        let tlb = Box::new([TlbEntry { page: NO_PAGE, offset: 0 }; TLB_ENTRIES]);
        let seen = running.changes();
        Unit { running, table, memory, handler, tlb, seen, fault_ns: 0 }
    }

    /// Loads 8 bytes.
    ///
    /// # Errors
    /// A fault that cannot be answered, or an unaligned address.
    pub fn load(&mut self, address: usize) -> Result<u64, DeviceFault> {
        let offset = self.translate(address)?;
        Ok(self.memory.load_u64(offset).expect(INSIDE))
    }

    /// Stores 8 bytes.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn store(&mut self, address: usize, value: u64) -> Result<(), DeviceFault> {
        let offset = self.translate(address)?;
        self.memory.store_u64(offset, value).expect(INSIDE);
        Ok(())
    }

    /// Adds to the `f64` at `address`, atomically among all units.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn add_f64(&mut self, address: usize, value: f64) -> Result<(), DeviceFault> {
        let offset = self.translate(address)?;
        self.memory.fetch_add_f64(offset, value).expect(INSIDE);
        Ok(())
    }

    /// Adds to the 8 bytes at `address`, atomically among all units, and returns what was there.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn fetch_add(&mut self, address: usize, value: u64) -> Result<u64, DeviceFault> {
        let offset = self.translate(address)?;
        Ok(self.memory.fetch_add_u64(offset, value).expect(INSIDE))
    }

    /// Replaces `old` by `new` at `address`, atomically among all units; returns what was there.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn compare_exchange(&mut self, address: usize, old: u64, new: u64) -> Result<u64, DeviceFault> {
        let offset = self.translate(address)?;
        let result = self.memory.compare_exchange_u64(offset, old, new).expect(INSIDE);
        Ok(result.unwrap_or_else(|found| found))
    }

    /// Nanoseconds this unit waited for faults so far.
    pub(crate) fn fault_ns(&self) -> u64 {
        self.fault_ns
    }

    /// The offset in device memory of the 8 bytes at `address`. It may be used until the next call.
    fn translate(&mut self, address: usize) -> Result<usize, DeviceFault> {
        if !address.is_multiple_of(8) {
            return Err(DeviceFault::Unaligned { address });
        }
        if self.running.must_give_way() {
            self.running.give_way();
        }
        let page = address / PAGE;
        loop {
            if self.running.changes() != self.seen {
                self.flush();
            }
            let entry = &self.tlb[page % TLB_ENTRIES];
            if entry.page == page {
                return Ok(entry.offset + address % PAGE);
            }
            match self.table.walk(address) {
                Some(pfn) => self.fill(page, pfn),
                None => self.fault(address)?,
            }
        }
    }

    fn fill(&mut self, page: usize, pfn: Pfn) {
        let offset = usize::try_from(pfn.get()).expect("device memory is mapped here") * PAGE;
        self.tlb[page % TLB_ENTRIES] = TlbEntry { page, offset };
    }

    fn flush(&mut self) {
        self.seen = self.running.changes();
        self.tlb.fill(TlbEntry { page: NO_PAGE, offset: 0 });
    }

    /// Waits for the answer to a page fault. The unit does not run meanwhile, so that the answer may change the
    /// page table.
    fn fault(&mut self, address: usize) -> Result<(), DeviceFault> {
        let start = std::time::Instant::now();
        self.running.pause();
        let answer = self.handler.device_fault(address);
        self.running.resume();
        self.fault_ns += u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        answer
    }
}

const INSIDE: &str = "translations lead into device memory, at aligned offsets";
