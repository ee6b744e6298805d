//! The handler of SIGSYS: makes the call that has trapped.

use std::ffi::{c_int, c_void};

use libc::{siginfo_t, ucontext_t};

use crate::affinity;
use crate::call_sites;
use crate::dispatch::arguments::{self, Uses};
use crate::dispatch::gate::{self, nr};
use crate::dispatch::{long, masks, ready};
use crate::fork;
use crate::memory;
use crate::signals;
use crate::spawn;
use crate::start::CONTROL;
use crate::thread;

/// The code of a SIGSYS that says a call has trapped.
const USER_DISPATCH: c_int = 2;
const EFAULT: isize = -(libc::EFAULT as isize);
const EINVAL: isize = -(libc::EINVAL as isize);

/// The kernel's own form of an action.
#[repr(C)]
#[derive(Clone, Copy)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const RESTORER: u64 = 0x0400_0000;

/// Puts the handler in place of SIGSYS.
pub(crate) fn install() {
    let flags =
        u64::from((libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_RESTART).cast_unsigned()) | RESTORER;
    let action =
        KernelAction { handler: on_sigsys as *const () as usize, flags, restorer: gate::restorer(), mask: 0 };
    let number = usize::try_from(libc::SIGSYS).unwrap_or_default();
    let arguments = [number, (&raw const action).addr(), 0, size_of::<u64>(), 0, 0];
    // SAFETY: the action is readable, and the handler stays.
    unsafe { gate::syscall(nr::SIGACTION, arguments) };
}

/// A call as the registers hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) number: usize,
    pub(crate) arguments: [usize; 6],
}

impl Call {
    /// Makes it; returns the kernel's raw answer.
    pub(crate) fn pass(self) -> isize {
        // SAFETY: it is the program's own call.
        unsafe { gate::syscall(self.number, self.arguments) }
    }
}

/// How a call goes on.
enum Answer {
    /// The program gets this.
    Value(isize),
    /// The program goes on at a stub, which makes the call.
    Stub(usize),
}

unsafe extern "C-unwind" fn on_sigsys(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a record.
    if unsafe { (*info).si_code } != USER_DISPATCH {
        // SAFETY: as above.
        if thread::join(unsafe { &*info }) {
            return;
        }
        // SAFETY: as the kernel called us.
        unsafe { signals::foreign_sigsys(signal, info, context) };
        return;
    }
    let context: *mut ucontext_t = context.cast();
    // SAFETY: the kernel passes a context, which is ours until we return.
    let context = unsafe { &mut *context };
    let call = call_of(context);
    thread::end_spawn_left_from(stack_of(context));
    match make(call, context) {
        Answer::Value(answer) => {
            call_sites::made(call, answer);
            set_answer(context, answer);
        }
        Answer::Stub(stub) => set_place(context, stub),
    }
}

/// Makes a call in the program's place.
fn make(call: Call, context: &mut ucontext_t) -> Answer {
    if let Some(answer) = start_thread_or_program(call, context) {
        return answer;
    }
    Answer::Value(match call.number {
        nr::SIGPROCMASK => change_mask(call, context),
        nr::SIGACTION => change_action(call),
        _ if !CONTROL.is_user_mode() => call.pass(),
        nr::SCHED_GETAFFINITY => {
            affinity::settle();
            prepared(call)
        }
        nr::SCHED_SETAFFINITY => {
            affinity::program_places();
            prepared(call)
        }
        nr::SIGSUSPEND => with_mask(call, 0),
        nr::PPOLL => with_mask(call, 3),
        nr::EPOLL_PWAIT | nr::EPOLL_PWAIT2 => with_mask(call, 4),
        nr::PSELECT => with_mask_and_size(call),
        nr::SIGALTSTACK => thread::change_signal_stack(call, &mut context.uc_stack),
        nr::MADVISE if memory::is_watched(call) => memory::advise(call),
        nr::MMAP | nr::BRK => memory::grow(call),
        nr::MREMAP => memory::remap(call),
        nr::MLOCKALL => memory::lock_all(call),
        nr::MADVISE => long::advise(call),
        nr::MLOCK | nr::MLOCK2 => memory::lock(call),
        nr::READ | nr::PREAD | nr::WRITE | nr::PWRITE | nr::SENDTO | nr::GETRANDOM if long::is_long(call) => {
            long::transfer(call)
        }
        nr::READV | nr::WRITEV | nr::PREADV | nr::PWRITEV | nr::PREADV2 | nr::PWRITEV2 => {
            long::transfer_vectors(call)
        }
        _ => prepared(call),
    })
}

