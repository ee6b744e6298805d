//! Signals that end the program with a core dump: first everything comes home, since a dump holds what is at home.
//!
//! Where the program leaves such a signal to the kernel, our handler stands, and `sigaction` says that none does. It lets
//! the kernel's way take its course afterwards, with the same signal at the same place. A child, and a program that replaces
//! the program, have the kernel's way at once.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bifolio_host::in_place::Request;
use bifolio_sys::process;
use libc::{sigaction as Action, sighandler_t, siginfo_t};

use crate::dispatch::{masks, trap};
use crate::fork::{call, set_errno};
use crate::next::next;
use crate::original::is_original;
use crate::start::CONTROL;

/// Signals whose default is a core dump.
const DUMPING: [c_int; 9] = [
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// A program reads dumps of this machine, whatever the limit of their size says.
static DUMPS_ARE_PIPED: AtomicBool = AtomicBool::new(false);

/// What the program wants of SIGSYS, whose handler is always ours.
static SIGSYS: Mutex<Wanted> = Mutex::new(Wanted { handler: libc::SIG_DFL, flags: 0, mask: 0 });

#[derive(Clone, Copy)]
struct Wanted {
    handler: sighandler_t,
    flags: c_int,
    mask: u64,
}

/// Puts our handlers where the kernel's way stands.
pub(crate) fn prepare() {
    trap::install();
    let pattern = std::fs::read("/proc/sys/kernel/core_pattern").unwrap_or_default();
    DUMPS_ARE_PIPED.store(pattern.first() == Some(&b'|'), Relaxed);
    for signal in DUMPING {
        let mut now = MaybeUninit::<Action>::uninit();
        // SAFETY: the place is writable, and nothing is changed.
        if unsafe { real_sigaction(signal, ptr::null(), now.as_mut_ptr()) } != 0 {
            continue;
        }
        // SAFETY: written by the call.
        let now = unsafe { now.assume_init() };
        if now.sa_sigaction == libc::SIG_DFL {
            // SAFETY: the handler stays, and does what is allowed in handlers.
            unsafe { real_sigaction(signal, &ours(), ptr::null_mut()) };
        }
    }
}

/// The C library's `sigaction`.
///
/// # Safety
///
/// As its contract in C.
unsafe fn real_sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int {
    next!(sigaction(signal => c_int, new => *const Action, old => *mut Action) -> c_int)
}

fn ours() -> Action {
    // SAFETY: all fields are numbers, and zero is a value of each.
    let mut action: Action = unsafe { std::mem::zeroed() };
    action.sa_sigaction = dump as *const () as sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    action
}

fn is_ours(action: &Action) -> bool {
    action.sa_sigaction == dump as *const () as sighandler_t
}

/// Called for a signal that the program leaves to the kernel.
unsafe extern "C" fn dump(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    if is_original() && CONTROL.is_engaged() && dumps() {
        call(Request::BringAllHome(true));
    }
    // SAFETY: all fields are numbers, and zero is the kernel's own way.
    let default: Action = unsafe { std::mem::zeroed() };
    // SAFETY: the action is readable.
    unsafe { real_sigaction(signal, &default, ptr::null_mut()) };
    // Delivered as this handler returns, where the signal came.
    let (process, thread) = (process::pid(), process::thread_id());
    // SAFETY: the record is the one that was given; sent to this very thread.
    unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, signal, info) };
}

/// Tells whether a dump would be written.
fn dumps() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place is writable.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
    limit.rlim_cur != 0 || DUMPS_ARE_PIPED.load(Relaxed)
}

/// A SIGSYS that no call of ours has raised: it is the program's.
///
/// # Safety
///
/// As the kernel calls a handler.
pub(crate) unsafe fn foreign_sigsys(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let wanted = *wanted_sigsys();
    match wanted.handler {
        // SAFETY: as we were called.
        libc::SIG_DFL => unsafe { dump(signal, info, context) },
        libc::SIG_IGN => {}
        handler => {
            // SAFETY: the program gave a handler of this form.
            let handler: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            // SAFETY: as we were called.
            unsafe { handler(signal, info, context) };
        }
    }
}

fn wanted_sigsys() -> MutexGuard<'static, Wanted> {
    SIGSYS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `sigaction` of SIGSYS: noted, and told again.
