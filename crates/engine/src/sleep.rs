//! Threads that sleep in faults of the CPU, as devices hear of them.
//!
//! A thread that runs a model may touch shared memory and sleep until a page comes home from the device. If that device waits
//! for the same thread before it lets the page go, neither goes on. So the host says which threads sleep, and a device does not
//! wait for one of them: see [`Device::thread_sleeps`](crate::device::Device::thread_sleeps).
//!
//! What the host knows is as old as its look for messages of the kernel. Looks are numbered, so that a device can tell
//! whether it gave something to a thread before the look, or after it, when the thread was awake again.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Looks for messages that began in this process.
static LOOKS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static THREAD: Cell<u32> = const { Cell::new(0) };
}

/// Number of looks for messages that began so far.
#[must_use]
#[inline]
pub fn looks() -> u64 {
    // Relaxed: a thread that was woken after a look sees it, since the kernel's locks came between.
    LOOKS.load(Relaxed)
}

/// Begins a look for messages, before the kernel is asked; returns its number.
#[must_use]
pub fn begin_look() -> u64 {
    LOOKS.fetch_add(1, Relaxed)
}

/// A thread that was found asleep by a look, and does nothing until it is woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sleeper {
    /// The kernel's number of the thread.
    pub thread: u32,
    /// The look that found it: what it took before that look began, it held as it fell asleep.
    pub look: u64,
}

impl Sleeper {
    /// A thread that a message names, which was read by look number `look`.
    #[must_use]
    pub fn found(thread: u32, look: u64) -> Sleeper {
        Sleeper { thread, look }
    }

    /// The calling thread, which is as good as asleep: it does what is asked for here, and nothing else.
    #[must_use]
    #[inline]
    pub fn this_thread() -> Sleeper {
        let known = THREAD.get();
        let thread = if known == 0 { bifolio_sys::process::thread_id() } else { known };
        THREAD.set(thread);
        Sleeper { thread, look: u64::MAX }
    }
}

/// What a device knows of a thread that sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It waits for nothing from this thread.
    Known,
    /// The thread took something after the look began: it may be awake. It has to be woken, and faults again if it still
    /// sleeps.
    Unsure,
}

impl Seen {
    /// What two devices know together.
    #[must_use]
    pub fn and(self, other: Seen) -> Seen {
        if self == Seen::Known { other } else { Seen::Unsure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_told_apart_and_looks_are_numbered() {
        let other = std::thread::spawn(Sleeper::this_thread).join().expect("no panic");
        assert_ne!(other.thread, Sleeper::this_thread().thread);
        let look = begin_look();
        assert!(looks() > look);
    }
}
