//! A second process, which makes pages this program's own that a forked child has left behind.
//!
//! A fork marks every page as shared, and the mark stays when the child is gone, until the page is written: moves refuse it.
//! A write fault takes the mark away without a copy. The service cannot take faults of the program's memory, since it would
//! wait for itself; the helper can, and its faults are answered like those of any thread.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use bifolio_sys::{AddressRange, ProgramMemory, advise, futex, process};

/// States of the job.
const IDLE: u32 = 0;
const POSTED: u32 = 1;
const LEAVE: u32 = 2;

/// The helper looks after the service so often.
const LOOK: Duration = Duration::from_secs(1);

/// What the service asks its helper.
#[derive(Debug)]
pub struct Helper {
    state: AtomicU32,
    start: AtomicUsize,
    len: AtomicUsize,
    /// Process number of the service.
    service: AtomicU32,
}

impl Helper {
    /// A helper that does not run yet.
    #[expect(clippy::new_without_default, reason = "helpers are statics")]
    #[must_use]
    pub const fn new() -> Helper {
        Helper {
            state: AtomicU32::new(IDLE),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            service: AtomicU32::new(0),
        }
    }

    /// Says which process it helps: this one.
    pub(super) fn belongs_here(&self) {
        self.service.store(process::pid(), Relaxed);
    }

    /// Lets the helper write to pages that are there, changing no byte; `false` if it is busy.
    pub(super) fn post(&self, range: AddressRange) -> bool {
        let idle = self.state.load(Acquire) == IDLE;
        if idle {
            self.start.store(range.start(), Relaxed);
            self.len.store(range.len(), Relaxed);
            self.state.store(POSTED, Release);
            futex::wake_all(&self.state);
        }
        idle
    }

    /// Lets the helper end.
    pub(super) fn dismiss(&self) {
        self.state.store(LEAVE, Release);
        futex::wake_all(&self.state);
    }

    /// Helps until it is dismissed, or the service is gone.
    pub fn run(&self, memory: &ProgramMemory) {
        loop {
            match self.state.load(Acquire) {
                LEAVE => return,
                POSTED => {
                    if let Ok(range) = AddressRange::new(self.start.load(Relaxed), self.len.load(Relaxed)) {
                        // What has gone meanwhile needs nothing.
                        let _: Result<(), _> = advise::populate_write(memory.window(range));
                    }
                    let _: Result<u32, u32> = self.state.compare_exchange(POSTED, IDLE, Release, Relaxed);
                }
                state => {
                    futex::wait(&self.state, state, Some(LOOK));
                    if !process::exists(self.service.load(Relaxed)) {
                        return;
                    }
                }
            }
        }
    }
}
