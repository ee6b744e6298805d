//! The designs, one file each, and the list of them.

use crate::design::{Bounds, BoundsError};
use crate::explore::{Limits, Progress};
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
}

/// What runs a design.
type Runner = fn(Bounds, &Limits, &mut dyn FnMut(Progress)) -> Report;

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
}

impl Entry {
    /// Explores the design.
    ///
    /// # Errors
    /// [`BoundsError`] if there is no such world.
    pub fn run(&self, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Report, BoundsError> {
        let bounds = options.bounds.unwrap_or(self.bounds);
        bounds.check()?;
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
    },
    Entry {
        name: bifolio::NAME,
        about: bifolio::ABOUT,
        bounds: bifolio::BOUNDS,
        runner: bifolio::run,
        larger: Some(bifolio::run_large),
    },
    Entry {
        name: bifolio_reinit::NAME,
        about: bifolio_reinit::ABOUT,
        bounds: bifolio_reinit::BOUNDS,
        runner: bifolio_reinit::run,
        larger: None,
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