///
/// # Safety
///
/// As the contract of `sigaction` in C.
unsafe fn note_sigsys(new: *const Action, old: *mut Action) -> c_int {
    let mut wanted = wanted_sigsys();
    let before = *wanted;
    // SAFETY: null or readable, says the caller.
    if let Some(new) = unsafe { new.as_ref() } {
        // SAFETY: the kernel's mask is the first 8 bytes.
        let mask = unsafe { (&raw const new.sa_mask).cast::<u64>().read() };
        *wanted = Wanted { handler: new.sa_sigaction, flags: new.sa_flags, mask };
    }
    drop(wanted);
    // SAFETY: null or writable, says the caller.
    if let Some(old) = unsafe { old.as_mut() } {
        // SAFETY: all fields are numbers, and zero is a value of each.
        *old = unsafe { std::mem::zeroed() };
        (old.sa_sigaction, old.sa_flags) = (before.handler, before.flags);
        // SAFETY: as above.
        unsafe { (&raw mut old.sa_mask).cast::<u64>().write(before.mask) };
    }
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn sigaction(signal: c_int, new: *const Action, old: *mut Action) -> c_int {
    if signal == libc::SIGSYS && is_original() {
        // SAFETY: passed on to the caller.
        return unsafe { note_sigsys(new, old) };
    }
    let ours = ours();
    // SAFETY: null or readable, says the caller.
    let resets = unsafe { new.as_ref() }.is_some_and(|new| new.sa_sigaction == libc::SIG_DFL);
    let stands = is_original() && DUMPING.contains(&signal);
    // SAFETY: null or readable, says the caller.
    let open = unsafe { new.as_ref() }.filter(|_| is_original() && CONTROL.is_user_mode()).map(|new| {
        let mut open = *new;
        // A handler that blocked it could make no call that traps.
        // SAFETY: the mask is writable.
        unsafe { libc::sigdelset(&raw mut open.sa_mask, libc::SIGSYS) };
        open
    });
    let new = open.as_ref().map_or(new, std::ptr::from_ref);
    let new = if stands && resets { &raw const ours } else { new };
    // SAFETY: passed on to the caller.
    let result = unsafe { real_sigaction(signal, new, old) };
    // SAFETY: null or writable, says the caller, and written by the call.
    if let Some(old) = unsafe { old.as_mut() }.filter(|old| result == 0 && is_ours(old)) {
        // SAFETY: all fields are numbers, and zero is the kernel's own way.
        *old = unsafe { std::mem::zeroed() };
    }
    result
}

/// Changes this thread's mask where calls may trap: SIGSYS stays open. Returns an error number.
///
/// # Safety
///
/// As the contract of `pthread_sigmask`.
unsafe fn change_mask(how: c_int, new: *const u64, old: *mut u64) -> c_int {
    // SAFETY: null or readable, says the caller.
    let new = (!new.is_null()).then(|| unsafe { new.read_unaligned() });
    let Some(before) = masks::change_now(how, new) else { return libc::EINVAL };
    if !old.is_null() {
        // SAFETY: writable, says the caller.
        unsafe { old.write_unaligned(before) };
    }
    0
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn pthread_sigmask(
    how: c_int,
    new: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> c_int {
    if is_original() && CONTROL.is_user_mode() {
        // SAFETY: passed on to the caller.
        return unsafe { change_mask(how, new.cast(), old.cast()) };
    }
    next!(pthread_sigmask(how => c_int, new => *const libc::sigset_t, old => *mut libc::sigset_t) -> c_int)
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn sigprocmask(how: c_int, new: *const libc::sigset_t, old: *mut libc::sigset_t) -> c_int {
    if is_original() && CONTROL.is_user_mode() {
        // SAFETY: passed on to the caller.
        let error = unsafe { change_mask(how, new.cast(), old.cast()) };
        if error != 0 {
            set_errno(error);
            return -1;
        }
        return 0;
    }
    next!(sigprocmask(how => c_int, new => *const libc::sigset_t, old => *mut libc::sigset_t) -> c_int)
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t {
    if !is_original() || !(DUMPING.contains(&signal) || signal == libc::SIGSYS) {
        return next!(signal(signal => c_int, handler => sighandler_t) -> sighandler_t);
    }
    // What the C library's function is: restarting, and blocking the signal itself.
    // SAFETY: all fields are numbers, and zero is a value of each.
    let mut new: Action = unsafe { std::mem::zeroed() };
    let mut old = new;
    new.sa_sigaction = handler;
    new.sa_flags = libc::SA_RESTART;
    // SAFETY: the mask is writable.
    unsafe { libc::sigaddset(&raw mut new.sa_mask, signal) };
    // SAFETY: both are in place.
    let result = unsafe { sigaction(signal, &raw const new, &raw mut old) };
    if result == 0 { old.sa_sigaction } else { libc::SIG_ERR }
}
