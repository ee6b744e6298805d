//! What the job asks of the memory it runs on: two small traits, and nothing of any runtime.
//!
//! The host writes and reads through [`HostMemory`], a unit of the device through [`DeviceMemory`]. Both see the same
//! addresses: a pointer that one side writes is followed by the other as it is. [`crate::arena`] implements them over a
//! plain vector.

use std::error::Error;

use crate::layout::WORD;

/// Numbers of a row that a device reads or writes at once: 64 bytes, as one line of a cache.
pub const ROW: usize = 8;

/// Shared memory as the host program sees it: it allocates, writes and reads like on any heap.
///
/// Addresses given to the methods lie in memory that `allocate` returned, and words are 8-byte aligned; an
/// implementation may panic otherwise. The host uses the memory only while no kernel runs.
pub trait HostMemory {
    /// Why an allocation failed.
    type Error: Error + 'static;

    /// Allocates `bytes` of shared memory at a multiple of `align`, all zero, and returns its address.
    ///
    /// # Errors
    ///
    /// If there is not enough shared memory.
    fn allocate(&mut self, bytes: usize, align: usize) -> Result<usize, Self::Error>;

    /// Gives whole pages back that are not used again. Memory that cannot be given back stays as it is.
    fn release(&mut self, address: usize, bytes: usize);

    /// Writes a word.
    fn write_u64(&mut self, address: usize, value: u64);

    /// Writes bytes.
    fn write_bytes(&mut self, address: usize, bytes: &[u8]);

    /// Reads a word.
    fn read_u64(&self, address: usize) -> u64;

    /// Fills `out` with the bytes from `address` on.
    fn read_bytes(&self, address: usize, out: &mut [u8]);

    /// Writes a floating-point number.
    fn write_f64(&mut self, address: usize, value: f64) {
        self.write_u64(address, value.to_bits());
    }

    /// Reads a floating-point number.
    fn read_f64(&self, address: usize) -> f64 {
        f64::from_bits(self.read_u64(address))
    }
}

/// Shared memory as one unit of the device sees it.
///
/// A page that is not on the device is no error: the implementation has it brought and goes on. What it
/// returns as a fault ends the kernel. Single words are atomic against the other units of the launch, in no
/// stated order; all units see all writes of the launches before.
pub trait DeviceMemory {
    /// Why an access cannot be completed.
    type Fault: Error + 'static;

    /// Reads a word.
    ///
    /// # Errors
    ///
    /// If the word cannot be reached, now or ever.
    fn load(&mut self, address: u64) -> Result<u64, Self::Fault>;

    /// Writes a word.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn store(&mut self, address: u64, value: u64) -> Result<(), Self::Fault>;

    /// Adds to a floating-point number, atomically.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn add_f64(&mut self, address: u64, amount: f64) -> Result<(), Self::Fault>;

    /// Adds to a word, atomically, wrapping, and returns what it held before.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn fetch_add(&mut self, address: u64, amount: u64) -> Result<u64, Self::Fault>;

    /// Replaces a word if it holds `old`, atomically, and returns what it held before.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn compare_exchange(&mut self, address: u64, old: u64, new: u64) -> Result<u64, Self::Fault>;

    /// Reads a floating-point number.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn load_f64(&mut self, address: u64) -> Result<f64, Self::Fault> {
        self.load(address).map(f64::from_bits)
    }

    /// Writes a floating-point number.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn store_f64(&mut self, address: u64, value: f64) -> Result<(), Self::Fault> {
        self.store(address, value.to_bits())
    }

    /// Reads eight floating-point numbers that lie side by side, the first at a multiple of 64.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn load_row(&mut self, address: u64) -> Result<[f64; ROW], Self::Fault> {
        let mut row = [0.0; ROW];
        for (number, at) in row.iter_mut().zip((address..).step_by(WORD)) {
            *number = self.load_f64(at)?;
        }
        Ok(row)
    }

    /// Writes eight floating-point numbers side by side, the first at a multiple of 64.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn store_row(&mut self, address: u64, row: [f64; ROW]) -> Result<(), Self::Fault> {
        row.into_iter().zip((address..).step_by(WORD)).try_for_each(|(number, at)| self.store_f64(at, number))
    }
}

/// Which unit of the device runs a kernel, and how many share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// This unit, from 0.
    pub index: u32,
    /// All units, at least 1; the same for each unit of a launch.
    pub count: u32,
}

/// Turns a pointer read from shared memory into an address of the host.
pub(crate) fn host_address(pointer: u64) -> usize {
    usize::try_from(pointer).expect("shared memory needs 64-bit addresses on both sides")
}
