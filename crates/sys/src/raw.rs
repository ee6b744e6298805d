//! System calls that rustix does not offer, made by instruction.
//!
//! Two only: `madvise` with advice newer than rustix's enum, and `rt_sigprocmask`. They must not go through the C library's `syscall` symbol, which a preloaded library may have taken over.

use rustix::io::Errno;

use linux_raw_sys::general::{__NR_madvise, __NR_rt_sigprocmask};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("bifolio-sys knows the system call instruction of x86-64 and AArch64 only");

/// Makes the system call `number` with four arguments and returns the raw answer.
///
/// # Safety
///
/// The caller answers for what this system call does with these arguments.
#[cfg(target_arch = "x86_64")]
unsafe fn syscall4(number: u32, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the x86-64 Linux convention: number in rax, arguments in rdi, rsi, rdx, r10; rcx and r11 are
    // clobbered; the stack is not touched. What the call itself does, the caller answers for.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes the system call `number` with four arguments and returns the raw answer.
///
/// # Safety
///
/// The caller answers for what this system call does with these arguments.
#[cfg(target_arch = "aarch64")]
unsafe fn syscall4(number: u32, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the AArch64 Linux convention: number in x8, arguments in x0..x3, answer in x0; the stack is not
    // touched. What the call itself does, the caller answers for.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") args[0] => result,
            in("x1") args[1],
            in("x2") args[2],
            in("x3") args[3],
            options(nostack),
        );
    }
    result
}

/// Splits a raw answer: -4095..=-1 is an errno, everything else the value.
fn answer(raw: isize) -> Result<usize, Errno> {
    match i32::try_from(raw) {
        Ok(negative @ -4095..=-1) => Err(Errno::from_raw_os_error(-negative)),
        _ => Ok(raw.cast_unsigned()),
    }
}

/// Calls `madvise` with any advice number.
///
/// # Safety
///
/// The advice may discard or change the bytes of the range: nothing there may be seen through Rust references.
pub(crate) unsafe fn madvise(start: usize, len: usize, advice: u32) -> Result<(), Errno> {
    // SAFETY: 1. madvise takes (address, length, advice) and no pointer to memory it writes through as data;
    // 2. the effect on the range is the caller's duty.
    let raw = unsafe { syscall4(__NR_madvise, [start, len, advice as usize, 0]) };
    answer(raw).map(drop)
}

/// Blocks the signals of `mask` (bit n-1 stands for signal n) in this thread.
pub(crate) fn block_signals(mask: u64) -> Result<(), Errno> {
    let set = &raw const mask;
    let size = size_of::<u64>();
    // SAFETY: 1. `set` points at 8 readable bytes, the size passed; 2. the old mask is not asked for, so nothing
    // is written; 3. blocking signals cannot break memory safety.
    let raw = unsafe {
        syscall4(__NR_rt_sigprocmask, [linux_raw_sys::general::SIG_BLOCK as usize, set as usize, 0, size])
    };
    answer(raw).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_split_into_errno_and_value() {
        assert_eq!(answer(-22), Err(Errno::INVAL));
        assert_eq!(answer(0), Ok(0));
        assert_eq!(answer(-4096), Ok((-4096_isize).cast_unsigned()));
    }

    #[test]
    fn madvise_of_nothing_mapped_is_refused() {
        // SAFETY: page 0 is never mapped for an ordinary process, so nothing can change.
        let refused = unsafe { madvise(0, 4096, linux_raw_sys::general::MADV_COLLAPSE) };
        assert!(refused.is_err());
    }
}
