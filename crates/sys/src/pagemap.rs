//! Which pages of this process are mapped, how, and which were written: `/proc/self/pagemap`.
//!
//! Two interfaces of the kernel: the old file of 64-bit words, one for each page, and `PAGEMAP_SCAN` (Linux 6.7),
//! which returns ranges of pages of the kinds asked for and can write-protect them in the same walk.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd;

use bitflags::bitflags;
use linux_raw_sys::general as uapi;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

use crate::abi::{self, address, word};
use crate::{AddressRange, PAGE, SysError, smaps};

/// Words read at once: 2 MiB of pages.
const CHUNK_PAGES: usize = 512;
/// Ranges taken from the kernel at once.
const CHUNK_REGIONS: usize = 64;

/// A word of the file: the page is in memory and mapped.
const PRESENT: u64 = 1 << 63;
/// A word of the file: no other process, and no other address, maps the page.
const EXCLUSIVE: u64 = 1 << 56;
/// A word of the file: write-protected by a userfaultfd.
const UFFD_WP: u64 = 1 << 57;
/// A word of the file: a guard (`MADV_GUARD_INSTALL`), since Linux 6.15.
const GUARD: u64 = 1 << 58;

bitflags! {
    /// Kinds of pages, as `PAGEMAP_SCAN` tells them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PageKinds: u64 {
        /// Registered for asynchronous write protection.
        const WP_ALLOWED = uapi::PAGE_IS_WPALLOWED as u64;
        /// Written since it was protected.
        const WRITTEN = uapi::PAGE_IS_WRITTEN as u64;
        /// Of a file or of shared memory.
        const FILE = uapi::PAGE_IS_FILE as u64;
        /// Mapped.
        const PRESENT = uapi::PAGE_IS_PRESENT as u64;
        /// In swap.
        const SWAPPED = uapi::PAGE_IS_SWAPPED as u64;
        /// The shared zero page.
        const ZERO = uapi::PAGE_IS_PFNZERO as u64;
        /// Mapped by one entry for 2 MiB.
        const HUGE = uapi::PAGE_IS_HUGE as u64;
    }
}

/// What a scan does with the pages it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Look,
    /// Protects them again, in the same step; wants registration for asynchronous write protection.
    WriteProtect,
}

/// Neighbouring pages of the same kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The pages.
    pub span: AddressRange,
    /// What they are.
    pub kinds: PageKinds,
}

/// The open page map of this process.
#[derive(Debug)]
pub struct Pagemap(File);

impl Pagemap {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// Fails where `/proc` is not mounted.
    pub fn open() -> std::io::Result<Self> {
        File::open("/proc/self/pagemap").map(Self)
    }

    /// Moves its descriptor to a high number ([`process::high_fd`](crate::process::high_fd)).
    #[must_use]
    pub fn raised(self) -> Self {
        Self(crate::process::high_fd(self.0.into()).into())
    }

    /// Tells for each page of `span` whether it is mapped.
    ///
    /// # Errors
    ///
    /// Fails for addresses beyond user space.
    pub fn present(&self, span: AddressRange) -> Result<Vec<bool>, SysError> {
        self.bits(span, PRESENT)
    }

    /// Tells for each page of `span` whether this process alone maps it; `None` where there is no page.
    ///
    /// # Errors
    ///
    /// As [`Pagemap::present`].
    pub fn exclusive(&self, span: AddressRange) -> Result<Vec<Option<bool>>, SysError> {
        let (present, exclusive) = (self.bits(span, PRESENT)?, self.bits(span, EXCLUSIVE)?);
        Ok(present.into_iter().zip(exclusive).map(|(there, own)| there.then_some(own)).collect())
    }

    /// Tells for each page of `span` whether a userfaultfd write-protects it.
    ///
    /// # Errors
    ///
    /// As [`Pagemap::present`].
    pub fn write_protected(&self, span: AddressRange) -> Result<Vec<bool>, SysError> {
        self.bits(span, UFFD_WP)
    }

    /// Tells for each page of `span` whether it is a guard. Before Linux 6.15 no page seems to be.
    ///
    /// # Errors
    ///
    /// As [`Pagemap::present`].
    pub fn guards(&self, span: AddressRange) -> Result<Vec<bool>, SysError> {
        self.bits(span, GUARD)
    }

