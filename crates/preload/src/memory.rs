//! Calls on memory that the kernel does not tell of, or that would meet memory of ours.
//!
//! ```text
//!   madvise    guards, and what children are to find: the service is told
//!   mremap     of several mappings: the kernel moves only such as no userfaultfd has
//!   mlock      of memory that is away: the kernel gives up at it, for an ordinary user
//!   mlockall   would lock the store as well, and count it
//!   mmap, brk  while more is resident than may be: they wait for room, where calls trap
//! ```
//!
//! Each makes the program's own call in the end, and gives the kernel's answer. Bare system calls come here only where calls
//! trap.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};

use bifolio_host::in_place::{DOFORK, DONTFORK, GUARD_INSTALL, NextMapping, Request, WIPEONFORK};
use bifolio_sys::USER_SPACE;

use crate::dispatch::gate::{self, nr};
use crate::dispatch::masks::Deferred;
use crate::dispatch::ready;
use crate::dispatch::trap::{Call, prepared};
use crate::fork::call as ask;
use crate::own;
use crate::start::CONTROL;

const PAGE: usize = bifolio_sys::PAGE;

/// While it is there, nothing is evicted or registered.
struct Quiet {
    _deferred: Deferred,
}

impl Quiet {
    fn begin() -> Quiet {
        let deferred = Deferred::begin();
        gate::spawning().fetch_add(1, SeqCst);
        Quiet { _deferred: deferred }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        gate::spawning().fetch_sub(1, SeqCst);
    }
}

/// Tells whether this `madvise` concerns the service.
pub(crate) fn is_watched(call: Call) -> bool {
    matches!(call.arguments[2], DOFORK | DONTFORK | GUARD_INSTALL | WIPEONFORK)
}

/// `madvise` that concerns the service. What it refuses at a hole, or at a mapping that cannot be so, it has done before that.
pub(crate) fn advise(call: Call) -> isize {
    let [start, len, advice, ..] = call.arguments;
    let whole = len.checked_next_multiple_of(PAGE).filter(|len| start.checked_add(*len).is_some());
    let concerns = |len: &usize| *len > 0 && start.is_multiple_of(PAGE) && start < USER_SPACE;
    let Some(len) = whole.filter(concerns) else { return call.pass() };
    let _quiet = Quiet::begin();
    if advice == GUARD_INSTALL {
        // The kernel drops what it finds; a page that is away would come back over the guard, and so would zeros at a touch of
        // before.
        ask(Request::ExpectGuards(start, len));
    }
    if advice == DONTFORK {
        KEEPS_FROM_CHILDREN.store(true, Relaxed);
    }
    let answer = call.pass();
    ask(Request::Advised(advice, start, len));
    answer
}

/// The program has kept memory from its children.
static KEEPS_FROM_CHILDREN: AtomicBool = AtomicBool::new(false);

/// Calls that map more. Of what is new no fault tells, so they wait themselves.
pub(crate) fn grow(call: Call) -> isize {
    if CONTROL.is_engaged() && CONTROL.is_exceeded() {
        ask(Request::Room);
    }
    prepared(call)
}

/// `mremap`.
pub(crate) fn remap(call: Call) -> isize {
    let [start, len, new_len, ..] = call.arguments;
    let _quiet = Quiet::begin();
    if CONTROL.is_engaged() && start.is_multiple_of(PAGE) && len > PAGE {
        ask(Request::Leave(start, len.saturating_add(PAGE - 1) & !(PAGE - 1)));
    }
    let answer = call.pass();
    if KEEPS_FROM_CHILDREN.load(Relaxed) {
        ask(Request::Remapped);
    }
    if CONTROL.is_engaged() && new_len > len && !(-4095..0).contains(&answer) {
        // The kernel has registered what it has grown by, and tells nothing of it.
        ask(Request::Grown(answer.cast_unsigned(), new_len.saturating_add(PAGE - 1) & !(PAGE - 1)));
    }
    answer
}

/// `mlock` and `mlock2`, where the kernel's own touches are no faults of ours. What is locked on fault is refused for the same
/// reasons, and does not go any more.
pub(crate) fn lock(call: Call) -> isize {
    let [start, len, flags, ..] = call.arguments;
    let _quiet = Quiet::begin();
    let arguments = [start, len, usize::try_from(libc::MLOCK_ONFAULT).unwrap_or_default(), 0, 0, 0];
    let touches = call.number == nr::MLOCK || flags == 0;
    if touches && (Call { number: nr::MLOCK2, arguments }).pass() == 0 {
        ready::whole(start..start.saturating_add(len));
    }
    call.pass()
}

/// `mlockall`: what is the program's now is locked mapping by mapping.
pub(crate) fn lock_all(call: Call) -> isize {
    let [flags, ..] = call.arguments;
    let has = |flag: i32| flags & usize::try_from(flag).unwrap_or_default() != 0;
    let now = has(libc::MCL_CURRENT);
    if !now || !is_valid(flags) {
        return call.pass();
    }
    if !may_lock(mappings().map(|mapping| mapping.len).sum()) {
        // It is more with ours.
        return call.pass();
    }
    let _quiet = Quiet::begin();
    if CONTROL.is_engaged() {
        ask(Request::Release);
    }
    // What comes later is as the call says, also where an earlier one said otherwise.
    let later = flags & !usize::try_from(libc::MCL_CURRENT).unwrap_or_default();
    let first = if has(libc::MCL_FUTURE) {
        Call { number: nr::MLOCKALL, arguments: [later, 0, 0, 0, 0, 0] }
    } else {
        Call { number: nr::MUNLOCKALL, arguments: [0; 6] }
    };
    let answer = first.pass();
    if answer != 0 {
        return answer;
    }
    let on_fault = usize::from(has(libc::MCL_ONFAULT));
    for mapping in mappings() {
        // Pages that cannot be had are no reason to refuse, for `mlockall`.
        let arguments = [mapping.start, mapping.len, on_fault, 0, 0, 0];
        let _: isize = Call { number: nr::MLOCK2, arguments }.pass();
    }
    0
}

