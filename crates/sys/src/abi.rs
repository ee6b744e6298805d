//! The userfaultfd interface of the kernel: request numbers, flag bits, and proof that they are right.
//!
//! Structures come from linux-raw-sys; where a number is missing there it is made here by the `_IOWR` formula.
//! Each number is asserted against that formula and each structure against the size in the kernel's header
//! (`include/uapi/linux/userfaultfd.h`, Linux 6.18), so a wrong binding does not compile.

use bitflags::bitflags;
use linux_raw_sys::{general as uapi, ioctl as numbers};
use rustix::ioctl::{Opcode, opcode};

/// The ioctl group of userfaultfd.
const GROUP: u8 = 0xAA;

/// The protocol number that `UFFDIO_API` wants.
pub(crate) const API: u64 = uapi::UFFD_API as u64;

pub(crate) const IOC_NEW: Opcode = opcode::none(GROUP, 0x00);
pub(crate) const IO_API: Opcode = opcode::read_write::<uapi::uffdio_api>(GROUP, 0x3F);
pub(crate) const IO_REGISTER: Opcode = opcode::read_write::<uapi::uffdio_register>(GROUP, 0x00);
pub(crate) const IO_UNREGISTER: Opcode = opcode::read::<uapi::uffdio_range>(GROUP, 0x01);
pub(crate) const IO_WAKE: Opcode = opcode::read::<uapi::uffdio_range>(GROUP, 0x02);
pub(crate) const IO_COPY: Opcode = opcode::read_write::<uapi::uffdio_copy>(GROUP, 0x03);
pub(crate) const IO_ZEROPAGE: Opcode = opcode::read_write::<uapi::uffdio_zeropage>(GROUP, 0x04);
pub(crate) const IO_MOVE: Opcode = opcode::read_write::<uapi::uffdio_move>(GROUP, 0x05);
pub(crate) const IO_PROTECT: Opcode = opcode::read_write::<uapi::uffdio_writeprotect>(GROUP, 0x06);
pub(crate) const IO_CONTINUE: Opcode = opcode::read_write::<uapi::uffdio_continue>(GROUP, 0x07);
pub(crate) const IO_POISON: Opcode = opcode::read_write::<uapi::uffdio_poison>(GROUP, 0x08);

/// `PAGEMAP_SCAN` on `/proc/PID/pagemap`.
pub(crate) const PAGEMAP_SCAN: Opcode = opcode::read_write::<uapi::pm_scan_arg>(b'f', 16);

/// `PROCMAP_QUERY` on `/proc/PID/maps`.
pub(crate) const PROCMAP_QUERY: Opcode = opcode::read_write::<uapi::procmap_query>(b'f', 17);

/// Set protection (clear: remove it) in `UFFDIO_WRITEPROTECT`; missing in linux-raw-sys.
pub(crate) const PROTECT_WP: u64 = 1 << 0;
/// Leave sleepers asleep in `UFFDIO_WRITEPROTECT`; missing in linux-raw-sys.
pub(crate) const PROTECT_DONT_WAKE: u64 = 1 << 1;

/// Bytes of one message of the kernel.
pub(crate) const MESSAGE_BYTES: usize = size_of::<uapi::uffd_msg>();

// rustix must make system calls itself: its libc back end would go through symbols that a preloaded library may own.
// There a request number is a `c_ulong`, here it is 32 bits wide.
const _: () = assert!(size_of::<Opcode>() == 4);

// The formula agrees with the numbers that were generated from the kernel's headers.
const _: () = assert!(IO_API == numbers::UFFDIO_API);
const _: () = assert!(IO_REGISTER == numbers::UFFDIO_REGISTER);
const _: () = assert!(IO_UNREGISTER == numbers::UFFDIO_UNREGISTER);
const _: () = assert!(IO_WAKE == numbers::UFFDIO_WAKE);
const _: () = assert!(IO_COPY == numbers::UFFDIO_COPY);
const _: () = assert!(IO_ZEROPAGE == numbers::UFFDIO_ZEROPAGE);
const _: () = assert!(IO_PROTECT == numbers::UFFDIO_WRITEPROTECT);
const _: () = assert!(IO_CONTINUE == numbers::UFFDIO_CONTINUE);

