//! Memory with a descriptor: it can be mapped at several places and parts of it given back.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, SeekFrom, fallocate, fchmod, fstat, ftruncate, memfd_create,
};

use crate::SysError;

/// An anonymous file in memory (memfd), closed on exec.
#[derive(Debug)]
pub struct Memfd(OwnedFd);

impl Memfd {
    /// Creates one of `len` bytes, all holes. `name` shows in `/proc/self/maps`.
    ///
    /// # Errors
    ///
    /// Fails when descriptors run out, when `name` is too long or holds a zero byte, or when `len` is too large for
    /// a file.
    pub fn create(name: &str, len: usize) -> Result<Self, SysError> {
        let fd = memfd_create(name, MemfdFlags::CLOEXEC).map_err(SysError::of("memfd_create"))?;
        let memfd = Self(fd);
        memfd.set_len(len)?;
        Ok(memfd)
    }

    /// Lets programs that this process starts keep its descriptor.
    ///
    /// # Errors
    ///
    /// Fails only if the descriptor was closed behind our back.
    pub fn inheritable(&self) -> Result<(), SysError> {
        rustix::io::fcntl_setfd(&self.0, rustix::io::FdFlags::empty()).map_err(SysError::of("fcntl"))
    }

    /// Lets only the user of this process open it again, by way of `/proc`.
    ///
    /// # Errors
    ///
    /// Fails only if the descriptor was closed behind our back.
    pub fn keep_private(&self) -> Result<(), SysError> {
        fchmod(&self.0, Mode::RUSR | Mode::WUSR).map_err(SysError::of("fchmod"))
    }

    /// Moves its descriptor to a high number ([`process::high_fd`](crate::process::high_fd)).
    #[must_use]
    pub fn raised(self) -> Self {
        Self(crate::process::high_fd(self.0))
    }

    /// Makes the file `len` bytes long. Pages past a smaller end are gone, and mappings of them raise SIGBUS.
    ///
    /// # Errors
    ///
    /// Fails when `len` is too large for a file.
    pub fn set_len(&self, len: usize) -> Result<(), SysError> {
        ftruncate(&self.0, len as u64).map_err(SysError::of("ftruncate"))
    }

    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// Fails only if the descriptor was closed behind our back.
    pub fn len(&self) -> Result<u64, SysError> {
        let stat = fstat(&self.0).map_err(SysError::of("fstat"))?;
        Ok(stat.st_size.unsigned_abs())
    }

    /// Tells whether the file has no byte at all.
    ///
    /// # Errors
    ///
    /// As [`Memfd::len`].
    pub fn is_empty(&self) -> Result<bool, SysError> {
        Ok(self.len()? == 0)
    }

    /// Gives back the pages of `len` bytes at `offset`: unmapped wherever they are mapped, bytes lost, zero from
    /// then on. Part of a large folio breaks the folio.
    ///
    /// # Errors
    ///
    /// Fails for an empty range.
    pub fn punch_hole(&self, offset: usize, len: usize) -> Result<(), SysError> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.0, flags, offset as u64, len as u64).map_err(SysError::of("fallocate"))
    }

    /// Returns the first range of pages from `offset` on that hold memory, or that were swapped out; `None` if all are holes.
    ///
    /// # Errors
    ///
    /// Fails only if the descriptor was closed behind our back.
    pub fn next_data(&self, offset: usize) -> Result<Option<Range<usize>>, SysError> {
        let seek = |to| rustix::fs::seek(&self.0, to);
        let start = match seek(SeekFrom::Data(offset as u64)) {
            // No data from there on.
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            start => start.map_err(SysError::of("lseek"))?,
        };
        let end = seek(SeekFrom::Hole(start)).map_err(SysError::of("lseek"))?;
        let [start, end] = [start, end].map(|at| usize::try_from(at).expect("64 bits"));
        Ok(Some(start..end))
    }

    /// Returns the bytes that hold memory right now.
    ///
    /// # Errors
    ///
    /// Fails only if the descriptor was closed behind our back.
    pub fn allocated_bytes(&self) -> Result<u64, SysError> {
        let stat = fstat(&self.0).map_err(SysError::of("fstat"))?;
        // st_blocks counts 512-byte units, whatever the block size.
        Ok(stat.st_blocks.unsigned_abs() * 512)
    }
}

impl AsFd for Memfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Memfd> for OwnedFd {
    fn from(memfd: Memfd) -> Self {
        memfd.0
    }
}

/// Takes charge of a memfd that another process made. A descriptor of anything else makes the operations fail.
impl From<OwnedFd> for Memfd {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}
