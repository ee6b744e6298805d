//! Replays what a trace recorded, under any policy, by the engine itself on a simulated machine with a clock of its own.
//!
//! ```text
//!   Trace --Requests--> touches of pages, by side --Machine: engine, simulated device, virtual clock--> Outcome
//!                                 |
//!                                 +--> belady: the fewest pages that must move; misses of LRU by size
//! ```
//!
//! Nothing depends on the machine that it runs on: the same trace, policy and settings have the same outcome, and the same
//! checksum over all that the engine told.
#![forbid(unsafe_code)]

mod log;
mod machine;
mod of_trace;
mod outcome;
mod requests;
mod what_if;

pub use machine::{Link, ReplayError, replay};
pub use outcome::{Optimum, Outcome, PageMisses};
pub use requests::{Limited, Requests, Source, Touch, Unmap};
pub use what_if::{Point, PolicyCurve, miss_curve, policy_curve, sizes};

use bifolio_policy::belady::{self, Access};
use bifolio_policy::eviction::EvictionName;
use bifolio_policy::page_cache;

use crate::requests::Step;

/// The fewest pages that must move, one at a time, in a memory of `pages` pages.
///
/// What a device's pages came from stays where it was in system memory, so only what was written there is copied back. What comes to
/// system memory is kept nowhere else: it is copied whenever it leaves.
///
/// # Errors
/// As [`Requests::check_exact`].
pub fn fewest(requests: &Requests, pages: u64) -> Result<Optimum, ReplayError> {
    requests.check_exact()?;
    let found = optimum(requests, &belady_touches(requests), pages);
    let out = match requests.limited {
        Limited::Device => found.moved_out,
        Limited::System => found.left,
    };
    Ok(Optimum { bytes_in: found.moved_in * PAGE_SIZE, bytes_out: out * PAGE_SIZE })
}

/// What misses in a memory of `pages` single pages under each order of use alone, as simulators of caches tell it, and with the
/// future known.
///
/// # Errors
/// As [`Requests::check_exact`].
pub fn page_misses(requests: &Requests, pages: u64) -> Result<Vec<PageMisses>, ReplayError> {
    requests.check_exact()?;
    let (string, kept) = (belady_touches(requests), usize::try_from(pages).unwrap_or(usize::MAX));
    let own = requests.touches.iter().filter(|touch| !touch.by_cpu);
    let touches: u64 = own.map(|touch| u64::from(touch.accesses)).sum();
    let told =
        |order, misses| PageMisses { order, misses, miss_ratio: misses as f64 / touches.max(1) as f64 };
    let of = |name: EvictionName| {
        told(name.as_str(), page_cache::misses(&string, kept, name.make(pages).as_mut()))
    };
    let optimum = told("optimum", optimum(requests, &string, pages).misses);
    Ok(EvictionName::ALL.into_iter().map(of).chain([optimum]).collect())
}

fn optimum(requests: &Requests, string: &[belady::Touch], pages: u64) -> belady::Optimum {
    let has_bytes = |page| requests.filled.binary_search(&page).is_ok();
    belady::optimum(string, usize::try_from(pages).unwrap_or(usize::MAX), has_bytes)
}

/// The requests as a string of single pages.
fn belady_touches(requests: &Requests) -> Vec<belady::Touch> {
    let mut string = Vec::with_capacity(requests.touches.len());
    for step in requests.steps() {
        match step {
            Step::Touch(touch) => string.push(belady::Touch { page: touch.page, what: access(touch) }),
            Step::Unmap(unmap) => {
                string.extend(unmap.pages().map(|page| belady::Touch { page, what: Access::Unmap }));
            }
        }
    }
    string
}

fn access(touch: &Touch) -> Access {
    match (touch.by_cpu, touch.write) {
        (true, _) => Access::Away,
        (false, true) => Access::Write,
        (false, false) => Access::Read,
    }
}

const PAGE_SIZE: u64 = bifolio_folio::PAGE_SIZE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_were_only_read_are_copied_back_where_nothing_was_kept() {
        let fewest_of = |limited| {
            let touches = [0, 1, 2, 0, 1, 2].map(Touch::read).to_vec();
            let found = fewest(&Requests::of_touches(touches, 3, limited), 2).expect("all is known");
            (found.bytes_in / PAGE_SIZE, found.bytes_out / PAGE_SIZE)
        };
        assert_eq!(fewest_of(Limited::Device), (4, 0));
        assert_eq!(fewest_of(Limited::System), (4, 2));
    }
}
