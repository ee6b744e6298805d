//! What the kernel does when a signal arrives: read, replaced, and done by hand.
//!
//! By the bare system call: `sigaction` of the C library is a symbol that the preload library has taken over.

use std::ffi::c_void;

use linux_raw_sys::general as uapi;
use rustix::io::Errno;

use crate::{process, raw};

/// The kernel's own way with a signal.
const DEFAULT: usize = 0;
/// The signal is dropped.
const IGNORE: usize = 1;

/// What runs when a signal arrives: its number, what is known of it, and the state of the thread.
pub(crate) type Handler = extern "C" fn(i32, *mut SigInfo, *mut c_void);

/// The beginning of the kernel's `siginfo_t`, as memory faults fill it in.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SigInfo {
    pub(crate) signal: i32,
    pub(crate) errno: i32,
    pub(crate) code: i32,
    _padding: i32,
    pub(crate) address: usize,
    /// Of lost memory: the logarithm of the bytes that are lost.
    pub(crate) lost_bits: i16,
}

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

const _: () = assert!(size_of::<Action>() == size_of::<uapi::kernel_sigaction>());
const _: () = assert!(std::mem::offset_of!(SigInfo, address) == 16);
const _: () = assert!(std::mem::offset_of!(SigInfo, lost_bits) == 24);

/// Where the signal mask of the interrupted thread is in what a handler gets as its third argument
/// (`include/uapi/asm-generic/ucontext.h`, and `arch/x86/include/uapi/asm/sigcontext.h` with 256 bytes of registers).
#[cfg(target_arch = "x86_64")]
const MASK_OFFSET: usize = 40 + 256;
#[cfg(target_arch = "aarch64")]
const MASK_OFFSET: usize = 40;

/// Where a handler returns to: x86-64 has no such place by itself. Debuggers and unwinders know the frame of a signal by the
/// bytes after the `nop`, and look one byte before them for what they belong to.
///
/// # Safety
///
/// Nothing calls it: it takes the stack for that of a handler that has returned.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn restore() {
    core::arch::naked_asm!("nop", "mov rax, 15", "syscall")
}

impl Action {
    /// Runs `handler` with the signals of `blocked` blocked (bit n-1 stands for signal n), on the stack of the thread.
    ///
    /// The signal itself is not blocked meanwhile, unless `blocked` has it. System calls that it interrupts go on.
    pub(crate) fn of(handler: Handler, blocked: u64) -> Action {
        let flags = (uapi::SA_SIGINFO | uapi::SA_NODEFER | uapi::SA_RESTART) as usize;
        #[cfg(target_arch = "x86_64")]
        let (flags, restorer) = (flags | uapi::SA_RESTORER as usize, restore as *const () as usize + 1);
        #[cfg(target_arch = "aarch64")]
        let restorer = 0;
        Action { handler: handler as usize, flags, restorer, mask: blocked }
    }

    /// The kernel's own way.
    pub(crate) const fn default() -> Action {
        Action { handler: DEFAULT, flags: 0, restorer: 0, mask: 0 }
    }

    /// Reads what is done for a signal.
    pub(crate) fn read(signal: i32) -> Result<Action, Errno> {
        let mut now = Action::default();
        // SAFETY: nothing is read, and `now` has room for what is written.
        unsafe { raw::sigaction(signal, 0, &raw mut now as usize) }?;
        Ok(now)
    }

    /// Lets this be done for a signal from now on, and returns what was done before.
    ///
    /// # Safety
    ///
    /// A handler must be sound wherever the signal may arrive.
    pub(crate) unsafe fn install(&self, signal: i32) -> Result<Action, Errno> {
        let mut before = Action::default();
        let (new, old) = (&raw const *self as usize, &raw mut before as usize);
        // SAFETY: 1. `new` is readable, and `old` has room; 2. the handler is the caller's duty, and the restorer is
        // what the kernel wants.
        unsafe { raw::sigaction(signal, new, old) }?;
        Ok(before)
    }

    /// Does for a signal that has arrived what this says, as if it had been installed. To be called last in a handler.
    ///
    /// # Safety
    ///
    /// 1. The kernel calls the calling handler with `info` and `context`, and has called no other for this signal since.
    /// 2. This was read from the kernel.
    pub(crate) unsafe fn perform(&self, info: *mut SigInfo, context: *mut c_void) {
        // SAFETY: the kernel's own record, says the caller.
        let &SigInfo { signal, code, .. } = unsafe { &*info };
        match self.handler {
            // What the kernel raises for an access cannot be ignored: it would be raised again for ever.
            IGNORE if !is_of_access(code) => {}
            DEFAULT | IGNORE => {
                // SAFETY: of the caller.
                unsafe { end_by(signal, info) };
            }
            handler => {
                let mask = context.wrapping_byte_add(MASK_OFFSET).cast::<u64>();
                // SAFETY: the context is the kernel's, which has the mask there, aligned.
                let interrupted = unsafe { mask.read() };
                let itself = if self.has(uapi::SA_NODEFER) { 0 } else { bit(signal) };
                // Refused by no kernel that knows the call.
                let _: Result<u64, Errno> = raw::set_signal_mask(interrupted | self.mask | itself);
                // SAFETY: whoever installed it gave a function of this form, or of fewer arguments, which it leaves
                // where they are.
                let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
                handler(signal, info, context);
            }
        }
    }

    /// Whether it holds for one signal only.
    pub(crate) fn is_for_once(&self) -> bool {
        self.has(uapi::SA_RESETHAND)
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag as usize != 0
    }
}

/// Whether a SIGBUS of this code comes from an access of the thread, which would be made again.
fn is_of_access(code: i32) -> bool {
    (uapi::BUS_ADRALN as i32..=uapi::BUS_MCEERR_AR as i32).contains(&code)
}

/// Lets the kernel end the process by a signal, as the handler that it has called returns, with the state of the thread as it
/// was where the signal came.
///
/// # Safety
///
/// The kernel has called the calling handler with `info`.
unsafe fn end_by(signal: i32, info: *mut SigInfo) {
    // SAFETY: no handler is installed.
    let _: Result<Action, Errno> = unsafe { Action::default().install(signal) };
    let _: Result<u64, Errno> = raw::block_signals(bit(signal));
    let (pid, thread) = (process::pid(), process::thread_id());
    // Not refused: a process may send itself every record. Without memory for it, the signal comes without.
    // SAFETY: the kernel's own record, as long as it wants, says the caller.
    let _: Result<(), Errno> = unsafe { raw::signal_this_thread(pid, thread, signal, info as usize) };
}

/// The place of a signal in a mask.
pub(crate) const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}
