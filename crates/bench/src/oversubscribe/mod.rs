//! What policies do where the data is larger than the memory: a grid of access patterns, sizes, policies and sides.
//!
//! ```text
//!   pattern -> string of accesses --replay: the engine on a simulated machine, virtual time--> time, bytes, waits
//!                     |
//!                     +--belady, pages of 4 KiB--> the fewest bytes that must move
//! ```
//!
//! Nothing depends on the machine that it runs on, so two runs have the same figures. All data is in the other memory at
//! first, and each page has to come once.

mod live;
mod pattern;
mod program;
mod search;

pub use live::{LiveCell, live};
pub use pattern::{AccessString, Pattern};
pub use program::touch;

use bifolio_folio::PAGE_SIZE;
use bifolio_policy::PolicyName;
use bifolio_replay::{Limited, Link, Requests, fewest, replay};
use serde::Serialize;

use crate::progress::{Progress, Watch};
use crate::row::BenchError;

/// Sizes of the data over that of the memory.
pub const SIZES: [f64; 7] = [0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 4.0];
/// Policies that are compared.
pub const POLICIES: [&str; 9] = [
    "auto",
    "fixed+lru",
    "fixed+s3fifo",
    "stride+lru",
    "stride+s3fifo",
    "stride+sieve",
    "stride+clockpro",
    "density+lru",
    "density+s3fifo",
];
/// Bytes of data.
pub const DATA: u64 = 32 << 20;
/// A device behind a link: 16 GiB a second, 2 us a fault.
const DEVICE: Link = Link { bytes_per_second: 16 << 30, latency_ns: 2000, access_ns: ACCESS_NS };
/// System memory beside a store within reach of the processor: a copy by the processor, and a round trip of userfaultfd.
const SYSTEM: Link = Link { bytes_per_second: 8 << 30, latency_ns: 8000, access_ns: ACCESS_NS };
/// Nanoseconds of an access of 64 bytes to memory that is there.
const ACCESS_NS: u64 = 5;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The orders of touches.
    pub patterns: Vec<Pattern>,
    /// Sizes of the data over that of the memory.
    pub sizes: Vec<f64>,
    /// The policies.
    pub policies: Vec<PolicyName>,
    /// The memories that are limited.
    pub sides: Vec<Limited>,
    /// Bytes of data; the graph has its own size.
    pub data: u64,
}

/// What one policy did in one cell of the grid.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// The memory that is limited: `device` or `system`.
    pub side: &'static str,
    /// The order of touches.
    pub pattern: Pattern,
    /// The size of the data over that of the memory.
    pub size: f64,
    /// The policy.
    pub policy: String,
    /// Time, over that of the same accesses with all data there from the beginning.
    pub time: f64,
    /// Time, over that of the best policy of the cell.
    pub over_best: f64,
    /// Bytes that moved both ways, over the fewest (Belady, pages of 4 KiB); may be below 1 where memory is used where it is.
    pub moved: f64,
    /// The share of the bytes copied whose pages were touched before they left.
    pub touched: f64,
    /// Faults.
    pub faults: u64,
    /// Nanoseconds of a fault: the median.
    pub p50_ns: u64,
    /// What one in a hundred exceeds.
    pub p99_ns: u64,
    /// What one in a thousand exceeds.
    pub p999_ns: u64,
}

impl Grid {
    /// All of it.
    ///
    /// # Panics
    /// If a name of [`POLICIES`] is not one of a policy.
    #[must_use]
    pub fn whole() -> Grid {
        Grid {
            patterns: Pattern::ALL.to_vec(),
            sizes: SIZES.to_vec(),
            policies: POLICIES.map(|name| name.parse().expect("a name of a policy")).to_vec(),
            sides: vec![Limited::Device, Limited::System],
            data: DATA,
        }
    }

