//! Devices whose memory and page table are the program's: ops.

use std::ffi::c_void;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bifolio_host::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, DeviceRequest, FaultHandler, Point, Served,
    TableUpdate, UsedPages,
};
use bifolio_host::{DeviceSlot, Order, PAGE, PageRun, PageSet};

use crate::abi::{BF_OK, BF_READ, BF_WRITE, bf_device_ops, bf_map};
use crate::device::access_of;
use crate::status::Error;

/// A device of the program. Its pages are numbered from 0 to it.
pub struct Foreign {
    ops: RwLock<Option<Ops>>,
    slot: DeviceSlot,
    capabilities: Capabilities,
    handler: OnceLock<Arc<dyn FaultHandler>>,
}

struct Ops {
    table: bf_device_ops,
    user: *mut c_void,
}

// SAFETY: bifolio.h says that ops are called on any thread, several at once; `user` is only passed on.
unsafe impl Send for Ops {}
// SAFETY: as above.
unsafe impl Sync for Ops {}

impl Foreign {
    pub fn new(
        table: bf_device_ops,
        user: *mut c_void,
        slot: DeviceSlot,
        capabilities: Capabilities,
    ) -> Result<Foreign, Error> {
        let complete = table.copy_in.is_some() && table.copy_out.is_some() && table.clear.is_some();
        if !complete || table.update.is_none() {
            return Err(Error::argument("ops of a foreign device: copy_in, copy_out, clear and update"));
        }
        let ops = RwLock::new(Some(Ops { table, user }));
        Ok(Foreign { ops, slot, capabilities, handler: OnceLock::new() })
    }

    /// Calls no op any more, and returns when none is under way.
    pub fn forget(&self) {
        self.ops.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub fn resolve(&self, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        match self.handler.get() {
            Some(handler) => handler.device_fault(request),
            None => Err(DeviceFault::Detached { address: request.address }),
        }
    }

    fn with_ops<R>(&self, work: impl FnOnce(&Ops) -> Result<R, DeviceError>) -> Result<R, DeviceError> {
        let ops = self.ops.read().unwrap_or_else(PoisonError::into_inner);
        ops.as_ref().map_or(Err(DeviceError::Lost), work)
    }

    fn number(&self, page: bifolio_host::Pfn) -> u64 {
        page.get() - self.slot.first.get()
    }

    fn copy_one(&self, ops: &Ops, copy: &Copy<'_>) -> Result<(), DeviceError> {
        let page = self.number(copy.page());
        let bytes = usize::try_from(copy.bytes()).expect("it is in this process");
        let status = match *copy {
            Copy::ToDevice { from, .. } => ops.table.copy_in.map(|copy_in| {
                let from = std::ptr::without_provenance::<c_void>(from.address());
                // SAFETY: an op of the program, with the bytes that the engine holds for this copy.
                unsafe { copy_in(ops.user, page, from, bytes) }
            }),
            Copy::ToRam { to, .. } => ops.table.copy_out.map(|copy_out| {
                let to = std::ptr::without_provenance_mut::<c_void>(to.address());
                // SAFETY: as above.
                unsafe { copy_out(ops.user, page, to, bytes) }
            }),
            Copy::Clear { .. } => ops.table.clear.map(|clear| {
                // SAFETY: an op of the program.
                unsafe { clear(ops.user, page, bytes) }
            }),
            _ => return Err(DeviceError::Unsupported),
        };
        if status == Some(BF_OK) { Ok(()) } else { Err(DeviceError::Lost) }
    }

    fn entry(&self, update: &TableUpdate) -> bf_map {
        let (address, order) = update.pages();
        let (pfn, access) = match *update {
            TableUpdate::Map { to, rights, .. } | TableUpdate::Remap { to, rights, .. } => {
                (self.number(to), access_of(rights))
            }
            _ => (0, 0),
        };
        bf_map { va: address as u64, pfn, order: u32::from(order.get()), access }
    }
}

impl Device for Foreign {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        // The engine attaches once.
        let _: Result<(), _> = self.handler.set(handler);
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        self.with_ops(|ops| batch.iter().try_for_each(|copy| self.copy_one(ops, copy)))?;
        Ok(Point(0))
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        let entries: Vec<bf_map> = batch.iter().map(|update| self.entry(update)).collect();
        self.with_ops(|ops| {
            let status = ops.table.update.map(|update| {
                // SAFETY: an op of the program, with entries that live until it returns.
                unsafe { update(ops.user, entries.as_ptr(), entries.len()) }
            });
            if status == Some(BF_OK) { Ok(Point(0)) } else { Err(DeviceError::Lost) }
        })
    }

    fn used_pages(&self, address: usize, order: Order) -> UsedPages {
        let used = self.with_ops(|ops| {
            let used = ops.table.used.map(|used| {
                // SAFETY: an op of the program.
                unsafe { used(ops.user, address as u64, u32::from(order.get())) }
            });
            Ok(used.unwrap_or(BF_READ | BF_WRITE))
        });
        let Ok(used) = used else { return UsedPages::unknown() };
        let pages = u16::try_from((PAGE << order.get()) / PAGE).expect("a block at most");
        let all = |bits: u32| {
            let mut set = PageSet::EMPTY;
            if used & bits != 0 {
                set.insert(PageRun::new(0, pages).expect("not empty"));
            }
            set
        };
        UsedPages { accessed: all(BF_READ | BF_WRITE), written: all(BF_WRITE) }
    }
}
