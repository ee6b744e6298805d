//! The proof that the built-in device works: one page there and back again.

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_host::{SetupError, Space, SpaceConfig};
use bifolio_sys::{AddressRange, PAGE};

/// Why the device does not work.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// There is no space.
    #[error(transparent)]
    Space(#[from] SetupError),
    /// The job failed.
    #[error("device cannot use shared memory")]
    Device(#[from] DeviceFault),
    /// The program and the device see different bytes.
    #[error("program reads {found} where the device wrote {expected}")]
    Bytes {
        /// What the device wrote.
        expected: u64,
        /// What the program read.
        found: u64,
    },
    /// The space refuses to be used as it must be.
    #[error("shared memory cannot be {what}")]
    Memory {
        /// What cannot be done.
        what: &'static str,
    },
}

/// Adds one to a word.
struct Increment(usize);

impl Kernel for Increment {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, _: usize) -> Result<(), DeviceFault> {
        if unit == 0 {
            memory.fetch_add(self.0, 1)?;
        }
        Ok(())
    }
}

/// Lets a program write, the device add, and the program read the same word.
///
/// # Errors
///
/// What does not work.
pub fn device_works() -> Result<(), TrialError> {
    const BEFORE: u64 = 41;
    let memory = |what| TrialError::Memory { what };
    let space = Space::new(SpaceConfig::new(PAGE, 16 * PAGE))?;
    let address = space.allocate(PAGE).map_err(|_| memory("allocated"))?;
    let window = space.window(AddressRange::new(address, PAGE).map_err(|_| memory("addressed"))?);
    window.store_u64(0, BEFORE).map_err(|_| memory("written"))?;
    space.launch(&Increment(address))?;
    let found = window.load_u64(0).map_err(|_| memory("read"))?;
    let expected = BEFORE + 1;
    if found == expected { Ok(()) } else { Err(TrialError::Bytes { expected, found }) }
}
