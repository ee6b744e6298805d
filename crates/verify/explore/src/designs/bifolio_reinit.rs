//! `bifolio-reinit`: the shipped folios, reset when they are formed: order and data of the last life stay in the word.

use bifolio_folio::Reset;
use bifolio_pool::PoolName;

use crate::design::Bounds;
use crate::designs::bifolio::explore_shipped;
use crate::designs::options::Options;
use crate::explore::Progress;
use crate::migrate::WORLDS;
use crate::report::Report;

/// Name of the design.
pub const NAME: &str = "bifolio-reinit";
/// What it is.
pub const ABOUT: &str = "the shipped code told to reset on form: the last put leaves order and data in the word, forming replaces it";
/// The world of folios unless told otherwise. Words that outlive folios make many more states of the same pages.
pub const BOUNDS: Bounds = Bounds::of(4, 2, 3);

/// Explores all models of the design.
pub fn run(bounds: Bounds, options: &Options, progress: &mut dyn FnMut(Progress)) -> Option<Report> {
    explore_shipped(NAME, Reset::OnForm, WORLDS, bounds, options, progress)
}

/// The world of folios over a pool unless told otherwise: small, as pages are not alike, nor are their last lives.
pub fn bounds_over(_pool: PoolName) -> Bounds {
    Bounds::of(2, 1, 3)
}
