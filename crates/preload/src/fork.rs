//! Forks that go through the C library: the child gets every byte, and runs on plain memory.
//!
//! ```text
//!   before   the service writes a plan for the child; from here on this thread's system calls trap
//!   clone    traps; in the child the plan is followed before anything else runs there
//!   parent   the service goes on
//! ```
//!
//! The C library touches memory in the child before it calls us: files, locks of its allocator. So the call itself is made
//! here. Where calls cannot trap, everything comes home before the fork.
//!
//! `vfork` and `posix_spawn` share the memory until the new program runs; they need nothing. A child that was made by a bare
//! system call gets nothing of what is managed, and dies of SIGSEGV there: zeros would be worse.

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;

use bifolio_host::in_place::{Request, follow_plan};
use bifolio_sys::ProgramMemory;
use libc::ucontext_t;

use crate::affinity;
use crate::dispatch::gate;
use crate::dispatch::masks;
use crate::dispatch::trap::{Call, mask_of};
use crate::next::next;
use crate::original::is_original;
use crate::start::{CONTROL, say};

thread_local! {
    /// Address of the plan for the child that this thread forks; 0 if it needs none.
    static PLAN: Cell<usize> = const { Cell::new(0) };
    /// Whether this thread's calls trap because it forks.
    static TRAPPING: Cell<bool> = const { Cell::new(false) };
}

/// What the kernel looks at while calls of a thread that forks trap.
static SELECTOR: u8 = 1;

/// Asks the C library to call us around forks.
pub(crate) fn register() {
    // SAFETY: the functions are there until the process ends.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// Asks the service, by a touch of its wake page.
pub(crate) fn call(request: Request) -> usize {
    let _deferred = masks::Deferred::begin();
    CONTROL.call(request, |page| {
        let page: *const u8 = std::ptr::with_exposed_provenance(page);
        // SAFETY: the page stays mapped; reading it waits for the service.
        let _: u8 = unsafe { page.read_volatile() };
    })
}

extern "C" fn before() {
    if !is_original() {
        return;
    }
    affinity::settle();
    if CONTROL.begin_fork() && !calls_trap() {
        PLAN.set(call(Request::Fork));
        masks::open();
        TRAPPING.set(gate::arm(&raw const SELECTOR));
        if !TRAPPING.get() {
            call(Request::BringAllHome(false));
        }
    }
    set_errno(0);
}

/// Where only faults of user mode are caught, calls trap anyway while something is registered: waits until they do.
fn calls_trap() -> bool {
    if CONTROL.records_call_sites() {
        return true;
    }
    while CONTROL.is_user_mode() && CONTROL.is_engaged() {
        if CONTROL.selector().load(SeqCst) != 0 {
            return true;
        }
        std::thread::yield_now();
    }
    CONTROL.is_user_mode()
}

/// Makes the child. It goes on where the call was made, with every byte.
pub(crate) fn fork_from_trap(made: Call, context: &mut ucontext_t) -> isize {
    let announced = TRAPPING.replace(false);
    if announced {
        gate::disarm();
    } else {
        PLAN.set(call(Request::Fork));
    }
    let mask = *mask_of(context);
    if announced {
        *mask_of(context) = masks::believed(mask);
    }
    affinity::settle();
    let answer = made.pass();
    if answer == 0 {
        // Its calls pass.
        *mask_of(context) = masks::believed(mask);
        fill_child();
    } else if !announced {
        call(Request::Forked(PLAN.replace(0), usize::from(answer > 0)));
    }
    answer
}

fn fill_child() {
    let plan = PLAN.replace(0);
    if plan == 0 {
        return;
    }
    // SAFETY: the plan names memory of the program only.
    let memory = unsafe { ProgramMemory::take() };
    if follow_plan(&memory, plan).is_err() {
        say("bifolio: a forked child could not get its memory, and is ended\n");
        bifolio_sys::process::kill_now(bifolio_sys::process::pid());
    }
}

extern "C" fn in_parent() {
    if !is_original() {
        return;
    }
    if TRAPPING.replace(false) {
        gate::disarm();
    }
    // The C library leaves what the system call said.
    let done = errno() == 0;
    let plan = PLAN.replace(0);
    if plan != 0 {
        call(Request::Forked(plan, usize::from(done)));
    }
    CONTROL.end_fork();
}

/// Only where calls do not trap: then the child has everything, and says so.
extern "C" fn in_child() {
    fill_child();
}

/// Makes a child without calling handlers of forks, ours among them.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, expect(non_snake_case, reason = "the name in C"))]
unsafe extern "C" fn _Fork() -> libc::pid_t {
    before();
    let child = next!(_Fork() -> libc::pid_t);
    if child == 0 {
        in_child();
    } else {
        in_parent();
    }
    child
}

fn errno() -> i32 {
    // SAFETY: the C library returns the place of this thread's `errno`.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's own.
    unsafe { place.read() }
}

pub(crate) fn set_errno(value: i32) {
    // SAFETY: as above.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's own.
    unsafe { place.write(value) };
}
