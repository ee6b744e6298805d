//! Times of single operations, and their median.

use std::time::{Duration, Instant};

/// Times of one operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Runs `work` and keeps the time it took.
    pub(crate) fn time<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.0.push(start.elapsed());
        result
    }

    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The median in microseconds; not a number if nothing was measured.
    pub(crate) fn median_us(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}

/// The median of some figures; not a number if there are none.
pub(crate) fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A time for so many bytes, as a rate in GB/s.
pub(crate) fn rate(bytes: usize, median_us: f64) -> f64 {
    bytes as f64 / median_us / 1e3
}
