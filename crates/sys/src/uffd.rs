//! userfaultfd: serving the page faults of ranges of memory.
//!
//! ```text
//!   open -> api (handshake, once) -> register(window, modes) -> read messages, install pages, wake
//! ```
//!
//! Safety: only [`Uffd::register`] decides which memory can be changed, and it wants a [`SharedBytes`]. The kernel
//! refuses installs elsewhere ([`Outcome::Missing`]). Registration goes when the memory is unmapped.
//!
//! Neighbours: [`message`](crate::Message) reads faults, [`Outcome`] says what came of an operation.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as uapi;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater};

use crate::abi::{self, CopyMode, Features, Modes, MoveMode, RangeIoctls, word};
use crate::open::{self, Access, Attempt, OpenError, Reads, Via, Way};
use crate::process::{self, WrongPageSize};
use crate::{AddressRange, Outcome, SharedBytes, SysError};

/// A userfaultfd. May be used by many threads at once.
///
/// ```no_run
/// # use bifolio_sys::{CopyMode, Features, Mapping, Modes, Outcome, PAGE, Placement, Protection, Reads, Uffd};
/// let none = Features::empty();
/// let (uffd, _) = Uffd::open_ready(Reads::NonBlocking, none, none)?;
/// let page = || Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere);
/// let (source, target) = (page()?, page()?);
/// source.all().store_u64(0, 7)?;
/// uffd.register(target.all(), Modes::MISSING)?;
/// // No thread waits for the page yet; one that touches it first would be woken by this.
/// assert_eq!(uffd.copy(target.span(), source.all(), CopyMode::empty()), Outcome::Done(PAGE));
/// assert_eq!(target.all().load_u64(0)?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Uffd {
    fd: OwnedFd,
    access: Access,
}

/// Whether an operation wakes the threads that wait for its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// They are woken.
    Now,
    /// They sleep on until [`Uffd::wake`].
    Later,
}

/// What [`Uffd::write_protect`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protect {
    /// Writes fault from now on.
    On,
    /// Writes pass again, and threads that waited are woken or not.
    Off(Wake),
}

impl Uffd {
    /// Opens a userfaultfd by one way. Closed on exec.
    ///
    /// # Errors
    ///
    /// Says what the kernel answered.
    pub fn open(way: Way, reads: Reads) -> Result<Self, OpenError> {
        Self::open_first(&[way], reads)
    }

    /// Opens the best userfaultfd there is: full mode by the device node, full mode by the system call,
    /// user-mode-only.
    ///
    /// # Errors
    ///
    /// Lists what the kernel answered to each.
    pub fn open_best(reads: Reads) -> Result<Self, OpenError> {
        Self::open_first(&Way::ALL, reads)
    }

    /// Opens by the first of `ways` that is granted.
    ///
    /// # Errors
    ///
    /// Lists what the kernel answered to each.
    pub fn open_first(ways: &[Way], reads: Reads) -> Result<Self, OpenError> {
        let mut attempts = Vec::new();
        for &way in ways {
            match open::open(way, reads) {
                Ok(fd) => return Ok(Self { fd, access: way.access() }),
                Err(errno) => attempts.push(Attempt { way, errno }),
            }
        }
        Err(OpenError { attempts })
    }

    /// Asks an open `/dev/userfaultfd`, as a privileged process may have handed over, for a full-mode descriptor.
    ///
    /// # Errors
    ///
    /// Fails for a descriptor of anything else.
    pub fn from_node(node: impl AsFd, reads: Reads) -> Result<Self, SysError> {
        let fd = open::from_node(node, reads).map_err(SysError::of("USERFAULTFD_IOC_NEW"))?;
        Ok(Self { fd, access: Access::Full(Via::Handed) })
    }

    /// Wraps the descriptor of a fork message.
    pub(crate) const fn of_fork(fd: OwnedFd, access: Access) -> Self {
        Self { fd, access }
    }

    /// Opens the best userfaultfd and shakes hands: all of `required`, and of `wished` what the kernel grants.
    /// Returns it with the features that are on.
    ///
    /// # Errors
    ///
    /// Fails when there is no userfaultfd at all, or none with the required features, and on machines whose pages are not
    /// 4 KiB.
    pub fn open_ready(
        reads: Reads,
        required: Features,
        wished: Features,
    ) -> Result<(Self, Features), ReadyError> {
        process::require_4k_pages()?;
        let offered = Self::open_best(reads)?.offered_features()?;
        let wanted = required | (wished & offered);
        // Fork events want a capability of their own, which no offer tells.
        let fewer = wanted.difference(Features::EVENT_FORK.difference(required));
        let uffd = Self::open_best(reads)?;
        match uffd.api(wanted) {
            Ok(_) => return Ok((uffd, wanted)),
            Err(error) if fewer == wanted => return Err(error.into()),
            Err(_) => {}
        }
        let uffd = Self::open_best(reads)?;
        uffd.api(fewer)?;
        Ok((uffd, fewer))
    }

