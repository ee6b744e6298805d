//! Threads: their stacks hold the C library's record of them, and stay at home. Where calls come to us first, so do those of
//! each thread.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{
    AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, Ordering::SeqCst,
};

use bifolio_host::gauges::Gauges;
use bifolio_host::in_place::Request;
use bifolio_sys::{USER_SPACE, process, sibling};

use crate::affinity;
use crate::dispatch::trap::{Call, prepared};
use crate::dispatch::{gate, masks};
use crate::fork::call as ask;
use crate::next::next;
use crate::original::is_original;
use crate::start::{CONTROL, gauges_of_run};

type Begin = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// What a thread that begins is to run. Free while `begin` is 0.
struct Handover {
    begin: AtomicUsize,
    argument: AtomicUsize,
}

/// Threads that begin at the same time, and are known.
const HANDOVERS: usize = 256;
static HANDED: [Handover; HANDOVERS] =
    [const { Handover { begin: AtomicUsize::new(0), argument: AtomicUsize::new(0) } }; HANDOVERS];

thread_local! {
    /// Number of this thread, and its place in the control block plus one; 0 before they are known.
    static NUMBER: Cell<u32> = const { Cell::new(0) };
    static PLACE: Cell<usize> = const { Cell::new(0) };
    /// Where the stack of this thread was when it said that it lets another program run; 0 if it has not, or that is over.
    static SPAWN_ANNOUNCED: Cell<usize> = const { Cell::new(0) };
}

/// Number of this thread.
pub(crate) fn number() -> u32 {
    if NUMBER.get() == 0 {
        NUMBER.set(process::thread_id());
    }
    NUMBER.get()
}

/// Makes this thread known to the service.
pub(crate) fn become_known() {
    NUMBER.set(process::thread_id());
    let place = CONTROL.know_thread(number(), sibling::thread_pointer());
    PLACE.set(place.map_or(0, |place| place + 1));
}

/// Answers a signal of the service, for a thread that began past our `pthread_create`: it becomes known, and its calls come to us.
/// `false` for any other signal.
pub(crate) fn join(info: &libc::siginfo_t) -> bool {
    let service = gauges_of_run().and_then(Gauges::service);
    // SAFETY: a signal that was sent by `tgkill` has the sender's number.
    let from_service = info.si_code == libc::SI_TKILL
        && service.is_some_and(|service| i32::try_from(service) == Ok(unsafe { info.si_pid() }));
    let pointer = sibling::thread_pointer();
    // Where the pointer is another thread's, so are its variables: that is no thread of the C library.
    if from_service && PLACE.get() == 0 && is_original() && !CONTROL.knows_pointer(pointer) {
        become_known();
        arm();
        if CONTROL.is_engaged() {
            ask(Request::KeepStack(pointer));
        }
    }
    from_service
}

/// Lets calls of this thread come to us while the control block says so.
pub(crate) fn arm() -> bool {
    gate::arm(CONTROL.selector().as_ptr())
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    begin: Begin,
    argument: *mut c_void,
) -> c_int {
    let taken =
        |handover: &&Handover| handover.begin.compare_exchange(0, begin as usize, Relaxed, Relaxed).is_ok();
    let handover = is_original().then(|| HANDED.iter().find(taken)).flatten();
    affinity::settle();
    let Some(handover) = handover else {
        return next!(pthread_create(thread => *mut libc::pthread_t, attributes => *const libc::pthread_attr_t,
            begin => Begin, argument => *mut c_void) -> c_int);
    };
    handover.argument.store(argument.expose_provenance(), Release);
    let ours: *mut c_void = std::ptr::from_ref(handover).cast_mut().cast();
    // Until the thread is known, its stack looks like any memory: where the kernel's own faults are not caught, nothing may be
    // evicted or registered meanwhile. It is counted once for that thread, and once for this one, which blocks all signals.
    let counts = 2 * u32::from(CONTROL.is_user_mode());
    gate::spawning().fetch_add(counts, SeqCst);
    let result = next!(pthread_create(thread => *mut libc::pthread_t,
        attributes => *const libc::pthread_attr_t, known => Begin, ours => *mut c_void) -> c_int);
    if result == 0 {
        gate::spawning().fetch_sub(counts / 2, SeqCst);
    } else {
        handover.begin.store(0, Release);
        gate::spawning().fetch_sub(counts, SeqCst);
    }
    result
}