    /// Simulates every cell: by side, pattern and size, the policies in their order.
    ///
    /// # Errors
    /// If there is no data, or a cell cannot be simulated.
    pub fn cells(&self, watch: &mut Watch<'_>) -> Result<Vec<Cell>, BenchError> {
        let strings = self.patterns.iter().map(|pattern| {
            let string = pattern.accesses((self.data / PAGE_SIZE).max(1))?;
            Ok((*pattern, string))
        });
        let strings = strings.collect::<Result<Vec<_>, BenchError>>()?;
        let total = (self.sides.len() * strings.len() * self.sizes.len()) as u64;
        let mut cells = Vec::new();
        let mut done = 0;
        for side in &self.sides {
            for (pattern, string) in &strings {
                let requests = Requests::of_touches(string.touches.clone(), string.pages, *side);
                for size in &self.sizes {
                    watch(Progress { name: pattern.as_str(), done, total });
                    cells.extend(self.compared(*pattern, *size, string, &requests)?);
                    done += 1;
                }
            }
        }
        Ok(cells)
    }

    /// What each policy does in one memory.
    fn compared(
        &self,
        pattern: Pattern,
        size: f64,
        string: &AccessString,
        requests: &Requests,
    ) -> Result<Vec<Cell>, BenchError> {
        let pages = memory_pages(string.pages, size);
        let link = link_of(requests.limited);
        let resident_ns = (string.accesses() * link.access_ns) as f64;
        let least = fewest(requests, pages)?.bytes_moved().max(1) as f64;
        let cell = |policy: &PolicyName| {
            let outcome = replay(requests, *policy, pages, link)?;
            let copied = (outcome.bytes_in + outcome.bytes_out).max(1);
            Ok::<Cell, BenchError>(Cell {
                side: requests.limited.as_str(),
                pattern,
                size,
                policy: policy.to_string(),
                time: outcome.elapsed_ns as f64 / resident_ns,
                over_best: 1.0,
                moved: outcome.bytes_moved() as f64 / least,
                touched: outcome.bytes_useful as f64 / copied as f64,
                faults: outcome.faults,
                p50_ns: outcome.p50_ns,
                p99_ns: outcome.p99_ns,
                p999_ns: outcome.p999_ns,
            })
        };
        let mut cells = self.policies.iter().map(cell).collect::<Result<Vec<Cell>, BenchError>>()?;
        let best = cells.iter().map(|cell| cell.time).fold(f64::INFINITY, f64::min);
        cells.iter_mut().for_each(|cell| cell.over_best = cell.time / best);
        Ok(cells)
    }
}

/// Pages of a memory to which the data has this ratio; 2 at least.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of pages")]
fn memory_pages(data_pages: u64, size: f64) -> u64 {
    ((data_pages as f64 / size).ceil() as u64).max(2)
}

fn link_of(limited: Limited) -> Link {
    match limited {
        Limited::Device => DEVICE,
        Limited::System => SYSTEM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small grid over one pattern, in two memories.
    fn cells(pattern: Pattern, side: Limited) -> Vec<Cell> {
        let policies = ["auto", "fixed+lru"].map(|name| name.parse().expect("a policy")).to_vec();
        let grid = Grid {
            patterns: vec![pattern],
            sizes: vec![0.5, 2.0],
            policies,
            sides: vec![side],
            data: 4 << 20,
        };
        grid.cells(&mut |_| ()).expect("it can be simulated")
    }

    #[test]
    fn data_that_fits_moves_once_and_no_more() {
        let cells = cells(Pattern::Chase, Limited::System);
        assert_eq!((cells[0].size, cells[1].size, cells.len()), (0.5, 0.5, 4));
        assert!(cells[..2].iter().all(|cell| cell.moved == 1.0), "{cells:?}");
        assert!(cells[2..].iter().all(|cell| cell.moved > 1.0), "{cells:?}");
    }

    #[test]
    fn best_policy_of_a_cell_is_the_measure_of_the_others() {
        let cells = cells(Pattern::Zipf, Limited::Device);
        for pair in cells.chunks(2) {
            assert!(pair.iter().any(|cell| cell.over_best == 1.0), "{pair:?}");
            assert!(pair.iter().all(|cell| cell.over_best >= 1.0 && cell.time > 1.0), "{pair:?}");
        }
    }

    #[test]
    fn two_runs_have_the_same_figures() {
        assert_eq!(cells(Pattern::Random, Limited::Device), cells(Pattern::Random, Limited::Device));
    }
}
