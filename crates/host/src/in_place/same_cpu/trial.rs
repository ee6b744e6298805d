//! Which of two ways to answer faults is faster, by trying both again and again.

use std::time::{Duration, Instant};

/// Faults for which each way is tried, and the faster one is used.
const TRIAL: u32 = 256;
const USE: u32 = 16_384;
/// The program may sleep between two faults: a longer time counts as this. More than a turn of another program on the same processor,
/// which is what one of the ways may have to wait for.
pub(super) const GAP_MOST: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Trial {
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
    pub(super) fn new(now: Instant) -> Trial {
        Trial {
            phase: Phase::Try { together: false },
            left: TRIAL,
            spent: Duration::ZERO,
            last: now,
            usual: [None; 2],
        }
    }

    /// When the last fault was.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// Tells whether a fault at this time is to be answered together.
    pub(super) fn is_together(&mut self, now: Instant) -> bool {
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

    /// Tries both ways again, if one is used: something else runs now.
    pub(super) fn again(&mut self) {
        if let Phase::Use { .. } = self.phase {
            self.left = 0;
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
    fn both_ways_are_tried_again_where_something_else_runs() {
        let mut now = Instant::now();
        let mut trial = Trial::new(now);
        let mut count = |trial: &mut Trial, faults: u32, together_us: u64| {
            let mut count = 0;
            for _ in 0..faults {
                let together = trial.is_together(now);
                count += u32::from(together);
                now += Duration::from_micros(if together { together_us } else { 60 });
            }
            count
        };
        assert_eq!(count(&mut trial, 2 * TRIAL, 20), TRIAL);
        trial.again();
        assert_eq!(count(&mut trial, 1000, 20), 1000, "a trial goes on");
        trial.again();
        assert_eq!(count(&mut trial, 2 * TRIAL, 1000), TRIAL);
        assert_eq!(count(&mut trial, USE, 1000), 0);
    }
}
