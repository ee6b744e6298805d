//! The device itself: a hosted device, and launches.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, FaultHandler, Point, TableUpdate, UsedPages,
};
use bifolio_engine::sleep::{Seen, Sleeper};
use bifolio_folio::{Order, Pfn};
use bifolio_hosted::{Hosted, Memory};
use bifolio_sys::SharedBytes;

use crate::sync::thread;
use crate::unit::Unit;

/// A program for the units of the device.
///
/// A unit holds nothing between two accesses. So a kernel may touch shared memory by host pointers, which brings those pages
/// home, launch other kernels, have pages moved, and wait for threads that do any of these. A panic ends its launch, and
/// the launching thread panics with it.
pub trait Kernel: Sync {
    /// Does the share of unit number `unit` of `units`.
    ///
    /// # Errors
    /// A fault that could not be answered.
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault>;
}

/// The built-in device.
pub struct Builtin {
    hosted: Arc<Hosted>,
    units: NonZeroUsize,
}

impl Builtin {
    /// Makes a device of this memory and `units` threads, with a page table for `addresses`.
    #[must_use]
    pub fn new(memory: Memory, units: NonZeroUsize, addresses: Range<usize>) -> Builtin {
        Builtin { hosted: Arc::new(Hosted::new(memory, addresses)), units }
    }

    /// Its memory and page table, on which ports can be opened beside its units.
    #[must_use]
    pub fn hosted(&self) -> &Arc<Hosted> {
        &self.hosted
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        self.hosted.memory()
    }

    /// Number of its units.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units.get()
    }

    /// Runs `kernel` on all units and returns the time that they computed, faults not included, summed up over
    /// the units. Launches by several threads run at the same time.
    ///
    /// # Errors
    /// The first fault that could not be answered.
    ///
    /// # Panics
    /// If the kernel panics.
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
        let run = |number: usize| {
            let start = Instant::now();
            let mut port = self.hosted.open_port(u32::try_from(number).unwrap_or(u32::MAX));
            let mut unit = Unit::new(&mut port);
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
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            threads.into_iter().map(join).sum()
        })
    }
}

impl Device for Builtin {
    fn capabilities(&self) -> Capabilities {
        self.hosted.capabilities()
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        self.hosted.attach(handler);
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        self.hosted.copy(batch)
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        self.hosted.update(batch)
    }

    fn wait(&self, point: Point) -> Result<(), DeviceError> {
        self.hosted.wait(point)
    }

    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        self.hosted.test_and_clear_accessed(address, order)
    }

    fn used_pages(&self, address: usize, order: Order) -> UsedPages {
        self.hosted.used_pages(address, order)
    }

    fn thread_sleeps(&self, sleeper: Sleeper) -> Seen {
        self.hosted.thread_sleeps(sleeper)
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.hosted.inspect(first, pages)
    }
}
