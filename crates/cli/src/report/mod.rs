//! The report of what moved, when and why: as text for people ([`text`]), as JSON for programs. `demo` and `run` share it.

pub mod text;

use std::time::Duration;

use bifolio_engine::statistics::ORDERS;
use bifolio_folio::PAGE_SIZE;
use bifolio_host::{Counter, Direction, Snapshot};
use bifolio_rules::Rule;
use serde::{Serialize, Serializer};

/// The figures of one job, named as in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Page faults.
    pub faults: Faults,
    /// Folios that moved.
    pub folios: Folios,
    /// Bytes that moved.
    pub bytes: Bytes,
    /// Folios thrown out of device memory to make room there.
    pub evictions: u64,
    /// Folios split while they lived.
    pub splits: u64,
    /// Times a migration went down an order.
    pub fallbacks: u64,
    /// Rules that broke.
    pub violations: u64,
    /// How often each rule was judged; left out unless every transition was checked.
    #[serde(skip_serializing_if = "Judged::is_none")]
    pub judged: Judged,
    /// Where the time went.
    pub seconds: Seconds,
    /// What is rare enough to be told only where it happens.
    #[serde(skip)]
    pub odd: Odd,
}

/// How often each rule was judged, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged([u64; bifolio_rules::COUNT as usize]);

/// Page faults that were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Of the CPU.
    pub cpu: u64,
    /// Of the device.
    pub device: u64,
}

/// Folios that moved, by order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Folios {
    /// To the device.
    pub to_device: ByOrder,
    /// To system memory.
    pub to_ram: ByOrder,
}

/// A count for each order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByOrder(pub [u64; ORDERS]);

/// Bytes that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// To the device.
    pub to_device: u64,
    /// To system memory.
    pub to_ram: u64,
    /// That a device used in system memory without moving its page, 64 for each access.
    pub remote: u64,
    /// Of the pages that a side touched after they had moved to it.
    pub useful: u64,
}

/// Seconds, added up over all threads but for the total.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Seconds {
    /// Answering faults, copies not counted.
    pub wait: f64,
    /// Copying.
    pub copy: f64,
    /// Running on the device, faults not counted.
    pub compute: f64,
    /// By the clock, from the first allocation to the last result.
    pub total: f64,
}

/// Counts that are zero on a quiet day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odd {
    /// Faults whose page had come meanwhile.
    pub redundant: u64,
    /// Transactions that met a page in use.
    pub busy: u64,
    /// Folios moved to the device to make room in system memory.
    pub reclaims: u64,
    /// Faults that could not be answered.
    pub failures: u64,
    /// Pages that were resident beyond the limit, since both memories were full.
    pub beyond_ram: u64,
    /// Times two halves of a folio became one again.
    pub collapses: u64,
    /// Bytes of blocks that are plain memory, since there was no room for them.
    pub bytes_plain: u64,
}

impl Judged {
    fn from(snapshot: &Snapshot) -> Self {
        let mut judged = Self([0; bifolio_rules::COUNT as usize]);
        judged.0.iter_mut().zip(Rule::all()).for_each(|(times, rule)| *times = snapshot.judged(rule));
        judged
    }

    fn is_none(&self) -> bool {
        self.total() == 0
    }

    fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The rules that nothing was judged by.
    fn never(&self) -> String {
        let never = Rule::all().zip(self.0).filter(|(_, times)| *times == 0);
        let names: Vec<String> = never.map(|(rule, _)| rule.to_string()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(" ") }
    }
}

impl Serialize for Judged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Rule::all().map(|rule| rule.to_string()).zip(self.0))
    }
}

impl ByOrder {
    /// Bytes of all these folios.
    pub fn bytes(&self) -> u64 {
        self.0.iter().zip(0_u32..).map(|(folios, order)| folios * (PAGE_SIZE << order)).sum()
    }
}

impl Serialize for ByOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().enumerate())
    }
}