// The numbers themselves, as x86-64 and AArch64 have them.
const _: () = assert!(IOC_NEW == 0x0000_AA00);
const _: () = assert!(IO_MOVE == 0xC028_AA05);
const _: () = assert!(IO_POISON == 0xC020_AA08);
const _: () = assert!(PAGEMAP_SCAN == 0xC060_6610);
const _: () = assert!(PROCMAP_QUERY == 0xC068_6611);

// The structures have the kernel's sizes.
const _: () = assert!(MESSAGE_BYTES == 32);
const _: () = assert!(size_of::<uapi::uffdio_api>() == 24);
const _: () = assert!(size_of::<uapi::uffdio_range>() == 16);
const _: () = assert!(size_of::<uapi::uffdio_register>() == 32);
const _: () = assert!(size_of::<uapi::uffdio_copy>() == 40);
const _: () = assert!(size_of::<uapi::uffdio_zeropage>() == 32);
const _: () = assert!(size_of::<uapi::uffdio_writeprotect>() == 24);
const _: () = assert!(size_of::<uapi::uffdio_continue>() == 32);
const _: () = assert!(size_of::<uapi::uffdio_poison>() == 32);
const _: () = assert!(size_of::<uapi::uffdio_move>() == 40);
const _: () = assert!(size_of::<uapi::pm_scan_arg>() == 96);
const _: () = assert!(size_of::<uapi::page_region>() == 24);
const _: () = assert!(size_of::<uapi::procmap_query>() == 104);

