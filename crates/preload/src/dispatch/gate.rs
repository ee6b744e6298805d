//! The instructions from which system calls pass, and the switch of each thread.
//!
//! All code of this library passes: what it asks of the kernel concerns memory of its own.

use std::ops::Range;
#[cfg(target_arch = "x86_64")]
use std::sync::atomic::{AtomicU32, Ordering::AcqRel, Ordering::Acquire};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Stubs of each kind. The C library makes such calls at four places.
#[cfg(target_arch = "x86_64")]
const STUBS: usize = 8;

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".text",
    ".p2align 4",
    // (number, six arguments) as a C function: the last argument is on the stack.
    ".hidden bifolio_syscall",
    ".globl bifolio_syscall",
    ".type bifolio_syscall,@function",
    "bifolio_syscall:",
    ".cfi_startproc",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "mov r10, r8",
    "mov r8, r9",
    "mov r9, qword ptr [rsp + 8]",
    "syscall",
    "ret",
    ".cfi_endproc",
    ".size bifolio_syscall, . - bifolio_syscall",
    // Where the handler of SIGSYS returns to.
    ".p2align 4",
    ".hidden bifolio_restorer",
    ".globl bifolio_restorer",
    // Those who walk stacks know the frame of a signal by these bytes, and look for what is before them first.
    "nop",
    "bifolio_restorer:",
    ".byte 0x48, 0xc7, 0xc0, 15, 0, 0, 0",
    "syscall",
    "ud2",
    ".data",
    ".p2align 3",
    ".hidden bifolio_spawning",
    ".globl bifolio_spawning",
    "bifolio_spawning:",
    ".long 0",
    ".long 0",
    ".hidden bifolio_returns",
    ".globl bifolio_returns",
    "bifolio_returns:",
    ".zero 128",
    ".text",
);

/// A stub makes one call with the registers as they are, and goes on behind the place where the program made it: no register
/// is free to hold that place, so each has a word of its own. The child of a call that shares memory comes by here as well.
/// Each has a second form, for a call whose child runs in this memory until it runs another program: there the parent counts
/// that it is over.
#[cfg(target_arch = "x86_64")]
macro_rules! stubs {
    ($($number:literal $plain:ident $spawn:ident)*) => {
        $(std::arch::global_asm!(
            ".text",
            ".p2align 4",
            concat!(".hidden ", stringify!($plain)),
            concat!(".globl ", stringify!($plain)),
            concat!(stringify!($plain), ":"),
            "syscall",
            concat!("jmp qword ptr [rip + bifolio_returns + 8*", $number, "]"),
            ".p2align 4",
            concat!(".hidden ", stringify!($spawn)),
            concat!(".globl ", stringify!($spawn)),
            concat!(stringify!($spawn), ":"),
            "syscall",
            "test rax, rax",
            "je 2f",
            "lock dec dword ptr [rip + bifolio_spawning]",
            "2:",
            concat!("jmp qword ptr [rip + bifolio_returns + 64 + 8*", $number, "]"),
        );)*

        unsafe extern "C" {
            $(fn $plain(); fn $spawn();)*
        }

        /// The plain stubs, and the others.
        static STUB_TABLE: [[unsafe extern "C" fn(); STUBS]; 2] = [[$($plain),*], [$($spawn),*]];
    };
}

#[cfg(target_arch = "x86_64")]
stubs! {
    0 bifolio_stub_0 bifolio_spawn_0
    1 bifolio_stub_1 bifolio_spawn_1
    2 bifolio_stub_2 bifolio_spawn_2
    3 bifolio_stub_3 bifolio_spawn_3
    4 bifolio_stub_4 bifolio_spawn_4
    5 bifolio_stub_5 bifolio_spawn_5
    6 bifolio_stub_6 bifolio_spawn_6
    7 bifolio_stub_7 bifolio_spawn_7
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" {
    static bifolio_spawning: AtomicU32;
    static bifolio_returns: [AtomicUsize; 2 * STUBS];
    fn bifolio_restorer();
    fn bifolio_syscall(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize;
}

const DISPATCH: usize = 59;
const OFF: usize = 0;
const ON: usize = 1;

/// The code of this library: calls from there pass.
static CODE: (AtomicUsize, AtomicUsize) = (AtomicUsize::new(0), AtomicUsize::new(0));

/// Says where the code of this library is.
pub(crate) fn set_code(code: &Range<usize>) {
    CODE.0.store(code.start, Relaxed);
    CODE.1.store(code.len(), Relaxed);
}

/// Whether an address is in the code of this library.
pub(crate) fn is_own_code(address: usize) -> bool {
    address.wrapping_sub(CODE.0.load(Relaxed)) < CODE.1.load(Relaxed)
}

/// Makes a system call that always passes; returns the kernel's raw answer.
///
/// # Safety
///
/// The caller answers for what the call does.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn syscall(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: passed on to the caller.
    unsafe { bifolio_syscall(number, a, b, c, d, e, f) }
}

/// Where the handler of SIGSYS returns to.
#[cfg(target_arch = "x86_64")]
pub(crate) fn restorer() -> usize {
    bifolio_restorer as *const () as usize
}

/// Threads that let another program run in this memory.
#[cfg(target_arch = "x86_64")]
pub(crate) fn spawning() -> &'static AtomicU32 {
    // SAFETY: a word of this library, which atomics alone touch, and the stubs as atomics do.
    unsafe { &bifolio_spawning }
}

/// Lets calls of this thread trap from now on while `selector` says so; `false` if the kernel cannot do it.
pub(crate) fn arm(selector: *const u8) -> bool {
    let (start, len) = (CODE.0.load(Relaxed), CODE.1.load(Relaxed));
    // SAFETY: the range is our code; the selector stays readable, says the caller's use of it.
    len > 0 && unsafe { syscall(nr::PRCTL, [DISPATCH, ON, start, len, selector.expose_provenance(), 0]) == 0 }
}

