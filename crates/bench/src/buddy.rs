//! What the buddy allocator costs: the fragmentation cases, mixed orders, and how little the size of the pool matters.
//!
//! The cases are those of `bifolio-buddy-cases`, which are also run beside other allocators and under a counter of
//! instructions. Here each stands beside a floor: the same calls, of which each turns one bit over and does nothing
//! else. An allocator must write down at least that. How many times that a search, a split and a merge may cost
//! follows from nothing, so the goals of these rows are times, set by what the kernel's allocator was published to
//! take. `buddy.scale` alone is judged by its ratio, of the dearest size of pool to the cheapest.

use bifolio_buddy::Buddy;
use bifolio_buddy_cases::fragmented;
use bifolio_buddy_cases::marks::Marks;
use bifolio_buddy_cases::trace::{LIVE, POOL, SCALE_LIVE, SCALES, Trace};

use crate::progress::{Watch, repeat};
use crate::row::{BenchError, Effort, Row};
use crate::samples::{Samples, middle};

/// Most that a fragmentation case may take. The kernel's version took 186 ms and 114 ms (Linux commit c07823f85012).
const FRAGMENTED_MS: f64 = 20.0;
/// Most that a call of the mixed trace may take.
const MIXED_NS: f64 = 20.0;
/// How many times the cost on the cheapest pool a call on the dearest may cost.
const SCALE: f64 = 2.0;

/// How often all is repeated, and steps of a trace.
struct Plan {
    rounds: usize,
    steps: u32,
}

/// Measures all rows of the allocator.
///
/// # Errors
/// If the allocator does not serve a trace that fits.
pub fn rows(effort: Effort, watch: &mut Watch<'_>) -> Result<Vec<Row>, BenchError> {
    let plan = match effort {
        Effort::Quick => Plan { rounds: 3, steps: 100_000 },
        Effort::Full => Plan { rounds: 31, steps: 1_000_000 },
    };
    let [alloc, reverse_free] = fragmented(&plan, watch)?;
    Ok(vec![alloc, reverse_free, mixed(&plan, watch)?, scale(&plan, watch)?])
}

fn fragmented(plan: &Plan, watch: &mut Watch<'_>) -> Result<[Row; 2], BenchError> {
    let mut times: [Samples; 4] = Default::default();
    repeat("buddy.fragmented", plan.rounds, watch, |_| {
        times[0].push(fragmented::alloc());
        times[1].push(fragmented::alloc_floor());
        times[2].push(fragmented::reverse_free());
        times[3].push(fragmented::reverse_free_floor());
        Ok::<(), BenchError>(())
    })?;
    let [alloc, alloc_floor, reverse_free, reverse_free_floor] = times.map(|time| time.median_us() / 1e3);
    Ok([
        Row::limited("buddy.fragmented.alloc", "ms", alloc, alloc_floor, FRAGMENTED_MS),
        Row::limited("buddy.fragmented.reverse_free", "ms", reverse_free, reverse_free_floor, FRAGMENTED_MS),
    ])
}

fn mixed(plan: &Plan, watch: &mut Watch<'_>) -> Result<Row, BenchError> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    repeat("buddy.mixed", plan.rounds, watch, |round| {
        let trace = Trace::new(round as u64 + 1, LIVE, plan.steps);
        ours.push(ns_per_call(&trace, POOL)?);
        bare.push(trace.run::<Marks>(POOL).ns_per_call());
        Ok::<(), BenchError>(())
    })?;
    Ok(Row::limited("buddy.mixed.absolute", "ns", middle(ours), middle(bare), MIXED_NS))
}

/// The dearest of all sizes of pools beside the cheapest, with as many live blocks.
fn scale(plan: &Plan, watch: &mut Watch<'_>) -> Result<Row, BenchError> {
    let mut costs = SCALES.map(|order| (order, Vec::new()));
    repeat("buddy.scale", plan.rounds, watch, |round| {
        let trace = Trace::new(round as u64 + 101, SCALE_LIVE, plan.steps / 4);
        costs.iter_mut().try_for_each(|(order, costs)| {
            costs.push(ns_per_call(&trace, 1 << *order)?);
            Ok::<(), BenchError>(())
        })
    })?;
    let medians = costs.map(|(_, costs)| middle(costs));
    let dearest = medians.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let cheapest = medians.into_iter().fold(f64::INFINITY, f64::min);
    Ok(Row::cost("buddy.scale", "ns", dearest, cheapest, SCALE))
}

fn ns_per_call(trace: &Trace, pages: u64) -> Result<f64, BenchError> {
    let outcome = trace.run::<Buddy>(pages);
    match outcome.failed {
        0 => Ok(outcome.ns_per_call()),
        failed => {
            Err(BenchError::Failed(format!("allocator refused {failed} blocks of a pool of {pages} pages")))
        }
    }
}
