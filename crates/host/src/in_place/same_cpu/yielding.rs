//! The service stays on the processor of the thread that faults, and yields it to all others there.
//!
//! The kernel takes a processor that only runs threads of the idle policy (`SCHED_IDLE`) for a free one, and wakes a thread where it
//! ran last if that is free. So the thread wakes on the service's processor, runs at once, and when it waits for its next page the
//! service goes on, without having slept. Nothing of the thread is changed.
//!
//! A thread of that policy may not get the processor for a second and more where another one computes. So the helper looks after the
//! service every 4 ms, and gives it its own policy back if it is late.

use bifolio_sys::process::Schedule;
use bifolio_sys::threads::{self, CpuMask};

use crate::in_place::helper::Helper;

/// So many faults later it is looked where the thread runs: the kernel may have moved it.
const LOOK: u32 = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Yielding {
    helper: &'static Helper,
    /// How the service is scheduled otherwise, and where it may run; `None` if it could not be so again.
    own: Option<(Schedule, CpuMask)>,
    /// The processor that the service stays on.
    bound: Option<usize>,
    /// Faults until it is looked where the thread runs, or tried to yield again.
    until_look: u32,
}

impl Yielding {
    /// Of the calling process, which the helper helps.
    pub(super) fn new(helper: &'static Helper) -> Yielding {
        Yielding { helper, own: own_schedule(), bound: None, until_look: 0 }
    }

    /// Goes to the processor of a thread that waits for a page, and yields it.
    pub(super) fn begin(&mut self, thread: u32) {
        if self.until_look > 0 {
            self.until_look -= 1;
            return;
        }
        self.until_look = LOOK;
        let Some((schedule, own)) = &self.own else { return };
        let Some(cpu) = threads::last_cpu(thread).filter(|cpu| own.contains(*cpu)) else { return };
        // Who yields must be looked after.
        if self.bound == Some(cpu) || self.bound.is_none() && !self.helper.look_after() {
            return;
        }
        let was_bound = self.bound.replace(cpu).is_some();
        let is_there = CpuMask::of(cpu).is_some_and(|only| threads::set_affinity(0, &only).is_ok());
        if !is_there || !was_bound && schedule.idle().set(0).is_err() {
            self.end();
        }
    }

    /// Says that the service goes on; it has nothing to do where it `rests`.
    pub(super) fn go_on(&mut self, rests: bool) {
        if self.bound.is_none() {
            return;
        }
        self.helper.see_progress();
        if rests {
            // A thread on this processor would have run first, to its next fault: it runs on another one.
            self.until_look = 0;
            if self.helper.was_late() {
                self.end();
            }
        }
    }

    /// Tells whether the service yielded for so long that the helper had to give it its policy back.
    pub(super) fn was_late(&self) -> bool {
        self.bound.is_some() && self.helper.was_late()
    }

    /// Lets the service run where it may, and as others do.
    pub(super) fn end(&mut self) {
        self.until_look = 0;
        if self.bound.take().is_some()
            && let Some((schedule, own)) = &self.own
        {
            let _ = schedule.set(0);
            let _ = threads::set_affinity(0, own);
            self.helper.look_away();
        }
    }
}

/// How the calling thread is scheduled, if it could be so again after it had the idle policy.
fn own_schedule() -> Option<(Schedule, CpuMask)> {
    let schedule = Schedule::get(0).ok().filter(Schedule::is_normal)?;
    // Who may take precedence may also stop yielding.
    schedule.preferred().set(0).ok()?;
    schedule.set(0).ok()?;
    Some((schedule, threads::affinity(0).ok()?))
}
