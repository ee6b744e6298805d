//! `madvise` on windows of owned memory.
//!
//! Each function takes [`SharedBytes`], the proof that no Rust reference sees the bytes, because most of these
//! change or lose them. The window must be page aligned; the kernel refuses others with `EINVAL`.

use linux_raw_sys::general as uapi;
use rustix::io::Errno;

use crate::{SharedBytes, SysError, raw};

/// What came of [`collapse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused collapse leaves the range in small pages or unmapped"]
pub enum Collapse {
    /// The range is now mapped by 2 MiB entries.
    Collapsed,
    /// Pages were locked, pinned or moving (EAGAIN): may work a moment later.
    Again,
    /// The kernel found no 2 MiB folio (ENOMEM).
    NoSpace,
    /// Not here: EINVAL for memory that cannot collapse, or where write protection is armed; EBUSY for too few pages.
    Refused(Errno),
}

/// Drops the pages of private memory: zero or missing from now on. Of shared memory drops only this mapping's view;
/// the bytes stay in the file. Raises an `EVENT_REMOVE` message if that feature is on, and waits for its reader.
///
/// # Errors
///
/// The kernel refuses locked pages and windows that are not page aligned.
pub fn dontneed(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_DONTNEED, "MADV_DONTNEED")
}

/// As [`dontneed`], also of pages that are locked.
///
/// # Errors
///
/// The kernel refuses windows that are not page aligned.
pub fn dontneed_locked(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_DONTNEED_LOCKED, "MADV_DONTNEED_LOCKED")
}

/// Frees the pages of a shared file under the window: bytes lost in every mapping of it.
///
/// # Errors
///
/// The kernel refuses private memory.
pub fn remove(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_REMOVE, "MADV_REMOVE")
}

/// Lets faults and khugepaged use 2 MiB pages.
///
/// # Errors
///
/// The kernel refuses if it was built without transparent huge pages.
pub fn hugepage(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_HUGEPAGE, "MADV_HUGEPAGE")
}

/// Keeps faults and khugepaged from using 2 MiB pages.
///
/// # Errors
///
/// The kernel refuses if it was built without transparent huge pages.
pub fn nohugepage(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE")
}

/// Faults every page in for writing, without changing bytes. Undoes sharing after fork.
///
/// # Errors
///
/// The kernel refuses when memory runs out, and where a page cannot be brought in (`EFAULT`: missing pages of a
/// user-mode-only userfaultfd).
pub fn populate_write(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_POPULATE_WRITE, "MADV_POPULATE_WRITE")
}

/// Faults every page in for reading.
///
/// # Errors
///
/// As [`populate_write`].
pub fn populate_read(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_POPULATE_READ, "MADV_POPULATE_READ")
}

/// Leaves the range out of children: after fork it is not mapped there.
///
/// # Errors
///
/// The kernel refuses addresses where nothing is mapped.
pub fn dontfork(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_DONTFORK, "MADV_DONTFORK")
}

/// Undoes [`dontfork`].
///
/// # Errors
///
/// As [`dontfork`].
pub fn dofork(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_DOFORK, "MADV_DOFORK")
}

/// Lets children find zeros in the range.
///
/// # Errors
///
/// The kernel refuses memory that is shared or of a file.
pub fn wipe_on_fork(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_WIPEONFORK, "MADV_WIPEONFORK")
}

/// Leaves the range out of core dumps.
///
/// # Errors
///
/// As [`dontfork`].
pub fn dontdump(at: SharedBytes<'_>) -> Result<(), SysError> {
    advise(at, uapi::MADV_DONTDUMP, "MADV_DONTDUMP")
}

/// Maps each aligned 2 MiB of the window by one entry, gathering small pages into a folio first if need be.
///
/// On shared memory whose 2 MiB folio exists already and whose mapping here was dropped, it puts the entry back in
/// microseconds, also where missing and minor faults are armed: the "continue" of a whole folio.
pub fn collapse(at: SharedBytes<'_>) -> Collapse {
    // SAFETY: collapsing keeps every byte.
    match unsafe { raw::madvise(at.address(), at.len(), uapi::MADV_COLLAPSE) } {
        Ok(()) => Collapse::Collapsed,
        Err(Errno::AGAIN) => Collapse::Again,
        Err(Errno::NOMEM) => Collapse::NoSpace,
        Err(errno) => Collapse::Refused(errno),
    }
}

fn advise(at: SharedBytes<'_>, advice: u32, call: &'static str) -> Result<(), SysError> {
    // SAFETY: the window is memory of a living mapping, and no Rust reference leads to it.
    unsafe { raw::madvise(at.address(), at.len(), advice) }.map_err(SysError::of(call))
}
