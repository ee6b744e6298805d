//! A machine that the shipped engine runs on: the parts of `bifolio-sim` and the built-in device, with threads of shuttle.

pub mod buffer;
pub mod faults;
pub mod machine;

use crate::sim::faulty::FaultyView;
use crate::sim::view::SimView;

/// The view of a simulated process, whose calls may fail.
pub type View = FaultyView<SimView>;