impl Figures {
    /// Takes the figures from the counters of a job that took `total` by the clock.
    pub fn from(snapshot: &Snapshot, total: Duration) -> Self {
        let count = |counter| snapshot.get(counter);
        let folios = |direction| ByOrder(snapshot.folios(direction));
        Self {
            faults: Faults { cpu: count(Counter::CpuFaults), device: count(Counter::DeviceFaults) },
            folios: Folios { to_device: folios(Direction::ToDevice), to_ram: folios(Direction::ToRam) },
            bytes: Bytes {
                to_device: count(Counter::BytesToDevice),
                to_ram: count(Counter::BytesToRam),
                remote: count(Counter::BytesRemote),
                useful: count(Counter::BytesUseful),
            },
            evictions: count(Counter::Evictions),
            splits: count(Counter::Splits),
            fallbacks: count(Counter::Fallbacks),
            violations: count(Counter::Violations),
            judged: Judged::from(snapshot),
            seconds: Seconds::from(snapshot, total),
            odd: Odd {
                redundant: count(Counter::RedundantFaults),
                busy: count(Counter::Busy),
                reclaims: count(Counter::Reclaims),
                failures: count(Counter::Failures),
                beyond_ram: count(Counter::BeyondRam),
                collapses: count(Counter::Collapses),
                bytes_plain: count(Counter::BytesPlain),
            },
        }
    }
}

impl Figures {
    /// Takes what was judged, and what broke, from later counters.
    pub fn judge_again(&mut self, snapshot: &Snapshot) {
        self.violations = snapshot.get(Counter::Violations);
        self.judged = Judged::from(snapshot);
    }
}

impl Seconds {
    fn from(snapshot: &Snapshot, total: Duration) -> Self {
        // The counter of waiting runs from fault to answer and so includes the copies made meanwhile.
        let waited = Duration::from_nanos(snapshot.get(Counter::WaitNs));
        let copied = Duration::from_nanos(snapshot.get(Counter::CopyNs));
        Self {
            wait: waited.saturating_sub(copied).as_secs_f64(),
            copy: copied.as_secs_f64(),
            compute: snapshot.seconds(Counter::ComputeNs),
            total: total.as_secs_f64(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bifolio_folio::Order;
    use bifolio_host::Statistics;

    /// Figures of a run in which something happened.
    pub(crate) fn figures() -> Figures {
        let statistics = Statistics::new().expect("one page");
        statistics.add(Counter::DeviceFaults, 3);
        statistics.add(Counter::BytesToDevice, 69_632);
        statistics.add_folio(Direction::ToDevice, Order::ZERO);
        statistics.add_folio(Direction::ToDevice, Order::K64);
        statistics.add_folio(Direction::ToRam, Order::PMD);
        statistics.add_time(Counter::WaitNs, Duration::from_millis(30));
        statistics.add_time(Counter::CopyNs, Duration::from_millis(10));
        Figures::from(&statistics.snapshot(), Duration::from_secs(1))
    }

    #[test]
    fn waiting_does_not_count_copies() {
        assert!((figures().seconds.wait - 0.02).abs() < 1e-9);
    }

    #[test]
    fn json_has_every_order_by_number() {
        let json = serde_json::to_value(figures()).expect("plain data");
        let orders = json["folios"]["to_device"].as_object().expect("an object");
        assert_eq!(orders.keys().collect::<Vec<_>>(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!((&orders["0"], &orders["4"]), (&1.into(), &1.into()));
        assert_eq!(json["folios"]["to_ram"]["9"], 1);
    }

    #[test]
    fn json_has_the_fields_that_are_promised_and_no_others() {
        let json = serde_json::to_value(figures()).expect("plain data");
        let fields: Vec<_> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut expected =
            ["faults", "folios", "bytes", "evictions", "splits", "fallbacks", "violations", "seconds"];
        expected.sort_unstable();
        assert_eq!(fields, expected);
    }

    #[test]
    fn judgements_are_told_by_rule_and_only_of_checked_runs() {
        let statistics = Statistics::new().expect("one page");
        statistics.add_judged(Rule::known(4), 12);
        let figures = Figures::from(&statistics.snapshot(), Duration::from_secs(1));
        let json = serde_json::to_value(figures).expect("plain data");
        assert_eq!((&json["judged"]["I4"], &json["judged"]["I27"]), (&12.into(), &0.into()));
        assert_eq!(json["judged"].as_object().expect("an object").len(), usize::from(bifolio_rules::COUNT));
        assert!(figures.judged.never().starts_with("I1 I2 I3 I5"));
    }
}
