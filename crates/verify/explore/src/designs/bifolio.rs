//! `bifolio`: the shipped folios, split on free, the order handed to the pool.

use bifolio_folio::Reset;
use bifolio_pool::PoolName;

use crate::design::Bounds;
use crate::designs::options::{FOLIOS, Options};
use crate::explore::Progress;
use crate::folio::Folios;
use crate::migrate::{LARGE, Setup, Transactions, WORLDS};
use crate::report::{Report, judge};

/// Name of the design.
pub const NAME: &str = "bifolio";
/// What it is.
pub const ABOUT: &str =
    "the shipped code: a folio is one word at its head, undone before the pool gets range and order";
/// The world of folios unless told otherwise; those of transactions are no larger than this, and smaller by default.
pub const BOUNDS: Bounds = Bounds::of(8, 2, 3);

/// Explores all models of the design.
pub fn run(bounds: Bounds, options: &Options, progress: &mut dyn FnMut(Progress)) -> Option<Report> {
    explore_shipped(NAME, Reset::OnFree, WORLDS, bounds, options, progress)
}

/// The world of folios over a pool unless told otherwise. Addresses make many more states of the same pages.
pub fn bounds_over(pool: PoolName) -> Bounds {
    Bounds::of(4, 1, if pool == PoolName::Coherent { 2 } else { 3 })
}

/// Explores larger worlds of transactions after all others.
pub fn run_large(bounds: Bounds, options: &Options, progress: &mut dyn FnMut(Progress)) -> Option<Report> {
    let worlds: Vec<_> = WORLDS.iter().chain(LARGE).copied().collect();
    explore_shipped(NAME, Reset::OnFree, &worlds, bounds, options, progress)
}

/// Explores folios and worlds of transactions, of which folios are reset when they are told to.
pub(super) fn explore_shipped(
    name: &'static str,
    reset: Reset,
    worlds: &[(&'static str, Setup)],
    bounds: Bounds,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Option<Report> {
    let mut reports = Vec::new();
    if options.includes(FOLIOS) {
        let folios = Folios::with_reset(bounds, reset);
        reports.push(judge(name, FOLIOS, bounds, &folios, &options.limits, progress));
    }
    for &(world, setup) in worlds.iter().filter(|(world, _)| options.includes(world)) {
        let transactions = Transactions::new(setup.within(bounds)).with_reset(reset);
        reports.push(judge(name, world, transactions.bounds(), &transactions, &options.limits, progress));
    }
    reports.into_iter().reduce(Report::join)
}
