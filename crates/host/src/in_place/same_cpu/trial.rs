//! Which of two ways to answer faults is faster, by trying both again and again.

use std::time::Duration;

/// Faults for which each way is tried, and the faster one is used.
const TRIAL: u32 = 256;
const USE: u32 = 16_384;

/// See the module.
#[derive(Debug)]
pub(super) struct Trial {
    phase: Phase,
    /// Faults that are left of the phase.
    left: u32,
    /// What the faults of this phase cost.
    spent: Duration,
    /// What trials took: apart, and together.
    usual: [Option<Duration>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Try { together: bool },
    Use { together: bool },
}

impl Default for Trial {
    fn default() -> Trial {
        Trial { phase: Phase::Try { together: false }, left: TRIAL, spent: Duration::ZERO, usual: [None; 2] }
    }
}

impl Trial {
    /// So much the last fault cost.
    pub(super) fn spend(&mut self, time: Duration) {
        self.spent += time;
    }

    /// Tells how a fault is to be answered.
    pub(super) fn is_together(&mut self) -> bool {
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
    fn together(trial: &mut Trial, faults: u32, apart_us: u64, together_us: u64) -> u32 {
        let mut count = 0;
        for _ in 0..faults {
            let together = trial.is_together();
            count += u32::from(together);
            trial.spend(Duration::from_micros(if together { together_us } else { apart_us }));
        }
        count
    }

    #[test]
    fn faster_way_is_used_and_the_other_tried_at_times() {
        let faults = 4 * (2 * TRIAL + USE);
        assert_eq!(together(&mut Trial::default(), faults, 60, 20), faults - 4 * TRIAL);
        assert_eq!(together(&mut Trial::default(), faults, 20, 60), 4 * TRIAL);
    }

    #[test]
    fn both_ways_are_tried_again_where_something_else_runs() {
        let mut trial = Trial::default();
        assert_eq!(together(&mut trial, 2 * TRIAL, 60, 20), TRIAL);
        trial.again();
        assert_eq!(together(&mut trial, 1000, 60, 20), 1000, "a trial goes on");
        trial.again();
        assert_eq!(together(&mut trial, 2 * TRIAL, 60, 1000), TRIAL);
        assert_eq!(together(&mut trial, USE, 60, 1000), 0);
    }
}
