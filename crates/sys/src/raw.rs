//! System calls that rustix does not offer, made by instruction: they must not go through the C library's `syscall`
//! symbol, which a preloaded library may have taken over.

use rustix::io::Errno;

use linux_raw_sys::general::{
    __NR_clock_gettime, __NR_close_range, __NR_exit_group, __NR_kcmp, __NR_madvise, __NR_membarrier,
    __NR_mincore, __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_tgsigqueueinfo, __NR_sched_getattr,
    __NR_sched_setattr, __NR_signalfd4, __NR_tgkill, SIG_BLOCK, SIG_SETMASK,
};

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
pub(crate) fn answer(raw: isize) -> Result<usize, Errno> {
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

/// Blocks the signals of `mask` (bit n-1 stands for signal n) in this thread and returns the mask before.
pub(crate) fn block_signals(mask: u64) -> Result<u64, Errno> {
    change_signal_mask(SIG_BLOCK, mask)
}

/// Makes `mask` the signal mask of this thread and returns the old one.
pub(crate) fn set_signal_mask(mask: u64) -> Result<u64, Errno> {
    change_signal_mask(SIG_SETMASK, mask)
}

fn change_signal_mask(how: u32, mask: u64) -> Result<u64, Errno> {
    let mut old = 0_u64;
    let (set, before, size) = (&raw const mask, &raw mut old, size_of::<u64>());
    // SAFETY: 1. `set` points at 8 readable bytes and `before` at 8 writable ones, the size passed; 2. a mask cannot
    // break memory safety.
    let raw = unsafe { syscall4(__NR_rt_sigprocmask, [how as usize, set as usize, before as usize, size]) };
    answer(raw).map(|_| old)
}

/// Calls `rt_sigaction` with the addresses of the new and the old action, each of which may be 0.
///
/// # Safety
///
/// 1. Each address is 0 or that of a [`struct sigaction`](crate::action::Action), the second a writable one. 2. A new handler is
///    sound wherever the signal may arrive.
pub(crate) unsafe fn sigaction(signal: i32, new: usize, old: usize) -> Result<(), Errno> {
    // SAFETY: the structures and the handler are the caller's duty; masks are 8 bytes.
    let raw = unsafe { syscall4(__NR_rt_sigaction, [signal as usize, new, old, size_of::<u64>()]) };
    answer(raw).map(drop)
}

/// Sends a signal to a thread of this process, with the record at the address `info`.
///
/// # Safety
///
/// The address is that of a `siginfo_t`.
pub(crate) unsafe fn signal_this_thread(
    pid: u32,
    thread: u32,
    signal: i32,
    info: usize,
) -> Result<(), Errno> {
    let arguments = [pid as usize, thread as usize, signal as usize, info];
    // SAFETY: the record is the caller's duty, and only read.
    let raw = unsafe { syscall4(__NR_rt_tgsigqueueinfo, arguments) };
    answer(raw).map(drop)
}

/// Writes for each page of the range whether it is in memory: bit 0 of a byte of `pages`.
pub(crate) fn mincore(start: usize, pages: &mut [u8]) -> Result<(), Errno> {
    let len = pages.len() * crate::PAGE;
    // SAFETY: the kernel writes one byte for each page, as many as the slice has, and reads no memory.
    let raw = unsafe { syscall4(__NR_mincore, [start, len, pages.as_mut_ptr() as usize, 0]) };
    answer(raw).map(drop)
}

/// How the kernel schedules a thread: the first version of `struct sched_attr`, and how much of it there is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SchedAttr {
    size: u32,
    pub(crate) policy: u32,
    flags: u64,
    pub(crate) nice: i32,
    priority: u32,
    /// Of a thread without a deadline: its time slice, in nanoseconds.
    pub(crate) runtime: u64,
    deadline: u64,
    period: u64,
}

/// Reads how a thread is scheduled; the calling one for 0.
pub(crate) fn sched_getattr(thread: u32) -> Result<SchedAttr, Errno> {
    let mut attr = SchedAttr::default();
    let (out, size) = (&raw mut attr, size_of::<SchedAttr>());
    // SAFETY: the kernel writes at most `size` bytes to `attr`, which may hold any bytes.
    let raw = unsafe { syscall4(__NR_sched_getattr, [thread as usize, out as usize, size, 0]) };
    answer(raw).map(|_| attr)
}

/// Sets how a thread is scheduled, from what [`sched_getattr`] has read; the calling one for 0.
pub(crate) fn sched_setattr(thread: u32, attr: &SchedAttr) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes of `attr` as it has been told are there, and touches no other memory.
    let raw = unsafe { syscall4(__NR_sched_setattr, [thread as usize, &raw const *attr as usize, 0, 0]) };
    answer(raw).map(drop)
}

/// Closes every descriptor of this process.
///
/// # Safety
///
/// Nothing uses a descriptor that is open now.
pub(crate) unsafe fn close_all() -> Result<(), Errno> {
    // SAFETY: no memory is touched; the descriptors are the caller's duty.
    let raw = unsafe { syscall4(__NR_close_range, [0, u32::MAX as usize, 0, 0]) };
    answer(raw).map(drop)
}

/// Ends all threads of this process.
pub(crate) fn exit_group(code: i32) -> ! {
    loop {
        // SAFETY: the process ends, and touches no memory before.
        let _: isize = unsafe { syscall4(__NR_exit_group, [code as usize, 0, 0, 0]) };
    }
}

/// Makes the signals of `mask` readable.
pub(crate) fn signalfd(mask: u64) -> Result<i32, Errno> {
    let flags = linux_raw_sys::general::O_CLOEXEC | linux_raw_sys::general::O_NONBLOCK;
    let set = &raw const mask;
    // SAFETY: the mask is 8 readable bytes, the size passed; the answer is a fresh descriptor.
    let raw =
        unsafe { syscall4(__NR_signalfd4, [usize::MAX, set as usize, size_of::<u64>(), flags as usize]) };
    answer(raw).map(|fd| i32::try_from(fd).unwrap_or(-1))
}

/// Tells whether two processes have the same address space.
pub(crate) fn same_memory(one: u32, other: u32) -> Result<bool, Errno> {
    const KCMP_VM: usize = 1;
    // SAFETY: kcmp takes numbers only.
    let raw = unsafe { syscall4(__NR_kcmp, [one as usize, other as usize, KCMP_VM, 0]) };
    answer(raw).map(|order| order == 0)
}

/// Returns seconds and nanoseconds of a clock that has no name.
pub(crate) fn clock(number: i32) -> Result<[u64; 2], Errno> {
    let mut time = [0_u64; 2];
    let arguments = [number as usize, (&raw mut time).expose_provenance(), 0, 0];
    // SAFETY: clock_gettime writes two words at the second argument, which has room for them.
    let raw = unsafe { syscall4(__NR_clock_gettime, arguments) };
    answer(raw).map(|_| time)
}

/// Sends a signal to a thread of a process.
pub(crate) fn signal_thread(pid: u32, thread: u32, signal: u32) -> Result<(), Errno> {
    // SAFETY: tgkill takes numbers only.
    let raw = unsafe { syscall4(__NR_tgkill, [pid as usize, thread as usize, signal as usize, 0]) };
    answer(raw).map(drop)
}

/// Calls `membarrier` with a command that takes no flags and no processor.
pub(crate) fn membarrier(command: usize) -> Result<(), Errno> {
    // SAFETY: membarrier reads and writes no memory of the caller.
    let raw = unsafe { syscall4(__NR_membarrier, [command, 0, 0, 0]) };
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