/// Calls that make another thread or process, or that return from a signal: they cannot be made from within a handler,
/// but for a child with memory of its own.
fn start_thread_or_program(call: Call, context: &mut ucontext_t) -> Option<Answer> {
    let flags = match call.number {
        nr::SIGRETURN => return Some(at_stub(context, false)),
        nr::FORK => 0,
        nr::VFORK => VFORK | VM,
        nr::CLONE => call.arguments[0],
        nr::CLONE3 => clone3_flags(call)?,
        _ => return None,
    };
    if flags & VM == 0 {
        return Some(Answer::Value(fork::fork_from_trap(call, context)));
    }
    let spawns = flags & VFORK != 0;
    if spawns {
        thread::begin_spawn();
        spawn::touch_environment();
    }
    // Last: a fault may place this thread.
    affinity::settle();
    Some(at_stub(context, spawns))
}

const VM: usize = libc::CLONE_VM as usize;
const VFORK: usize = libc::CLONE_VFORK as usize;

/// The flags of `clone3` are the first word of its structure.
fn clone3_flags(call: Call) -> Option<usize> {
    let mut word = [0; 8];
    ready::peek(call.arguments[0], &mut word, 8).then(|| usize::from_ne_bytes(word))
}

fn at_stub(context: &ucontext_t, spawns: bool) -> Answer {
    gate::stub_to(place_of(context), spawns).map_or(Answer::Value(-(libc::ENOSYS as isize)), Answer::Stub)
}

/// Makes a call whose memory is at home before it, and until it has returned.
pub(crate) fn prepared(call: Call) -> isize {
    prepared_with(call, |again| arguments::uses(call, again))
}

/// The same, for a call that uses what `uses` says.
pub(crate) fn prepared_with(call: Call, uses: impl Fn(bool) -> Uses) -> isize {
    let here = 0_u8;
    let held = CONTROL.hazards().begin(thread::number(), (&raw const here).addr());
    // More calls than can be known at once: this one is made as it is.
    let Some(mut held) = held else { return call.pass() };
    ready::make_ready(&uses(false), &mut held);
    let answer = call.pass();
    if answer != EFAULT {
        return answer;
    }
    ready::make_ready(&uses(true), &mut held);
    call.pass()
}

/// `rt_sigprocmask`, on the mask that is in effect again when the handler returns.
fn change_mask(call: Call, context: &mut ucontext_t) -> isize {
    let [how, new, old, size, ..] = call.arguments;
    if size != size_of::<u64>() {
        return EINVAL;
    }
    let new: *const u64 = std::ptr::with_exposed_provenance(new);
    let old: *mut u64 = std::ptr::with_exposed_provenance_mut(old);
    // SAFETY: null, or the program's own mask.
    let new = (!new.is_null()).then(|| unsafe { new.read_unaligned() });
    let Some(before) = masks::change(mask_of(context), how, new) else { return EINVAL };
    if !old.is_null() {
        // SAFETY: the program's own place.
        unsafe { old.write_unaligned(before) };
    }
    0
}

/// `rt_sigaction` by a bare call: no handler may run while SIGSYS is blocked, and SIGSYS itself is ours.
fn change_action(call: Call) -> isize {
    let [signal, new, old, size, ..] = call.arguments;
    let new: *const KernelAction = std::ptr::with_exposed_provenance(new);
    if i32::try_from(signal) == Ok(libc::SIGSYS) {
        return 0;
    }
    if new.is_null() {
        return prepared(call);
    }
    // SAFETY: the program's own action.
    let mut action = unsafe { new.read_unaligned() };
    action.mask &= !masks::SIGSYS;
    let arguments = [signal, (&raw const action).addr(), old, size, 0, 0];
    prepared(Call { arguments, ..call })
}

