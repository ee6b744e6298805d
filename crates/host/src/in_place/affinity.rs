//! A thread that faults for few pages at a time, and the service, on one processor.
//!
//! To wake a thread on another processor costs more than all else that such a fault needs, and the kernel wakes a thread where
//! nothing else runs. So while one thread faults for few pages, the service stays on a processor and lets the thread wake there:
//!
//! ```text
//!   the thread waits for its page    bring_together: its affinity becomes the service's processor
//!   its page comes, which wakes it   it is queued behind the service
//!   it is about to run               let_go: its affinity is its own again
//! ```
//!
//! So it does not run with another affinity than its own, unless the kernel prefers it to the service just there. What the thread
//! does then waits by [`Placed`](crate::in_place::control::Placed) where calls trap, or are made by the C library. Where bare calls pass, the service has a real-time
//! priority meanwhile, so that it is preferred; without the right to that, nothing is done.
//!
//! It does not pay where the service's processor has other work. So both ways are tried again and again, and the faster one is
//! used.

use std::time::{Duration, Instant};

use bifolio_sys::process::{self, Schedule};
use bifolio_sys::threads::{self, CpuMask};

use crate::in_place::control::Control;

/// Pages that a fault may bring: where more come, the thread uses what is there on another processor meanwhile.
const PAGES: u64 = 16;
/// Faults of one thread for so few pages, until they count as many; one for more counts against some of them.
const STREAK: u32 = 16;
const STREAK_MOST: u32 = 32;
const AGAINST: u32 = 4;
/// Faults for which each way is tried, and the faster one is used.
const TRIAL: u32 = 256;
const USE: u32 = 16_384;
/// The program may compute between two faults: a longer time counts as this.
const GAP_MOST: Duration = Duration::from_micros(200);
/// Without a fault for this time, the service runs anywhere.
const IDLE: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Affinity {
    control: &'static Control,
    /// How the service is scheduled otherwise.
    schedule: Option<Schedule>,
    /// Where the service may run; `None` if that is not known.
    own: Option<CpuMask>,
    /// The processor that the service stays on.
    bound: Option<usize>,
    /// The thread that faulted last, and faults of it.
    thread: u32,
    streak: u32,
    trial: Trial,
    answered: bool,
}

/// A thread whose affinity is the service's processor until it is [let go](Affinity::let_go).
#[derive(Debug)]
pub(super) struct BroughtTogether {
    thread: u32,
    own: CpuMask,
}

impl Affinity {
    /// Of a service that has just begun.
    pub(super) fn new(control: &'static Control, now: Instant) -> Affinity {
        Affinity {
            control,
            schedule: Schedule::get().ok(),
            own: threads::affinity(0).ok(),
            bound: None,
            thread: 0,
            streak: 0,
            trial: Trial::new(now),
            answered: false,
        }
    }

    /// Lets a thread that waits for a page wake on the service's processor, if that pays; so many pages come.
    pub(super) fn bring_together(
        &mut self,
        thread: u32,
        pages: u64,
        now: Instant,
    ) -> Option<BroughtTogether> {
        let few = pages <= PAGES;
        if thread == 0 || !self.is_streak(thread, few) || !self.trial.is_together(now) {
            self.release();
            return None;
        }
        let placed = self.control.placed();
        if !few || !placed.begin(thread) {
            return None;
        }
        let brought = self.place(thread);
        if brought.is_none() {
            placed.end();
        }
        brought
    }

    /// Gives a thread its own affinity back.
    pub(super) fn let_go(&mut self, brought: &BroughtTogether) {
        // It fails for a thread that is gone.
        let _ = threads::set_affinity(brought.thread, &brought.own);
        self.control.placed().end();
        self.answered = true;
    }

    /// Tells whether the thread that faults was answered since this was last asked, and waits for this processor: that it faults again
    /// will be seen when the service waits.
    pub(super) fn take_answered(&mut self) -> bool {
        std::mem::take(&mut self.answered)
    }

    /// Counts a fault; tells whether one thread faults for few pages.
    fn is_streak(&mut self, thread: u32, few: bool) -> bool {
        if thread != self.thread {
            (self.thread, self.streak) = (thread, 0);
        }
        self.streak =
            if few { (self.streak + 1).min(STREAK_MOST) } else { self.streak.saturating_sub(AGAINST) };
        self.streak >= STREAK
    }

    /// Binds the service, and the thread to its processor.
    fn place(&mut self, thread: u32) -> Option<BroughtTogether> {
        let own = threads::affinity(thread).ok()?;
        let allowed = self.own.as_ref()?;
        let here = self.bound.unwrap_or_else(process::current_cpu);
        let cpu = if own.contains(here) { here } else { own.first_common(allowed)? };
        let only = CpuMask::of(cpu)?;
        if self.bound != Some(cpu) {
            self.bind(cpu, &only)?;
        }
        if own == only {
            return None;
        }
        threads::set_affinity(thread, &only).ok()?;
        Some(BroughtTogether { thread, own })
    }

