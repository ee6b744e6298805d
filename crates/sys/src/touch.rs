//! Touches that the touching thread answers itself: SIGBUS, and who is asked for an address.
//!
//! ```text
//!   a touch of a page that is not there, of a userfaultfd with Features::SIGBUS
//!     -> the kernel raises SIGBUS in that thread
//!     -> one handler for the whole process: who watches the address?
//!          a watch             -> its AnswerTouch -> Again: the access is made again
//!                                                    Lost, NotMine: what was done for SIGBUS before
//!          nobody              -> all watches are asked for memory that was moved -> the same
//!          a poisoned page, a signal that was sent  -> what was done for SIGBUS before
//! ```
//!
//! The handler stays once it is installed, and what was there before is done for every other SIGBUS: a handler runs with its
//! own mask, the kernel's way ends the process, with the state of the thread at the access.
//!
//! # Why a handler may do all this
//!
//! The signal comes where a window of [`SharedBytes`] is accessed, at no other point of a program. So the handler runs as if the
//! access were a call of it: it may allocate and take locks, those excepted that the thread itself holds at the access. While it
//! runs, signals that may arrive anywhere are blocked, since their handlers could touch the same memory. Nested touches are
//! answered.
//!
//! For a SIGBUS that has another cause, no lock is taken on the way to what was there before, unless memory was moved.
//!
//! # What the program must keep
//!
//! - SIGBUS is not blocked in a thread that touches: the kernel ends the process otherwise.
//! - The thread has the stack for it ([`STACK`]); no stack lies in watched memory. The alternate stack is not used, since
//!   that of Rust's threads is too small.
//! - A handler for SIGBUS that is installed later passes on what it does not know.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use linux_raw_sys::general as uapi;

use crate::action::{Action, SigInfo, bit};
use crate::{SharedBytes, SysError, process};

/// Bytes of stack that a touching thread should have left.
pub const STACK: usize = 64 << 10;

const SIGBUS: i32 = uapi::SIGBUS as i32;
/// Code of a SIGBUS for a page that the kernel cannot give: missing ones, and those beyond the end of a file.
const NO_PAGE: i32 = uapi::BUS_ADRERR as i32;
/// Code of a SIGBUS for a page whose bytes are lost.
const LOST: i32 = uapi::BUS_MCEERR_AR as i32;
/// How much of it is lost: a page of 4 KiB.
const LOST_BITS: i16 = 12;
const _: () = assert!(crate::PAGE == 1 << LOST_BITS);
/// Signals that an instruction of the handler itself may raise. SIGSYS is among them, as system calls may trap.
const OF_INSTRUCTIONS: u64 = bit(uapi::SIGILL as i32)
    | bit(uapi::SIGTRAP as i32)
    | bit(SIGBUS)
    | bit(uapi::SIGFPE as i32)
    | bit(uapi::SIGSEGV as i32)
    | bit(uapi::SIGSYS as i32);

/// What becomes of a touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touched {
    /// The access is made again.
    Again,
    /// The bytes are lost: the thread gets SIGBUS, with the code of a poisoned page.
    Lost,
    /// It is no matter of ours: the thread gets SIGBUS.
    NotMine,
}

/// Who answers touches. It runs on the thread that touches, in a handler for SIGBUS.
pub trait AnswerTouch: Send + Sync {
    /// A page of the watched range is not there. It is poisoned if the kernel was built without `CONFIG_MEMORY_FAILURE`, which
    /// does not tell such a page apart: whoever poisons pages has to say [`Touched::Lost`] for them, or the thread touches for
    /// ever.
    fn touched(&self, address: usize) -> Touched;

    /// SIGBUS was raised for an address that nobody watches. Called with whatever locks the thread may hold.
    fn touched_elsewhere(&self, address: usize) -> Touched {
        let _ = address;
        Touched::NotMine
    }
}

/// Why a range cannot be watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WatchError {
    /// Too many are.
    #[error("{SLOTS} ranges of memory are watched already")]
    TooMany,
    /// The kernel refuses the handler.
    #[error("no handler for SIGBUS can be installed")]
    Handler(#[from] SysError),
}

/// Ranges that can be watched at once.
const SLOTS: usize = 256;
/// Counts of the users of a range. Threads that touch at the same time should not write to the same cache line.
const COUNTS: usize = 4;

/// A range that is watched, or free.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    start: AtomicUsize,
    /// 0 if it is free.
    end: AtomicUsize,
    /// Null while it is free.
    answer: AtomicPtr<Arc<dyn AnswerTouch>>,
    /// Threads that use the answer: all together.
    users: [Count; COUNTS],
}

#[derive(Debug)]
#[repr(align(64))]
struct Count(AtomicU32);

impl Count {
    /// The one for the calling thread, by where its stack is.
    fn of_thread(counts: &[Count; COUNTS]) -> &Count {
        let here = 0_u8;
        // Stacks are a large power of two apart, and a few pages: the multiplication mixes all bits into the highest.
        let mixed = (&raw const here as usize >> 16).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &counts[mixed >> (usize::BITS - COUNTS.ilog2())]
    }
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        answer: AtomicPtr::new(null_mut()),
        users: [const { Count(AtomicU32::new(0)) }; COUNTS],
    }
}; SLOTS];

/// Slots of the table that were ever used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Locked while a slot is chosen. It holds whether the handler is installed.
static CHOOSING: Mutex<bool> = Mutex::new(false);

/// What was done for SIGBUS before our handler; null before that.
static BEFORE: AtomicPtr<Action> = AtomicPtr::new(null_mut());

