//! Ports: what a handle of one stands for, and its accesses.

use std::sync::Arc;

use bifolio_host::device::DeviceRequest;
use bifolio_host::{AtomicOp, AtomicWidth, CachingPort, PAGE, Port, Refused, Rights, Translation};

use crate::abi::{
    BF_E_ARGUMENT, BF_E_BUSY, BF_E_DETACHED, BF_E_LOST, BF_E_THREAD, BF_EV_INVALIDATE, BF_FAULT, BF_OK,
    BF_PORT_CACHES, BF_SPACE_NO_THREADS, BF_SPACE_VIRTUAL_TIME, Sized32, bf_event, bf_fault, bf_port_config,
    bf_status, bf_translation,
};
use crate::device::{DeviceKind, DeviceState, access_of, rights_of};
use crate::event::{EventQueue, told};
use crate::handle::Slots;
use crate::handle::lock;
use crate::post::Posted;
use crate::space::SpaceState;
use crate::status::Error;

pub static PORTS: Slots<PortState> = Slots::new();

/// A port, and what C has of it. Used by one thread at a time.
pub struct PortState {
    way: Way,
    pub device: Arc<DeviceState>,
    pub space: Arc<SpaceState>,
    pub queue: Arc<EventQueue>,
    unit: u32,
    /// Faults that may be posted at once.
    most: u32,
    /// What the last fault that was resolved took.
    last: Option<bf_event>,
}

/// How it gets at device memory.
enum Way {
    /// Keeps nothing.
    Plain(Port),
    Caching(CachingPort),
    /// The device has its memory itself.
    Foreign,
}

/// Faults that may be posted at once, unless told otherwise.
const QUEUE: u32 = 64;

impl PortState {
    pub fn open(device: Arc<DeviceState>, config: &bf_port_config) -> Result<PortState, Error> {
        let closed = || Error::new(BF_E_DETACHED, "the space of the device is closed");
        let space = device.space.upgrade().ok_or_else(closed)?;
        if device.is_detached() {
            return Err(Error::new(BF_E_DETACHED, "the device was detached"));
        }
        let caches = match config.flags {
            0 => false,
            BF_PORT_CACHES => true,
            flags => return Err(Error::argument(format!("unknown flags {flags:#x} of a port"))),
        };
        let way = match &device.kind {
            DeviceKind::Foreign(_) if caches => {
                return Err(Error::argument(
                    "a foreign device keeps translations itself: its op `update` ends them",
                ));
            }
            DeviceKind::Foreign(_) => Way::Foreign,
            DeviceKind::Hosted(_) if caches && space.has(BF_SPACE_NO_THREADS) => return Err(needs_reader()),
            DeviceKind::Hosted(hosted) if caches => Way::Caching(hosted.open_caching_port(config.unit)),
            DeviceKind::Hosted(hosted) => Way::Plain(hosted.open_port(config.unit)),
        };
        let queue = Arc::new(EventQueue::default());
        lock(&device.queues).push(Arc::clone(&queue));
        let most = if config.queue == 0 { QUEUE } else { config.queue };
        Ok(PortState { way, device, space, queue, unit: config.unit, most, last: None })
    }

    /// Its way to memory.
    #[inline]
    fn port(&mut self) -> Result<&mut Port, Error> {
        match &mut self.way {
            Way::Plain(port) => Ok(port),
            Way::Caching(caching) => Ok(caching.port()),
            Way::Foreign => Err(has_its_memory()),
        }
    }

    #[inline]
    pub fn read(&mut self, va: usize, to: &mut [u8]) -> Result<bf_status, Error> {
        let port = self.port()?;
        let done = match to.len() {
            8 => port.try_load::<u64>(va).map(|value| to.copy_from_slice(&value.to_ne_bytes())),
            4 => port.try_load::<u32>(va).map(|value| to.copy_from_slice(&value.to_ne_bytes())),
            _ => port.try_read(va, to),
        };
        done.map_or_else(|refused| self.refused(refused), |()| Ok(BF_OK))
    }

    pub fn write(&mut self, va: usize, from: &[u8], strobe: Option<&[u8]>) -> Result<bf_status, Error> {
        let port = self.port()?;
        let done = match (strobe, from.len()) {
            (Some(strobe), _) => port.try_write_strobed(va, from, strobe),
            (None, 8) => port.try_store(va, u64::from_ne_bytes(from.try_into().expect("8 bytes"))),
            (None, 4) => port.try_store(va, u32::from_ne_bytes(from.try_into().expect("4 bytes"))),
            (None, _) => port.try_write(va, from),
        };
        done.map_or_else(|refused| self.refused(refused), |()| Ok(BF_OK))
    }

    /// Does a read-modify-write operation; `None` if a page is missing.
    pub fn atomic(
        &mut self,
        va: usize,
        op: AtomicOp,
        width: AtomicWidth,
        argument: u64,
    ) -> Result<Option<u64>, Error> {
        match self.port()?.try_atomic(va, op, width, argument) {
            Ok(old) => Ok(Some(old)),
            Err(refused) => self.refused(refused).map(|_| None),
        }
    }

    /// Where a page is; `None` if it is missing.
    pub fn translate(&mut self, va: usize, access: u32) -> Result<Option<bf_translation>, Error> {
        let rights = rights_of(access, "translation")?;
        let found = match &mut self.way {
            Way::Foreign => return Err(Error::argument("a foreign device has its page table itself")),
            Way::Plain(_) if self.space.has(BF_SPACE_NO_THREADS) => return Err(needs_reader()),
            Way::Plain(port) => port.translate(va, rights),
            Way::Caching(caching) => caching.translate(va, rights),
        };
        match found {
            Ok(found) => Ok(Some(translation_of(&found))),
            Err(refused) => self.refused(refused).map(|_| None),
        }
    }

