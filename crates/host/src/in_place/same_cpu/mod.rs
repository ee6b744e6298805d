//! A thread that faults for few pages at a time, and the service, on one processor.
//!
//! To wake a thread on another processor costs more than all else that such a fault needs, and the kernel wakes a thread where
//! nothing else runs. So while the program faults for few pages, the service stays on one processor and lets the thread wake there:
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

use std::time::Instant;

use bifolio_sys::Access;

use crate::in_place::control::Control;
use crate::in_place::helper::Helper;

pub(super) use placing::PlacedThread;
use placing::Placing;
use trial::{GAP_MOST, Trial};
use yielding::Yielding;

/// Pages that a fault may bring: where more come, the thread uses what is there on another processor meanwhile.
const PAGES: u64 = 16;
/// Faults for so few pages, until they count as many; one for more counts against some of them.
const STREAK: u32 = 16;
const STREAK_MOST: u32 = 32;
const AGAINST: u32 = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct SameCpu {
    way: Way,
    streak: u32,
    trial: Trial,
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
        SameCpu { way, streak: 0, trial: Trial::new(now) }
    }

    /// Tells whether the thread that waits for so many pages is to wake on the service's processor.
    pub(super) fn is_wanted(&mut self, thread: u32, pages: u64, now: Instant) -> bool {
        let few = pages <= PAGES;
        self.streak =
            if few { (self.streak + 1).min(STREAK_MOST) } else { self.streak.saturating_sub(AGAINST) };
        if let Way::Yielding(yielding) = &self.way
            && yielding.was_late()
        {
            self.release();
            self.trial.again();
        }
        let wanted = thread != 0 && self.streak >= STREAK && self.trial.is_together(now);
        if !wanted {
            self.release();
        }
        wanted && few
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
        if now.saturating_duration_since(self.trial.last()) > GAP_MOST {
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn faults_for_many_pages_are_no_streak() {
        static CONTROL: Control = Control::new();
        static HELPER: Helper = Helper::new();
        let now = Instant::now();
        let mut same_cpu = SameCpu::new(Access::UserModeOnly, &CONTROL, &HELPER, now);
        let mut wanted = |pages: &dyn Fn(u32) -> u64, thread| {
            let at = |fault: u32| now + Duration::from_micros(fault.into());
            (0..4096).filter(|fault| same_cpu.is_wanted(thread, pages(*fault), at(*fault))).count()
        };
        assert_eq!(wanted(&|fault| if fault % 4 == 0 { 512 } else { 1 }, 7), 0);
        assert_eq!(wanted(&|_| 1, 0), 0, "the kernel does not tell the thread");
        assert!(wanted(&|_| 1, 7) > 0);
    }
}
