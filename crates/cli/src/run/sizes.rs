//! How much memory: what was asked for, what the machine has, and what the limits of this process allow.

use bifolio_host::in_place::RAM_LEAST;
use bifolio_sys::PAGE;
use bifolio_sys::host::Host;
use bifolio_sys::process;

use super::RunError;
use crate::args::RunArgs;

/// Address space that a program needs beside device memory and its records, roughly.
const PROGRAM_LEAST: u64 = 256 << 20;

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub ram: usize,
    pub vram: usize,
}

impl Sizes {
    /// Takes what was asked for, or else half of the machine's memory, and of device memory no more than fits into the
    /// address space.
    pub fn choose(args: &RunArgs) -> Result<Sizes, RunError> {
        let machine = Host::read().ram_bytes;
        let room =
            process::address_space_limit().map_or(u64::MAX, |limit| limit.saturating_sub(PROGRAM_LEAST) / 2);
        let (ram, vram) = (args.ram.map(|size| size.0), args.vram.map(|size| size.0));
        Ok(Sizes {
            ram: check("--ram", ram.unwrap_or(machine / 2), RAM_LEAST, machine)?,
            vram: check("--vram", vram.unwrap_or((machine / 2).min(room).max(PAGE as u64)), PAGE, machine)?,
        })
    }
}

fn check(name: &'static str, given: u64, least: usize, machine: u64) -> Result<usize, RunError> {
    if given > machine {
        return Err(RunError::TooLarge { name, given, machine });
    }
    let given_bytes = usize::try_from(given).ok().filter(|given| *given >= least);
    given_bytes.ok_or(RunError::TooSmall { name, given, least })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_the_machine_and_below_the_least_are_refused() {
        let error = |given| check("--ram", given, RAM_LEAST, 1 << 34).expect_err("refused").to_string();
        assert_eq!(
            error(1 << 46),
            "--ram of 65536 GiB is more than the 16 GiB of memory that this machine has"
        );
        assert_eq!(error(1), "--ram of 1 byte is too little: give at least 1 MiB");
        assert_eq!(check("--ram", 1 << 30, RAM_LEAST, 1 << 34).ok(), Some(1 << 30));
    }
}
