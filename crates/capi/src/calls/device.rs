//! Section 4: devices.

use std::sync::Arc;
use std::time::Duration;

use crate::abi::{BF_E_DETACHED, BF_OK, bf_device, bf_device_config, bf_space, bf_status};
use crate::device::{DEVICES, DeviceState};
use crate::edge::{call, read_struct, write_out};
use crate::handle::lock;
use crate::space::SPACES;
use crate::status::Error;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_device_attach(
    space: bf_space,
    config: *const bf_device_config,
    out: *mut bf_device,
) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        // SAFETY: the caller's structure, with its size.
        let config = unsafe { read_struct(config) }?;
        // SAFETY: as above.
        let ops = if config.ops.is_null() { None } else { Some(unsafe { read_struct(config.ops) }?) };
        if out.is_null() {
            return Err(Error::argument("null pointer for the device"));
        }
        let device = Arc::new(DeviceState::attach(&state, &config, ops)?);
        lock(&state.devices).insert(device.node.0, Arc::clone(&device));
        let id = DEVICES.insert(Arc::clone(&device));
        device.id.set(id).expect("inserted once");
        // SAFETY: the caller's, and not null.
        unsafe { write_out(out, bf_device { id }) }?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_device_detach(device: bf_device, patience_ns: u64) -> bf_status {
    call(|| {
        let state = DEVICES.get(device.id)?;
        let closed = || Error::new(BF_E_DETACHED, "the space of the device is closed");
        let space = state.space.upgrade().ok_or_else(closed)?;
        state.detach(&space, Duration::from_nanos(patience_ns))?;
        DEVICES.remove(device.id).map(drop)?;
        Ok(BF_OK)
    })
}
