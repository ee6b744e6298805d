//! Forks: the child gets every byte, wherever it is, and runs on plain memory.
//!
//! ```text
//!   before   block signals, stop the heap and our allocator, let the child inherit, open a pipe
//!   child    let our allocator go, fetch what is on the device, say so on the pipe, become plain
//!   parent   wait for that or for the child's end, keep the memory from children, go on
//! ```
//!
//! `vfork` and `posix_spawn` share the memory until the new program runs; they need nothing.

use std::cell::UnsafeCell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::MutexGuard;

use bifolio_host::heap::Stopped;
use rustix::pipe::{PipeFlags, pipe_with};
use talc::DefaultBinning;
use talc::base::Talc;

use crate::own::{OWN, Range};
use crate::quiet::Quiet;
use crate::start;

/// What is held while this process forks. Dropped in this order: signals come last.
struct Held {
    pipe: Option<(OwnedFd, OwnedFd)>,
    stopped: Stopped<'static>,
    own: Option<MutexGuard<'static, Talc<Range, DefaultBinning>>>,
    _quiet: Quiet,
}

/// Written by the thread that forks, between the two calls of the C library around it.
struct Forking(UnsafeCell<Option<Held>>);

// SAFETY: whoever uses the cell holds the heap stopped, which only one thread can.
unsafe impl Sync for Forking {}

static FORKING: Forking = Forking(UnsafeCell::new(None));

/// Asks the C library to call us around forks.
pub(crate) fn register() {
    // SAFETY: the functions are there until the process ends.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

unsafe extern "C" fn before() {
    let quiet = Quiet::enter();
    let Some(heap) = start::heap() else { return };
    let stopped = heap.stop();
    let mut pipe = None;
    if stopped.has_bytes_on_device() {
        pipe = pipe_with(PipeFlags::CLOEXEC).ok();
    }
    // Without a pipe we could not wait for the child to fetch its bytes: then it does not get the memory at all, and
    // dies of SIGSEGV rather than of wrong bytes.
    if pipe.is_some() || !stopped.has_bytes_on_device() {
        stopped.share();
    }
    let own = Some(OWN.talc());
    let held = Held { pipe, stopped, own, _quiet: quiet };
    // SAFETY: the heap is stopped by this thread.
    unsafe { *FORKING.0.get() = Some(held) };
}

fn take() -> Option<Held> {
    start::heap()?;
    // SAFETY: the heap is stopped by this thread, in the call before.
    unsafe { (*FORKING.0.get()).take() }
}

unsafe extern "C" fn in_parent() {
    let Some(mut held) = take() else { return };
    held.own = None;
    if let Some((read, write)) = held.pipe.take() {
        drop(write);
        wait(&read);
    }
    held.stopped.seal();
}

/// Waits for the byte of the child, or for its end. Nothing comes if there was no fork after all.
fn wait(read: &impl AsFd) {
    while rustix::io::read(read, &mut [0_u8]) == Err(rustix::io::Errno::INTR) {}
}

unsafe extern "C" fn in_child() {
    let Some(mut held) = take() else { return };
    held.own = None;
    start::become_child();
    if let Some((_read, write)) = held.pipe.take() {
        held.stopped.fill_in_child();
        // A parent that is gone needs no answer.
        let _: Result<usize, _> = rustix::io::write(&write, &[1]);
    }
}
