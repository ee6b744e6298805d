//! From nothing to a running heap, before the program's `main`; and the state that all symbols look at.
//!
//! ```text
//!   off       `bifolio run` did not start this very process: every symbol goes on to the C library
//!   starting  our own thread allocates from `own`
//!   on        large blocks come from the heap
//!   child     forked: what was the heap's is ordinary memory, and nothing new comes from it
//! ```

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bifolio_host::heap::settings::Settings;
use bifolio_host::{Heap, HeapConfig, SetupError, Statistics};
use bifolio_sys::{Access, MapError, Memfd};

use crate::descriptors;
use crate::fork;
use crate::quiet::Quiet;

/// Exit code where the machine refuses what Bifolio cannot do without: that of the command.
const REFUSED: i32 = 3;

/// Why there is no heap for this program.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("counters of `bifolio run` cannot be opened")]
    Counters(#[from] std::io::Error),
    #[error("counters cannot be mapped")]
    Map(#[from] MapError),
    #[error("the program's heap cannot be put on Bifolio memory")]
    Heap(#[from] SetupError),
}

static HEAP: OnceLock<Heap> = OnceLock::new();
/// Whether new blocks come from the heap.
static ON: AtomicBool = AtomicBool::new(false);
/// Addresses of the heap; empty when there is none.
static FIRST: AtomicUsize = AtomicUsize::new(0);
static LEN: AtomicUsize = AtomicUsize::new(0);
/// Blocks of so many bytes and more come from the heap.
static THRESHOLD: AtomicUsize = AtomicUsize::new(usize::MAX);
static USER_MODE_ONLY: AtomicBool = AtomicBool::new(false);

/// Threads of ours, by their thread pointer: first the one that starts, while it does, then the handlers.
static OURS: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];

/// The least address space that is worth a try.
const SPACE_LEAST: usize = 1 << 28;
/// Address space for blocks, unless both memories are larger still.
const SPACE: usize = 64 << 30;

/// Puts the heap of this program on Bifolio memory if `bifolio run` asks for it. Called once, before `main`.
///
/// If that is impossible, the program ends with a message: running it otherwise is not what was asked for.
pub fn start() {
    let Some(settings) = Settings::from_env() else { return };
    if let Err(error) = start_heap(&settings) {
        say(&describe(&error));
        // SAFETY: ends the process before it did anything.
        unsafe { libc::_exit(REFUSED) };
    }
}

fn start_heap(settings: &Settings) -> Result<(), StartError> {
    let _quiet = Quiet::enter();
    OURS[0].store(thread_pointer(), Relaxed);
    std::panic::set_hook(Box::new(|info| {
        say(&format!("bifolio: {info}"));
        std::process::abort();
    }));
    let counters = File::options().read(true).write(true).open(&settings.statistics)?;
    // The mapping stays when the file is closed.
    let statistics = Statistics::shared(&Memfd::from(OwnedFd::from(counters)))?;
    let before = descriptors::open_high();
    let heap = open_heap(settings, &statistics)?;
    descriptors::protect_since(&before);
    let addresses = heap.addresses();
    USER_MODE_ONLY.store(heap.access() == Access::UserModeOnly, Relaxed);
    // Relaxed, all of these: no other thread of the program runs yet.
    FIRST.store(addresses.start, Relaxed);
    LEN.store(addresses.len(), Relaxed);
    let _: Result<(), Heap> = HEAP.set(heap);
    fork::register();
    if settings.checked {
        // SAFETY: the function is there until the process ends.
        unsafe { libc::atexit(check_at_exit) };
    }
    THRESHOLD.store(settings.threshold, Relaxed);
    ON.store(true, Relaxed);
    OURS[0].store(0, Relaxed);
    Ok(())
}

/// Makes the heap with as much address space as the limits of this process allow.
fn open_heap(settings: &Settings, statistics: &Statistics) -> Result<Heap, SetupError> {
    let mut space = SPACE.max(settings.ram.saturating_add(settings.vram).saturating_mul(2));
    loop {
        let result = Heap::new(&HeapConfig {
            space,
            vram: settings.vram,
            ram: settings.ram,
            pool: settings.pool,
            reset: settings.reset,
            checked: settings.checked,
            statistics: Some(statistics.clone()),
            in_handler: Some(know_this_handler),
        });
        match result {
            Err(SetupError::Map(_)) if space / 2 >= SPACE_LEAST => space /= 2,
            result => return result,
        }
    }
}

extern "C" fn check_at_exit() {
    let _quiet = Quiet::enter();
    if let Some(heap) = heap() {
        for violation in heap.audit() {
            say(&format!("bifolio: rule broken: {violation}"));
        }
    }
}

/// The heap, while new blocks may come from it.
pub(crate) fn heap() -> Option<&'static Heap> {
    if !ON.load(Relaxed) {
        return None;
    }
    let heap = HEAP.get()?;
    let here = 0_u8;
    let stack = std::ptr::from_ref(&here).addr();
    if contains(stack) {
        keep_stack(heap, stack);
    }
    Some(heap)
}

