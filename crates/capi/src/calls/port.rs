//! Section 5: ports.

use std::ffi::{c_int, c_void};

use bifolio_host::{AtomicOp, AtomicWidth};

use crate::abi::{
    BF_EMPTY, BF_FAULT, BF_OK, bf_device, bf_event, bf_fault, bf_port, bf_port_config, bf_status,
    bf_translation,
};
use crate::device::DEVICES;
use crate::edge::{bytes_in, bytes_out, call, read_struct, write_out, write_struct};
use crate::handle::lock;
use crate::port::{PORTS, PortState, address};
use crate::status::Error;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_port_open(
    device: bf_device,
    config: *const bf_port_config,
    out: *mut bf_port,
) -> bf_status {
    call(|| {
        let device = DEVICES.get(device.id)?;
        // SAFETY: the caller's structure, with its size.
        let config = unsafe { read_struct(config) }?;
        if out.is_null() {
            return Err(Error::argument("null pointer for the port"));
        }
        let port = PortState::open(device, &config)?;
        let space = std::sync::Arc::clone(&port.space);
        let id = PORTS.insert(port)?;
        lock(&space.ports).insert(id);
        // SAFETY: the caller's, and not null.
        unsafe { write_out(out, bf_port { id }) }?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_port_close(port: bf_port) -> bf_status {
    call(|| {
        let state = PORTS.remove(port.id)?;
        lock(&state.space.ports).remove(&port.id);
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_read(port: bf_port, va: u64, to: *mut c_void, bytes: usize) -> bf_status {
    call(|| {
        let mut state = PORTS.take(port.id)?;
        // SAFETY: the caller's, or null.
        let to = unsafe { bytes_out(to.cast(), bytes) }?;
        state.read(address(va)?, to)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_write(
    port: bf_port,
    va: u64,
    from: *const c_void,
    bytes: usize,
    strobe: *const u8,
) -> bf_status {
    call(|| {
        let mut state = PORTS.take(port.id)?;
        // SAFETY: the caller's, or null.
        let from = unsafe { bytes_in(from.cast(), bytes) }?;
        let strobe = match strobe.is_null() {
            true => None,
            // SAFETY: a bit for each byte, says bifolio.h.
            false => Some(unsafe { bytes_in(strobe, bytes.div_ceil(8)) }?),
        };
        state.write(address(va)?, from, strobe)
    })
}

/// The operations by their numbers in bifolio.h.
fn operation(op: c_int, expected: u64) -> Option<AtomicOp> {
    Some(match op {
        0 => AtomicOp::Add,
        1 => AtomicOp::Swap,
        2 => AtomicOp::CompareExchange(expected),
        3 => AtomicOp::And,
        4 => AtomicOp::Or,
        5 => AtomicOp::Xor,
        6 => AtomicOp::Min,
        7 => AtomicOp::Max,
        8 => AtomicOp::AddFloat,
        _ => return None,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_atomic(
    port: bf_port,
    va: u64,
    op: c_int,
    bytes: c_int,
    arg: u64,
    expected: u64,
    old: *mut u64,
) -> bf_status {
    call(|| {
        let mut state = PORTS.take(port.id)?;
        let unknown = || Error::argument(format!("unknown operation {op}"));
        let operation = operation(op, expected).ok_or_else(unknown)?;
        let width = usize::try_from(bytes).ok().and_then(AtomicWidth::of_bytes);
        let width = width.ok_or_else(|| Error::argument(format!("atomic of {bytes} bytes: 1, 2, 4 or 8")))?;
        let Some(found) = state.atomic(address(va)?, operation, width, arg)? else { return Ok(BF_FAULT) };
        if !old.is_null() {
            // SAFETY: the caller's, and not null.
            unsafe { write_out(old, found) }?;
        }
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_translate(
    port: bf_port,
    va: u64,
    access: u32,
    out: *mut bf_translation,
) -> bf_status {
    call(|| {
        let mut state = PORTS.take(port.id)?;
        let Some(found) = state.translate(address(va)?, access)? else { return Ok(BF_FAULT) };
        // SAFETY: the caller's structure, with its size.
        unsafe { write_struct(out, &found) }?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_fault_resolve(port: bf_port, fault: *const bf_fault) -> bf_status {
    call(|| {
        let mut state = PORTS.take(port.id)?;
        // SAFETY: the caller's structure, with its size.
        let fault = unsafe { read_struct(fault) }?;
        state.resolve(&fault)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_fault_took(port: bf_port, out: *mut bf_event) -> bf_status {
    call(|| {
        let state = PORTS.take(port.id)?;
        let last = state.last()?;
        // SAFETY: the caller's structure, with its size.
        unsafe { write_struct(out, &last) }?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_fault_post(port: bf_port, fault: *const bf_fault) -> bf_status {
    call(|| {
        let mut state = PORTS.take(port.id)?;
        // SAFETY: the caller's structure, with its size.
        let fault = unsafe { read_struct(fault) }?;
        state.post(&fault)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_event_next(port: bf_port, out: *mut bf_event) -> bf_status {
    call(|| {
        let mut state = PORTS.take(port.id)?;
        // Before the event is taken: it must not be lost to a structure that cannot hold it.
        // SAFETY: the caller's structure, with its size.
        let empty: bf_event = unsafe { read_struct(out) }?;
        let Some(event) = state.next_event() else { return Ok(BF_EMPTY) };
        let event = bf_event { size: empty.size, ..event };
        // SAFETY: as above.
        unsafe { write_struct(out, &event) }?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_ack(port: bf_port, seq: u64) -> bf_status {
    call(|| PORTS.take(port.id)?.acknowledge(seq))
}