    /// Counts the mapped pages of `span`.
    ///
    /// # Errors
    ///
    /// As [`Pagemap::present`].
    pub fn present_pages(&self, span: AddressRange) -> Result<usize, SysError> {
        Ok(self.present(span)?.into_iter().filter(|&present| present).count())
    }

    /// Finds the pages of `span` that are of all the kinds `wanted`, in order of address.
    ///
    /// # Errors
    ///
    /// `ENOTTY` before Linux 6.7; `EPERM` for protecting pages that are not registered for it.
    pub fn scan(&self, span: AddressRange, wanted: PageKinds, then: Then) -> Result<Vec<Region>, SysError> {
        let mut found = Vec::new();
        self.scan_all(span, Wanted::all(wanted), then, |region| found.push(region))?;
        Ok(found)
    }

    /// Calls `each` for the pages of `span` that hold something, in order of address: they are
    /// [`PRESENT`](PageKinds::PRESENT), or [`SWAPPED`](PageKinds::SWAPPED). Marks, as those of guards, are among the latter.
    ///
    /// # Errors
    ///
    /// `ENOTTY` before Linux 6.7.
    pub fn held(&self, span: AddressRange, each: impl FnMut(Region)) -> Result<(), SysError> {
        self.scan_all(span, Wanted::HELD, Then::Look, each)
    }

    /// Counts the bytes of `span` that are mapped by entries of 2 MiB, anonymous or shared.
    ///
    /// # Errors
    ///
    /// Fails where neither `PAGEMAP_SCAN` nor `/proc/self/smaps` works.
    pub fn huge_bytes(&self, span: AddressRange) -> Result<usize, SysError> {
        match self.scan(span, PageKinds::HUGE, Then::Look) {
            Ok(regions) => Ok(regions.iter().map(|region| region.span.len()).sum()),
            // Before 6.7 the VMAs of smaps tell, if not as finely.
            Err(error) => match smaps::vmas() {
                Ok(vmas) => Ok(smaps::huge_bytes(&vmas, span)),
                Err(_) => Err(error),
            },
        }
    }

    fn bits(&self, span: AddressRange, bit: u64) -> Result<Vec<bool>, SysError> {
        let mut bits = Vec::with_capacity(span.pages());
        let mut words = [0; CHUNK_PAGES * 8];
        while bits.len() < span.pages() {
            let count = CHUNK_PAGES.min(span.pages() - bits.len());
            let page = span.start() / PAGE + bits.len();
            let chunk = &mut words[..count * 8];
            let read = rustix::io::pread(&self.0, &mut *chunk, word(page * 8))
                .map_err(SysError::of("read of pagemap"))?;
            if read == 0 {
                let errno = rustix::io::Errno::NXIO;
                return Err(SysError { call: "read of pagemap", errno });
            }
            let (entries, _) = chunk[..read].as_chunks::<8>();
            bits.extend(entries.iter().map(|&entry| u64::from_ne_bytes(entry) & bit != 0));
        }
        Ok(bits)
    }

    /// Scans until all is looked at: the kernel hands out a limited number of ranges at once.
    fn scan_all(
        &self,
        span: AddressRange,
        wanted: Wanted,
        then: Then,
        mut each: impl FnMut(Region),
    ) -> Result<(), SysError> {
        let mut start = span.start();
        while start < span.end() {
            start = self.scan_some(start..span.end(), wanted, then, &mut each)?;
        }
        Ok(())
    }

