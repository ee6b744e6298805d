//! The designs, one file each, and the list of them.

use bifolio_folio::Reset;
use bifolio_pool::PoolName;

use crate::design::{Bounds, BoundsError};
use crate::explore::{Limits, Progress};
use crate::folio::Pooled;
use crate::linux::World;
use crate::linux::contract::Contract;
use crate::report::{Report, judge};

pub mod bifolio;
pub mod bifolio_reinit;
pub mod buddy_dirty_lost;
pub mod linux_6_18_nouveau;
pub mod linux_6_18_xe;
pub mod linux_mainline;
pub mod linux_v2;
pub mod linux_v3;
pub mod linux_v4;
pub mod linux_v6;
pub mod reuse_without_reset;
pub mod split_without_references;

/// How to run a design.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Size of the world; each design has its own where this is `None`.
    pub bounds: Option<Bounds>,
    /// Memory, states and threads.
    pub limits: Limits,
    /// Whether to explore larger worlds as well, where a design has some.
    pub large: bool,
    /// The shipped pool that hands out pages, in designs that [take one](Entry::takes_pools); the others ignore it. Without
    /// it any free block may be handed out, so what holds then holds for every pool.
    pub pool: Option<PoolName>,
}

/// What runs a design.
type Runner = fn(Bounds, &Limits, &mut dyn FnMut(Progress)) -> Report;

/// How the shipped folios of a design are run over a shipped pool.
#[derive(Clone, Copy, Debug)]
struct OverPool {
    reset: Reset,
    bounds: fn(PoolName) -> Bounds,
}

/// A design that can be run.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// The world it is run in unless told otherwise.
    pub bounds: Bounds,
    runner: Runner,
    /// What runs it in larger worlds as well.
    larger: Option<Runner>,
    /// What runs it over a shipped pool.
    over_pool: Option<OverPool>,
}

impl Entry {
    /// Whether it can be explored over a shipped pool.
    #[must_use]
    pub fn takes_pools(&self) -> bool {
        self.over_pool.is_some()
    }

    /// The world it is run in unless told otherwise, over a pool if there is one.
    #[must_use]
    pub fn bounds_over(&self, pool: Option<PoolName>) -> Bounds {
        self.over_pool.zip(pool).map_or(self.bounds, |(over, pool)| (over.bounds)(pool))
    }

    /// Explores the design.
    ///
    /// # Errors
    /// [`BoundsError`] if there is no such world.
    pub fn run(&self, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Report, BoundsError> {
        let bounds = options.bounds.unwrap_or_else(|| self.bounds_over(options.pool));
        bounds.check()?;
        if let Some((over, pool)) = self.over_pool.zip(options.pool) {
            let folios = Pooled::new(pool, bounds, over.reset);
            return Ok(judge(self.name, pool.as_str(), bounds, &folios, &options.limits, progress));
        }
        let runner = self.larger.filter(|_| options.large).unwrap_or(self.runner);
        Ok(runner(bounds, &options.limits, progress))
    }
}

/// Size of the Linux worlds unless told otherwise: one huge page, orders 0, 8 and 9, two threads.
const LINUX_BOUNDS: Bounds = Bounds::of(4, 2, 2);

macro_rules! linux {
    ($module:ident) => {
        Entry {
            name: $module::CONTRACT.name,
            about: $module::CONTRACT.about,
            bounds: LINUX_BOUNDS,
            runner: |bounds, limits, progress| linux(&$module::CONTRACT, bounds, limits, progress),
            larger: None,
            over_pool: None,
        }
    };
}

static DESIGNS: &[Entry] = &[
    linux!(linux_v2),
    linux!(linux_v3),
    linux!(linux_v4),
    linux!(linux_v6),
    linux!(linux_mainline),
    linux!(linux_6_18_nouveau),
    linux!(linux_6_18_xe),
    linux!(reuse_without_reset),
    linux!(split_without_references),
    Entry {
        name: buddy_dirty_lost::NAME,
        about: buddy_dirty_lost::ABOUT,
        bounds: LINUX_BOUNDS,
        runner: buddy_dirty_lost::run,
        larger: None,
        over_pool: None,
    },
    Entry {
        name: bifolio::NAME,
        about: bifolio::ABOUT,
        bounds: bifolio::BOUNDS,
        runner: bifolio::run,
        larger: Some(bifolio::run_large),
        over_pool: Some(OverPool { reset: Reset::OnFree, bounds: bifolio::bounds_over }),
    },
    Entry {
        name: bifolio_reinit::NAME,
        about: bifolio_reinit::ABOUT,
        bounds: bifolio_reinit::BOUNDS,
        runner: bifolio_reinit::run,
        larger: None,
        over_pool: Some(OverPool { reset: Reset::OnForm, bounds: bifolio_reinit::bounds_over }),
    },
];

fn linux(contract: &Contract, bounds: Bounds, limits: &Limits, progress: &mut dyn FnMut(Progress)) -> Report {
    judge(contract.name, "folios", bounds, &World::new(*contract, bounds), limits, progress)
}

/// All designs.
#[must_use]
pub fn designs() -> &'static [Entry] {
    DESIGNS
}

/// The design of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    DESIGNS.iter().find(|entry| entry.name == name)
}
