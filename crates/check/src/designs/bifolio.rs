//! `bifolio`: the shipped folios, split on free, the order handed to the pool.

use crate::bifolio::Folios;
use crate::design::Bounds;
use crate::explore::{Limits, Progress};
use crate::report::{Report, judge};
use crate::svm::{LARGE, Setup, Transactions, WORLDS};

/// Name of the design.
pub const NAME: &str = "bifolio";
/// What it is.
pub const ABOUT: &str =
    "the shipped code: a folio is one word at its head, undone before the pool gets range and order";
/// The world of folios unless told otherwise; those of transactions are no larger than this, and smaller by default.
pub const BOUNDS: Bounds = Bounds::of(8, 2, 3);

/// Explores all models of the design.
pub fn run(bounds: Bounds, limits: &Limits, progress: &mut dyn FnMut(Progress)) -> Report {
    let folios = judge(NAME, "folios", bounds, &Folios::new(bounds), limits, progress);
    explored(folios, WORLDS, bounds, limits, progress)
}

/// Explores larger worlds of transactions after all others.
pub fn run_large(bounds: Bounds, limits: &Limits, progress: &mut dyn FnMut(Progress)) -> Report {
    explored(run(bounds, limits, progress), LARGE, bounds, limits, progress)
}

/// Joins what is found in worlds of transactions.
fn explored(
    report: Report,
    worlds: &[(&'static str, Setup)],
    bounds: Bounds,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Report {
    worlds.iter().fold(report, |report, &(name, setup)| {
        let world = Transactions::new(setup.within(bounds));
        report.join(judge(NAME, name, world.bounds(), &world, limits, progress))
    })
}