bitflags! {
    /// What a userfaultfd can do beyond plain missing faults; asked for once, at the handshake.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Features: u64 {
        /// Write-protection faults on anonymous memory.
        const WRITE_PROTECT = uapi::UFFD_FEATURE_PAGEFAULT_FLAG_WP as u64;
        /// Message when the process forks, with a descriptor for the child. Needs `CAP_SYS_PTRACE`.
        const EVENT_FORK = uapi::UFFD_FEATURE_EVENT_FORK as u64;
        /// Message when a registered range is moved by `mremap`; the registration travels with it.
        const EVENT_REMAP = uapi::UFFD_FEATURE_EVENT_REMAP as u64;
        /// Message when pages are dropped by `madvise`, our own included.
        const EVENT_REMOVE = uapi::UFFD_FEATURE_EVENT_REMOVE as u64;
        /// Missing faults on hugetlbfs.
        const MISSING_HUGETLBFS = uapi::UFFD_FEATURE_MISSING_HUGETLBFS as u64;
        /// Missing faults on shared memory.
        const MISSING_SHMEM = uapi::UFFD_FEATURE_MISSING_SHMEM as u64;
        /// Message when a registered range is unmapped.
        const EVENT_UNMAP = uapi::UFFD_FEATURE_EVENT_UNMAP as u64;
        /// SIGBUS in the faulting thread instead of a message.
        const SIGBUS = uapi::UFFD_FEATURE_SIGBUS as u64;
        /// The faulting thread's id in each fault message.
        const THREAD_ID = uapi::UFFD_FEATURE_THREAD_ID as u64;
        /// Minor faults on hugetlbfs.
        const MINOR_HUGETLBFS = uapi::UFFD_FEATURE_MINOR_HUGETLBFS as u64;
        /// Minor faults on shared memory: the page is in the file, only not mapped here.
        const MINOR_SHMEM = uapi::UFFD_FEATURE_MINOR_SHMEM as u64;
        /// The very address in fault messages, not that of its page.
        const EXACT_ADDRESS = uapi::UFFD_FEATURE_EXACT_ADDRESS as u64;
        /// Write protection of shared memory and hugetlbfs.
        const WRITE_PROTECT_SHMEM = uapi::UFFD_FEATURE_WP_HUGETLBFS_SHMEM as u64;
        /// Write protection of pages that are not there yet.
        const WRITE_PROTECT_UNPOPULATED = uapi::UFFD_FEATURE_WP_UNPOPULATED as u64;
        /// Poisoned pages: touching one raises SIGBUS.
        const POISON = uapi::UFFD_FEATURE_POISON as u64;
        /// Write faults resolved by the kernel, found later by `PAGEMAP_SCAN`.
        const WRITE_PROTECT_ASYNC = uapi::UFFD_FEATURE_WP_ASYNC as u64;
        /// Pages moved between places of anonymous memory.
        const MOVE = uapi::UFFD_FEATURE_MOVE as u64;
        /// Faults of pages that are there, to learn which are used. Since Linux 7.3, which the headers here do not know.
        const ACCESS_TRACKING = 1 << 17;
        /// The same, resolved by the kernel and found later by `PAGEMAP_SCAN`. Since Linux 7.3.
        const ACCESS_TRACKING_ASYNC = 1 << 18;
        // Bits of later kernels are kept, not dropped.
        const _ = !0;
    }

    /// Which faults of a range are reported.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Modes: u64 {
        /// No page there.
        const MISSING = uapi::UFFDIO_REGISTER_MODE_MISSING as u64;
        /// Write to a page protected by [`Uffd::write_protect`](crate::Uffd::write_protect).
        const WRITE_PROTECT = uapi::UFFDIO_REGISTER_MODE_WP as u64;
        /// The page is in the file but not mapped here.
        const MINOR = uapi::UFFDIO_REGISTER_MODE_MINOR as u64;
    }

    /// Which operations the kernel offers on a registered range.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct RangeIoctls: u64 {
        /// [`Uffd::wake`](crate::Uffd::wake).
        const WAKE = 1 << uapi::_UFFDIO_WAKE;
        /// [`Uffd::copy`](crate::Uffd::copy).
        const COPY = 1 << uapi::_UFFDIO_COPY;
        /// [`Uffd::zeropage`](crate::Uffd::zeropage).
        const ZEROPAGE = 1 << uapi::_UFFDIO_ZEROPAGE;
        /// [`Uffd::move_`](crate::Uffd::move_).
        const MOVE = 1 << uapi::_UFFDIO_MOVE;
        /// [`Uffd::write_protect`](crate::Uffd::write_protect).
        const WRITE_PROTECT = 1 << uapi::_UFFDIO_WRITEPROTECT;
        /// [`Uffd::continue_`](crate::Uffd::continue_).
        const CONTINUE = 1 << uapi::_UFFDIO_CONTINUE;
        /// [`Uffd::poison`](crate::Uffd::poison).
        const POISON = 1 << uapi::_UFFDIO_POISON;
        const _ = !0;
    }

    /// How [`Uffd::copy`](crate::Uffd::copy) and [`Uffd::continue_`](crate::Uffd::continue_) install.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct CopyMode: u64 {
        /// Leave threads that wait for the range asleep; [`Uffd::wake`](crate::Uffd::wake) must follow.
        const DONT_WAKE = uapi::UFFDIO_COPY_MODE_DONTWAKE as u64;
        /// Install write-protected.
        const WRITE_PROTECT = uapi::UFFDIO_COPY_MODE_WP as u64;
    }

    /// How [`Uffd::move_`](crate::Uffd::move_) moves.
    ///
    /// The kernel's mode that passes over holes of the source is left out: where a page is dropped while it moves, Linux
    /// 6.18 loops for ever in that mode, and only SIGKILL ends it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MoveMode: u64 {
        /// Leave threads that wait for the destination asleep.
        const DONT_WAKE = 1 << 0;
        /// Pass over holes of the source, and count them as moved.
        const ALLOW_HOLES = 1 << 1;
    }
}

/// Converts an address or a length to the kernel's width.
pub(crate) const fn word(value: usize) -> u64 {
    value as u64
}

/// Converts the kernel's address or length to ours.
#[expect(clippy::cast_possible_truncation, reason = "lib.rs refuses targets without 64-bit pointers")]
pub(crate) const fn address(value: u64) -> usize {
    value as usize
}
