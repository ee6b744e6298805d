//! The memory traits over a live [`Space`]: the host's loads and stores may fault, the device's too.

use std::array;

use bifolio_builtin as builtin;
use bifolio_engine::device::DeviceFault;
use bifolio_host::Space;
use bifolio_sys::{AddressRange, PAGE, SharedBytes};

use crate::kernels::{Kernel, Launcher, run_unit};
use crate::layout::WORD;
use crate::memory::{DeviceMemory, HostMemory, ROW, Unit};
use crate::told::Told;

/// Hears of each access of a unit: address, number of the unit, and whether it writes.
pub type OnAccess<'s> = &'s (dyn Fn(u64, u32, bool) + Sync);

/// A program and the built-in device on the memory of one space.
pub struct LiveMachine<'s> {
    space: &'s Space,
    base: usize,
    window: SharedBytes<'s>,
    on_access: Option<OnAccess<'s>>,
}

impl<'s> LiveMachine<'s> {
    /// Uses the memory of `space`.
    #[must_use]
    pub fn new(space: &'s Space) -> LiveMachine<'s> {
        let addresses = space.addresses();
        let window = space.window(addresses);
        LiveMachine { space, base: addresses.start(), window, on_access: None }
    }

    /// The same, with accesses of the device told to `on_access`. Those that a unit makes in a row to one page, in one way, are
    /// told once.
    #[must_use]
    pub fn telling(self, on_access: Option<OnAccess<'s>>) -> LiveMachine<'s> {
        LiveMachine { on_access, ..self }
    }

    fn at(&self, address: usize, len: usize) -> SharedBytes<'s> {
        let offset = address.wrapping_sub(self.base);
        self.window.part(offset, len).expect("addresses come from this space")
    }
}

/// No room in the space.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no {bytes} bytes left in the shared space")]
pub struct NoRoom {
    bytes: usize,
}

impl HostMemory for LiveMachine<'_> {
    type Error = NoRoom;

    fn allocate(&mut self, bytes: usize, _align: usize) -> Result<usize, NoRoom> {
        self.space.allocate(bytes).map_err(|_| NoRoom { bytes })
    }

    fn release(&mut self, address: usize, bytes: usize) {
        // A page that is held elsewhere just now keeps what follows it until the space ends.
        let _ = AddressRange::new(address, bytes).map(|span| self.space.unmap(span));
    }

    fn write_u64(&mut self, address: usize, value: u64) {
        self.at(address, 8).store_u64(0, value).expect("words are aligned");
    }

    fn write_bytes(&mut self, address: usize, bytes: &[u8]) {
        self.at(address, bytes.len()).write_from(bytes).expect("of the same length");
    }

    fn read_u64(&self, address: usize) -> u64 {
        self.at(address, 8).load_u64(0).expect("words are aligned")
    }

    fn read_bytes(&self, address: usize, out: &mut [u8]) {
        self.at(address, out.len()).read_into(out).expect("of the same length");
    }
}

impl Launcher for LiveMachine<'_> {
    type Error = DeviceFault;

    fn launch(&mut self, kernel: Kernel, job: usize) -> Result<(), DeviceFault> {
        self.space.launch(&Job { kernel, job, on_access: self.on_access })
    }
}

/// A kernel and its job record, as the device runs them.
struct Job<'s> {
    kernel: Kernel,
    job: usize,
    on_access: Option<OnAccess<'s>>,
}

impl builtin::Kernel for Job<'_> {
    fn run(&self, memory: &mut builtin::Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        let small = |number| u32::try_from(number).expect("a device has few units");
        let unit = Unit { index: small(unit), count: small(units) };
        match self.on_access {
            None => run_unit(self.kernel, &mut UnitMemory(memory), self.job, unit),
            Some(on_access) => {
                // The page of the last access, and whether it was written.
                let mut last = None;
                let tell = |address, write| {
                    let access = Some((address / PAGE as u64, write));
                    if last != access {
                        last = access;
                        on_access(address, unit.index, write);
                    }
                };
                run_unit(self.kernel, &mut Told::new(UnitMemory(memory), tell), self.job, unit)
            }
        }
    }
}

/// A unit's memory, as kernels know it.
struct UnitMemory<'u, 'd>(&'u mut builtin::Unit<'d>);

impl DeviceMemory for UnitMemory<'_, '_> {
    type Fault = DeviceFault;

    fn load(&mut self, address: u64) -> Result<u64, DeviceFault> {
        self.0.load(pointer(address))
    }

    fn store(&mut self, address: u64, value: u64) -> Result<(), DeviceFault> {
        self.0.store(pointer(address), value)
    }

    fn add_f64(&mut self, address: u64, amount: f64) -> Result<(), DeviceFault> {
        self.0.add_f64(pointer(address), amount)
    }

    fn fetch_add(&mut self, address: u64, amount: u64) -> Result<u64, DeviceFault> {
        self.0.fetch_add(pointer(address), amount)
    }

    fn compare_exchange(&mut self, address: u64, old: u64, new: u64) -> Result<u64, DeviceFault> {
        self.0.compare_exchange(pointer(address), old, new)
    }

    fn load_row(&mut self, address: u64) -> Result<[f64; ROW], DeviceFault> {
        let mut bytes = [0; ROW * WORD];
        self.0.read(pointer(address), &mut bytes)?;
        let (words, _) = bytes.as_chunks::<WORD>();
        Ok(array::from_fn(|number| f64::from_le_bytes(words[number])))
    }

    fn store_row(&mut self, address: u64, row: [f64; ROW]) -> Result<(), DeviceFault> {
        let mut bytes = [0; ROW * WORD];
        let (words, _) = bytes.as_chunks_mut::<WORD>();
        words.iter_mut().zip(row).for_each(|(word, number)| *word = number.to_le_bytes());
        self.0.write(pointer(address), &bytes)
    }
}

/// A pointer as it stands in memory. One that does not fit belongs to no allocation, which the device will say.
fn pointer(address: u64) -> usize {
    usize::try_from(address).unwrap_or(usize::MAX & !7)
}
