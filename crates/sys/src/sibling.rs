//! A process that shares the memory of this one and nothing else: `clone(CLONE_VM)`.
//!
//! Unlike a thread it has descriptors, signals and a working directory of its own; the C library does not know of it, so
//! a program with one thread keeps the fast paths of such; and it is no child of this process but of its parent.
//!
//! ```text
//!   this thread              sibling
//!   TLS, thread pointer ---> ThreadImage: a copy        errno and thread-local variables are its own
//!   signal mask         ---> all blocked
//!   stack                    Mapping::common            not private memory, so nothing takes it for the program's
//! ```
//!
//! Code that runs there may use the C library as far as that takes no lock, allocates nothing and does not ask which
//! thread it is: the library takes it for the thread that was copied.

use crate::{AddressRange, MapError, Mapping, MapsFile, PAGE, Placement, SysError, raw};

/// Bytes below the thread pointer that are copied at most: thread-local variables.
const BELOW_MOST: usize = 1 << 20;
/// Bytes from the thread pointer on that are copied at most: the C library's own record of a thread.
const ABOVE_MOST: usize = PAGE;
/// Bytes of the stack.
const STACK: usize = 1 << 20;

/// Why there is no sibling.
#[derive(Debug, thiserror::Error)]
pub enum SiblingError {
    /// No memory for its stack or its thread-local variables.
    #[error("no memory for a service process")]
    Memory(#[from] MapError),
    /// The thread-local variables of this thread cannot be found.
    #[error("/proc cannot be read")]
    Maps(#[from] std::io::Error),
    /// The kernel refused.
    #[error("no service process: `ulimit -u` limits processes")]
    Clone(#[from] SysError),
}

/// Which descriptors a sibling has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptors {
    /// A copy of this process's table.
    Copied,
    /// This process's table.
    Shared,
}

/// A sibling that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Its process number.
    pub pid: u32,
    /// Its stack and its thread-local variables.
    pub memory: [AddressRange; 2],
}

/// Starts a sibling that runs `entry(argument)`.
///
/// # Errors
///
/// See [`SiblingError`]. On machines other than x86-64 always.
///
/// # Safety
///
/// 1. `entry` and all that it calls stay within the rules of this module for as long as it runs, which is until it ends
///    itself by [`exit`](crate::process::exit_now): it does not return;
/// 2. what it shares with this process, it shares as threads do.
pub unsafe fn start(
    entry: extern "C" fn(usize) -> !,
    argument: usize,
    descriptors: Descriptors,
) -> Result<Sibling, SiblingError> {
    let image = ThreadImage::of_this_thread()?;
    let stack = Mapping::common(STACK, Placement::Apart)?;
    for own in [&stack, &image.memory] {
        // In a core dump it is only in the way.
        let _: Result<(), SysError> = crate::advise::dontdump(own.all());
    }
    let before = raw::set_signal_mask(!0).map_err(SysError::of("rt_sigprocmask"))?;
    let top = stack.span().end();
    // SAFETY: 1. the stack and the image are mapped, and nothing else uses them; 2. the rest is the caller's duty.
    let started = unsafe { clone_memory(entry, argument, top, image.pointer, descriptors) };
    raw::set_signal_mask(before).map_err(SysError::of("rt_sigprocmask"))?;
    let pid = started.map_err(SysError::of("clone"))?;
    let memory = [stack.span(), image.memory.span()];
    // Both are in use until this process ends.
    stack.leak();
    image.memory.leak();
    Ok(Sibling { pid, memory })
}

/// A copy of this thread's thread-local variables, and of what the C library notes about it.
struct ThreadImage {
    memory: Mapping,
    pointer: usize,
}

impl ThreadImage {
    fn of_this_thread() -> Result<ThreadImage, SiblingError> {
        let pointer = thread_pointer();
        let around = mapping_around(pointer)?;
        let start = around.start().max(pointer.saturating_sub(BELOW_MOST) & !(PAGE - 1));
        let end = around.end().min((pointer + ABOVE_MOST).next_multiple_of(PAGE));
        let range = AddressRange::new(start, end - start).map_err(MapError::from)?;
        let memory = Mapping::common(range.len(), Placement::Apart)?;
        // SAFETY: it is only read here, and by raw loads.
        let original = unsafe { Mapping::adopt(range) };
        memory.all().copy_from(original.all()).map_err(MapError::from)?;
        let offset = pointer - start;
        let pointer = memory.span().start() + offset;
        // The first and the third word of the C library's record are its own address.
        for word in [0, 16] {
            memory.all().store_u64(offset + word, pointer as u64).map_err(MapError::from)?;
        }
        Ok(ThreadImage { memory, pointer })
    }
}

fn mapping_around(address: usize) -> Result<AddressRange, SiblingError> {
    let mut maps = MapsFile::open_own()?;
    let mut entries = maps.read()?;
    let found = entries.find(|entry| entry.range.contains(address));
    found.map(|entry| entry.range).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound).into())
}

