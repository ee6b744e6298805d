//! A device whose calls may fail, be skipped, or arrive wrong.

use std::sync::Arc;

use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, FaultHandler, Point, TableUpdate, UsedPages,
};
use bifolio_engine::sleep::{Seen, Sleeper};
use bifolio_folio::{Order, Pfn};
use bifolio_sys::{PAGE, SharedBytes};

use super::{Call, FaultKind, Script};

/// A device that asks its script before each copy and each change of its page table.
pub struct FaultyDevice<D: ?Sized> {
    inner: Arc<D>,
    script: Arc<dyn Script>,
    by_page: bool,
}

impl<D: Device + ?Sized> FaultyDevice<D> {
    /// Wraps a device.
    #[must_use]
    pub fn over(inner: Arc<D>, script: Arc<dyn Script>) -> FaultyDevice<D> {
        FaultyDevice { inner, script, by_page: false }
    }

    /// Copies page by page: the script is asked for each, and a copy may end half-way.
    #[must_use]
    pub fn by_page(self) -> FaultyDevice<D> {
        FaultyDevice { by_page: true, ..self }
    }

    /// The device itself.
    #[must_use]
    pub fn inner(&self) -> &D {
        &self.inner
    }

    fn memory(&self, first: Pfn) -> SharedBytes<'_> {
        self.inner.inspect(first, 1).expect("only a device that can be looked at is spoiled")
    }

    fn copy_one(&self, copy: Copy<'_>) -> Result<Point, DeviceError> {
        let (call, source, target) = match copy {
            Copy::ToDevice { from, to } => (Call::CopyToDevice, Bytes::Ram(from), Bytes::Device(to)),
            Copy::ToRam { from, to } => (Call::CopyToRam, Bytes::Device(from), Bytes::Ram(to)),
            Copy::Clear { to, .. } => (Call::Clear, Bytes::Device(to), Bytes::Device(to)),
            _ => return Err(DeviceError::Unsupported),
        };
        let point = match self.script.fault(call) {
            None => self.inner.copy(&[copy]),
            Some(FaultKind::Refuse) => Err(DeviceError::Lost),
            Some(FaultKind::Skip) => Ok(Point(0)),
            Some(FaultKind::Spoil) => {
                let point = self.inner.copy(&[copy]);
                self.spoil(&target);
                point
            }
            Some(FaultKind::SpoilSource) => {
                self.spoil(&source);
                self.inner.copy(&[copy])
            }
            Some(other) => panic!("{other:?} of {call:?} is not for a device"),
        };
        self.script.ended(call);
        point
    }

    fn spoil(&self, bytes: &Bytes<'_>) {
        let bytes = match *bytes {
            Bytes::Ram(bytes) => bytes,
            Bytes::Device(first) => self.memory(first),
        };
        let byte: u8 = bytes.read(5).expect("a page has it");
        bytes.write(5, byte ^ 1).expect("a page has it");
    }

    fn update_one(&self, update: TableUpdate) -> Result<Point, DeviceError> {
        let call = match update {
            TableUpdate::Map { .. } => Call::Map,
            TableUpdate::Remap { .. } => Call::Remap,
            TableUpdate::Unmap { .. } => Call::Unmap,
            // What stays in system memory is no step of a transaction, and no script is about it.
            TableUpdate::MapRemote { .. } | TableUpdate::UnmapRemote { .. } => {
                return self.inner.update(&[update]);
            }
            _ => return Err(DeviceError::Unsupported),
        };
        let point = match self.script.fault(call) {
            None => self.inner.update(&[update]),
            Some(FaultKind::Skip) => Ok(Point(0)),
            Some(FaultKind::Spoil) => self.inner.update(&to_head(update)),
            Some(_) => Err(DeviceError::Lost),
        };
        self.script.ended(call);
        point
    }
}

enum Bytes<'m> {
    Ram(SharedBytes<'m>),
    Device(Pfn),
}

fn part(bytes: SharedBytes<'_>, page: usize) -> SharedBytes<'_> {
    bytes.part(page * PAGE, PAGE).expect("a page of the copy")
}

/// The pages of a copy, one by one.
fn pages_of(copy: Copy<'_>) -> impl Iterator<Item = Copy<'_>> {
    let pages = match copy {
        Copy::ToDevice { from: bytes, .. } | Copy::ToRam { to: bytes, .. } => bytes.len() / PAGE,
        Copy::Clear { pages, .. } => usize::try_from(pages).expect("a copy fits in memory"),
        _ => 1,
    };
    let pfn = |first: Pfn, at: usize| Pfn::new(first.get() + at as u64);
    (0..pages).map(move |at| match copy {
        Copy::ToDevice { from, to } => Copy::ToDevice { from: part(from, at), to: pfn(to, at) },
        Copy::ToRam { from, to } => Copy::ToRam { from: pfn(from, at), to: part(to, at) },
        Copy::Clear { to, .. } => Copy::Clear { to: pfn(to, at), pages: 1 },
        copy => copy,
    })
}

/// An entry of which each page leads to the first page of the folio.
fn to_head(update: TableUpdate) -> Vec<TableUpdate> {
    let TableUpdate::Remap { address, to, order, rights } = update else {
        panic!("{update:?} cannot be spoiled")
    };
    let page = |at| TableUpdate::Remap { address: address + at * PAGE, to, order: Order::ZERO, rights };
    (0..1 << order.get()).map(page).collect()
}

impl<D: Device + ?Sized> Device for FaultyDevice<D> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        self.inner.attach(handler);
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        batch.iter().try_fold(Point(0), |last, copy| match self.by_page {
            true => pages_of(*copy).try_fold(last, |_, page| self.copy_one(page)),
            false => self.copy_one(*copy),
        })
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        batch.iter().try_fold(Point(0), |_, update| self.update_one(*update))
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
        match self.script.fault(Call::Inspect) {
            None => self.inner.inspect(first, pages),
            Some(_) => None,
        }
    }
}
