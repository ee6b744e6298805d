//! Which pages are in memory, and how many: `mincore` and `/proc/PID/statm`.

use std::fs::File;

use rustix::io::Errno;

use crate::{AddressRange, SysError, raw};

/// Writes to `pages`, one byte for each page of `range`, whether the page is in memory (bit 0). A page that reads as zero
/// because it was only ever read counts as in memory.
///
/// # Errors
///
/// `ENOMEM` where part of the range is not mapped.
///
/// # Panics
///
/// If `pages` is not as long as the range has pages.
pub fn resident_pages(range: AddressRange, pages: &mut [u8]) -> Result<(), SysError> {
    assert_eq!(pages.len(), range.pages(), "one byte for each page");
    raw::mincore(range.start(), pages).map_err(SysError::of("mincore"))
}

/// How much memory a process has, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Address space.
    pub mapped: u64,
    /// In memory, of files and shared memory too.
    pub resident: u64,
    /// Of those, pages of files and of shared memory.
    pub shared: u64,
}

impl MemoryUse {
    /// Returns the private anonymous pages in memory.
    #[must_use]
    pub fn anonymous(&self) -> u64 {
        self.resident.saturating_sub(self.shared)
    }
}

/// The open `statm` file of a process: one system call for each look.
#[derive(Debug)]
pub struct MemoryMeter(File);

impl MemoryMeter {
    /// Opens that of this process.
    ///
    /// # Errors
    ///
    /// Fails where `/proc` is not mounted.
    pub fn open_own() -> std::io::Result<MemoryMeter> {
        File::open("/proc/self/statm").map(MemoryMeter)
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// `ESRCH` once the process is gone.
    pub fn read(&self) -> Result<MemoryUse, SysError> {
        let mut text = [0; 128];
        let call = "read of statm";
        let len = rustix::io::pread(&self.0, &mut text, 0).map_err(SysError::of(call))?;
        let mut numbers = text[..len].split(|byte| *byte == b' ').map(number);
        let mut next = || numbers.next().flatten().ok_or(SysError { call, errno: Errno::SRCH });
        Ok(MemoryUse { mapped: next()?, resident: next()?, shared: next()? })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mapping, PAGE, Placement, Protection};

    #[test]
    fn touched_pages_are_resident_and_counted() {
        let pages = 8192;
        let memory =
            Mapping::anonymous(pages * PAGE, Protection::ReadWrite, Placement::Anywhere).expect("mapped");
        let meter = MemoryMeter::open_own().expect("proc is mounted");
        let mut seen = vec![0; pages];
        resident_pages(memory.span(), &mut seen).expect("mapped");
        assert!(seen.iter().all(|byte| byte & 1 == 0), "nothing was touched");
        let before = meter.read().expect("alive");
        for page in 0..pages / 2 {
            memory.all().store_u64(page * PAGE, 1).expect("inside");
        }
        resident_pages(memory.span(), &mut seen).expect("mapped");
        assert!(seen.iter().enumerate().all(|(page, byte)| (byte & 1 == 1) == (page < pages / 2)));
        let after = meter.read().expect("alive");
        assert!(
            after.mapped > 0 && after.anonymous() + 64 >= before.anonymous() + 32,
            "{before:?} {after:?}"
        );
    }

    #[test]
    fn hole_is_an_error() {
        let page = AddressRange::new(0, PAGE).expect("a page");
        assert_eq!(resident_pages(page, &mut [0]).expect_err("never mapped").errno, Errno::NOMEM);
    }
}
