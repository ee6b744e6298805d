//! Where the program allocates: the stack of each system call that maps much memory, if that is recorded.
//!
//! Calls trap for it from the start on (`dispatch`). The handler walks the stack by the tables for exceptions, which every
//! program has: it allocates nothing, and takes no lock but the loader's, which it may take again.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bifolio_sys::PAGE;
use bifolio_trace::{Kind, TOGETHER};

use crate::dispatch::gate::{self, nr};
use crate::dispatch::masks;
use crate::dispatch::trap::Call;
use crate::original::is_original;
use crate::start::{CONTROL, gauges_of_run};
use crate::thread;

/// Smaller mappings are not told: the C library maps more at a time for small blocks.
const LARGE: usize = 64 << 10;
/// Callers that are told at most.
const FRAMES: usize = TOGETHER - 1;

/// The end of the memory that grows by `brk`, as last seen.
static BREAK: AtomicUsize = AtomicUsize::new(0);

/// Callers of a call, the innermost first.
struct Stack {
    frames: [Kind; TOGETHER],
    len: usize,
}

#[expect(non_camel_case_types, reason = "named by the library for exceptions")]
type _Unwind_Reason_Code = c_int;
const GO_ON: _Unwind_Reason_Code = 0;
const END: _Unwind_Reason_Code = 5;

unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(
        each: extern "C-unwind" fn(*mut c_void, *mut c_void) -> _Unwind_Reason_Code,
        argument: *mut c_void,
    ) -> _Unwind_Reason_Code;
    fn _Unwind_GetIPInfo(context: *mut c_void, is_before: *mut c_int) -> usize;
}

/// Begins to record; `false` if calls cannot trap here.
pub(crate) fn begin(service: u32) -> bool {
    // Where only a parent may look at a process, its service may look at this one: where it waits in a fault. Where that is no
    // rule, the call is refused, and not needed.
    // SAFETY: no memory is concerned.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::c_ulong::from(service), 0, 0, 0) };
    masks::open();
    let armed = thread::arm();
    if armed {
        CONTROL.record_call_sites();
    }
    armed
}

/// Takes note of a system call that was made: of what it mapped, if that is much.
pub(crate) fn made(call: Call, answer: isize) {
    if !CONTROL.records_call_sites() || answer < 0 || !is_original() {
        return;
    }
    let Some((start, len)) = mapped(call, answer.cast_unsigned()) else { return };
    let Some(queue) = gauges_of_run().and_then(|gauges| gauges.call_sites()) else { return };
    let mut stack = Stack { frames: [Kind::Busy; TOGETHER], len: 0 };
    let argument: *mut Stack = &raw mut stack;
    // SAFETY: the stack is that of this thread, and the argument outlives the call.
    unsafe { _Unwind_Backtrace(take, argument.cast()) };
    let frames = u32::try_from(stack.len).unwrap_or(0);
    let pages = u32::try_from(len / PAGE).unwrap_or(u32::MAX);
    stack.frames[stack.len] = Kind::Allocated { address: start as u64, pages, frames };
    queue.put_together(thread::number(), &stack.frames[..=stack.len]);
}

/// The memory that a call has mapped, if it is data and large.
fn mapped(call: Call, answer: usize) -> Option<(usize, usize)> {
    let [_, len, size_now, flags, ..] = call.arguments;
    let whole = |len: usize| len.next_multiple_of(PAGE);
    let (start, len) = match call.number {
        nr::MMAP if flags & libc::MAP_ANONYMOUS as usize != 0 => (answer, whole(len)),
        nr::MREMAP => (answer, whole(size_now)),
        nr::BRK => {
            let before = BREAK.swap(answer, Relaxed);
            (before, answer.checked_sub(before).filter(|_| before != 0)?)
        }
        _ => return None,
    };
    (len >= LARGE).then_some((start, len))
}

/// Takes a caller.
extern "C-unwind" fn take(context: *mut c_void, argument: *mut c_void) -> _Unwind_Reason_Code {
    // SAFETY: what `made` passes, and nothing else uses meanwhile.
    let stack = unsafe { &mut *argument.cast::<Stack>() };
    let mut is_before = 0;
    // SAFETY: the library's own context, and a place of ours.
    let at = unsafe { _Unwind_GetIPInfo(context, &raw mut is_before) };
    if at == 0 || stack.len == FRAMES {
        return END;
    }
    // The handler, and what the kernel returns to from it.
    if !gate::is_own_code(at) {
        // Where a call returns to may be another line, or another function, than the call.
        let pc = (if is_before == 0 { at - 1 } else { at }) as u64;
        stack.frames[stack.len] = Kind::Frame { pc };
        stack.len += 1;
    }
    GO_ON
}