/// Runs what a thread was made for, once it is known.
extern "C-unwind" fn known(handover: *mut c_void) -> *mut c_void {
    let handover: *const Handover = handover.cast_const().cast();
    // SAFETY: one of the table's, handed to this thread alone.
    let handover = unsafe { &*handover };
    let argument = std::ptr::with_exposed_provenance_mut(handover.argument.load(Acquire));
    let begin = handover.begin.swap(0, Relaxed);
    // SAFETY: `pthread_create` put it there.
    let begin: Begin = unsafe { std::mem::transmute(begin) };
    become_known();
    if CONTROL.is_user_mode() {
        arm();
        if CONTROL.is_engaged() {
            ask(Request::KeepStack(sibling::thread_pointer()));
        }
        gate::spawning().fetch_sub(1, SeqCst);
    } else if CONTROL.records_call_sites() {
        masks::open();
        arm();
    }
    begin(argument)
}

/// Says that this thread is about to let another program run in this memory, in a function whose variables are at `frame`;
/// undone by [`end_spawn`], or by the stub of the call that does it.
pub(crate) fn announce_spawn(frame: usize) {
    if SPAWN_ANNOUNCED.replace(frame) == 0 {
        gate::spawning().fetch_add(1, SeqCst);
        CONTROL.hazards().wait_for_eviction();
    }
}

/// Says that it has not come to it.
pub(crate) fn end_spawn() {
    if SPAWN_ANNOUNCED.replace(0) != 0 {
        gate::spawning().fetch_sub(1, SeqCst);
    }
}

/// Ends it for a thread whose stack is further up now: it has left the function by a jump.
pub(crate) fn end_spawn_left_from(stack: usize) {
    if SPAWN_ANNOUNCED.get() < stack {
        end_spawn();
    }
}

/// A call lets another program run in this memory now.
pub(crate) fn begin_spawn() {
    if SPAWN_ANNOUNCED.replace(0) == 0 {
        gate::spawning().fetch_add(1, SeqCst);
        CONTROL.hazards().wait_for_eviction();
    }
}

/// `sigaltstack`: the kernel puts the frames of handlers there, so it stays at home. The stack that is `restored` as the
/// handler of this call returns is the new one.
pub(crate) fn change_signal_stack(call: Call, restored: &mut libc::stack_t) -> isize {
    let answer = prepared(call);
    let new: *const libc::stack_t = std::ptr::with_exposed_provenance(call.arguments[0]);
    if answer == 0 && !new.is_null() {
        // SAFETY: the kernel has just read it.
        let new = unsafe { new.read_unaligned() };
        *restored = new;
        keep_signal_stack(&new);
    }
    answer
}

fn keep_signal_stack(stack: &libc::stack_t) {
    let off = stack.ss_flags & libc::SS_DISABLE != 0;
    let start = stack.ss_sp.addr();
    let end = start.saturating_add(stack.ss_size).min(USER_SPACE).next_multiple_of(4096);
    let range = if off { 0..0 } else { start & !4095..end };
    let len = range.len();
    if PLACE.get() > 0 && CONTROL.keep(PLACE.get() - 1, range) && CONTROL.is_engaged() && len > 0 {
        ask(Request::Ready(start & !4095, len));
    }
}

#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn sigaltstack(new: *const libc::stack_t, old: *mut libc::stack_t) -> c_int {
    let result = next!(sigaltstack(new => *const libc::stack_t, old => *mut libc::stack_t) -> c_int);
    if result == 0 && is_original() && CONTROL.is_user_mode() {
        // SAFETY: null, or read by the call just now.
        if let Some(new) = unsafe { new.as_ref() } {
            keep_signal_stack(new);
        }
    }
    result
}