    /// What an access that was not done comes to.
    #[cold]
    #[inline(never)]
    fn refused(&self, refused: Refused) -> Result<bf_status, Error> {
        match refused {
            _ if self.device.is_detached() => Err(Error::new(BF_E_DETACHED, "the device was detached")),
            Refused::Fault(_) => Ok(BF_FAULT),
            Refused::Lost { .. } => Err(Error::of(BF_E_LOST, &refused)),
            _ => Err(Error::of(BF_E_ARGUMENT, &refused)),
        }
    }

    fn request(&self, fault: &bf_fault) -> Result<DeviceRequest, Error> {
        let rights = match rights_of(fault.access, "fault")? {
            Rights::READ => Rights::READ,
            both => both,
        };
        let va = address(fault.va)?;
        let bytes = usize::try_from(fault.bytes).expect("64 bits").max(1);
        let pages = (va % PAGE).saturating_add(bytes).div_ceil(PAGE);
        let pages = u32::try_from(pages).map_err(|_| Error::argument("a fault of more than 16 TiB"))?;
        let request = DeviceRequest::new(va, rights).with_pages(pages);
        Ok(request.with_tag(fault.tag).by_unit(self.unit))
    }

    fn posted(&self, fault: &bf_fault) -> Result<Posted, Error> {
        let (device, queue) = (Arc::clone(&self.device), Arc::clone(&self.queue));
        Ok(Posted { device, queue, request: self.request(fault)?, fault: *fault })
    }

    /// Has a fault answered while model time stands still.
    pub fn resolve(&mut self, fault: &bf_fault) -> Result<bf_status, Error> {
        let request = self.request(fault)?;
        if let Ok(port) = self.port() {
            port.release();
        }
        let served = self.device.resolve(&request).map_err(|fault| self.of_fault(fault))?;
        let (moved_in, moved_out) = (served.moved_in, served.moved_out);
        let due_ps = self.space.now_ps().saturating_add(self.device.link.cost_ps(moved_in + moved_out));
        let event = bf_event { tag: fault.tag, bytes: fault.bytes, ..told(0, fault.va) };
        self.last = Some(bf_event { due_ps, moved_in, moved_out, result: BF_OK, ..event });
        Ok(BF_OK)
    }

    fn of_fault(&self, fault: bifolio_host::DeviceFault) -> Error {
        let error = Error::from(fault);
        let lost = matches!(&self.device.kind, DeviceKind::Hosted(hosted) if hosted.is_lost());
        if lost { Error::new(BF_E_LOST, format!("the device is lost: {}", error.text)) } else { error }
    }

    /// What the last fault that was resolved took.
    pub fn last(&self) -> Result<bf_event, Error> {
        self.last.ok_or_else(|| Error::argument("no fault was resolved on this port yet"))
    }

    /// Has a fault answered, and an event made of that.
    pub fn post(&mut self, fault: &bf_fault) -> Result<bf_status, Error> {
        let posted = self.posted(fault)?;
        if let Ok(port) = self.port() {
            port.release();
        }
        if !self.queue.begin_fault(self.most) {
            return Err(Error::new(BF_E_BUSY, format!("{} faults are posted and not fetched", self.most)));
        }
        if let Some(poster) = &self.space.poster {
            poster.post(posted);
            return Ok(BF_OK);
        }
        let event = posted.answer();
        let due_ps = match self.space.has(BF_SPACE_VIRTUAL_TIME) {
            true => {
                self.space.now_ps().saturating_add(self.device.link.cost_ps(event.moved_in + event.moved_out))
            }
            false => 0,
        };
        self.queue.push(bf_event { due_ps, ..event });
        Ok(BF_OK)
    }

    pub fn next_event(&mut self) -> Option<bf_event> {
        if let Way::Caching(caching) = &mut self.way
            && let Some(next) = caching.next_invalidation()
        {
            let event = told(BF_EV_INVALIDATE, next.address as u64);
            let forced = u32::from(next.forced);
            return Some(bf_event { seq: next.sequence, bytes: next.bytes as u64, forced, ..event });
        }
        self.queue.next(self.space.now_ps())
    }

    pub fn acknowledge(&mut self, sequence: u64) -> Result<bf_status, Error> {
        match &mut self.way {
            Way::Caching(caching) => {
                caching.acknowledge(sequence);
                Ok(BF_OK)
            }
            _ => Err(Error::argument("only a port with BF_PORT_CACHES acknowledges")),
        }
    }
}

impl Drop for PortState {
    fn drop(&mut self) {
        lock(&self.device.queues).retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

fn translation_of(found: &Translation) -> bf_translation {
    bf_translation {
        access: access_of(found.rights),
        host: std::ptr::with_exposed_provenance_mut(found.host),
        va: found.address as u64,
        bytes: found.bytes as u64,
        pfn: found.pfn.get(),
        epoch: found.epoch,
        ..bf_translation::ZERO
    }
}

#[cold]
#[inline(never)]
fn has_its_memory() -> Error {
    Error::argument("a foreign device reads and writes its memory itself")
}

fn needs_reader() -> Error {
    let text = "translations need a reader of faults at all times: not with BF_SPACE_NO_THREADS";
    Error::new(BF_E_THREAD, text)
}

/// An address of the caller.
pub fn address(va: u64) -> Result<usize, Error> {
    usize::try_from(va).map_err(|_| Error::argument("an address of more bits than there are"))
}