    /// Moves its descriptor to a high number ([`process::high_fd`](crate::process::high_fd)).
    #[must_use]
    pub fn raised(self) -> Self {
        Self { fd: process::high_fd(self.fd), access: self.access }
    }

    /// Returns which faults it serves.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// Shakes hands: asks for exactly `wanted`. Returns all features this kernel knows, wanted or not.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a feature the kernel lacks or a second handshake, `EPERM` for fork events without
    /// `CAP_SYS_PTRACE`. A descriptor whose handshake failed may try again.
    pub fn api(&self, wanted: Features) -> Result<Features, SysError> {
        let mut arg = uapi::uffdio_api { api: abi::API, features: wanted.bits(), ioctls: 0 };
        // SAFETY: opcode and structure belong together (asserted in `abi`).
        unsafe { self.call::<{ abi::IO_API }, _>(&mut arg) }.map_err(SysError::of("UFFDIO_API"))?;
        Ok(Features::from_bits_retain(arg.features))
    }

    /// Shakes hands for nothing, to learn what the kernel knows. The descriptor is then spent: features stay off.
    ///
    /// # Errors
    ///
    /// `EINVAL` after an earlier handshake.
    pub fn offered_features(&self) -> Result<Features, SysError> {
        self.api(Features::empty())
    }

    /// Registers the pages of a window. Returns the operations possible there.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a window that is not page aligned or memory that cannot have these modes, `EBUSY` where another
    /// userfaultfd is registered, `EPERM` for a shared file opened read-only, `ENOMEM`.
    pub fn register(&self, at: SharedBytes<'_>, modes: Modes) -> Result<RangeIoctls, SysError> {
        let mut arg =
            uapi::uffdio_register { range: range(at.address(), at.len()), mode: modes.bits(), ioctls: 0 };
        // SAFETY: 1. opcode and structure belong together; 2. the window proves that the memory is accessed raw only,
        // so pages may appear there behind the compiler's back.
        unsafe { self.call::<{ abi::IO_REGISTER }, _>(&mut arg) }.map_err(SysError::of("UFFDIO_REGISTER"))?;
        Ok(RangeIoctls::from_bits_retain(arg.ioctls))
    }

    /// Ends the registration of a range and wakes every thread that waits there.
    ///
    /// # Errors
    ///
    /// `EINVAL` where memory that cannot be registered is mapped, `ENOMEM` where nothing is.
    pub fn unregister(&self, at: AddressRange) -> Result<(), SysError> {
        let mut arg = range(at.start(), at.len());
        // SAFETY: opcode and structure belong together; nothing in memory changes.
        unsafe { self.call::<{ abi::IO_UNREGISTER }, _>(&mut arg) }.map_err(SysError::of("UFFDIO_UNREGISTER"))
    }

    /// Fills missing pages of `target` with the bytes of `source`, which must be as long; always 4 KiB pages.
    pub fn copy(&self, target: AddressRange, source: SharedBytes<'_>, mode: CopyMode) -> Outcome {
        if source.len() != target.len() {
            return Outcome::Invalid(Errno::INVAL);
        }
        let mut arg = uapi::uffdio_copy {
            dst: word(target.start()),
            src: word(source.address()),
            len: word(target.len()),
            mode: mode.bits(),
            copy: 0,
        };
        // SAFETY: 1. opcode and structure belong together; 2. the kernel writes registered memory only; 3. the source
        // is a living window.
        let call = unsafe { self.call::<{ abi::IO_COPY }, _>(&mut arg) };
        Outcome::read(call, arg.copy, target.len())
    }

    /// Fills missing pages with zero. Of private memory this maps the shared zero page, no memory is used.
    pub fn zeropage(&self, target: AddressRange, wake: Wake) -> Outcome {
        let mut arg = uapi::uffdio_zeropage {
            range: range(target.start(), target.len()),
            mode: wake.bit(),
            zeropage: 0,
        };
        // SAFETY: opcode and structure belong together; the kernel writes registered memory only.
        let call = unsafe { self.call::<{ abi::IO_ZEROPAGE }, _>(&mut arg) };
        Outcome::read(call, arg.zeropage, target.len())
    }

    /// Maps pages that are in the file of a shared mapping already. [`Outcome::NoSource`] where the file has a hole.
    pub fn continue_(&self, target: AddressRange, mode: CopyMode) -> Outcome {
        let mut arg = uapi::uffdio_continue {
            range: range(target.start(), target.len()),
            mode: mode.bits(),
            mapped: 0,
        };
        // SAFETY: opcode and structure belong together; the kernel maps into registered memory only.
        let call = unsafe { self.call::<{ abi::IO_CONTINUE }, _>(&mut arg) };
        Outcome::read(call, arg.mapped, target.len())
    }

