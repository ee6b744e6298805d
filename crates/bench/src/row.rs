//! What a bench reports.

use bifolio_host::SetupError;
use bifolio_sys::{MapError, ReadyError, SysError};
use serde::Serialize;

/// One figure with its floor.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// What was measured, as `group.thing.size`.
    pub name: String,
    /// The median, in `unit`.
    pub value: f64,
    /// Unit of `value` and `floor`.
    pub unit: &'static str,
    /// The median of the floor.
    pub floor: f64,
    /// `value / floor`.
    pub ratio: f64,
    /// What to reach: a ratio, at most this for times and at least this for rates; or the most that `value` may be
    /// ([`Row::limited`]), or the least ([`Row::at_least`]), in `unit`.
    pub goal: f64,
    /// Whether the goal is reached.
    pub met: bool,
    /// What `goal` is about; not in the JSON, where `met` says what came of it.
    #[serde(skip)]
    pub goal_is: Goal,
    /// On which side of `goal` the figure should be; not in the JSON either.
    #[serde(skip)]
    pub bound: Bound,
}

/// What the goal of a row is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// How the figure stands to its floor.
    Ratio,
    /// The figure itself.
    Value,
}

/// On which side of its goal a figure should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// The goal is the most that is good: of times and costs.
    AtMost,
    /// The goal is the least that is good: of rates.
    AtLeast,
}

impl Row {
    /// A time in microseconds, which should be at most `goal` times its floor.
    #[must_use]
    pub fn time(name: &str, value_us: f64, floor_us: f64, goal: f64) -> Row {
        Self::cost(name, "us", value_us, floor_us, goal)
    }

    /// A cost in any unit, which should be at most `goal` times its floor.
    #[must_use]
    pub fn cost(name: &str, unit: &'static str, value: f64, floor: f64, goal: f64) -> Row {
        Self::judged(name, unit, value, floor, goal, (Goal::Ratio, Bound::AtMost))
    }

    /// A rate in GB/s, which should be at least `goal` times its floor.
    #[must_use]
    pub fn rate(name: &str, value: f64, floor: f64, goal: f64) -> Row {
        Self::gain(name, "GB/s", value, floor, goal)
    }

    /// A rate in any unit, which should be at least `goal` times its floor.
    #[must_use]
    pub fn gain(name: &str, unit: &'static str, value: f64, floor: f64, goal: f64) -> Row {
        Self::judged(name, unit, value, floor, goal, (Goal::Ratio, Bound::AtLeast))
    }

    /// A cost that should itself be at most `limit`, in its unit, whatever its floor: for goals that do not follow
    /// from what the machine can do. The ratio tells how much is above the floor, and is not judged.
    #[must_use]
    pub fn limited(name: &str, unit: &'static str, value: f64, floor: f64, limit: f64) -> Row {
        Self::judged(name, unit, value, floor, limit, (Goal::Value, Bound::AtMost))
    }

    /// A rate that should itself be at least `goal`, in its unit, whatever its floor. The ratio is not judged.
    #[must_use]
    pub fn at_least(name: &str, unit: &'static str, value: f64, floor: f64, goal: f64) -> Row {
        Self::judged(name, unit, value, floor, goal, (Goal::Value, Bound::AtLeast))
    }

    fn judged(
        name: &str,
        unit: &'static str,
        value: f64,
        floor: f64,
        goal: f64,
        (goal_is, bound): (Goal, Bound),
    ) -> Row {
        let ratio = value / floor;
        let judged = match goal_is {
            Goal::Ratio => ratio,
            Goal::Value => value,
        };
        let met = match bound {
            Bound::AtMost => judged <= goal,
            Bound::AtLeast => judged >= goal,
        };
        Row { name: name.to_owned(), value, unit, floor, ratio, goal, met, goal_is, bound }
    }
}

/// How long to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// A second or two, for a look.
    Quick,
    /// Enough for figures to quote.
    Full,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No space to measure.
    #[error(transparent)]
    Space(#[from] SetupError),
    /// No userfaultfd for the floor.
    #[error("page faults cannot be caught")]
    Uffd(#[from] ReadyError),
    /// No memory for the floor.
    #[error("no memory to measure with")]
    Map(#[from] MapError),
    /// No registration for the floor.
    #[error("floor cannot be registered with userfaultfd")]
    Register(#[from] SysError),
    /// No handlers for the floor.
    #[error(transparent)]
    Handlers(#[from] bifolio_host::fault_loop::HandlersError),
    /// A cell of the grid cannot be simulated.
    #[error(transparent)]
    Replay(#[from] bifolio_replay::ReplayError),
    /// Something that was to be measured did not happen.
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_judged_by_its_ratio() {
        assert!(Row::cost("a", "ns", 30.0, 20.0, 1.5).met);
        assert!(!Row::cost("a", "ns", 31.0, 20.0, 1.5).met);
    }

    #[test]
    fn rate_must_reach_its_share_of_the_floor() {
        assert!(Row::rate("a", 9.0, 10.0, 0.9).met);
        assert!(!Row::rate("a", 8.9, 10.0, 0.9).met);
    }

    #[test]
    fn limited_cost_is_judged_by_itself_and_still_has_a_ratio() {
        let row = Row::limited("a", "ms", 20.0, 0.5, 20.0);
        assert_eq!((row.ratio, row.goal, row.met, row.goal_is), (40.0, 20.0, true, Goal::Value));
        assert!(!Row::limited("a", "ms", 20.1, 19.0, 20.0).met);
    }

    #[test]
    fn rate_with_a_goal_of_its_own_is_judged_by_itself() {
        assert!(Row::at_least("a", "M/s", 1.0, 20.0, 1.0).met);
        assert!(!Row::at_least("a", "M/s", 0.9, 0.1, 1.0).met);
    }
}
