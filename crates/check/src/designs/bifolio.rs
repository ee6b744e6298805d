//! `bifolio`: the shipped folios, split on free, the order handed to the pool.

use crate::bifolio::Folios;
use crate::design::Bounds;
use crate::explore::{Limits, Progress};
use crate::report::{Report, judge};

/// Name of the design.
pub const NAME: &str = "bifolio";
/// What it is.
pub const ABOUT: &str =
    "the shipped code: a folio is one word at its head, undone before the pool gets range and order";
/// The world it is run in unless told otherwise.
pub const BOUNDS: Bounds = Bounds::of(4, 2, 2);

/// Explores all models of the design.
pub fn run(bounds: Bounds, limits: &Limits, progress: &mut dyn FnMut(Progress)) -> Report {
    judge(NAME, "folios", bounds, &Folios::new(bounds), limits, progress)
}