    /// Moves the pages of `source`, which must be as long and private anonymous memory with the same access, into
    /// missing pages of `target`. The source is left with holes. Whole aligned 2 MiB pages move as one.
    ///
    /// A hole of the source stops the move: [`Outcome::Missing`], unless [`MoveMode::ALLOW_HOLES`] lets it pass. Where a page was under change, Linux 6.18 may move it, not
    /// count it, and say [`Outcome::Exists`].
    pub fn move_(&self, target: AddressRange, source: SharedBytes<'_>, mode: MoveMode) -> Outcome {
        if source.len() != target.len() {
            return Outcome::Invalid(Errno::INVAL);
        }
        let mut arg = uapi::uffdio_move {
            dst: word(target.start()),
            src: word(source.address()),
            len: word(target.len()),
            mode: mode.bits(),
            move_: 0,
        };
        // SAFETY: 1. opcode and structure belong together; 2. the kernel fills registered memory only; 3. the window
        // proves that the source, which loses its bytes, is accessed raw only.
        let call = unsafe { self.call::<{ abi::IO_MOVE }, _>(&mut arg) };
        Outcome::read(call, arg.move_, target.len())
    }

    /// Makes writes to present pages fault, or lets them pass again. When it returns, no write is under way.
    pub fn write_protect(&self, target: AddressRange, protect: Protect) -> Outcome {
        let mut arg =
            uapi::uffdio_writeprotect { range: range(target.start(), target.len()), mode: protect.bits() };
        // SAFETY: opcode and structure belong together; no byte changes.
        match unsafe { self.call::<{ abi::IO_PROTECT }, _>(&mut arg) } {
            Ok(()) => Outcome::Done(target.len()),
            Err(errno) => Outcome::of(errno),
        }
    }

    /// Marks missing pages as poisoned: touching one raises SIGBUS, a system call fails with `EFAULT`. A later
    /// [`Uffd::copy`] heals them, [`Uffd::zeropage`] does not.
    pub fn poison(&self, target: AddressRange, wake: Wake) -> Outcome {
        let mut arg =
            uapi::uffdio_poison { range: range(target.start(), target.len()), mode: wake.bit(), updated: 0 };
        // SAFETY: opcode and structure belong together; the kernel marks registered memory only.
        let call = unsafe { self.call::<{ abi::IO_POISON }, _>(&mut arg) };
        Outcome::read(call, arg.updated, target.len())
    }

    /// Wakes every thread that waits for a page of the range; it tries its access again. Works also where nothing
    /// is mapped any more.
    pub fn wake(&self, target: AddressRange) -> Outcome {
        let mut arg = range(target.start(), target.len());
        // SAFETY: opcode and structure belong together; nothing in memory changes.
        match unsafe { self.call::<{ abi::IO_WAKE }, _>(&mut arg) } {
            Ok(()) => Outcome::Done(target.len()),
            Err(errno) => Outcome::of(errno),
        }
    }

    /// Calls an ioctl that reads and writes `arg`.
    ///
    /// # Safety
    ///
    /// `OPCODE` must be a userfaultfd request whose argument is a `T`, and the caller answers for its effect.
    unsafe fn call<const OPCODE: Opcode, T>(&self, arg: &mut T) -> Result<(), Errno> {
        // SAFETY: opcode and argument belong together, says the caller.
        let request = unsafe { Updater::<OPCODE, T>::new(arg) };
        // SAFETY: the effect is the caller's duty; the descriptor is a userfaultfd by construction.
        unsafe { rustix::ioctl::ioctl(&self.fd, request) }
    }
}

/// Why no userfaultfd with the required features could be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// The machine's pages are not 4 KiB.
    #[error(transparent)]
    PageSize(#[from] WrongPageSize),
    /// The kernel grants none at all.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The kernel lacks a required feature.
    #[error("required userfaultfd feature is not granted")]
    Features(#[from] SysError),
}

impl AsFd for Uffd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Wake {
    /// Returns the `DONTWAKE` bit, which is bit 0 wherever it is a mode of its own.
    const fn bit(self) -> u64 {
        match self {
            Self::Now => 0,
            Self::Later => uapi::UFFDIO_ZEROPAGE_MODE_DONTWAKE as u64,
        }
    }
}

impl Protect {
    const fn bits(self) -> u64 {
        match self {
            Self::On => abi::PROTECT_WP,
            Self::Off(Wake::Now) => 0,
            Self::Off(Wake::Later) => abi::PROTECT_DONT_WAKE,
        }
    }
}

fn range(start: usize, len: usize) -> uapi::uffdio_range {
    uapi::uffdio_range { start: word(start), len: word(len) }
}
