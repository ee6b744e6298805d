//! What came of a replay.

use serde::Serialize;

/// What a policy did with a trace.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome {
    /// Touches that were replayed.
    pub touches: u64,
    /// Touches of the device that found no page.
    pub faults: u64,
    /// Touches of the CPU that found no page.
    pub cpu_faults: u64,
    /// Bytes copied to the device.
    pub bytes_in: u64,
    /// Bytes copied from it.
    pub bytes_out: u64,
    /// Bytes of accesses of the device to system memory where it is, 64 each.
    pub bytes_remote: u64,
    /// Bytes of pages that a side touched after they had come to it.
    pub bytes_useful: u64,
    /// Folios evicted.
    pub evictions: u64,
    /// Faults of pages that had been on the device before and were evicted.
    pub returns: u64,
    /// Virtual nanoseconds that the device waited for its faults.
    pub stall_ns: u64,
    /// The median of them.
    pub p50_ns: u64,
    /// What one in a hundred exceeds.
    pub p99_ns: u64,
    /// What one in a thousand exceeds.
    pub p999_ns: u64,
    /// Virtual nanoseconds from the first touch to the last.
    pub elapsed_ns: u64,
    /// A checksum over everything that the engine told, in order.
    pub log: u64,
}

impl Outcome {
    /// Bytes that crossed the link, both ways.
    #[must_use]
    pub fn bytes_moved(&self) -> u64 {
        self.bytes_in + self.bytes_out + self.bytes_remote
    }
}

/// What misses among single pages, under an order of use alone or with the future known.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PageMisses {
    /// The order, or `optimum`.
    pub order: &'static str,
    /// Touches that find no page.
    pub misses: u64,
    /// Their share of all touches.
    pub miss_ratio: f64,
}

/// The fewest bytes that must move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Optimum {
    /// To the device.
    pub bytes_in: u64,
    /// From the device: pages that were written there. From system memory: every page that leaves.
    pub bytes_out: u64,
}

impl Optimum {
    /// Bytes that cross the link, both ways.
    #[must_use]
    pub fn bytes_moved(&self) -> u64 {
        self.bytes_in + self.bytes_out
    }
}
