//! Figures of the hot paths, each with the physical floor that was measured in the same run.
//!
//! Machines drift, so what is compared is measured in turns (figure, floor, figure, floor, ...) and the medians
//! are set against each other. The ratio is the result; times are for orientation. Only where no ratio can be derived
//! is the goal a limit of the figure itself, see [`Row::limited`].
#![forbid(unsafe_code)]

pub mod attach;
pub mod buddy;
pub mod check;
mod device_write;
pub mod fault;
pub mod floor;
pub mod folio;
pub mod migrate;
pub mod oversubscribe;
mod progress;
mod row;
mod samples;
pub mod scatter;
mod swap;

pub use progress::{Progress, Watch};
pub use row::{BenchError, Bound, Effort, Goal, Row};