fn is_valid(flags: usize) -> bool {
    let known = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    flags & !usize::try_from(known).unwrap_or_default() == 0
}

/// The program's mappings.
fn mappings() -> impl Iterator<Item = NextMapping> {
    let next = |at: usize| NextMapping::decode(ask(Request::NextMapping(at)));
    let all = std::iter::successors(next(0), move |last| next(last.start + last.len));
    all.filter(|mapping| !own::is_own(mapping.start))
}

/// Tells whether the program may lock so many bytes.
fn may_lock(bytes: usize) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the record is writable.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } == 0;
    !known || bytes as u64 <= limit.rlim_cur || may_lock_any()
}

/// Tells whether this thread has CAP_IPC_LOCK.
fn may_lock_any() -> bool {
    const VERSION: u32 = 0x2008_0522;
    const IPC_LOCK: u32 = 14;
    let mut header = [VERSION, 0];
    let mut sets = [0_u32; 6];
    let arguments =
        [header.as_mut_ptr().expose_provenance(), sets.as_mut_ptr().expose_provenance(), 0, 0, 0, 0];
    // SAFETY: a header, and two records of three words.
    let answer = unsafe { gate::syscall(nr::CAPGET, arguments) };
    answer == 0 && sets[0] & (1 << IPC_LOCK) != 0
}

/// Elsewhere calls do not trap, and are not made here.
#[cfg(target_arch = "x86_64")]
mod symbols {
    use std::ffi::{c_int, c_uint, c_void};

    use super::{CONTROL, Call, Quiet, advise, is_watched, lock_all, nr, remap};
    use crate::dispatch::arguments::populates;
    use crate::fork::set_errno;
    use crate::next::next;
    use crate::original::is_original;

    fn call(number: usize, arguments: [usize; 6]) -> Call {
        Call { number, arguments }
    }

    /// The C library's answer.
    fn result(answer: isize) -> isize {
        if (-4095..0).contains(&answer) {
            set_errno(i32::try_from(-answer).unwrap_or_default());
            return -1;
        }
        answer
    }

    /// Makes a call that lets the kernel touch much memory, while calls pass: nothing of it may be registered until it returns.
    /// `None` if they do not.
    fn touch_at_rest(call: Call) -> Option<isize> {
        if !CONTROL.is_user_mode() || CONTROL.is_engaged() {
            return None;
        }
        let _quiet = Quiet::begin();
        (!CONTROL.is_engaged()).then(|| call.pass())
    }

    fn short(answer: isize) -> c_int {
        c_int::try_from(result(answer)).unwrap_or(-1)
    }

    #[cfg_attr(not(test), unsafe(no_mangle))]
    unsafe extern "C" fn madvise(start: *mut c_void, len: usize, advice: c_int) -> c_int {
        let wide = usize::try_from(advice).unwrap_or(usize::MAX);
        let call = call(nr::MADVISE, [start.expose_provenance(), len, wide, 0, 0, 0]);
        if is_watched(call) && is_original() {
            return short(advise(call));
        }
        let touched = (populates(wide) && is_original()).then(|| touch_at_rest(call)).flatten();
        touched.map_or_else(
            || next!(madvise(start => *mut c_void, len => usize, advice => c_int) -> c_int),
            short,
        )
    }

    #[cfg_attr(not(test), unsafe(no_mangle))]
    unsafe extern "C" fn mlock(start: *const c_void, len: usize) -> c_int {
        let call = call(nr::MLOCK, [start.expose_provenance(), len, 0, 0, 0, 0]);
        let touched = is_original().then(|| touch_at_rest(call)).flatten();
        touched.map_or_else(|| next!(mlock(start => *const c_void, len => usize) -> c_int), short)
    }

    #[cfg_attr(not(test), unsafe(no_mangle))]
    unsafe extern "C" fn mlock2(start: *const c_void, len: usize, flags: c_uint) -> c_int {
        let call = call(nr::MLOCK2, [start.expose_provenance(), len, flags as usize, 0, 0, 0]);
        let touched = is_original().then(|| touch_at_rest(call)).flatten();
        touched.map_or_else(
            || next!(mlock2(start => *const c_void, len => usize, flags => c_uint) -> c_int),
            short,
        )
    }

    /// Its last argument is there only if the flags say so; the register holds something in any case.
    #[cfg_attr(not(test), unsafe(no_mangle))]
    unsafe extern "C" fn mremap(
        start: *mut c_void,
        len: usize,
        new_len: usize,
        flags: c_int,
        to: *mut c_void,
    ) -> *mut c_void {
        if !is_original() {
            return next!(mremap(start => *mut c_void, len => usize, new_len => usize, flags => c_int,
                to => *mut c_void) -> *mut c_void);
        }
        let wide = flags.cast_unsigned() as usize;
        let arguments = [start.expose_provenance(), len, new_len, wide, to.expose_provenance(), 0];
        let answer = result(remap(call(nr::MREMAP, arguments)));
        std::ptr::with_exposed_provenance_mut(answer.cast_unsigned())
    }

    #[cfg_attr(not(test), unsafe(no_mangle))]
    unsafe extern "C" fn mlockall(flags: c_int) -> c_int {
        if !is_original() {
            return next!(mlockall(flags => c_int) -> c_int);
        }
        let wide = flags.cast_unsigned() as usize;
        short(lock_all(call(nr::MLOCKALL, [wide, 0, 0, 0, 0, 0])))
    }
}
