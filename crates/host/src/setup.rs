//! What a space and the service of a program have in common when they are made: sizes that are checked, and why it may fail.

use bifolio_folio::PageMapError;
use bifolio_sys::{MapError, PAGE, ReadyError};

use crate::fault_loop::HandlersError;
use crate::views::shared::SharedError;
use bifolio_builtin::MemoryError;
use bifolio_engine::NodeError;
use bifolio_engine::blocks::RegionError;

/// Why there is no [`Space`](crate::Space), or no service of a [program](crate::in_place).
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Too little memory, or more address space than there is.
    #[error("{what} of {bytes} bytes is less than the {least} bytes needed")]
    TooSmall {
        /// Which size.
        what: &'static str,
        /// What was asked.
        bytes: usize,
        /// The smallest that works.
        least: usize,
    },
    /// No userfaultfd, or, for a program, one that cannot move pages (before Linux 6.8).
    #[error("page faults cannot be caught; `bifolio doctor` says what this machine grants")]
    Uffd(#[from] ReadyError),
    /// No faults that the touching thread could answer.
    #[error(
        "the kernel raises no SIGBUS for page faults (Linux 4.14 does): choose other `readers` than `Readers::Toucher`"
    )]
    Toucher(#[source] ReadyError),
    /// Memory of the program in a space whose faults touching threads answer.
    #[error(
        "memory of the program joins no space of `Readers::Toucher`: system calls on it would fail with EFAULT"
    )]
    ToucherAdopts,
    /// No system memory that a space could share.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// No address space for records, or no page for counters.
    #[error("no address space")]
    Map(#[from] MapError),
    /// No device memory.
    #[error(transparent)]
    Device(#[from] MemoryError),
    /// The devices do not fit together.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Coherent memory of devices whose memory the CPU cannot map.
    #[error("coherent memory is for built-in devices: the CPU maps their memory; choose private memory")]
    Kind,
    /// Coherent memory in a space that is to adopt memory of the program.
    #[error("memory of the program joins spaces of private memory only")]
    Adopts,
    /// A device whose page table maps nothing as small as what was allocated before.
    #[error(
        "a device that maps no less than {pages} pages at once must be there before the first allocation"
    )]
    Granule {
        /// Pages that it maps at least.
        pages: usize,
    },
    /// No allocator of addresses for this size.
    #[error("allocator cannot be made")]
    Allocator(#[from] bifolio_buddy::NewError),
    /// No pool for this size.
    #[error(transparent)]
    Pool(#[from] bifolio_pool::NewError),
    /// No pagemap for this size.
    #[error("pagemap cannot be made")]
    PageMap(#[from] PageMapError),
    /// No blocks for these addresses.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The kernel refused something that a service needs.
    #[error(transparent)]
    Kernel(#[from] bifolio_sys::SysError),
    /// A file of `/proc` cannot be read.
    #[error("/proc cannot be read")]
    Proc(#[from] std::io::Error),
    /// No fault handlers.
    #[error(transparent)]
    Handlers(#[from] HandlersError),
}

/// Number of pages that hold `bytes`, which must be `least` or more.
pub(crate) fn pages(what: &'static str, bytes: usize, least: usize) -> Result<u64, SetupError> {
    if bytes < least {
        return Err(SetupError::TooSmall { what, bytes, least });
    }
    Ok(bytes.div_ceil(PAGE) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_and_not_below_the_least() {
        assert_eq!(pages("memory", PAGE + 1, PAGE).expect("enough"), 2);
        let refused = pages("memory", 5, PAGE).expect_err("too small").to_string();
        assert_eq!(refused, "memory of 5 bytes is less than the 4096 bytes needed");
    }
}
