//! The built-in device: units that are threads, memory in a memfd, a page table and TLBs of its own.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bifolio_folio::{Order, Pfn};
use bifolio_sys::advise::{self, Collapse};
use bifolio_sys::{HUGE_PAGE, MapError, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes, SysError};

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{OnceLock, thread};

use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, FaultHandler, Point, TableUpdate,
};

use crate::gate::Gate;
use crate::table::Table;
use crate::unit::Unit;

/// A program for the units of the device.
pub trait Kernel: Sync {
    /// Does the share of unit number `unit` of `units`.
    ///
    /// # Errors
    /// A fault that could not be answered.
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault>;
}

/// Why the built-in device cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// No file for device memory.
    #[error("device memory cannot be created")]
    Memory(#[source] SysError),
    /// Device memory cannot be mapped.
    #[error("device memory cannot be mapped")]
    Map(#[source] MapError),
}

/// The memory of the built-in device: a memfd, mapped here.
pub struct Memory {
    memfd: Arc<Memfd>,
    bytes: Mapping,
    pages: u64,
    /// For each 2 MiB: whether the kernel was asked to make it one huge page.
    huge: Box<[AtomicBool]>,
}

impl Memory {
    /// Makes `pages` pages of device memory.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(pages: u64) -> Result<Memory, BuiltinError> {
        let len = usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(PAGE);
        let memfd = Arc::new(Memfd::create("bifolio-vram", len).map_err(BuiltinError::Memory)?.raised());
        let place = Placement::Aligned(HUGE_PAGE);
        let bytes =
            Mapping::shared(&memfd, 0, len, Protection::ReadWrite, place).map_err(BuiltinError::Map)?;
        let huge = (0..len.div_ceil(HUGE_PAGE)).map(|_| AtomicBool::new(false)).collect();
        Ok(Memory { memfd, bytes, pages, huge })
    }

    /// The file; page `n` is at byte `n * 4096`.
    #[must_use]
    pub fn memfd(&self) -> &Arc<Memfd> {
        &self.memfd
    }

    /// The bytes of `pages` pages.
    pub(crate) fn part(&self, first: Pfn, pages: u64) -> Result<SharedBytes<'_>, DeviceError> {
        let outside = DeviceError::OutOfRange { first, pages };
        let offset = usize::try_from(first.get()).ok().and_then(|page| page.checked_mul(PAGE));
        let len = usize::try_from(pages).ok().and_then(|pages| pages.checked_mul(PAGE));
        let (offset, len) = offset.zip(len).ok_or(outside)?;
        self.bytes.bytes(offset, len).map_err(|_| outside)
    }

    /// Asks the kernel, once for each 2 MiB that is filled as a whole, to make it one huge page.
    fn make_huge(&self, filled: SharedBytes<'_>) {
        let block = (filled.address() - self.bytes.span().start()) / HUGE_PAGE;
        if filled.len() == HUGE_PAGE && !self.huge[block].swap(true, Ordering::Relaxed) {
            // Small pages do as well, only slower.
            let _: Collapse = advise::collapse(filled);
        }
    }
}

/// The built-in device.
pub struct Builtin {
    memory: Memory,
    table: Table,
    gate: Gate,
    units: NonZeroUsize,
    handler: OnceLock<Weak<dyn FaultHandler>>,
    point: AtomicU64,
}

impl Builtin {
    /// Makes a device of this memory and `units` threads, with a page table for `addresses`.
    #[must_use]
    pub fn new(memory: Memory, units: NonZeroUsize, addresses: Range<usize>) -> Builtin {
        Builtin {
            memory,
            table: Table::new(addresses),
            gate: Gate::new(units.get()),
            units,
            handler: OnceLock::new(),
            point: AtomicU64::new(0),
        }
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Runs `kernel` on all units and returns the time that they computed, faults not included, summed up over
    /// the units.
    ///
    /// # Errors
    /// The first fault that could not be answered.
    ///
    /// # Panics
    /// If nobody was attached who answers faults, or the kernel panics.
    pub fn launch(&self, kernel: &dyn Kernel) -> Result<Duration, DeviceFault> {
        let handler =
            self.handler.get().and_then(Weak::upgrade).expect("whoever answers faults outlives a launch");
        let run = |number: usize| {
            let start = Instant::now();
            let running = self.gate.enter(number);
            let mut unit = Unit::new(running, &self.table, self.memory.bytes.all(), handler.as_ref());
            let result = kernel.run(&mut unit, number, self.units.get());
            let waited = Duration::from_nanos(unit.fault_ns());
            result.map(|()| start.elapsed().saturating_sub(waited))
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.units.get())
                .map(|number| {
                    scope.spawn({
                        let run = &run;
                        move || run(number)
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().expect("kernels do not panic"));
            results.sum()
        })
    }

    fn copy_one(&self, copy: Copy<'_>) -> Result<(), DeviceError> {
        let pages_of = |bytes: SharedBytes<'_>| (bytes.len() / PAGE) as u64;
        match copy {
            Copy::ToDevice { from, to } => {
                let to = self.memory.part(to, pages_of(from))?;
                to.copy_from(from).expect("both have the same length");
                self.memory.make_huge(to);
            }
            Copy::ToRam { from, to } => {
                to.copy_from(self.memory.part(from, pages_of(to))?).expect("both have the same length");
            }
            Copy::Clear { to, pages } => self.memory.part(to, pages)?.fill_zero(),
        }
        Ok(())
    }

    fn next_point(&self) -> Point {
        Point(self.point.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Device for Builtin {
    fn capabilities(&self) -> Capabilities {
        Capabilities { pages: self.memory.pages, faults: true, smallest_order: Order::ZERO }
    }

    fn attach(&self, handler: Weak<dyn FaultHandler>) {
        let again = self.handler.set(handler).is_err();
        debug_assert!(!again, "a device is attached once");
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        batch.iter().try_for_each(|copy| self.copy_one(*copy))?;
        Ok(self.next_point())
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        for update in batch {
            let (TableUpdate::Map { address, order, .. }
            | TableUpdate::Remap { address, order, .. }
            | TableUpdate::Unmap { address, order }) = *update;
            if !self.table.covers(address, order.pages()) {
                return Err(DeviceError::NoTable(address));
            }
        }
        let apply = |update: &TableUpdate| match *update {
            TableUpdate::Map { address, to, order } => self.table.map(address, to, order.pages()),
            TableUpdate::Remap { address, to, order } => self.table.remap(address, to, order.pages()),
            TableUpdate::Unmap { address, order } => self.table.unmap(address, order.pages()),
        };
        // New translations harm no unit that runs: what was not mapped is in no TLB.
        if !batch.iter().any(|update| matches!(update, TableUpdate::Unmap { .. })) {
            batch.iter().for_each(apply);
        } else {
            self.gate.while_stopped(|| batch.iter().for_each(apply));
        }
        Ok(self.next_point())
    }

    fn wait(&self, _point: Point) -> Result<(), DeviceError> {
        // Everything was done before its point was given out.
        Ok(())
    }

    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        self.table.test_and_clear_accessed(address, order.pages())
    }

    fn touched_pages(&self, address: usize, order: Order) -> u64 {
        self.table.touched(address, order.pages())
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.memory.part(first, pages).ok()
    }
}
