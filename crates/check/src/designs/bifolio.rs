//! `bifolio`: the shipped folios, split on free, the order handed to the pool.

use crate::bifolio::Folios;
use crate::design::Bounds;
use crate::explore::{Limits, Progress};
use crate::report::{Report, judge};
use crate::svm::{Transactions, WORLDS};

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
    WORLDS.iter().fold(folios, |report, &(name, setup)| {
        let world = Transactions::new(setup.within(bounds));
        report.join(judge(NAME, name, world.bounds(), &world, limits, progress))
    })
}
