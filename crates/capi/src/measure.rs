//! Reads by the calls of C, as often as one likes: what `bifolio bench attach` times.

use std::hint::black_box;

use crate::abi::{
    BF_FAULT, BF_OK, BF_READ, Sized32, bf_device, bf_device_config, bf_fault, bf_port, bf_port_config,
    bf_space, bf_space_config, bf_status,
};
use crate::calls::{
    bf_alloc, bf_device_attach, bf_fault_resolve, bf_port_open, bf_read, bf_space_close, bf_space_open,
};
use crate::status::{Error, with_last};

/// Memory on a hosted device, and a port that reads it.
pub struct Reader {
    space: bf_space,
    port: bf_port,
    address: u64,
}

impl Reader {
    /// Brings `bytes` of zeros to a device.
    ///
    /// # Errors
    /// What a call says.
    pub fn open(bytes: u64) -> Result<Reader, Error> {
        let (mut space, mut device, mut port) = (bf_space { id: 0 }, bf_device { id: 0 }, bf_port { id: 0 });
        let mut block = std::ptr::null_mut();
        let config = bf_space_config { size: size_of_u32::<bf_space_config>(), bytes, ..Sized32::ZERO };
        // SAFETY: a structure with its size, and a place for the result.
        done(unsafe { bf_space_open(&raw const config, &raw mut space) })?;
        let config =
            bf_device_config { size: size_of_u32::<bf_device_config>(), vram: bytes, ..Sized32::ZERO };
        // SAFETY: as above.
        done(unsafe { bf_device_attach(space, &raw const config, &raw mut device) })?;
        let config = bf_port_config { size: size_of_u32::<bf_port_config>(), ..Sized32::ZERO };
        // SAFETY: as above.
        done(unsafe { bf_port_open(device, &raw const config, &raw mut port) })?;
        let length = usize::try_from(bytes).expect("64 bits");
        // SAFETY: a place for the result.
        done(unsafe { bf_alloc(space, length, 0, &raw mut block) })?;
        let address = block.addr() as u64;
        let (size, access) = (size_of_u32::<bf_fault>(), BF_READ);
        let fault = bf_fault { size, access, va: address, bytes, ..Sized32::ZERO };
        // SAFETY: a structure with its size.
        done(unsafe { bf_fault_resolve(port, &raw const fault) })?;
        Ok(Reader { space, port, address })
    }

    /// Loads 8 bytes at `offset` by `bf_read`; `None` if they are not on the device.
    #[inline]
    #[must_use]
    pub fn load(&self, offset: u64) -> Option<u64> {
        let mut value = 0_u64;
        // By a pointer that the compiler does not know, as a program in C calls a library.
        let call: unsafe extern "C" fn(_, _, _, _) -> bf_status = black_box(bf_read);
        // SAFETY: 8 bytes can be written to `value`.
        let status = unsafe { call(self.port, self.address + offset, (&raw mut value).cast(), 8) };
        (status == BF_OK).then_some(value)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // What cannot be closed ends with the process.
        let _: bf_status = bf_space_close(self.space, 1_000_000_000);
    }
}

fn size_of_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("small structures")
}

fn done(status: bf_status) -> Result<(), Error> {
    if status == BF_OK || status == BF_FAULT {
        return Ok(());
    }
    Err(Error::new(status, with_last(str::to_owned)))
}
