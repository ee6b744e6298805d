//! The built-in device, whose copies go page by page and may fail.

use std::sync::{Arc, Weak};

use bifolio_folio::{Order, Pfn};
use bifolio_sys::{PAGE, SharedBytes};

use super::chance::Chance;
use crate::Builtin;
use crate::device::{Capabilities, Copy, Device, DeviceError, FaultHandler, Point, TableUpdate};
use crate::mutant::{self, Mutant};
use crate::sync::atomic::{AtomicU64, Ordering};

/// A [`Builtin`] device that lets other threads go on between two pages of a copy.
pub struct SteppedDevice {
    inner: Arc<Builtin>,
    chance: Arc<Chance>,
    copied: AtomicU64,
}

impl SteppedDevice {
    /// Wraps a device.
    #[must_use]
    pub fn new(inner: Arc<Builtin>, chance: Arc<Chance>) -> SteppedDevice {
        SteppedDevice { inner, chance, copied: AtomicU64::new(0) }
    }

    fn copy_one(&self, copy: Copy<'_>) -> Result<Point, DeviceError> {
        self.copied.fetch_add(1, Ordering::Relaxed);
        match copy {
            _ if self.chance.fails() => Err(DeviceError::Lost),
            Copy::Clear { .. } if mutant::is(Mutant::DeviceDoesNotClear) => Ok(Point(0)),
            Copy::ToRam { .. } | Copy::ToDevice { .. } if mutant::is(Mutant::DeviceForgetsCopies) => {
                Ok(Point(0))
            }
            copy => self.inner.copy(&[copy]),
        }
    }
}

fn part(bytes: SharedBytes<'_>, page: u64) -> SharedBytes<'_> {
    let page = usize::try_from(page).expect("a small device");
    bytes.part(page * PAGE, PAGE).expect("a page of the copy")
}

/// The pages of a copy, one by one.
fn pages_of(copy: Copy<'_>) -> impl Iterator<Item = Copy<'_>> {
    let pages = match copy {
        Copy::ToDevice { from: bytes, .. } | Copy::ToRam { to: bytes, .. } => (bytes.len() / PAGE) as u64,
        Copy::Clear { pages, .. } => pages,
    };
    let pfn = |first: Pfn, at: u64| Pfn::new(first.get() + at);
    (0..pages).map(move |at| match copy {
        Copy::ToDevice { from, to } => Copy::ToDevice { from: part(from, at), to: pfn(to, at) },
        Copy::ToRam { from, to } => Copy::ToRam { from: pfn(from, at), to: part(to, at) },
        Copy::Clear { to, .. } => Copy::Clear { to: pfn(to, at), pages: 1 },
    })
}

/// A change of the page table, in which a folio that is entered anew has one page.
fn to_head(update: &TableUpdate) -> Vec<TableUpdate> {
    let TableUpdate::Remap { address, to, order } = *update else { return vec![*update] };
    let page = |at| TableUpdate::Remap { address: address + at * PAGE, to, order: Order::ZERO };
    (0..1 << order.get()).map(page).collect()
}

impl Device for SteppedDevice {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn attach(&self, handler: Weak<dyn FaultHandler>) {
        self.inner.attach(handler);
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        let pages = batch.iter().flat_map(|copy| pages_of(*copy));
        pages.map(|page| self.copy_one(page)).try_fold(Point(0), |_, point| point)
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        let unmaps = batch.iter().any(|update| matches!(update, TableUpdate::Unmap { .. }));
        match unmaps {
            true if mutant::is(Mutant::DeviceKeepsTranslations) => Ok(Point(0)),
            // The engine counts on it that what is mapped can be unmapped.
            false if self.chance.fails() => Err(DeviceError::Lost),
            _ if mutant::is(Mutant::DeviceRemapsToHead) => {
                self.inner.update(&batch.iter().flat_map(to_head).collect::<Vec<_>>())
            }
            _ => self.inner.update(batch),
        }
    }

    fn wait(&self, point: Point) -> Result<(), DeviceError> {
        self.inner.wait(point)
    }

    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        self.inner.test_and_clear_accessed(address, order)
    }

    fn touched_pages(&self, address: usize, order: Order) -> u64 {
        self.inner.touched_pages(address, order)
    }
}
