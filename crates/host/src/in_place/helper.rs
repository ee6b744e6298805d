//! A second process, which makes pages this program's own that a forked child has left behind.
//!
//! A fork marks every page as shared, and the mark stays when the child is gone, until the page is written: moves refuse it.
//! A write fault takes the mark away without a copy. The service cannot take faults of the program's memory, since it would
//! wait for itself; the helper can, and its faults are answered like those of any thread.
//!
//! It also looks after the service while that yields its processor to the program, and ends the yielding if the program does not.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::time::Duration;

use bifolio_sys::process::{self, Schedule};
use bifolio_sys::{AddressRange, ProgramMemory, advise, futex, threads};

/// States of the job.
const IDLE: u32 = 0;
const POSTED: u32 = 1;
const LEAVE: u32 = 2;
const LOOK_AFTER: u32 = 3;

/// The helper looks whether the service is there so often.
const LOOK: Duration = Duration::from_secs(1);
/// A service that yields its processor must go on within this time.
const TICK: Duration = Duration::from_millis(4);

/// What the service asks its helper.
#[derive(Debug)]
pub struct Helper {
    state: AtomicU32,
    start: AtomicUsize,
    len: AtomicUsize,
    /// Process number of the service.
    service: AtomicU32,
    /// Changes whenever the service goes on.
    progress: AtomicU32,
    /// The service did not go on although it could have.
    late: AtomicBool,
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
            progress: AtomicU32::new(0),
            late: AtomicBool::new(false),
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

    /// Lets the helper look after the service, which is about to yield its processor; `false` if it is busy.
    pub(super) fn look_after(&self) -> bool {
        self.late.store(false, Relaxed);
        let idle = self.state.compare_exchange(IDLE, LOOK_AFTER, Release, Relaxed).is_ok();
        if idle {
            futex::wake_all(&self.state);
        }
        idle
    }

    /// The service does not yield any more.
    pub(super) fn look_away(&self) {
        let _: Result<u32, u32> = self.state.compare_exchange(LOOK_AFTER, IDLE, Release, Relaxed);
    }

    /// Says that the service goes on; called by itself alone.
    pub(super) fn see_progress(&self) {
        self.progress.store(self.progress.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Tells whether the helper has ended the yielding, since the service came too late.
    pub(super) fn was_late(&self) -> bool {
        self.late.load(Relaxed)
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
                LOOK_AFTER => self.hurry(),
                state => {
                    futex::wait(&self.state, state, Some(LOOK));
                    if !process::exists(self.service.load(Relaxed)) {
                        return;
                    }
                }
            }
        }
    }
    /// Ends the yielding if the service does not go on for a while, although it could.
    fn hurry(&self) {
        let service = self.service.load(Relaxed);
        let before = self.progress.load(Relaxed);
        futex::wait(&self.state, LOOK_AFTER, Some(TICK));
        if self.state.load(Acquire) != LOOK_AFTER || self.progress.load(Relaxed) != before {
            return;
        }
        if !threads::is_runnable(service) {
            if !process::exists(service) {
                self.dismiss();
            }
            return;
        }
        let _ = Schedule::get(service).and_then(|schedule| schedule.normal().set(service));
        self.late.store(true, Relaxed);
    }
}
