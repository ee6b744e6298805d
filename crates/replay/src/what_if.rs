//! What if there were more memory, or less: misses by size.

use bifolio_policy::{MissCurve, PolicyName};
use serde::Serialize;

use crate::machine::{Link, ReplayError, replay};
use crate::requests::Requests;
use crate::{PAGE_SIZE, belady_touches};

/// How many sizes are simulated.
const SIZES: u64 = 8;

/// What a policy does in memories of several sizes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PolicyCurve {
    /// The policy.
    pub policy: String,
    /// What it does in each of the sizes.
    pub points: Vec<Point>,
}

/// What a policy does in a memory of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Point {
    /// Bytes of memory.
    pub memory: u64,
    /// Touches that found no page.
    pub misses: u64,
    /// Bytes that moved, both ways.
    pub bytes_moved: u64,
}

/// The misses of LRU over pages of 4 KiB in memories of every size, by one pass.
///
/// # Errors
/// As [`Requests::check_exact`].
pub fn miss_curve(requests: &Requests) -> Result<MissCurve, ReplayError> {
    requests.check_exact()?;
    Ok(MissCurve::of(&belady_touches(requests)))
}

/// The sizes that are worth a look, in pages: eighths of what is enough for everything.
#[must_use]
pub fn sizes(curve: &MissCurve) -> Vec<u64> {
    let mut sizes: Vec<u64> =
        (1..=SIZES).map(|part| (curve.largest() * part).div_ceil(SIZES).max(2)).collect();
    sizes.dedup();
    sizes
}

/// Replays under a policy in memories of several sizes, in pages.
///
/// # Errors
/// Those of [`replay`](crate::replay()).
pub fn policy_curve(
    requests: &Requests,
    policy: PolicyName,
    sizes: &[u64],
    link: Link,
) -> Result<PolicyCurve, ReplayError> {
    let point = |pages: &u64| {
        let outcome = replay(requests, policy, *pages, link)?;
        Ok(Point { memory: pages * PAGE_SIZE, misses: outcome.faults, bytes_moved: outcome.bytes_moved() })
    };
    let points = sizes.iter().map(point).collect::<Result<Vec<Point>, ReplayError>>()?;
    Ok(PolicyCurve { policy: policy.to_string(), points })
}
