//! Runs scenarios under many schedules.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};

use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use crate::mutant::{self, Mutant};

/// Random schedules of a scenario, and half as many of the other kind.
const ITERATIONS: usize = 300;
/// Where random choices begin in CI: the same schedules every time.
const SEED: u64 = 1;
/// Threads that the schedules of the second kind stop in favour of others.
const DEPTH: usize = 3;
/// How many times the schedules of a test a mutant may take to be found: which one finds it changes with every lock that
/// the engine takes more or less.
const PATIENCE: usize = 4;
/// A scenario takes a few thousand steps; one that takes so many makes no progress.
const STEPS_MAX: usize = 400_000;
const STACK: usize = 1 << 18;

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    // That weak orderings count as sequentially consistent is known: loom tests those of the page word.
    config.silence_warnings = true;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config
}

fn run(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    Runner::new(scheduler, config()).run(scenario);
}

/// A number that is another one at each run.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Runs `scenario` under many schedules: random ones, and ones that preempt at few, well spread places.
///
/// `BIFOLIO_SHUTTLE_ITERATIONS` asks for so many schedules, other ones at each run; `BIFOLIO_SHUTTLE_SCHEDULE` for one that
/// failed before.
///
/// # Panics
/// If one fails; the message tells its schedule.
pub fn explore(scenario: impl Fn() + Send + Sync + Copy + 'static) {
    if let Ok(schedule) = std::env::var("BIFOLIO_SHUTTLE_SCHEDULE") {
        return run(ReplayScheduler::new_from_encoded(&schedule), scenario);
    }
    match std::env::var("BIFOLIO_SHUTTLE_ITERATIONS") {
        Ok(iterations) => explore_some(random_seed(), iterations.parse().expect("a number"), scenario),
        Err(_) => explore_some(SEED, ITERATIONS, scenario),
    }
}

/// Tells whether schedules find `mutant` in `scenario`: those that a test has by default, or `PATIENCE` times as many.
#[must_use]
pub fn finds(mutant: Mutant, scenario: impl Fn() + Send + Sync + Copy + 'static) -> bool {
    let explore = || explore_some(SEED, ITERATIONS * PATIENCE, scenario);
    mutant::with(mutant, || catch_unwind(AssertUnwindSafe(explore)).is_err())
}

fn explore_some(seed: u64, iterations: usize, scenario: impl Fn() + Send + Sync + Copy + 'static) {
    run(RandomScheduler::new_from_seed(seed, iterations), scenario);
    run(PctScheduler::new_from_seed(seed, DEPTH, iterations / 2), scenario);
}
