//! Section 2: the host program's side.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bifolio_host::{AddressRange, Advice, Counter, NodeId, PAGE, Pattern, Preferred, Residence};

use crate::abi::{
    BF_ADVISE_NORMAL, BF_ADVISE_PREFER, BF_ADVISE_RANDOM, BF_ADVISE_SEQUENTIAL, BF_E_ARGUMENT, BF_E_BUSY,
    BF_E_HANDLE, BF_E_RANGE, BF_OK, Sized32, bf_device, bf_space, bf_space_config, bf_stats, bf_status,
    bf_where,
};
use crate::device::{DEVICES, DeviceKind, DeviceState};
use crate::edge::{call, read_struct, write_out, write_struct};
use crate::handle::lock;
use crate::port::PORTS;
use crate::space::{SPACES, SpaceState};
use crate::status::Error;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_space_open(config: *const bf_space_config, out: *mut bf_space) -> bf_status {
    call(|| {
        // SAFETY: the caller's structure, with its size.
        let config = unsafe { read_struct(config) }?;
        if out.is_null() {
            return Err(Error::argument("null pointer for the space"));
        }
        let id = SPACES.insert(Arc::new(SpaceState::open(&config)?));
        // SAFETY: the caller's, and not null.
        unsafe { write_out(out, bf_space { id }) }?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_space_close(space: bf_space, patience_ns: u64) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        let ports: Vec<u64> = lock(&state.ports).iter().copied().collect();
        // Before anything changes: ports that are in use may be waited for by what follows.
        for port in &ports {
            PORTS.take(*port).map_err(|why| Error::new(BF_E_BUSY, why.text))?;
        }
        state.detach_all(Duration::from_nanos(patience_ns))?;
        for port in ports {
            drop(PORTS.remove(port).map_err(|why| Error::new(BF_E_BUSY, why.text))?);
            lock(&state.ports).remove(&port);
        }
        // Everything is closed whether the trace could be written or not; `bf_trace` without a file tells.
        let _: Result<(), Error> = state.end_trace();
        let devices = std::mem::take(&mut *lock(&state.devices));
        for device in devices.values() {
            device.forget_ops();
            // Detached ones have no handle any more.
            let _: Result<_, Error> = device.id.get().map_or(Ok(()), |id| DEVICES.remove(*id).map(drop));
        }
        SPACES.remove(space.id).map(drop)?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_alloc(
    space: bf_space,
    bytes: usize,
    align: usize,
    out: *mut *mut c_void,
) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        if out.is_null() {
            return Err(Error::argument("null pointer for the address"));
        }
        let address = state.allocate(bytes, align)?;
        // SAFETY: the caller's, and not null.
        unsafe { write_out(out, std::ptr::with_exposed_provenance_mut(address)) }?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_free(space: bf_space, block: *mut c_void) -> bf_status {
    call(|| SPACES.get(space.id)?.free(block.addr()).map(|()| BF_OK))
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_adopt(space: bf_space, at: *mut c_void, bytes: usize) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        state.space.adopt(whole_pages(at.addr(), bytes)?)?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_release(space: bf_space, at: *mut c_void, bytes: usize) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        state.space.release(whole_pages(at.addr(), bytes)?)?;
        Ok(BF_OK)
    })
}

fn whole_pages(address: usize, bytes: usize) -> Result<AddressRange, Error> {
    AddressRange::new(address, bytes).map_err(|why| Error::of(BF_E_ARGUMENT, &why))
}

/// The device of a handle, which must be of the space.
fn device_of(state: &Arc<SpaceState>, device: bf_device) -> Result<Arc<DeviceState>, Error> {
    let found = DEVICES.get(device.id)?;
    let same = found.space.upgrade().is_some_and(|space| Arc::ptr_eq(&space, state));
    if same { Ok(found) } else { Err(Error::new(BF_E_HANDLE, "the device is of another space")) }
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_prefetch(space: bf_space, at: *const c_void, bytes: usize, to: bf_device) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        let node = if to.id == 0 { None } else { Some(device_of(&state, to)?.node) };
        state.prefetch(state.pages_around(at.addr(), bytes)?, node)?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_advise(
    space: bf_space,
    at: *const c_void,
    bytes: usize,
    what: c_int,
    device: bf_device,
) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        let place =
            if device.id == 0 { Preferred::Home } else { Preferred::Node(device_of(&state, device)?.node) };
        state.advise(state.pages_around(at.addr(), bytes)?, advice_of(what, place)?)?;
        Ok(BF_OK)
    })
}

