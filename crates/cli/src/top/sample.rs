//! What the gauges said at two times, and what happened in between.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bifolio_host::gauges::{GaugeReading, Gauges, HotBlock};
use bifolio_host::{Counter, Snapshot};

/// Rates that are kept.
const KEPT: usize = 240;

/// The gauges at one time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// The counters.
    pub counters: Snapshot,
    /// What is where.
    pub reading: GaugeReading,
    /// What moved most.
    pub hot: Vec<HotBlock>,
}

/// What happened in a second, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Faults of the CPU.
    pub cpu_faults: f64,
    /// Faults of devices.
    pub device_faults: f64,
    /// Bytes to devices.
    pub to_device: f64,
    /// Bytes to system memory.
    pub to_ram: f64,
    /// Folios that left devices for others, and pages that left system memory.
    pub evictions: f64,
    /// Seconds that threads waited for faults.
    pub waited: f64,
}

/// A block, and how much it moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HotRow {
    /// Its address.
    pub address: u64,
    /// Bytes that moved in a second.
    pub rate: f64,
    /// Bytes that moved since the beginning.
    pub moved: u64,
}

/// Samples, and the rates between them.
pub struct History {
    before: Sample,
    latest: Sample,
    rates: VecDeque<Rates>,
}

impl Sample {
    /// Reads the gauges.
    pub fn take(gauges: &Gauges) -> Sample {
        Sample {
            at: Instant::now(),
            counters: gauges.statistics().snapshot(),
            reading: gauges.read(),
            hot: gauges.heat().blocks(),
        }
    }
}

impl Rates {
    /// What happened between two samples.
    pub fn between(before: &Sample, after: &Sample) -> Rates {
        let seconds = seconds(before, after);
        let rate = |counter: Counter| {
            let grown = after.counters.get(counter).saturating_sub(before.counters.get(counter));
            grown as f64 / seconds
        };
        let nanoseconds = rate(Counter::WaitNs) + rate(Counter::CopyNs);
        Rates {
            cpu_faults: rate(Counter::CpuFaults),
            device_faults: rate(Counter::DeviceFaults),
            to_device: rate(Counter::BytesToDevice),
            to_ram: rate(Counter::BytesToRam),
            evictions: rate(Counter::Evictions) + rate(Counter::Reclaims),
            waited: nanoseconds / 1e9,
        }
    }
}

/// The time between two samples, never 0.
fn seconds(before: &Sample, after: &Sample) -> f64 {
    (after.at - before.at).max(Duration::from_millis(1)).as_secs_f64()
}

impl History {
    /// Begins with what the gauges say now.
    pub fn new(gauges: &Gauges) -> History {
        let sample = Sample::take(gauges);
        History { before: sample.clone(), latest: sample, rates: VecDeque::with_capacity(KEPT) }
    }

    /// Takes another sample.
    pub fn look(&mut self, gauges: &Gauges) {
        self.add(Sample::take(gauges));
    }

    fn add(&mut self, sample: Sample) {
        self.before = std::mem::replace(&mut self.latest, sample);
        if self.rates.len() == KEPT {
            self.rates.pop_front();
        }
        self.rates.push_back(Rates::between(&self.before, &self.latest));
    }

    /// The newest sample.
    pub fn latest(&self) -> &Sample {
        &self.latest
    }

    /// The newest rates.
    pub fn rates(&self) -> Rates {
        self.rates.back().copied().unwrap_or_default()
    }

    /// The last `count` values of a rate, the newest last, in whole numbers.
    pub fn line(&self, count: usize, of: impl Fn(&Rates) -> f64) -> Vec<u64> {
        let skipped = self.rates.len().saturating_sub(count);
        // A negative or endless rate does not exist.
        #[expect(clippy::cast_possible_truncation, reason = "a float is cut to what fits")]
        #[expect(clippy::cast_sign_loss, reason = "rates are not negative")]
        self.rates.iter().skip(skipped).map(|rates| of(rates) as u64).collect()
    }

    /// The blocks that move most, those that move now first.
    pub fn hottest(&self) -> Vec<HotRow> {
        let before: HashMap<u64, u64> =
            self.before.hot.iter().map(|block| (block.address, block.moved)).collect();
        let seconds = seconds(&self.before, &self.latest);
        let rows = self.latest.hot.iter().map(|&HotBlock { address, moved }| {
            let grown = moved - before.get(&address).copied().unwrap_or(moved).min(moved);
            HotRow { address, rate: grown as f64 / seconds, moved }
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|one, other| other.rate.total_cmp(&one.rate).then(other.moved.cmp(&one.moved)));
        rows
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use bifolio_host::Statistics;

    /// A sample, so many milliseconds after `start`.
    pub(in crate::top) fn sample(
        start: Instant,
        milliseconds: u64,
        counters: &Statistics,
        hot: &[(u64, u64)],
    ) -> Sample {
        Sample {
            at: start + Duration::from_millis(milliseconds),
            counters: counters.snapshot(),
            reading: GaugeReading::default(),
            hot: hot.iter().map(|&(address, moved)| HotBlock { address, moved }).collect(),
        }
    }

    /// Two samples half a second apart.
    pub(in crate::top) fn history() -> History {
        let (start, counters) = (Instant::now(), Statistics::new().expect("a page"));
        let first = sample(start, 0, &counters, &[(0x10_0000, 500), (0x20_0000, 100)]);
        counters.add(Counter::CpuFaults, 600);
        counters.add(Counter::BytesToRam, 3 << 20);
        counters.add(Counter::WaitNs, 100_000_000);
        let second = sample(start, 500, &counters, &[(0x10_0000, 500), (0x20_0000, 150), (0x30_0000, 70)]);
        let mut history = History { before: first.clone(), latest: first, rates: VecDeque::new() };
        history.add(second);
        history
    }

    #[test]
    fn rates_are_by_the_second() {
        let rates = history().rates();
        assert_eq!((rates.cpu_faults, rates.to_ram), (1200.0, f64::from(6 << 20)));
        assert_eq!((rates.device_faults, rates.waited), (0.0, 0.2));
        assert_eq!(history().line(10, |rates| rates.cpu_faults), [1200]);
    }

    #[test]
    fn what_moves_now_is_hotter_than_what_has_moved_more() {
        let rows = history().hottest();
        let short: Vec<_> = rows.iter().map(|row| (row.address, row.rate, row.moved)).collect();
        // The last was not known before: how much of it is of this time is not known.
        assert_eq!(short, [(0x20_0000, 100.0, 150), (0x10_0000, 0.0, 500), (0x30_0000, 0.0, 70)]);
    }

    #[test]
    fn samples_at_the_same_time_are_no_division_by_zero() {
        let (start, counters) = (Instant::now(), Statistics::new().expect("a page"));
        let one = sample(start, 0, &counters, &[]);
        assert_eq!(Rates::between(&one, &one), Rates::default());
    }
}
