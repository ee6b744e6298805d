//! Pages that a device has written. To bring them home costs a copy, where pages that it has only read cost none: system memory
//! still has their bytes.

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_host::Space;
use bifolio_sys::{AddressRange, PAGE};

use crate::row::BenchError;

/// Writes a number to each page.
struct WriteEach(AddressRange);

impl Kernel for WriteEach {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        (self.0.start()..self.0.end()).step_by(PAGE).try_for_each(|address| memory.store(address, 1))
    }
}

/// Lets the device write all pages of a range.
pub(crate) fn write_all(space: &Space, range: AddressRange) -> Result<(), BenchError> {
    space.launch(&WriteEach(range)).map_err(|fault| BenchError::Failed(fault.to_string()))
}