    /// Makes one scan; calls `each` for what it found, and returns the address where the next must go on.
    fn scan_some(
        &self,
        within: Range<usize>,
        wanted: Wanted,
        then: Then,
        each: impl FnMut(Region),
    ) -> Result<usize, SysError> {
        const NOTHING: uapi::page_region = uapi::page_region { start: 0, end: 0, categories: 0 };
        let mut regions = [NOTHING; CHUNK_REGIONS];
        let arg = uapi::pm_scan_arg {
            size: word(size_of::<uapi::pm_scan_arg>()),
            flags: then.flags(),
            start: word(within.start),
            end: word(within.end),
            walk_end: 0,
            vec: word(regions.as_mut_ptr().expose_provenance()),
            vec_len: word(regions.len()),
            max_pages: 0,
            category_inverted: 0,
            category_mask: wanted.all.bits(),
            category_anyof_mask: wanted.any.bits(),
            return_mask: wanted.told.bits(),
        };
        // SAFETY: 1. `vec` points at `vec_len` regions, alive until the call returns and not looked at meanwhile;
        // 2. the walk changes at most write protection, no byte.
        let (count, walk_end) = unsafe { rustix::ioctl::ioctl(self.0.as_fd(), Scan(arg)) }
            .map_err(SysError::of("PAGEMAP_SCAN"))?;
        regions[..count.min(CHUNK_REGIONS)].iter().filter_map(region).for_each(each);
        // The kernel always advances; should it not, this must not be for ever.
        Ok(if address(walk_end) > within.start { address(walk_end) } else { within.end })
    }
}

/// Which pages a scan finds, and what it tells of them.
#[derive(Clone, Copy)]
struct Wanted {
    /// They are of all these kinds.
    all: PageKinds,
    /// They are of one of these kinds at least, if there are any.
    any: PageKinds,
    told: PageKinds,
}

impl Wanted {
    /// Pages with something in them.
    const HELD: Wanted = {
        let any = PageKinds::PRESENT.union(PageKinds::SWAPPED);
        Wanted { all: PageKinds::empty(), any, told: any }
    };

    const fn all(kinds: PageKinds) -> Wanted {
        Wanted { all: kinds, any: PageKinds::empty(), told: PageKinds::all() }
    }
}

impl Then {
    fn flags(self) -> u64 {
        match self {
            Self::Look => 0,
            Self::WriteProtect => u64::from(uapi::PM_SCAN_WP_MATCHING | uapi::PM_SCAN_CHECK_WPASYNC),
        }
    }
}

fn region(raw: &uapi::page_region) -> Option<Region> {
    let start = address(raw.start);
    let span = AddressRange::new(start, address(raw.end).checked_sub(start)?).ok()?;
    Some(Region { span, kinds: PageKinds::from_bits_truncate(raw.categories) })
}

/// `PAGEMAP_SCAN`: the answer is the number of regions; the argument tells where the walk ended.
struct Scan(uapi::pm_scan_arg);

// SAFETY: 1. the opcode is `_IOWR('f', 16, struct pm_scan_arg)`, asserted in `abi`; 2. the kernel reads the argument and
// writes `walk_end` of it; 3. the array it points at is the caller's duty at the call.
unsafe impl Ioctl for Scan {
    type Output = (usize, u64);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        abi::PAGEMAP_SCAN
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(
        out: IoctlOutput,
        arg: *mut std::ffi::c_void,
    ) -> rustix::io::Result<Self::Output> {
        // SAFETY: the pointer is that of `as_ptr`, to an argument that is still alive.
        let arg = unsafe { arg.cast::<uapi::pm_scan_arg>().read() };
        Ok((usize::try_from(out).unwrap_or(0), arg.walk_end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mapping, Placement, Protection};

    #[test]
    fn all_pages_that_hold_something_are_told_and_no_others() {
        let memory = Mapping::anonymous(200 * PAGE, Protection::ReadWrite, Placement::Anywhere);
        let memory = memory.expect("memory");
        // More ranges than the kernel hands out at once.
        for page in (0..200).step_by(2) {
            memory.all().store_u64(page * PAGE, 1).expect("inside");
        }
        let mut found = Vec::new();
        let pagemap = Pagemap::open().expect("proc is mounted");
        pagemap.held(memory.span(), |region| found.push(region)).expect("Linux 6.7");
        let starts = found.iter().map(|region| (region.span.start() - memory.span().start()) / PAGE);
        assert!(starts.eq((0..200).step_by(2)));
        let is_page = |region: &Region| region.span.len() == PAGE && region.kinds == PageKinds::PRESENT;
        // Where the kernel has swapped one out meanwhile, it is told as well.
        assert!(
            found.iter().all(|region| is_page(region) || region.kinds == PageKinds::SWAPPED),
            "{found:?}"
        );
    }
}