/// A thread runs on a stack that is a block of the heap, as coroutines may. Whoever holds a lock of ours must not wait
/// for a page of its stack, so that block becomes ordinary memory.
#[cold]
fn keep_stack(heap: &Heap, stack: usize) {
    let _quiet = Quiet::enter();
    if let Some(block) = heap.live_part(stack) {
        // If it cannot be brought home now, the next call tries again.
        let _: Result<_, _> = heap.let_go(block);
    }
}

/// The heap that a forked child inherited.
pub(crate) fn inherited() -> Option<&'static Heap> {
    HEAP.get()
}

/// Tells whether blocks of so many bytes come from the heap.
pub(crate) fn is_large(bytes: usize) -> bool {
    bytes >= THRESHOLD.load(Relaxed)
}

/// Tells whether `address` is the heap's, or was when this process was forked.
pub(crate) fn contains(address: usize) -> bool {
    address.wrapping_sub(FIRST.load(Relaxed)) < LEN.load(Relaxed)
}

/// The part of `start..start + len` that is the heap's, in whole pages.
pub(crate) fn inside(start: usize, len: usize) -> Option<std::ops::Range<usize>> {
    let first = FIRST.load(Relaxed);
    let end = start.saturating_add(len).min(first + LEN.load(Relaxed));
    let range = start.max(first) & !4095..end.next_multiple_of(4096);
    (range.start < range.end && end > start).then_some(range)
}

/// Tells whether system calls on memory that is away fail.
pub(crate) fn is_user_mode_only() -> bool {
    USER_MODE_ONLY.load(Relaxed) && ON.load(Relaxed)
}

/// From now on this process is a forked child: nothing new comes from the heap.
pub(crate) fn become_child() {
    ON.store(false, Relaxed);
    THRESHOLD.store(usize::MAX, Relaxed);
}

fn know_this_handler() {
    let here = thread_pointer();
    if OURS[1..].iter().any(|known| known.load(Relaxed) == here) {
        return;
    }
    let free = OURS[1..].iter().find(|slot| slot.compare_exchange(0, here, Relaxed, Relaxed).is_ok());
    debug_assert!(free.is_some(), "there are fewer handlers than that");
}

/// Tells whether this thread is ours: what the C library allocates for it must not be the program's memory.
pub(crate) fn is_our_thread() -> bool {
    let here = thread_pointer();
    OURS.iter().any(|known| known.load(Relaxed) == here)
}

/// The thread pointer: unlike a thread-local variable it is there without an allocation.
#[cfg(target_arch = "x86_64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the first word at the thread pointer is its own address, says the ABI of x86-64.
    unsafe {
        std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags));
    }
    pointer
}

/// The thread pointer: unlike a thread-local variable it is there without an allocation.
#[cfg(target_arch = "aarch64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem, preserves_flags))
    };
    pointer
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = format!("bifolio: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Writes a line to standard error at one stroke.
fn say(line: &str) {
    let text = format!("{line}\n");
    // If nobody reads it, there is nobody to tell.
    let _: std::io::Result<()> = std::io::stderr().write_all(text.as_bytes());
}