/// The process that installed the handler: a fork has it too, and threads of ours do not live there.
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// A range of memory whose touches are answered by the threads that touch it, until this is dropped.
///
/// Dropping waits for answers that are under way, so the answer must not do it.
#[derive(Debug)]
pub struct Watch(&'static Slot);

impl Watch {
    /// Asks `answer` from now on for touches of `memory`, which is to be registered with a userfaultfd of
    /// [`Features::SIGBUS`](crate::Features::SIGBUS).
    ///
    /// # Errors
    ///
    /// Fails when too many ranges are watched.
    pub fn start(memory: SharedBytes<'_>, answer: Arc<dyn AnswerTouch>) -> Result<Watch, WatchError> {
        let mut installed = CHOOSING.lock().unwrap_or_else(PoisonError::into_inner);
        if !*installed {
            install().map_err(SysError::of("rt_sigaction"))?;
            *installed = true;
        }
        let free = |slot: &&Slot| slot.answer.load(SeqCst).is_null();
        let slot = TABLE.iter().find(free).ok_or(WatchError::TooMany)?;
        let number = TABLE.element_offset(slot).expect("of the table");
        USED.fetch_max(number + 1, SeqCst);
        slot.start.store(memory.address(), SeqCst);
        slot.answer.store(Box::into_raw(Box::new(answer)), SeqCst);
        // Last: from here on it is found.
        slot.end.store(memory.address() + memory.len(), SeqCst);
        Ok(Watch(slot))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Watch(slot) = self;
        slot.end.store(0, SeqCst);
        let answer = slot.answer.swap(null_mut(), SeqCst);
        // Who comes from here on finds null. Both sides write first and read second, in one order for all.
        // A count that was 0 once stays without users of the answer.
        for Count(users) in &slot.users {
            while users.load(SeqCst) > 0 {
                std::thread::yield_now();
            }
        }
        // SAFETY: 1. made by `Box::into_raw` in `start`, and taken out of the slot for good; 2. nobody uses it.
        drop(unsafe { Box::from_raw(answer) });
    }
}

impl Slot {
    fn watches(&self, address: usize) -> bool {
        // Relaxed: who touches memory knows that its watch has begun. A range that is just changed is looked at again.
        address < self.end.load(Relaxed) && self.start.load(Relaxed) <= address
    }

    /// Asks the answer, if there is one still.
    fn ask(&self, ask: impl FnOnce(&dyn AnswerTouch) -> Touched) -> Touched {
        let Count(users) = Count::of_thread(&self.users);
        users.fetch_add(1, SeqCst);
        // SAFETY: null, or made by `Box::into_raw`; whoever takes it out waits for `users` to be 0.
        let answer = unsafe { self.answer.load(SeqCst).as_ref() };
        let touched = answer.map_or(Touched::NotMine, |answer| ask(answer.as_ref()));
        users.fetch_sub(1, SeqCst);
        touched
    }
}

fn install() -> Result<(), rustix::io::Errno> {
    PROCESS.store(process::pid(), Relaxed);
    // Before the handler can run.
    let first = Action::read(SIGBUS)?;
    keep(first);
    let ours = Action::of(on_sigbus, !OF_INSTRUCTIONS);
    // SAFETY: the handler accesses static memory, and what the kernel gives it. What it calls runs at accesses of watched
    // memory, or is a handler of the program.
    let before = unsafe { ours.install(SIGBUS) }?;
    if before != first {
        // Another thread has changed it in between.
        keep(before);
    }
    Ok(())
}

/// Keeps what is to be done for other causes of SIGBUS. A handler may be reading the one before, which is not freed.
fn keep(before: Action) {
    BEFORE.store(Box::into_raw(Box::new(before)), SeqCst);
}

/// The handler for SIGBUS. Nothing unwinds out of it: a panic ends the process.
extern "C" fn on_sigbus(_signal: i32, info: *mut SigInfo, context: *mut c_void) {
    // SAFETY: the kernel's record, which no one else sees until it is passed on.
    let known = unsafe { &mut *info };
    let address = known.address;
    let touched = if known.code == NO_PAGE { keeping_errno(|| ask_all(address)) } else { Touched::NotMine };
    if touched == Touched::Again {
        return;
    }
    if touched == Touched::Lost {
        (known.code, known.lost_bits) = (LOST, LOST_BITS);
    }
    // SAFETY: never null where the handler is installed, and never freed.
    let before = unsafe { *BEFORE.load(SeqCst) };
    if before.is_for_once() {
        // What replaces it is never freed either: once in the life of a process.
        keep(Action::default());
    }
    // SAFETY: 1. as the kernel has called us; 2. read from the kernel.
    unsafe { before.perform(info, context) };
}

fn ask_all(address: usize) -> Touched {
    let used = &TABLE[..USED.load(Relaxed).min(SLOTS)];
    if let Some(slot) = used.iter().find(|slot| slot.watches(address)) {
        return slot.ask(|answer| answer.touched(address));
    }
    if process::pid() != PROCESS.load(Relaxed) {
        return Touched::NotMine;
    }
    let elsewhere = |slot: &Slot| slot.ask(|answer| answer.touched_elsewhere(address));
    used.iter().map(elsewhere).find(|touched| *touched != Touched::NotMine).unwrap_or(Touched::NotMine)
}

unsafe extern "C" {
    /// Where the C library keeps `errno` of this thread.
    fn __errno_location() -> *mut i32;
}

/// Does `work`, which must not be seen by what reads `errno` after the access.
fn keeping_errno<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: no preconditions.
    let errno = unsafe { __errno_location() };
    // SAFETY: of this thread, and valid as long as it lives.
    let before = unsafe { errno.read() };
    let result = work();
    // SAFETY: as above.
    unsafe { errno.write(before) };
    result
}
