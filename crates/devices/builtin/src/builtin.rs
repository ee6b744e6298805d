//! The device itself: a page table, units that stop at a gate, and launches.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, FaultHandler, Point, TableUpdate, UsedPages,
};
use bifolio_folio::{Order, Pfn};
use bifolio_sys::SharedBytes;

use crate::gate::Gate;
use crate::memory::Memory;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{OnceLock, thread};
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

/// The built-in device.
pub struct Builtin {
    memory: Memory,
    table: Table,
    gate: Gate,
    units: NonZeroUsize,
    handler: OnceLock<Arc<dyn FaultHandler>>,
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

    /// Number of its units.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units.get()
    }

    /// Runs `kernel` on all units and returns the time that they computed, faults not included, summed up over
    /// the units.
    ///
    /// # Errors
    /// The first fault that could not be answered.
    ///
    /// # Panics
    /// If the device is not attached, or the kernel panics.
    pub fn launch(&self, kernel: &dyn Kernel) -> Result<Duration, DeviceFault> {
        self.launch_part(kernel, 0, self.units.get())
    }

    /// Runs the share of this device of a kernel that runs on `of` units in all: to the kernel its units have the numbers
    /// from `first` on.
    ///
    /// # Errors
    /// As [`Builtin::launch`].
    ///
    /// # Panics
    /// As [`Builtin::launch`].
    pub fn launch_part(&self, kernel: &dyn Kernel, first: usize, of: usize) -> Result<Duration, DeviceFault> {
        let handler = self.handler.get().expect("a device is attached before its first launch");
        let run = |number: usize| {
            let start = Instant::now();
            let running = self.gate.enter(number);
            let mut unit = Unit::new(number, running, &self.table, &self.memory, handler.as_ref());
            let result = kernel.run(&mut unit, first + number, of);
            let waited = Duration::from_nanos(unit.fault_ns());
            result.map(|()| start.elapsed().saturating_sub(waited))
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.units.get())
                .map(|number| {
                    let run = &run;
                    scope.spawn(move || run(number))
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().expect("kernels do not panic"));
            results.sum()
        })
    }

    fn next_point(&self) -> Point {
        Point(self.point.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn apply(&self, update: &TableUpdate) -> Result<(), DeviceError> {
        match *update {
            TableUpdate::Map { address, to, order, rights } => {
                self.table.map(address, to, order.pages(), rights);
            }
            TableUpdate::Remap { address, to, order, rights } => {
                self.table.remap(address, to, order.pages(), rights);
            }
            TableUpdate::Unmap { address, order } => self.table.unmap(address, order.pages()),
            _ => return Err(DeviceError::Unsupported),
        }
        Ok(())
    }
}

impl Device for Builtin {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.memory.pages())
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        let again = self.handler.set(handler).is_err();
        debug_assert!(!again, "a device is attached once");
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
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
        // New translations harm no unit that runs: what was not mapped is in no TLB.
        if !batch.iter().any(|update| matches!(update, TableUpdate::Unmap { .. })) {
            batch.iter().try_for_each(|update| self.apply(update))?;
        } else {
            self.gate.while_stopped(|| batch.iter().try_for_each(|update| self.apply(update)))?;
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

    fn used_pages(&self, address: usize, order: Order) -> UsedPages {
        self.table.used_pages(address, order.pages())
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.memory.part(first, pages).ok()
    }
}
