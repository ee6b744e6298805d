//! A thread that faults, and the service, on one processor.
//!
//! To wake a thread on another processor costs more than all else that a fault for one page needs, and the kernel wakes a thread where
//! nothing else runs. So while the program faults, the service stays on one processor and lets the thread wake there:
//!
//! ```text
//!   yielding   the service has the idle policy: its processor counts as free    root, and who else may leave that policy
//!   placing    the thread has another affinity for as long as it wakes          where system calls trap, which hides that
//! ```
//!
//! It does not pay where the service's processor has other work. So both ways, on one processor and on any, are tried again and again,
//! and the faster one is used.

mod placing;
mod trial;
mod yielding;

use std::time::{Duration, Instant};

use bifolio_sys::Access;

use crate::in_place::control::Control;
use crate::in_place::helper::Helper;

pub(super) use placing::PlacedThread;
use placing::Placing;
use trial::Trial;
use yielding::Yielding;

/// Faults that follow each other, until they count as many.
const STREAK: u32 = 16;
/// Where a fault brings more pages than this, the thread may use what is there on another processor meanwhile, so these are tried on
/// their own.
const FEW: u64 = 16;
/// A fault costs as much as so many pages that it brings.
const FAULT_PAGES: u64 = 8;

/// The program may sleep between two faults: a longer time counts as this. More than a turn of another program on the same processor,
/// which is what one of the ways may have to wait for.
const GAP_MOST: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub(super) struct SameCpu {
    way: Way,
    /// Faults that followed each other.
    streak: u32,
    /// When the last fault was, how many pages it brought, and its trial.
    last: (Instant, u64),
    /// Of faults that bring few pages, and of the others.
    trials: [Trial; 2],
}

#[derive(Debug)]
enum Way {
    Yielding(Yielding),
    Placing(Placing),
}

impl SameCpu {
    /// Of a service that has just begun.
    pub(super) fn new(
        access: Access,
        control: &'static Control,
        helper: &'static Helper,
        now: Instant,
    ) -> SameCpu {
        let way = match access {
            Access::UserModeOnly => Way::Placing(Placing::new(control)),
            Access::Full(_) => Way::Yielding(Yielding::new(helper)),
        };
        SameCpu { way, streak: 0, last: (now, 1), trials: [Trial::default(), Trial::default()] }
    }

    /// Tells whether the thread that waits for so many pages is to wake on the service's processor.
    pub(super) fn is_wanted(&mut self, thread: u32, pages: u64, now: Instant) -> bool {
        let (last, brought) = std::mem::replace(&mut self.last, (now, pages));
        let gap = now.saturating_duration_since(last).min(GAP_MOST);
        let weight = u32::try_from(FAULT_PAGES + brought).unwrap_or(u32::MAX);
        self.trial_of(brought).spend(gap / weight);
        self.streak = if gap < GAP_MOST { (self.streak + 1).min(STREAK) } else { 0 };
        if let Way::Yielding(yielding) = &self.way
            && yielding.was_late()
        {
            self.release();
            self.trials.iter_mut().for_each(Trial::again);
        }
        let wanted = thread != 0 && self.streak >= STREAK && self.trial_of(pages).is_together();
        if !wanted {
            self.release();
        }
        wanted
    }

    fn trial_of(&mut self, pages: u64) -> &mut Trial {
        &mut self.trials[usize::from(pages > FEW)]
    }

    /// Lets a thread that waits for a page wake on the service's processor.
    pub(super) fn begin(&mut self, thread: u32) -> Option<PlacedThread> {
        match &mut self.way {
            Way::Yielding(yielding) => {
                yielding.begin(thread);
                None
            }
            Way::Placing(placing) => placing.begin(thread),
        }
    }

    /// Lets a thread that was placed run where it may.
    pub(super) fn let_go(&mut self, placed: &PlacedThread) {
        if let Way::Placing(placing) = &mut self.way {
            placing.let_go(placed);
        }
    }

    /// Releases it if there was no fault for a while.
    pub(super) fn look(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last.0) > GAP_MOST {
            self.release();
        }
    }

    /// Lets the service run anywhere, and as early as others: where it waits for a thread, both must come.
    pub(super) fn release(&mut self) {
        match &mut self.way {
            Way::Yielding(yielding) => yielding.end(),
            Way::Placing(placing) => placing.end(),
        }
    }

    /// Says that the service goes on; it has nothing to do where it `rests`.
    pub(super) fn go_on(&mut self, rests: bool) {
        if let Way::Yielding(yielding) = &mut self.way {
            yielding.go_on(rests);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many faults, how many threads are to wake here: where faults bring so many pages, after so many microseconds.
    fn wanted(same_cpu: &mut SameCpu, pages: u64, apart_us: u64, together_us: u64) -> u32 {
        let (mut now, mut count) = (same_cpu.last.0, 0);
        for _ in 0..4096 {
            let together = same_cpu.is_wanted(7, pages, now);
            count += u32::from(together);
            now += Duration::from_micros(if together { together_us } else { apart_us });
        }
        count
    }

    fn same_cpu() -> SameCpu {
        static CONTROL: Control = Control::new();
        static HELPER: Helper = Helper::new();
        SameCpu::new(Access::UserModeOnly, &CONTROL, &HELPER, Instant::now())
    }

    #[test]
    fn faults_that_bring_many_pages_are_tried_on_their_own() {
        let mut same_cpu = same_cpu();
        assert!(wanted(&mut same_cpu, 1, 60, 20) > 3000);
        assert!(wanted(&mut same_cpu, 100, 100, 200) < 1000);
        assert!(wanted(&mut same_cpu, 1, 60, 20) > 3000);
    }

    #[test]
    fn rare_faults_and_those_of_no_thread_are_answered_as_they_come() {
        let mut same_cpu = same_cpu();
        assert_eq!(wanted(&mut same_cpu, 1, 20_000, 20_000), 0);
        let now = same_cpu.last.0;
        assert!((0..4096).all(|_| !same_cpu.is_wanted(0, 1, now)), "the kernel does not tell the thread");
    }
}
