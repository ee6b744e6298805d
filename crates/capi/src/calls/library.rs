//! Section 1: the library.

use std::ffi::c_char;

use bifolio_sys::{Access, Features, Reads, Uffd};

use crate::abi::{BF_ABI, BF_E_GRANT, BF_OK, Sized32, bf_grants, bf_status};
use crate::edge::{call, write_struct};
use crate::status::{Error, with_last};

#[unsafe(no_mangle)]
pub extern "C" fn bf_abi() -> u32 {
    BF_ABI
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_last_error(text: *mut c_char, room: usize) -> usize {
    with_last(|last| {
        if !text.is_null() && room > 0 {
            let len = last.len().min(room - 1);
            // SAFETY: `room` bytes can be written there, says the caller, and `len` is less; a local does not overlap.
            unsafe { std::ptr::copy_nonoverlapping(last.as_ptr(), text.cast::<u8>(), len) };
            // SAFETY: as above.
            let end = unsafe { text.add(len) };
            // SAFETY: as above; byte `len` is inside.
            unsafe { end.write(0) };
        }
        last.len()
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_probe(out: *mut bf_grants) -> bf_status {
    call(|| {
        let wished = Features::MOVE | Features::THREAD_ID | Features::POISON;
        let required = Features::MISSING_SHMEM | Features::MINOR_SHMEM | Features::EVENT_REMAP;
        let opened = Uffd::open_ready(Reads::NonBlocking, required, wished);
        let (uffd, granted) = opened.map_err(|why| Error::of(BF_E_GRANT, &why))?;
        let grants = bf_grants {
            full_faults: u32::from(matches!(uffd.access(), Access::Full(_))),
            r#move: u32::from(granted.contains(Features::MOVE)),
            thread_id: u32::from(granted.contains(Features::THREAD_ID)),
            ..bf_grants::ZERO
        };
        // SAFETY: the caller's structure, with its size.
        unsafe { write_struct(out, &grants) }?;
        Ok(BF_OK)
    })
}