    /// Keeps the service on a processor, which alone is in a mask.
    fn bind(&mut self, cpu: usize, only: &CpuMask) -> Option<()> {
        let is_preferred = self.bound.is_some() || self.control.is_user_mode();
        if !is_preferred && (self.schedule.is_none() || Schedule::real_time().set().is_err()) {
            self.own = None;
            return None;
        }
        self.bound = Some(cpu);
        threads::set_affinity(0, only).ok()
    }

    /// Releases it if there was no fault for a while.
    pub(super) fn look(&mut self, now: Instant) {
        if now.saturating_duration_since(self.trial.last) > IDLE {
            self.release();
        }
    }

    /// Lets the service run anywhere, and as late as others: where it waits for a thread, that must come first.
    pub(super) fn release(&mut self) {
        if self.bound.take().is_some()
            && let Some(own) = &self.own
        {
            let _ = threads::set_affinity(0, own);
            let _ = self.schedule.as_ref().map(Schedule::set);
        }
    }
}

/// Which way is faster.
#[derive(Debug)]
struct Trial {
    phase: Phase,
    /// Faults that are left of the phase.
    left: u32,
    /// Time between the faults of this phase.
    spent: Duration,
    last: Instant,
    /// What trials took: apart, and together.
    usual: [Option<Duration>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Try { together: bool },
    Use { together: bool },
}

impl Trial {
    fn new(now: Instant) -> Trial {
        Trial {
            phase: Phase::Try { together: false },
            left: TRIAL,
            spent: Duration::ZERO,
            last: now,
            usual: [None; 2],
        }
    }

    /// Tells how a fault at this time is to be answered.
    fn is_together(&mut self, now: Instant) -> bool {
        self.spent += now.saturating_duration_since(self.last).min(GAP_MOST);
        self.last = now;
        if self.left == 0 {
            (self.phase, self.left) = self.next();
            self.spent = Duration::ZERO;
        }
        self.left -= 1;
        match self.phase {
            Phase::Try { together } | Phase::Use { together } => together,
        }
    }

    fn next(&mut self) -> (Phase, u32) {
        let Phase::Try { together } = self.phase else { return (Phase::Try { together: false }, TRIAL) };
        // One trial is short, and other programs come and go.
        let usual = &mut self.usual[usize::from(together)];
        *usual = Some(usual.map_or(self.spent, |usual| (usual * 3 + self.spent) / 4));
        let [apart, beside] = self.usual;
        if together {
            (Phase::Use { together: beside < apart }, USE)
        } else {
            (Phase::Try { together: true }, TRIAL)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many faults, how many are answered together, where each way takes so many microseconds.
    fn together(faults: u32, apart_us: u64, together_us: u64) -> u32 {
        let mut now = Instant::now();
        let mut trial = Trial::new(now);
        let mut count = 0;
        for _ in 0..faults {
            let together = trial.is_together(now);
            count += u32::from(together);
            now += Duration::from_micros(if together { together_us } else { apart_us });
        }
        count
    }

    #[test]
    fn faster_way_is_used_and_the_other_tried_at_times() {
        let faults = 4 * (2 * TRIAL + USE);
        assert_eq!(together(faults, 60, 20), faults - 4 * TRIAL);
        assert_eq!(together(faults, 20, 60), 4 * TRIAL);
    }

    #[test]
    fn faults_of_two_threads_or_of_walks_are_no_streak() {
        static CONTROL: Control = Control::new();
        let mut affinity = Affinity::new(&CONTROL, Instant::now());
        assert!((0..100).all(|at| !affinity.is_streak(1 + at % 2, true)));
        assert!((0..100).all(|at| !affinity.is_streak(1, at % 4 != 0)));
        assert_eq!((0..100).filter(|_| affinity.is_streak(2, true)).count(), 100 - (STREAK as usize - 1));
    }

    #[test]
    fn thread_has_its_own_affinity_again_afterwards() {
        static CONTROL: Control = Control::new();
        let mut affinity = Affinity::new(&CONTROL, Instant::now());
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let waiter = std::thread::spawn(move || {
            tell.send(process::thread_id()).expect("it is read");
            let _ = stopped.recv();
        });
        let thread = told.recv().expect("it is told");
        let before = threads::affinity(thread).expect("it is there");
        let (mut now, mut brought) = (Instant::now(), None);
        for _ in 0..STREAK + 2 * TRIAL {
            brought = affinity.bring_together(thread, 1, now);
            now += Duration::from_micros(1);
            if let Some(brought) = &brought {
                assert!(CONTROL.placed().is_placed());
                let cpu = affinity.bound.expect("the service is bound as well");
                let only = CpuMask::of(cpu).expect("few processors");
                assert_eq!(threads::affinity(thread).expect("it is there"), only);
                affinity.let_go(brought);
                assert!(!CONTROL.placed().is_placed());
                assert_eq!(threads::affinity(thread).expect("it is there"), before);
            }
        }
        assert!(brought.is_some() || before.count() == 1, "one of them brought it");
        CONTROL.placed().program_places();
        assert!((0..200).all(|_| affinity.bring_together(thread, 1, now).is_none()), "the program does");
        affinity.bound = Some(0);
        affinity.look(now);
        assert_eq!(affinity.bound, Some(0), "there was a fault just now");
        affinity.look(now + 2 * IDLE);
        assert_eq!(affinity.bound, None);
        drop(stop);
        waiter.join().expect("it has ended");
    }
}
