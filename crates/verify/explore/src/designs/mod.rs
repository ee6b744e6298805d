//! The designs, and the list of them.

use bifolio_folio::Reset;
use bifolio_pool::PoolName;

use crate::design::Bounds;
use crate::designs::options::FOLIOS;
use crate::explore::Progress;
use crate::folio::Pooled;
use crate::linux::contract::Contract;
use crate::linux::{MemoryOrder, World};
use crate::report::{Report, judge};

pub(crate) mod bifolio;
pub(crate) mod bifolio_reinit;
pub(crate) mod gpu_buddy;
pub(crate) mod kernels;
pub(crate) mod migration;
mod options;
pub(crate) mod thread;

pub use options::{Options, OptionsError};

/// What runs a design; `None` if it has no world of the name that was asked for.
type Runner = fn(Bounds, &Options, &mut dyn FnMut(Progress)) -> Option<Report>;

/// How the shipped folios of a design are run over a shipped pool.
#[derive(Clone, Copy, Debug)]
struct OverPool {
    reset: Reset,
    bounds: fn(PoolName) -> Bounds,
}

/// What a design is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// How Linux forms and frees device folios.
    Folios,
    /// How Linux migrates pages to a device and home.
    Migration,
    /// How Linux's allocator keeps device memory.
    Allocators,
    /// What Bifolio ships.
    Shipped,
}

impl Subject {
    /// All of them, in the order of the [designs](designs).
    pub const ALL: [Subject; 4] =
        [Subject::Folios, Subject::Migration, Subject::Allocators, Subject::Shipped];

    /// A heading for designs of this kind.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Subject::Folios => "Device folios in Linux",
            Subject::Migration => "Migration in Linux",
            Subject::Allocators => "Allocators in Linux",
            Subject::Shipped => "Bifolio",
        }
    }
}

/// A design that can be run.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What it is about.
    pub subject: Subject,
    /// Its name.
    pub name: &'static str,
    /// Names that it had before, by which it is found as well.
    pub aliases: &'static [&'static str],
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

    /// Whether it can be explored with a weak order of memory.
    #[must_use]
    pub fn takes_memory_order(&self) -> bool {
        self.subject == Subject::Folios
    }

    /// The world it is run in unless told otherwise, over a pool if there is one.
    #[must_use]
    pub fn bounds_over(&self, pool: Option<PoolName>) -> Bounds {
        self.over_pool.zip(pool).map_or(self.bounds, |(over, pool)| (over.bounds)(pool))
    }

    /// Explores the design.
    ///
    /// # Errors
    /// [`OptionsError`] if there is no such world.
    pub fn run(&self, options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Report, OptionsError> {
        let bounds = options.bounds.unwrap_or_else(|| self.bounds_over(options.pool));
        bounds.check()?;
        if options.memory_order != MemoryOrder::Sequential && !self.takes_memory_order() {
            return Err(OptionsError::MemoryOrder { design: self.name });
        }
        let report = match self.over_pool.zip(options.pool) {
            Some((over, pool)) => run_over_pool(self.name, over.reset, pool, bounds, options, progress),
            None => self.larger.filter(|_| options.large).unwrap_or(self.runner)(bounds, options, progress),
        };
        report.ok_or_else(|| OptionsError::World {
            design: self.name,
            world: options.world.clone().unwrap_or_default(),
        })
    }
}