/// Lets all calls of this thread pass.
pub(crate) fn disarm() {
    // SAFETY: no memory is concerned.
    unsafe { syscall(nr::PRCTL, [DISPATCH, OFF, 0, 0, 0, 0]) };
}

/// The address of a stub that makes a call and then goes on at `site`; `None` if there are too many such places.
#[cfg(target_arch = "x86_64")]
pub(crate) fn stub_to(site: usize, spawns: bool) -> Option<usize> {
    // SAFETY: words of this library, which only this function writes.
    let returns = unsafe { &bifolio_returns };
    let kind = if spawns { &returns[STUBS..] } else { &returns[..STUBS] };
    let fits = |word: &AtomicUsize| {
        let now = word.load(Acquire);
        now == site
            || now == 0
                && word.compare_exchange(0, site, AcqRel, Acquire).map_or_else(|now| now == site, |_| true)
    };
    let index = kind.iter().position(fits)?;
    Some(STUB_TABLE[usize::from(spawns)][index] as *const () as usize)
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use elsewhere::{restorer, spawning, stub_to, syscall};

/// Other machines: calls do not trap there.
#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    use std::sync::atomic::AtomicU32;

    static NONE: AtomicU32 = AtomicU32::new(0);

    /// Not on this machine.
    ///
    /// # Safety
    ///
    /// None is needed.
    pub(crate) unsafe fn syscall(_: usize, _: [usize; 6]) -> isize {
        -(libc::ENOSYS as isize)
    }

    pub(crate) fn restorer() -> usize {
        0
    }

    pub(crate) fn spawning() -> &'static AtomicU32 {
        &NONE
    }

    pub(crate) fn stub_to(_: usize, _: bool) -> Option<usize> {
        None
    }
}

/// Numbers of system calls that are looked at.
#[expect(clippy::cast_possible_truncation, reason = "numbers of system calls are small")]
pub(crate) mod nr {
    pub(crate) const PRCTL: usize = libc::SYS_prctl as usize;
    pub(crate) const SIGPROCMASK: usize = libc::SYS_rt_sigprocmask as usize;
    pub(crate) const SIGACTION: usize = libc::SYS_rt_sigaction as usize;
    pub(crate) const SIGSUSPEND: usize = libc::SYS_rt_sigsuspend as usize;
    pub(crate) const SIGALTSTACK: usize = libc::SYS_sigaltstack as usize;
    pub(crate) const SIGRETURN: usize = libc::SYS_rt_sigreturn as usize;
    pub(crate) const PPOLL: usize = libc::SYS_ppoll as usize;
    pub(crate) const PSELECT: usize = libc::SYS_pselect6 as usize;
    pub(crate) const EPOLL_PWAIT: usize = libc::SYS_epoll_pwait as usize;
    pub(crate) const EPOLL_PWAIT2: usize = libc::SYS_epoll_pwait2 as usize;
    pub(crate) const MMAP: usize = libc::SYS_mmap as usize;
    pub(crate) const BRK: usize = libc::SYS_brk as usize;
    pub(crate) const READ: usize = libc::SYS_read as usize;
    pub(crate) const WRITE: usize = libc::SYS_write as usize;
    pub(crate) const PREAD: usize = libc::SYS_pread64 as usize;
    pub(crate) const PWRITE: usize = libc::SYS_pwrite64 as usize;
    pub(crate) const READV: usize = libc::SYS_readv as usize;
    pub(crate) const WRITEV: usize = libc::SYS_writev as usize;
    pub(crate) const PREADV: usize = libc::SYS_preadv as usize;
    pub(crate) const PWRITEV: usize = libc::SYS_pwritev as usize;
    pub(crate) const PREADV2: usize = libc::SYS_preadv2 as usize;
    pub(crate) const PWRITEV2: usize = libc::SYS_pwritev2 as usize;
    pub(crate) const SENDTO: usize = libc::SYS_sendto as usize;
    pub(crate) const GETRANDOM: usize = libc::SYS_getrandom as usize;
    pub(crate) const MLOCK: usize = libc::SYS_mlock as usize;
    pub(crate) const MLOCK2: usize = libc::SYS_mlock2 as usize;
    pub(crate) const MLOCKALL: usize = libc::SYS_mlockall as usize;
    pub(crate) const CAPGET: usize = libc::SYS_capget as usize;
    pub(crate) const MUNLOCKALL: usize = libc::SYS_munlockall as usize;
    pub(crate) const MREMAP: usize = libc::SYS_mremap as usize;
    pub(crate) const MADVISE: usize = libc::SYS_madvise as usize;
    pub(crate) const SCHED_GETAFFINITY: usize = libc::SYS_sched_getaffinity as usize;
    pub(crate) const SCHED_SETAFFINITY: usize = libc::SYS_sched_setaffinity as usize;
    pub(crate) const CLONE: usize = libc::SYS_clone as usize;
    pub(crate) const CLONE3: usize = libc::SYS_clone3 as usize;
    #[cfg(target_arch = "x86_64")]
    pub(crate) const FORK: usize = libc::SYS_fork as usize;
    #[cfg(target_arch = "x86_64")]
    pub(crate) const VFORK: usize = libc::SYS_vfork as usize;
    #[cfg(target_arch = "x86_64")]
    pub(crate) const POLL: usize = libc::SYS_poll as usize;
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) const FORK: usize = usize::MAX;
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) const VFORK: usize = usize::MAX - 1;
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) const POLL: usize = usize::MAX - 2;
}
