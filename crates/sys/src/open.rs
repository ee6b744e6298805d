//! Getting a userfaultfd from the kernel: three ways, and why each was refused.

use std::fmt;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use linux_raw_sys::general::UFFD_USER_MODE_ONLY;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use rustix::mm::UserfaultfdFlags;

use crate::abi;

/// Path of the device node that gives out full-mode descriptors to every process that may open it.
pub const DEVICE_NODE: &str = "/dev/userfaultfd";

/// A way to get a userfaultfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `/dev/userfaultfd`: full mode for every process that may open the file.
    DevNode,
    /// The system call: full mode for `CAP_SYS_PTRACE`, or for all where the sysctl
    /// `vm.unprivileged_userfaultfd` is 1.
    Syscall,
    /// The system call with `UFFD_USER_MODE_ONLY`: for every process; system calls that touch a missing page fail with
    /// `EFAULT`.
    UserModeOnly,
}

/// Where a full-mode descriptor came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `/dev/userfaultfd`, opened by us.
    DevNode,
    /// The system call.
    Syscall,
    /// Handed over by another process; its mode is what that process asked for.
    Handed,
}

/// Which faults a userfaultfd serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Those of the program and those of the kernel on its behalf: system calls on missing pages just work.
    Full(Via),
    /// Only those of the program's own loads and stores.
    UserModeOnly,
}

/// Whether reading waits for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// It waits. The fastest way to serve faults; poll does not work on such a descriptor.
    Blocking,
    /// It does not. Needed for [`Uffd::wait`](crate::Uffd::wait).
    NonBlocking,
}

/// One way that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The way.
    pub way: Way,
    /// What the kernel said.
    pub errno: Errno,
}

/// No userfaultfd: each way that was tried, in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no userfaultfd: {}", Listed(.attempts))]
pub struct OpenError {
    /// The ways and their refusals.
    pub attempts: Vec<Attempt>,
}

struct Listed<'a>(&'a [Attempt]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attempt) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} refused ({})", attempt.way, attempt.errno)?;
        }
        Ok(())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DevNode => DEVICE_NODE,
            Self::Syscall => "userfaultfd(2)",
            Self::UserModeOnly => "userfaultfd(2) user-mode-only",
        })
    }
}

impl Way {
    /// All ways, best first.
    pub const ALL: [Self; 3] = [Self::DevNode, Self::Syscall, Self::UserModeOnly];

    /// Returns what a descriptor got this way serves.
    #[must_use]
    pub const fn access(self) -> Access {
        match self {
            Self::DevNode => Access::Full(Via::DevNode),
            Self::Syscall => Access::Full(Via::Syscall),
            Self::UserModeOnly => Access::UserModeOnly,
        }
    }
}

/// Opens a descriptor by one way.
pub(crate) fn open(way: Way, reads: Reads) -> Result<OwnedFd, Errno> {
    match way {
        Way::DevNode => {
            let node = rustix::fs::open(DEVICE_NODE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
            from_node(&node, reads)
        }
        Way::Syscall => by_syscall(flags(reads)),
        Way::UserModeOnly => by_syscall(flags(reads) | UFFD_USER_MODE_ONLY),
    }
}

/// Asks an open `/dev/userfaultfd` for a full-mode descriptor.
pub(crate) fn from_node(node: impl AsFd, reads: Reads) -> Result<OwnedFd, Errno> {
    // SAFETY: `USERFAULTFD_IOC_NEW` takes flags by value and touches no memory; on a descriptor of another kind the
    // kernel answers ENOTTY, as the number belongs to group 0xAA alone.
    unsafe { rustix::ioctl::ioctl(node, NewUffd { flags: flags(reads) }) }
}

fn by_syscall(flags: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: a fresh descriptor affects no memory until ranges are registered with it.
    unsafe { rustix::mm::userfaultfd(UserfaultfdFlags::from_bits_retain(flags)) }
}

fn flags(reads: Reads) -> u32 {
    let close = OFlags::CLOEXEC.bits();
    match reads {
        Reads::Blocking => close,
        Reads::NonBlocking => close | OFlags::NONBLOCK.bits(),
    }
}

/// `USERFAULTFD_IOC_NEW`: the argument is a number, the answer a descriptor.
struct NewUffd {
    flags: u32,
}

// SAFETY: 1. the opcode is `_IO(0xAA, 0)`, asserted in `abi`; 2. its argument is passed by value, so nothing in memory
// is read or written; 3. its answer is a new descriptor that has no other owner.
unsafe impl Ioctl for NewUffd {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        abi::IOC_NEW
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::without_provenance_mut(self.flags as usize)
    }

    unsafe fn output_from_ptr(
        out: IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<Self::Output> {
        // SAFETY: the kernel just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lists_each_way_and_reason() {
        let attempts = vec![
            Attempt { way: Way::DevNode, errno: Errno::ACCESS },
            Attempt { way: Way::Syscall, errno: Errno::PERM },
        ];
        let text = OpenError { attempts }.to_string();
        assert!(text.contains("/dev/userfaultfd refused (Permission denied"), "{text}");
        assert!(text.contains(", userfaultfd(2) refused"), "{text}");
    }

    #[test]
    fn other_descriptor_gives_no_uffd() {
        let null = std::fs::File::open("/dev/null").expect("exists");
        assert_eq!(from_node(&null, Reads::Blocking).map(drop), Err(Errno::NOTTY));
    }
}
