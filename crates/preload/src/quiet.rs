//! No signals while this thread holds a lock of ours.

use std::ptr;

/// The signals that the C library sends its own threads (32, 33) stay open: blocking them hangs `setuid`.
const ALL: u64 = !(1 << 31 | 1 << 32);

/// As long as it lives, this thread takes no signals.
#[derive(Debug)]
pub(crate) struct Quiet {
    before: u64,
}

impl Quiet {
    pub(crate) fn enter() -> Quiet {
        Quiet { before: set_mask(ALL) }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        set_mask(self.before);
    }
}

/// Sets the signal mask of this thread and returns the one before.
fn set_mask(mask: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: both pointers are to 8 bytes, the size passed. Which signals a thread takes is no matter of memory safety.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            ptr::from_ref(&mask),
            ptr::from_mut(&mut before),
            size_of::<u64>(),
        )
    };
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_comes_back() {
        let outside = set_mask(0);
        {
            let _quiet = Quiet::enter();
            let _nested = Quiet::enter();
        }
        assert_eq!(set_mask(outside), 0);
    }
}