fn run_over_pool(
    name: &'static str,
    reset: Reset,
    pool: PoolName,
    bounds: Bounds,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Option<Report> {
    let explore =
        || judge(name, pool.as_str(), bounds, &Pooled::new(pool, bounds, reset), &options.limits, progress);
    options.includes(pool.as_str()).then(explore)
}

/// Size of the Linux worlds unless told otherwise: one huge page, orders 0, 8 and 9, two threads.
const LINUX_BOUNDS: Bounds = Bounds::of(4, 2, 2);

macro_rules! linux {
    ($contract:path) => {
        Entry {
            subject: Subject::Folios,
            name: $contract.name,
            aliases: $contract.aliases,
            about: $contract.about,
            bounds: LINUX_BOUNDS,
            runner: |bounds, options, progress| linux(&$contract, bounds, options, progress),
            larger: None,
            over_pool: None,
        }
    };
}

/// Size of the worlds of migration: a huge page of two pages, two threads that migrate.
const MIGRATION_BOUNDS: Bounds = Bounds::of(2, 1, 2);

macro_rules! migration {
    ($contract:path) => {
        Entry {
            subject: Subject::Migration,
            name: $contract.name,
            aliases: &[],
            about: $contract.about,
            bounds: MIGRATION_BOUNDS,
            runner: |bounds, options, progress| migration::run(&$contract, bounds, options, progress),
            larger: None,
            over_pool: None,
        }
    };
}

macro_rules! allocator {
    ($allocator:path) => {
        Entry {
            subject: Subject::Allocators,
            name: $allocator.name,
            aliases: &[],
            about: $allocator.about,
            bounds: LINUX_BOUNDS,
            runner: |bounds, options, progress| gpu_buddy::run(&$allocator, bounds, options, progress),
            larger: None,
            over_pool: None,
        }
    };
}

static DESIGNS: &[Entry] = &[
    linux!(kernels::MAINLINE),
    linux!(kernels::MAINLINE_FIXED),
    linux!(kernels::LINUX_6_18),
    linux!(kernels::LINUX_6_19_RC_NOUVEAU),
    linux!(kernels::LINUX_7_3_NOUVEAU),
    linux!(kernels::LINUX_7_3_TEST_HMM),
    linux!(kernels::LINUX_7_3_KFD),
    linux!(thread::V2),
    linux!(thread::V3),
    linux!(thread::V4),
    linux!(thread::V6),
    linux!(thread::FREE_PER_PAGE),
    linux!(thread::RESET_AFTER_FREE),
    linux!(thread::UNDO_IN_DRIVER),
    linux!(thread::SPLIT_ON_FREE),
    linux!(thread::SPLIT_WITHOUT_BARRIER),
    linux!(thread::MAINLINE_WITHOUT_BARRIER),
    linux!(thread::PRIVATE_OFFSETS),
    linux!(thread::REUSE_WITHOUT_RESET),
    linux!(thread::SPLIT_WITHOUT_REFERENCES),
    migration!(migration::LINUX_7_3),
    migration!(migration::LINUX_7_3_NOUVEAU),
    migration!(migration::LINUX_6_19_RC_NOUVEAU),
    migration!(migration::COUNTS_SLOTS),
    migration!(migration::NO_FALL_BACK),
    migration!(migration::READS_AFTER_PUT),
    migration!(migration::CALLER_FREES),
    migration!(migration::UNMARKED),
    migration!(migration::INSERT_KEEPS_LOCK),
    migration!(migration::EVICT_KEEPS_MM),
    migration!(migration::WAITS_FOR_LOCKS),
    migration!(migration::UNCHECKED),
    allocator!(gpu_buddy::LINUX_7_3),
    allocator!(gpu_buddy::UNMERGED),
    allocator!(gpu_buddy::DIRTY_LOST),
    Entry {
        subject: Subject::Shipped,
        name: bifolio::NAME,
        aliases: &[],
        about: bifolio::ABOUT,
        bounds: bifolio::BOUNDS,
        runner: bifolio::run,
        larger: Some(bifolio::run_large),
        over_pool: Some(OverPool { reset: Reset::OnFree, bounds: bifolio::bounds_over }),
    },
    Entry {
        subject: Subject::Shipped,
        name: bifolio_reinit::NAME,
        aliases: &[],
        about: bifolio_reinit::ABOUT,
        bounds: bifolio_reinit::BOUNDS,
        runner: bifolio_reinit::run,
        larger: None,
        over_pool: Some(OverPool { reset: Reset::OnForm, bounds: bifolio_reinit::bounds_over }),
    },
];

fn linux(
    contract: &Contract,
    bounds: Bounds,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Option<Report> {
    let world = World::new(*contract, bounds).with_memory_order(options.memory_order);
    let explore = || judge(contract.name, FOLIOS, bounds, &world, &options.limits, progress);
    options.includes(FOLIOS).then(explore)
}

/// All designs.
#[must_use]
pub fn designs() -> &'static [Entry] {
    DESIGNS
}

/// The design of a name, or of a name that it had before.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    DESIGNS.iter().find(|entry| entry.name == name || entry.aliases.contains(&name))
}
