//! The memory of a hosted device: a memfd, mapped here.

use std::sync::Arc;

use bifolio_engine::device::{Copy, DeviceError};
use bifolio_folio::Pfn;
use bifolio_sys::advise::{self, Collapse};
use bifolio_sys::{HUGE_PAGE, MapError, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes, SysError};

use crate::sync::atomic::{AtomicBool, Ordering};

/// Why there is no memory for a device.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// No file for device memory.
    #[error("device memory cannot be created")]
    Create(#[source] SysError),
    /// Device memory cannot be mapped.
    #[error("device memory cannot be mapped")]
    Map(#[source] MapError),
}

/// The memory of a hosted device.
pub struct Memory {
    memfd: Arc<Memfd>,
    bytes: Mapping,
    /// Its first page, as the engine counts them.
    first: Pfn,
    pages: u64,
    /// Pages from the beginning of the mapping to system memory, if that is mapped behind device memory.
    system: Option<u64>,
    /// For each 2 MiB: whether the kernel was asked to make it one huge page.
    huge: Box<[AtomicBool]>,
}

impl Memory {
    /// Makes `pages` pages of device memory, numbered from `first` on.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(first: Pfn, pages: u64) -> Result<Memory, MemoryError> {
        let len = usize::try_from(pages).unwrap_or(usize::MAX).saturating_mul(PAGE);
        let memfd = Arc::new(Memfd::create("bifolio-vram", len).map_err(MemoryError::Create)?.raised());
        let place = Placement::Aligned(HUGE_PAGE);
        let bytes =
            Mapping::shared(&memfd, 0, len, Protection::ReadWrite, place).map_err(MemoryError::Map)?;
        let huge = (0..len.div_ceil(HUGE_PAGE)).map(|_| AtomicBool::new(false)).collect();
        Ok(Memory { memfd, bytes, first, pages, system: None, huge })
    }

    /// Maps `len` bytes of system memory as well, so that ports get at them where they are.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn with_system(self, memfd: &Memfd, len: usize) -> Result<Memory, MemoryError> {
        let own = self.bytes.span().len();
        let behind = own.next_multiple_of(HUGE_PAGE);
        let place = Placement::Aligned(HUGE_PAGE);
        let bytes =
            Mapping::anonymous(behind + len, Protection::ReadWrite, place).map_err(MemoryError::Map)?;
        for (at, len, memfd) in [(0, own, self.memfd.as_ref()), (behind, len, memfd)] {
            let part = bytes.span().part(at, len).expect("inside of what was just mapped");
            bytes.replace_shared(part, memfd, 0, Protection::ReadWrite).map_err(MemoryError::Map)?;
        }
        Ok(Memory { bytes, system: Some((behind / PAGE) as u64), ..self })
    }

    /// Whether ports get at system memory.
    pub(crate) fn has_system(&self) -> bool {
        self.system.is_some()
    }

    /// The number by which a page table leads to a page of system memory, counted from its beginning.
    pub(crate) fn system_pfn(&self, page: usize) -> Option<Pfn> {
        Some(Pfn::new(self.first.get() + self.system? + page as u64))
    }

    /// The file; page `first + n` is at byte `n * 4096`.
    #[must_use]
    pub fn memfd(&self) -> &Arc<Memfd> {
        &self.memfd
    }

    /// Its first page.
    #[must_use]
    pub fn first(&self) -> Pfn {
        self.first
    }

    /// Number of pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Where a page of it begins.
    pub(crate) fn offset_of(&self, pfn: Pfn) -> usize {
        let index = pfn.get() - self.first.get();
        usize::try_from(index).expect("device memory is mapped here") * PAGE
    }

    /// The page that begins at `offset`.
    pub(crate) fn pfn_at(&self, offset: usize) -> Pfn {
        Pfn::new(self.first.get() + (offset / PAGE) as u64)
    }

    /// All bytes.
    #[inline]
    pub(crate) fn all(&self) -> SharedBytes<'_> {
        self.bytes.all()
    }

    /// The bytes of `pages` pages.
    pub(crate) fn part(&self, first: Pfn, pages: u64) -> Result<SharedBytes<'_>, DeviceError> {
        let outside = DeviceError::OutOfRange { first, pages };
        let index = first.get().checked_sub(self.first.get()).ok_or(outside)?;
        let offset = usize::try_from(index).ok().and_then(|page| page.checked_mul(PAGE));
        let inside = index.checked_add(pages).is_some_and(|end| end <= self.pages);
        let len = usize::try_from(pages).ok().filter(|_| inside).and_then(|pages| pages.checked_mul(PAGE));
        let (offset, len) = offset.zip(len).ok_or(outside)?;
        self.bytes.bytes(offset, len).map_err(|_| outside)
    }

    /// Does one copy.
    pub(crate) fn copy(&self, copy: Copy<'_>) -> Result<(), DeviceError> {
        let pages_of = |bytes: SharedBytes<'_>| (bytes.len() / PAGE) as u64;
        match copy {
            Copy::ToDevice { from, to } => {
                let to = self.part(to, pages_of(from))?;
                to.copy_from(from).expect("both have the same length");
                self.make_huge(to);
            }
            Copy::ToRam { from, to } => {
                to.copy_from(self.part(from, pages_of(to))?).expect("both have the same length");
            }
            Copy::Clear { to, pages } => self.part(to, pages)?.fill_zero(),
            _ => return Err(DeviceError::Unsupported),
        }
        Ok(())
    }

    /// Asks the kernel, once for each 2 MiB that is filled as a whole, to make it one huge page.
    fn make_huge(&self, filled: SharedBytes<'_>) {
        let block = (filled.address() - self.bytes.span().start()) / HUGE_PAGE;
        if filled.len() == HUGE_PAGE && !self.huge[block].swap(true, Ordering::Relaxed) {
            // Small pages do as well, only slower.
            let _: Collapse = advise::collapse(filled);
        }
    }
}
