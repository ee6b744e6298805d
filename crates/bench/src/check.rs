//! What the explorer of small worlds does in a second, on one core.
//!
//! A *state* is counted once, however often it is reached and whatever its pages and actors are called; for each of
//! them every step was done by the shipped code, judged under the rules, and what it led to was looked for among all
//! states so far. The floor is that look alone: the same number of states of the same size, put into the same set.

use std::time::Instant;

use bifolio_explore::set::{StateSet, hash_of};
use bifolio_explore::{Bounds, Options, Report, find};

use crate::progress::{Watch, repeat};
use crate::row::{BenchError, Effort, Row};
use crate::samples::middle;

/// The world of folios: 8 pages, orders 0 to 2, 3 actors.
const WORLD: Bounds = Bounds::of(8, 2, 3);
/// Millions of states a second to reach.
const STATES_PER_S: f64 = 1.0;
/// Most seconds that the world may take.
const WHOLE_S: f64 = 60.0;

/// Measures all rows of the explorer.
///
/// # Errors
/// If the world could not be explored as a whole.
pub fn rows(effort: Effort, watch: &mut Watch<'_>) -> Result<Vec<Row>, BenchError> {
    let rounds = match effort {
        Effort::Quick => 1,
        Effort::Full => 7,
    };
    let (mut whole, mut bare, mut states) = (Vec::new(), Vec::new(), 0);
    repeat("check", rounds, watch, |_| {
        let start = Instant::now();
        let report = explored()?;
        whole.push(start.elapsed().as_secs_f64());
        states = complete(&report)?;
        bare.push(set_s(states));
        Ok::<(), BenchError>(())
    })?;
    let (whole, bare) = (middle(whole), middle(bare));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let rate = |seconds: f64| states as f64 / seconds / 1e6;
    Ok(vec![
        Row::at_least("check.states_per_s", "M/s", rate(whole), rate(bare), STATES_PER_S),
        Row::limited("check.8p3o3a", "s", whole, bare, WHOLE_S),
    ])
}

/// Explores the world of shipped folios.
fn explored() -> Result<Report, BenchError> {
    let options = Options { bounds: Some(WORLD), world: Some("folios".to_owned()), ..Options::default() };
    let design =
        find("bifolio").ok_or_else(|| BenchError::Failed("no design of shipped folios".to_owned()))?;
    design.run(&options, &mut |_| ()).map_err(|error| BenchError::Failed(error.to_string()))
}

fn complete(report: &Report) -> Result<u64, BenchError> {
    if report.is_complete() && !report.breaks() {
        return Ok(report.states());
    }
    Err(BenchError::Failed("the exploration ended early, or a rule broke".to_owned()))
}

/// Seconds that it takes to put states into a set of states.
fn set_s(states: u64) -> f64 {
    let start = Instant::now();
    let mut set = StateSet::new();
    for state in 0..states {
        let state = [state, !state];
        set.insert(hash_of(&state), &state, 0);
    }
    start.elapsed().as_secs_f64()
}
