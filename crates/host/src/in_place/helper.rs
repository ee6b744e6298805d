//! A second process beside the program, for what the service cannot do itself.
//!
//! A fork marks every page as shared, and the mark stays when the child is gone, until the page is written: moves refuse it.
//! A write fault takes the mark away without a copy. The service cannot take faults of the program's memory, since it would
//! wait for itself; the helper can, and its faults are answered like those of any thread.
//!
//! And while the service yields its processor to the program, the helper looks after it, and ends that if the service does not get the
//! processor for some milliseconds.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::time::Duration;

use bifolio_sys::process::{self, Schedule};
use bifolio_sys::{AddressRange, ProgramMemory, advise, futex, threads};

/// States of the job.
const ABSENT: u32 = 0;
const IDLE: u32 = 1;
const POSTED: u32 = 2;
const LEAVE: u32 = 3;
const LOOK_AFTER: u32 = 4;

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
    /// A helper that does not run yet: it does nothing.
    #[expect(clippy::new_without_default, reason = "helpers are statics")]
    #[must_use]
    pub const fn new() -> Helper {
        Helper {
            state: AtomicU32::new(ABSENT),
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

    /// Lets the helper write to pages that are there, changing no byte; `false` if it is busy or absent.
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

    /// Lets the helper look after the service, which is about to yield its processor; `false` if it is busy or absent.
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
        let _: Result<u32, u32> = self.state.compare_exchange(ABSENT, IDLE, Release, Relaxed);
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A helper whose service is a thread that yields, and computes until it is late; it goes on if `progress` says so.
    fn looks(times: u32, progress: bool) -> Helper {
        let helper = Helper::new();
        helper.state.store(LOOK_AFTER, Relaxed);
        let over = AtomicBool::new(false);
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let before = Schedule::get(0).expect("granted");
                before.idle().set(0).expect("each thread may yield");
                tell.send(process::thread_id()).expect("it is read");
                while !over.load(Relaxed) && !helper.was_late() {
                    if progress {
                        helper.see_progress();
                    }
                }
                let ended = Schedule::get(0).expect("granted").is_normal();
                let may_end = before.preferred().set(0).is_ok();
                assert!(ended || !helper.was_late() || !may_end);
            });
            helper.service.store(told.recv().expect("it is told"), Relaxed);
            (0..times).for_each(|_| helper.hurry());
            over.store(true, Relaxed);
        });
        helper
    }

    #[test]
    fn service_that_does_not_go_on_need_not_yield() {
        assert!(looks(1, false).was_late());
        assert!(!looks(0, false).was_late());
    }

    #[test]
    fn service_that_goes_on_may_yield() {
        // Other tests may keep it from the processor for longer than a tick.
        assert!((0..100).any(|_| !looks(3, true).was_late()));
    }

    #[test]
    fn one_thing_is_asked_of_a_helper_at_a_time() {
        let helper = Helper::new();
        let page = AddressRange::new(1 << 20, bifolio_sys::PAGE).expect("a page");
        assert!(!helper.look_after() && !helper.post(page), "it is not there yet");
        helper.state.store(IDLE, Relaxed);
        assert!(helper.look_after() && !helper.post(page) && !helper.look_after());
        helper.look_away();
        assert!(helper.post(page) && !helper.look_after());
        helper.look_away();
        assert_eq!(helper.state.load(Relaxed), POSTED);
    }
}