/// Address of the C library's record of this thread.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the first word at the thread pointer is its own address, says the ABI of x86-64.
    unsafe {
        std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags));
    }
    pointer
}

/// Address of the C library's record of this thread.
#[cfg(target_arch = "aarch64")]
#[must_use]
pub fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem, preserves_flags))
    };
    pointer
}

/// Calls clone, and `entry` in the new process.
///
/// # Safety
///
/// `stack_top` is the end of a stack, and `thread_pointer` that of an image, which nothing else uses; see [`start`].
#[cfg(target_arch = "x86_64")]
unsafe fn clone_memory(
    entry: extern "C" fn(usize) -> !,
    argument: usize,
    stack_top: usize,
    thread_pointer: usize,
    descriptors: Descriptors,
) -> Result<u32, rustix::io::Errno> {
    use linux_raw_sys::general::{__NR_clone, CLONE_FILES, CLONE_PARENT, CLONE_SETTLS, CLONE_VM};
    let files = if descriptors == Descriptors::Shared { CLONE_FILES } else { 0 };
    let flags = CLONE_VM | CLONE_PARENT | CLONE_SETTLS | files;
    let result: isize;
    // SAFETY: 1. the convention of x86-64 Linux; 2. the new process starts after the instruction with the same registers
    // but the new stack, on which it calls `entry`, never to return; 3. this one goes on with its own stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") __NR_clone as isize => result,
            in("rdi") flags as usize,
            in("rsi") stack_top,
            in("rdx") 0_usize,
            in("r10") 0_usize,
            in("r8") thread_pointer,
            in("r12") entry as usize,
            in("r13") argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    raw::answer(result).map(|pid| u32::try_from(pid).unwrap_or(u32::MAX))
}

/// Not on this machine.
///
/// # Safety
///
/// None is needed.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone_memory(
    _: extern "C" fn(usize) -> !,
    _: usize,
    _: usize,
    _: usize,
    _: Descriptors,
) -> Result<u32, rustix::io::Errno> {
    Err(rustix::io::Errno::NOSYS)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
    use std::time::{Duration, Instant};

    use super::*;

    thread_local! {
        static LOCAL: Cell<u32> = const { Cell::new(1) };
    }

    static SEEN: AtomicU32 = AtomicU32::new(0);
    static POINTER: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn entry(argument: usize) -> ! {
        // Its own copy: what is written here is not seen by the thread that was copied.
        LOCAL.set(LOCAL.get() + 1);
        POINTER.store(thread_pointer(), SeqCst);
        SEEN.store(LOCAL.get() + u32::try_from(argument).unwrap_or(0), SeqCst);
        crate::process::exit_now(0)
    }

    #[test]
    fn sibling_shares_memory_but_not_thread_locals() {
        LOCAL.set(41);
        // SAFETY: `entry` uses neither locks nor the allocator.
        let sibling = unsafe { start(entry, 100, Descriptors::Copied) }.expect("a process");
        assert_ne!(sibling.pid, crate::process::pid());
        let begin = Instant::now();
        while SEEN.load(SeqCst) == 0 {
            assert!(begin.elapsed() < Duration::from_secs(20), "the sibling does not run");
            std::thread::yield_now();
        }
        assert_eq!((SEEN.load(SeqCst), LOCAL.get()), (142, 41));
        assert_ne!(POINTER.load(SeqCst), thread_pointer());
        assert!(sibling.memory[1].contains(POINTER.load(SeqCst)));
    }
}