fn advice_of(what: c_int, place: Preferred) -> Result<Advice, Error> {
    let nothing = Advice::default();
    match what {
        BF_ADVISE_NORMAL => Ok(nothing),
        BF_ADVISE_PREFER => Ok(Advice { prefer: Some(place), ..nothing }),
        BF_ADVISE_SEQUENTIAL => Ok(Advice { pattern: Pattern::Sequential, ..nothing }),
        BF_ADVISE_RANDOM => Ok(Advice { pattern: Pattern::Random, ..nothing }),
        1..BF_ADVISE_NORMAL => Err(Error::argument("no device of this version uses memory where it is")),
        what => Err(Error::argument(format!("unknown advice {what}"))),
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_pin(space: bf_space, at: *const c_void, bytes: usize) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        state.pin(state.pages_around(at.addr(), bytes)?)?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_unpin(space: bf_space, at: *const c_void, bytes: usize) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        state.unpin(state.pages_around(at.addr(), bytes)?)?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_query(space: bf_space, at: *const c_void, out: *mut bf_where) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        let found = find(&state, at.addr())?;
        // SAFETY: the caller's structure, with its size.
        unsafe { write_struct(out, &found) }?;
        Ok(BF_OK)
    })
}

fn find(state: &SpaceState, address: usize) -> Result<bf_where, Error> {
    let engine = state.space.engine();
    let place = |order: u8| (address & !((PAGE << order) - 1), PAGE << order);
    let (device, order) = match engine.residence(address) {
        Residence::NotMapped => {
            return Err(Error::new(BF_E_RANGE, format!("{address:#x} belongs to no allocation")));
        }
        Residence::Device { node, order, .. } => (Some((node, order)), order.get()),
        Residence::Ram | Residence::Empty => (None, 0),
    };
    let (va, bytes) = place(order);
    let id_of = |node: NodeId| lock(&state.devices).get(&node.0).and_then(|device| device.id.get().copied());
    let dirty = device
        .is_some_and(|(node, order)| !engine.node(node).device().used_pages(va, order).written.is_empty());
    Ok(bf_where {
        order: u32::from(order),
        va: va as u64,
        bytes: bytes as u64,
        device: device.and_then(|(node, _)| id_of(node)).unwrap_or(0),
        dirty: u32::from(dirty),
        pins: state.pins_of(address),
        ..bf_where::ZERO
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_trace(space: bf_space, file: *const c_char, limit: u64) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        if file.is_null() {
            state.end_trace()?;
        } else {
            // SAFETY: not null, so it is the caller's text, which ends by a zero.
            let name = unsafe { CStr::from_ptr(file) };
            state.recorded.begin(Path::new(OsStr::from_bytes(name.to_bytes())), limit)?;
        }
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_space_stats(space: bf_space, out: *mut bf_stats) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        let counts = state.space.statistics();
        let caches = |device: &Arc<DeviceState>| match &device.kind {
            DeviceKind::Hosted(hosted) => hosted.invalidations(),
            DeviceKind::Foreign(_) => (0, 0),
        };
        let (mut invalidations, mut late_acks) = (0, 0);
        for (told, late) in lock(&state.devices).values().map(caches) {
            (invalidations, late_acks) = (invalidations + told, late_acks + late);
        }
        let stats = bf_stats {
            cpu_faults: counts.get(Counter::CpuFaults),
            device_faults: counts.get(Counter::DeviceFaults),
            to_device_bytes: counts.get(Counter::BytesToDevice),
            to_ram_bytes: counts.get(Counter::BytesToRam),
            evictions: counts.get(Counter::Evictions),
            splits: counts.get(Counter::Splits),
            fallbacks: counts.get(Counter::Fallbacks),
            busy: counts.get(Counter::Busy),
            failures: counts.get(Counter::Failures),
            violations: counts.get(Counter::Violations),
            invalidations,
            late_acks,
            ..bf_stats::ZERO
        };
        // SAFETY: the caller's structure, with its size.
        unsafe { write_struct(out, &stats) }?;
        Ok(BF_OK)
    })
}
