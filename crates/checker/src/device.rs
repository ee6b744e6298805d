//! A device whose every copy and change of the page table is told to the checker.

use std::sync::Arc;

use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, FaultHandler, Point, TableUpdate, UsedPages,
};
use bifolio_engine::sleep::{Seen, Sleeper};
use bifolio_folio::{Order, Pfn};
use bifolio_migrate::NodeId;
use bifolio_rules::{DeviceEvent, Event, PageRange};
use bifolio_sys::{PAGE, SharedBytes};

use super::checker::{Checker, range_of};

/// A device whose every copy and change of the page table is told to the checker.
pub(crate) struct CheckedDevice {
    inner: Arc<dyn Device>,
    node: NodeId,
    checker: Arc<Checker>,
}

impl CheckedDevice {
    pub(crate) fn new(inner: Arc<dyn Device>, node: NodeId, checker: Arc<Checker>) -> CheckedDevice {
        CheckedDevice { inner, node, checker }
    }

    fn tell(&self, event: DeviceEvent) {
        self.checker.tell(&Event::Device { node: self.node.0, event });
    }

    fn before_update(&self, update: &TableUpdate) {
        match *update {
            TableUpdate::Map { to, order, .. } | TableUpdate::Remap { to, order, .. } => {
                self.tell(DeviceEvent::Mapping { pages: range_of(to, order) });
            }
            // Its entries are gone from the call on, whether it succeeds or the device is lost.
            TableUpdate::Unmap { address, order } => {
                self.tell(DeviceEvent::Unmapped { at: virtual_pages(address, order) });
            }
            _ => {}
        }
    }

    fn after_update(&self, update: &TableUpdate) {
        match *update {
            TableUpdate::Map { address, to, order, .. } => self.mapped(address, to, order),
            TableUpdate::Remap { address, to, order, .. } => {
                self.tell(DeviceEvent::Unmapped { at: virtual_pages(address, order) });
                self.mapped(address, to, order);
            }
            _ => {}
        }
    }

    fn mapped(&self, address: usize, to: Pfn, order: Order) {
        self.tell(DeviceEvent::Mapped { at: virtual_pages(address, order), head: to.get() });
    }
}

fn virtual_pages(address: usize, order: Order) -> PageRange {
    PageRange::of_order((address / PAGE) as u64, order.get())
}

/// The device pages that a copy uses.
fn device_pages(copy: &Copy<'_>) -> PageRange {
    let pages_of = |bytes: SharedBytes<'_>| (bytes.len() / PAGE) as u64;
    match *copy {
        Copy::ToDevice { from, to } => PageRange { first: to.get(), pages: pages_of(from) },
        Copy::ToRam { from, to } => PageRange { first: from.get(), pages: pages_of(to) },
        Copy::Clear { to, pages } => PageRange { first: to.get(), pages },
        _ => PageRange::NONE,
    }
}

impl Device for CheckedDevice {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        self.inner.attach(handler);
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        batch.iter().for_each(|copy| self.tell(DeviceEvent::Accessed { pages: device_pages(copy) }));
        let point = self.inner.copy(batch)?;
        for copy in batch {
            let pages = device_pages(copy);
            match copy {
                Copy::ToDevice { .. } => self.tell(DeviceEvent::Written { pages }),
                Copy::Clear { .. } => self.tell(DeviceEvent::Cleared { pages }),
                _ => {}
            }
        }
        Ok(point)
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        batch.iter().for_each(|update| self.before_update(update));
        let point = self.inner.update(batch)?;
        batch.iter().for_each(|update| self.after_update(update));
        Ok(point)
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

    fn thread_sleeps(&self, sleeper: Sleeper) -> Seen {
        self.inner.thread_sleeps(sleeper)
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.inner.inspect(first, pages)
    }
}
