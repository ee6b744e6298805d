//! Affinities that the program sees, sets and hands on to children are its own, although the service places a thread that waits
//! for a page for as long as that wakes.

use std::ffi::c_int;

use crate::next::next;
use crate::original::is_original;
use crate::start::CONTROL;

/// Waits until every thread has its own affinity.
pub(crate) fn settle() {
    if is_original() {
        CONTROL.placed().settle();
    }
}

/// From here on no thread of the program is placed by the service.
pub(crate) fn program_places() {
    if is_original() {
        CONTROL.placed().program_places();
    }
}

macro_rules! affinity {
    ($name:ident, $thread:ty, $mask:ty, $before:ident) => {
        #[cfg_attr(not(test), unsafe(no_mangle))]
        unsafe extern "C" fn $name(thread: $thread, size: usize, mask: $mask) -> c_int {
            $before();
            next!($name(thread => $thread, size => usize, mask => $mask) -> c_int)
        }
    };
}

affinity!(sched_getaffinity, libc::pid_t, *mut libc::cpu_set_t, settle);
affinity!(pthread_getaffinity_np, libc::pthread_t, *mut libc::cpu_set_t, settle);
affinity!(sched_setaffinity, libc::pid_t, *const libc::cpu_set_t, program_places);
affinity!(pthread_setaffinity_np, libc::pthread_t, *const libc::cpu_set_t, program_places);
