//! A unit of the built-in device: a thread that accesses memory by virtual addresses, and waits for its page faults.

use std::time::Instant;

use bifolio_engine::device::DeviceFault;
use bifolio_hosted::{AtomicOp, AtomicWidth, Port, Refused};
use bifolio_sys::Plain;

/// A unit that runs a kernel.
pub struct Unit<'p> {
    port: &'p mut Port,
    /// Nanoseconds this unit waited for faults.
    fault_ns: u64,
}

impl<'p> Unit<'p> {
    pub(crate) fn new(port: &'p mut Port) -> Unit<'p> {
        Unit { port, fault_ns: 0 }
    }

    /// The unit's port, for accesses that are not waited for.
    pub fn port(&mut self) -> &mut Port {
        self.port
    }

    /// Loads 8 bytes.
    ///
    /// # Errors
    /// A fault that cannot be answered.
    #[inline]
    pub fn load(&mut self, address: usize) -> Result<u64, DeviceFault> {
        self.load_as(address)
    }

    /// Stores 8 bytes.
    ///
    /// # Errors
    /// As [`Unit::load`].
    #[inline]
    pub fn store(&mut self, address: usize, value: u64) -> Result<(), DeviceFault> {
        self.store_as(address, value)
    }

    /// Loads a number of any size.
    ///
    /// # Errors
    /// As [`Unit::load`].
    #[inline]
    pub fn load_as<T: Plain>(&mut self, address: usize) -> Result<T, DeviceFault> {
        match self.port.try_load(address) {
            Ok(value) => Ok(value),
            Err(refused) => self.retry(refused, |port| port.try_load(address)),
        }
    }

    /// Stores a number of any size.
    ///
    /// # Errors
    /// As [`Unit::load`].
    #[inline]
    pub fn store_as<T: Plain>(&mut self, address: usize, value: T) -> Result<(), DeviceFault> {
        match self.port.try_store(address, value) {
            Ok(()) => Ok(()),
            Err(refused) => self.retry(refused, |port| port.try_store(address, value)),
        }
    }

    /// Copies bytes out of memory.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn read(&mut self, address: usize, to: &mut [u8]) -> Result<(), DeviceFault> {
        match self.port.try_read(address, to) {
            Ok(()) => Ok(()),
            Err(refused) => self.retry(refused, |port| port.try_read(address, to)),
        }
    }

    /// Copies bytes into memory.
    ///
    /// # Errors
    /// As [`Unit::load`].
    pub fn write(&mut self, address: usize, from: &[u8]) -> Result<(), DeviceFault> {
        match self.port.try_write(address, from) {
            Ok(()) => Ok(()),
            Err(refused) => self.retry(refused, |port| port.try_write(address, from)),
        }
    }

    /// Does a read-modify-write operation, atomic among all units, and returns what was there.
    ///
    /// # Errors
    /// As [`Unit::load`], or an unaligned address.
    ///
    /// # Panics
    /// If there is no such operation on numbers of this size.
    pub fn atomic(
        &mut self,
        address: usize,
        op: AtomicOp,
        width: AtomicWidth,
        argument: u64,
    ) -> Result<u64, DeviceFault> {
        match self.port.try_atomic(address, op, width, argument) {
            Ok(old) => Ok(old),
            Err(refused) => self.retry(refused, |port| port.try_atomic(address, op, width, argument)),
        }
    }

    /// Adds to the `f64` at `address`, atomically among all units.
    ///
    /// # Errors
    /// As [`Unit::atomic`].
    pub fn add_f64(&mut self, address: usize, value: f64) -> Result<(), DeviceFault> {
        self.atomic(address, AtomicOp::AddFloat, AtomicWidth::Eight, value.to_bits()).map(drop)
    }

    /// Adds to the 8 bytes at `address`, atomically among all units, and returns what was there.
    ///
    /// # Errors
    /// As [`Unit::atomic`].
    pub fn fetch_add(&mut self, address: usize, value: u64) -> Result<u64, DeviceFault> {
        self.atomic(address, AtomicOp::Add, AtomicWidth::Eight, value)
    }

    /// Replaces `old` by `new` at `address`, atomically among all units; returns what was there.
    ///
    /// # Errors
    /// As [`Unit::atomic`].
    pub fn compare_exchange(&mut self, address: usize, old: u64, new: u64) -> Result<u64, DeviceFault> {
        self.atomic(address, AtomicOp::CompareExchange(old), AtomicWidth::Eight, new)
    }

    /// Nanoseconds this unit waited for faults so far.
    pub(crate) fn fault_ns(&self) -> u64 {
        self.fault_ns
    }

    /// Goes on with an access that was refused once.
    #[inline(never)]
    fn retry<R>(
        &mut self,
        refused: Refused,
        mut access: impl FnMut(&mut Port) -> Result<R, Refused>,
    ) -> Result<R, DeviceFault> {
        let (start, mut first) = (Instant::now(), Some(refused));
        let result = self.port.resolving(|port| first.take().map_or_else(|| access(port), Err));
        self.fault_ns += u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        result
    }
}
