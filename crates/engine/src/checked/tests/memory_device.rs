//! A device of memory alone: it copies, and its page table maps nothing that matters.

use std::sync::Arc;

use bifolio_folio::Pfn;
use bifolio_sys::{Mapping, PAGE, Placement, Protection, SharedBytes};

use crate::device::{Capabilities, Copy, Device, DeviceError, FaultHandler, Point, TableUpdate};

pub(super) struct MemoryDevice {
    memory: Mapping,
    pages: u64,
}

impl MemoryDevice {
    pub(super) fn new(pages: u64) -> MemoryDevice {
        let bytes = usize::try_from(pages).expect("few pages") * PAGE;
        let memory = Mapping::anonymous(bytes, Protection::ReadWrite, Placement::Anywhere).expect("memory");
        MemoryDevice { memory, pages }
    }

    fn part(&self, first: Pfn, pages: usize) -> Result<SharedBytes<'_>, DeviceError> {
        let offset = usize::try_from(first.get()).expect("few pages") * PAGE;
        let outside = DeviceError::OutOfRange { first, pages: pages as u64 };
        self.memory.bytes(offset, pages * PAGE).map_err(|_| outside)
    }

    fn copy_one(&self, copy: Copy<'_>) -> Result<(), DeviceError> {
        match copy {
            Copy::ToDevice { from, to } => {
                self.part(to, from.len() / PAGE)?.copy_from(from).expect("same length");
            }
            Copy::ToRam { from, to } => {
                to.copy_from(self.part(from, to.len() / PAGE)?).expect("same length");
            }
            Copy::Clear { to, pages } => {
                self.part(to, usize::try_from(pages).expect("few pages"))?.fill_zero();
            }
        }
        Ok(())
    }
}

impl Device for MemoryDevice {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.pages)
    }

    fn attach(&self, _: Arc<dyn FaultHandler>) {}

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        batch.iter().try_for_each(|copy| self.copy_one(*copy))?;
        Ok(Point(0))
    }

    fn update(&self, _: &[TableUpdate]) -> Result<Point, DeviceError> {
        Ok(Point(0))
    }

    fn wait(&self, _: Point) -> Result<(), DeviceError> {
        Ok(())
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.part(first, usize::try_from(pages).ok()?).ok()
    }
}
