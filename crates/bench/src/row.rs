//! What a bench reports.

use bifolio_runtime::SpaceError;
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
    /// The ratio to reach: at most this for times, at least this for rates.
    pub goal: f64,
    /// Whether the ratio reaches the goal.
    pub met: bool,
}

impl Row {
    /// A time in microseconds, which should be at most `goal` times its floor.
    #[must_use]
    pub fn time(name: &str, value_us: f64, floor_us: f64, goal: f64) -> Row {
        let ratio = value_us / floor_us;
        let met = ratio <= goal;
        Row { name: name.to_owned(), value: value_us, unit: "us", floor: floor_us, ratio, goal, met }
    }

    /// A rate in GB/s, which should be at least `goal` times its floor.
    #[must_use]
    pub fn rate(name: &str, value: f64, floor: f64, goal: f64) -> Row {
        let ratio = value / floor;
        let met = ratio >= goal;
        Row { name: name.to_owned(), value, unit: "GB/s", floor, ratio, goal, met }
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
    Space(#[from] SpaceError),
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
    Handlers(#[from] bifolio_runtime::fault_loop::HandlersError),
    /// Something that was to be measured did not happen.
    #[error("{0}")]
    Failed(String),
}
