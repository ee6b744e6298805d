//! Programs that are started: where the kernel's own faults are not caught, what it is to read of this memory is touched
//! before, and stays until the new program runs.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::affinity;
use crate::next::next;
use crate::original::is_original;
use crate::start::CONTROL;
use crate::thread;

type Strings = *const *mut c_char;

unsafe extern "C" {
    static mut environ: Strings;
}

/// Tells whether memory that the kernel reads may be away.
fn may_be_away() -> bool {
    is_original() && CONTROL.is_user_mode() && CONTROL.is_engaged()
}

/// Keeps everything at home while a program is started.
struct Spawning(bool);

impl Spawning {
    /// Begins in a function whose variables are at `frame`.
    fn begin(frame: &u8) -> Spawning {
        let away = may_be_away();
        if away {
            thread::announce_spawn(std::ptr::from_ref(frame).addr());
        }
        Spawning(away)
    }
}

impl Drop for Spawning {
    fn drop(&mut self) {
        if self.0 {
            thread::end_spawn();
        }
    }
}

/// Touches a string.
///
/// # Safety
///
/// Null or a string.
unsafe fn touch(text: *const c_char) {
    if !text.is_null() {
        // SAFETY: a string, says the caller.
        std::hint::black_box(unsafe { CStr::from_ptr(text) }.to_bytes().len());
    }
}

/// Touches an array of strings.
///
/// # Safety
///
/// Null or an array that ends with null.
pub(crate) unsafe fn touch_all(mut strings: Strings) {
    while !strings.is_null() {
        // SAFETY: within the array.
        let text = unsafe { *strings };
        if text.is_null() {
            return;
        }
        // SAFETY: an entry of the array.
        unsafe { touch(text) };
        // SAFETY: it was not the last.
        strings = unsafe { strings.add(1) };
    }
}

/// Touches what an `execve` in a child of `vfork` is to read, and lets no thread hand on an affinity that is not its own.
///
/// # Safety
///
/// As the contract of `execve`.
pub(crate) unsafe fn touch_for_exec(path: *const c_char, arguments: Strings, environment: Strings) {
    if may_be_away() {
        // SAFETY: passed on to the caller.
        unsafe { touch(path) };
        // SAFETY: passed on to the caller.
        unsafe { touch_all(arguments) };
        // SAFETY: passed on to the caller.
        unsafe { touch_all(environment) };
    }
    // Last: a fault may place this thread.
    affinity::settle();
}

/// Touches the environment: a child of `vfork` hands it on by functions of the C library that call the kernel without us, as `execl`
/// does.
pub(crate) fn touch_environment() {
    // SAFETY: the program's own environment, which a thread may not change while another one reads it.
    let environment = unsafe { environ };
    // SAFETY: as above.
    unsafe { touch_all(environment) };
}

macro_rules! spawns {
    ($name:ident) => {
        #[cfg_attr(not(test), unsafe(no_mangle))]
        unsafe extern "C" fn $name(
            process: *mut libc::pid_t,
            path: *const c_char,
            actions: *const c_void,
            attributes: *const c_void,
            arguments: Strings,
            environment: Strings,
        ) -> c_int {
            let frame = 0;
            let _spawning = Spawning::begin(&frame);
            // SAFETY: passed on to the caller.
            unsafe { touch_for_exec(path, arguments, environment) };
            next!($name(process => *mut libc::pid_t, path => *const c_char, actions => *const c_void,
                attributes => *const c_void, arguments => Strings, environment => Strings) -> c_int)
        }
    };
}

spawns!(posix_spawn);
spawns!(posix_spawnp);

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn system(command: *const c_char) -> c_int {
    let frame = 0;
    let _spawning = Spawning::begin(&frame);
    // SAFETY: the program's own environment.
    let environment = unsafe { environ };
    // SAFETY: a string, says the caller.
    unsafe { touch_for_exec(command, std::ptr::null(), environment) };
    next!(system(command => *const c_char) -> c_int)
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn popen(command: *const c_char, kind: *const c_char) -> *mut c_void {
    let frame = 0;
    let _spawning = Spawning::begin(&frame);
    // SAFETY: the program's own environment.
    let environment = unsafe { environ };
    // SAFETY: strings, says the caller.
    unsafe { touch_for_exec(command, std::ptr::null(), environment) };
    next!(popen(command => *const c_char, kind => *const c_char) -> *mut c_void)
}