/// A call that waits with a mask of its own, which is argument `index`.
fn with_mask(call: Call, index: usize) -> isize {
    let mask: *const u64 = std::ptr::with_exposed_provenance(call.arguments[index]);
    if mask.is_null() {
        return prepared(call);
    }
    // SAFETY: the program's own mask.
    let open = unsafe { mask.read_unaligned() } & !masks::SIGSYS;
    let mut arguments = call.arguments;
    arguments[index] = (&raw const open).addr();
    prepared(Call { arguments, ..call })
}

/// `pselect6`, whose last argument leads to a mask and its size.
fn with_mask_and_size(call: Call) -> isize {
    let pair: *const [usize; 2] = std::ptr::with_exposed_provenance(call.arguments[5]);
    if pair.is_null() {
        return prepared(call);
    }
    // SAFETY: the program's own pair.
    let [mask, size] = unsafe { pair.read_unaligned() };
    let mask: *const u64 = std::ptr::with_exposed_provenance(mask);
    if mask.is_null() {
        return prepared(call);
    }
    // SAFETY: the program's own mask.
    let open = unsafe { mask.read_unaligned() } & !masks::SIGSYS;
    let pair = [(&raw const open).addr(), size];
    let mut arguments = call.arguments;
    arguments[5] = pair.as_ptr().addr();
    prepared(Call { arguments, ..call })
}

/// The mask that is in effect when the handler has returned.
pub(crate) fn mask_of(context: &mut ucontext_t) -> &mut u64 {
    let mask: *mut u64 = (&raw mut context.uc_sigmask).cast();
    // SAFETY: the kernel's mask is the first 8 bytes of the C library's.
    unsafe { &mut *mask }
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::cast_sign_loss, reason = "registers hold what they hold")]
#[expect(clippy::cast_possible_truncation, reason = "registers are as wide as addresses")]
fn register(context: &ucontext_t, index: c_int) -> usize {
    context.uc_mcontext.gregs[index as usize] as usize
}

#[cfg(target_arch = "x86_64")]
fn call_of(context: &ucontext_t) -> Call {
    let arguments = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9];
    Call {
        number: register(context, libc::REG_RAX),
        arguments: arguments.map(|index| register(context, index)),
    }
}

/// Behind the instruction that made the call.
#[cfg(target_arch = "x86_64")]
fn place_of(context: &ucontext_t) -> usize {
    register(context, libc::REG_RIP)
}

#[cfg(target_arch = "x86_64")]
fn stack_of(context: &ucontext_t) -> usize {
    register(context, libc::REG_RSP)
}

#[cfg(target_arch = "x86_64")]
fn set_answer(context: &mut ucontext_t, answer: isize) {
    context.uc_mcontext.gregs[libc::REG_RAX as usize] = answer as i64;
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::cast_possible_wrap, reason = "registers hold what they hold")]
fn set_place(context: &mut ucontext_t, place: usize) {
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = place as i64;
}

#[cfg(not(target_arch = "x86_64"))]
use elsewhere::{call_of, place_of, set_answer, set_place, stack_of};

/// Other machines: calls do not trap there.
#[cfg(not(target_arch = "x86_64"))]
mod elsewhere {
    use super::{Call, ucontext_t};

    pub(super) fn call_of(_: &ucontext_t) -> Call {
        Call { number: usize::MAX, arguments: [0; 6] }
    }

    pub(super) fn place_of(_: &ucontext_t) -> usize {
        0
    }

    pub(super) fn stack_of(_: &ucontext_t) -> usize {
        0
    }

    pub(super) fn set_answer(_: &mut ucontext_t, _: isize) {}

    pub(super) fn set_place(_: &mut ucontext_t, _: usize) {}
}
