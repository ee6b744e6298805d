//! A unit's memory whose accesses are told.

use crate::memory::{DeviceMemory, ROW};

/// Memory whose accesses are told before they are made: the address, and whether it is written.
pub struct Told<M, F> {
    inner: M,
    tell: F,
}

impl<M: DeviceMemory, F: FnMut(u64, bool)> Told<M, F> {
    /// Tells the accesses to `inner`.
    pub fn new(inner: M, tell: F) -> Told<M, F> {
        Told { inner, tell }
    }
}

impl<M: DeviceMemory, F: FnMut(u64, bool)> DeviceMemory for Told<M, F> {
    type Fault = M::Fault;

    fn load(&mut self, address: u64) -> Result<u64, M::Fault> {
        (self.tell)(address, false);
        self.inner.load(address)
    }

    fn store(&mut self, address: u64, value: u64) -> Result<(), M::Fault> {
        (self.tell)(address, true);
        self.inner.store(address, value)
    }

    fn add_f64(&mut self, address: u64, amount: f64) -> Result<(), M::Fault> {
        (self.tell)(address, true);
        self.inner.add_f64(address, amount)
    }

    fn fetch_add(&mut self, address: u64, amount: u64) -> Result<u64, M::Fault> {
        (self.tell)(address, true);
        self.inner.fetch_add(address, amount)
    }

    fn compare_exchange(&mut self, address: u64, old: u64, new: u64) -> Result<u64, M::Fault> {
        (self.tell)(address, true);
        self.inner.compare_exchange(address, old, new)
    }

    fn load_row(&mut self, address: u64) -> Result<[f64; ROW], M::Fault> {
        (self.tell)(address, false);
        self.inner.load_row(address)
    }

    fn store_row(&mut self, address: u64, row: [f64; ROW]) -> Result<(), M::Fault> {
        (self.tell)(address, true);
        self.inner.store_row(address, row)
    }
}
