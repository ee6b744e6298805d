//! Counters of what moved, when and why. Fixed in number, so that they can live in shared memory.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Detail, Event, EventKind, Observer};
use bifolio_folio::{Order, PAGE_SIZE};
use bifolio_migrate::{Failure, Finished, Moved};
use bifolio_rules::Rule;
use bifolio_sys::{MapError, Mapping, Memfd, PAGE, Placement, Protection, SharedBytes};

/// One counter. Orders are counted apart: see [`Statistics::add_folio`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Counter {
    /// Page faults of the CPU that were answered, first touches included.
    CpuFaults,
    /// Page faults of the device that were answered.
    DeviceFaults,
    /// Faults whose page was already where it was wanted.
    RedundantFaults,
    /// Bytes copied to the device.
    BytesToDevice,
    /// Bytes copied to system memory.
    BytesToRam,
    /// Bytes that devices moved over the link by using system memory where it is: 64 for each access.
    BytesRemote,
    /// Bytes of the 4 KiB pages that a side touched after they had moved to it.
    BytesUseful,
    /// Folios evicted from the device to make room there.
    Evictions,
    /// Buffer objects evicted from the device to make room there.
    BufferEvictions,
    /// Buffer objects brought back to the device after they had been evicted.
    BufferReturns,
    /// Bytes of buffer objects copied from and to the device.
    BytesBuffers,
    /// Folios moved to the device to make room in system memory.
    Reclaims,
    /// Times a live folio was halved.
    Splits,
    /// Times two halves became one folio again.
    Collapses,
    /// Times a migration went down an order.
    Fallbacks,
    /// Transactions that found a page in use and left it where it was.
    Busy,
    /// Faults that could not be answered; the toucher got SIGBUS or a device error.
    Failures,
    /// Pages that were resident beyond the limit because both memories were full.
    BeyondRam,
    /// Bytes of blocks that found no room in the arena and became ordinary memory.
    BytesPlain,
    /// Rule violations.
    Violations,
    /// Nanoseconds spent answering faults, copies included.
    WaitNs,
    /// Nanoseconds spent copying.
    CopyNs,
    /// Nanoseconds that jobs ran on the device, faults not included.
    ComputeNs,
}

const COUNTERS: usize = Counter::ComputeNs as usize + 1;
/// Orders of folios that fit a block.
pub const ORDERS: usize = Order::PMD.index() + 1;

/// Where a folio went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Direction {
    /// To the device.
    ToDevice,
    /// To system memory.
    ToRam,
}

/// Judgements of rules by number come last.
const JUDGED: usize = COUNTERS + 2 * ORDERS;
const CELLS: usize = JUDGED + bifolio_rules::COUNT as usize;

/// Counters in one page of memory, which may be shared with another process.
#[derive(Clone, Debug)]
pub struct Statistics {
    page: Arc<Mapping>,
}

impl Statistics {
    /// Makes counters of zero, private to this process.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn new() -> Result<Statistics, MapError> {
        let page = Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere)?;
        Ok(Statistics { page: Arc::new(page) })
    }

    /// Uses the first page of `memfd`, as another process does.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn shared(memfd: &Memfd) -> Result<Statistics, MapError> {
        let page = Mapping::shared(memfd, 0, PAGE, Protection::ReadWrite, Placement::Anywhere)?;
        Ok(Statistics { page: Arc::new(page) })
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, value: u64) {
        self.bump(counter as usize, value);
    }

    /// Adds a duration to a counter of nanoseconds.
    pub fn add_time(&self, counter: Counter, time: Duration) {
        self.add(counter, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a folio that moved.
    pub fn add_folio(&self, direction: Direction, order: Order) {
        self.bump(folio_cell(direction, order.index()), 1);
    }

    /// Counts judgements of a rule, kept or not.
    pub fn add_judged(&self, rule: Rule, times: u64) {
        self.bump(judged_cell(rule), times);
    }

    /// Reads all counters. Counters that change meanwhile are read before or after.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut cells = [0; CELLS];
        for (index, cell) in cells.iter_mut().enumerate() {
            *cell = self.cells().load_u64(index * 8).expect(FITS);
        }
        Snapshot { cells }
    }

    /// Counts what came of a transaction.
    fn count_finished(&self, finished: &Finished) {
        self.add(Counter::Fallbacks, u64::from(finished.fallbacks));
        if let Moved::ToDevice(run) = finished.moved {
            self.add_folio(Direction::ToDevice, run.order());
        }
    }

    fn count_cpu_fault(&self, result: &Result<Finished, Failure>) {
        self.add(Counter::CpuFaults, 1);
        match result.as_ref().map(|finished| finished.moved) {
            Ok(Moved::AlreadyThere(_)) => self.add(Counter::RedundantFaults, 1),
            Ok(Moved::ToRam(_)) => self.add(Counter::BytesUseful, PAGE_SIZE),
            _ => {}
        }
    }

    fn count_copy(&self, counter: Counter, bytes: u64, time_ns: u64) {
        self.add(Counter::CopyNs, time_ns);
        self.add(counter, bytes);
    }

    fn bump(&self, cell: usize, value: u64) {
        self.cells().fetch_add_u64(cell * 8, value).expect(FITS);
    }

    fn cells(&self) -> SharedBytes<'_> {
        self.page.all()
    }
}

impl Observer for Statistics {
    fn detail(&self) -> Detail {
        Detail::Results
    }

    fn observe(&self, event: &Event<'_>) {
        match event.kind {
            EventKind::End { result: Ok(finished), .. } => self.count_finished(finished),
            EventKind::CpuFault { result, wait_ns, .. } => {
                self.count_cpu_fault(result);
                self.add(Counter::WaitNs, wait_ns);
            }
            EventKind::DeviceFault { result, wait_ns, .. } => {
                self.add(Counter::DeviceFaults, 1);
                self.add(Counter::WaitNs, wait_ns);
                match result {
                    Ok(served) => self.add(Counter::RedundantFaults, u64::from(served.was_there)),
                    Err(_) => self.add(Counter::Failures, 1),
                }
            }
            EventKind::Copied { to_device: true, bytes, time_ns, .. } => {
                self.count_copy(Counter::BytesToDevice, bytes, time_ns);
            }
            EventKind::Copied { to_device: false, bytes, pages, time_ns, .. } => {
                self.count_copy(Counter::BytesToRam, bytes, time_ns);
                // Each folio that comes home is one copy, also one that goes on to another device.
                if let Some(order) = Order::largest_fitting(pages.into()) {
                    self.add_folio(Direction::ToRam, order);
                }
            }
            EventKind::BufferCopied { bytes, time_ns, .. } => {
                self.count_copy(Counter::BytesBuffers, bytes, time_ns);
            }
            EventKind::Used { used, .. } => {
                self.add(Counter::BytesUseful, u64::from(used.accessed.count()) * PAGE_SIZE);
            }
            EventKind::Evicted { .. } => self.add(Counter::Evictions, 1),
            EventKind::Reclaimed { .. } => self.add(Counter::Reclaims, 1),
            EventKind::BufferEvicted { .. } => self.add(Counter::BufferEvictions, 1),
            EventKind::BufferReturned { .. } => self.add(Counter::BufferReturns, 1),
            EventKind::Split { .. } => self.add(Counter::Splits, 1),
            EventKind::Collapsed { .. } => self.add(Counter::Collapses, 1),
            EventKind::Busy => self.add(Counter::Busy, 1),
            EventKind::BeyondLimit { pages } => self.add(Counter::BeyondRam, pages),
            EventKind::Audit(event) if event.judgement().broken.is_some() => self.add(Counter::Violations, 1),
            EventKind::Poisoned { .. } => self.add(Counter::Failures, 1),
            _ => {}
        }
    }
}

const FITS: &str = "all counters fit the page";
const _: () = assert!(CELLS * 8 <= PAGE);

fn folio_cell(direction: Direction, order: usize) -> usize {
    COUNTERS + direction as usize * ORDERS + order
}

fn judged_cell(rule: Rule) -> usize {
    JUDGED + usize::from(rule.number()) - 1
}

/// All counters at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    cells: [u64; CELLS],
}

impl Snapshot {
    /// The value of a counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.cells[counter as usize]
    }

    /// A counter of nanoseconds, in seconds.
    #[must_use]
    pub fn seconds(&self, counter: Counter) -> f64 {
        Duration::from_nanos(self.get(counter)).as_secs_f64()
    }

    /// How often a rule was judged. Never, unless every transition is checked.
    #[must_use]
    pub fn judged(&self, rule: Rule) -> u64 {
        self.cells[judged_cell(rule)]
    }

    /// Folios that moved, by order.
    #[must_use]
    pub fn folios(&self, direction: Direction) -> [u64; ORDERS] {
        std::array::from_fn(|order| self.cells[folio_cell(direction, order)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_do_not_overlap() {
        let statistics = Statistics::new().expect("one page");
        statistics.add(Counter::ComputeNs, 7);
        statistics.add_folio(Direction::ToDevice, Order::ZERO);
        statistics.add_folio(Direction::ToRam, Order::PMD);
        let snapshot = statistics.snapshot();
        assert_eq!(snapshot.get(Counter::ComputeNs), 7);
        assert_eq!(snapshot.folios(Direction::ToDevice)[0], 1);
        assert_eq!(snapshot.folios(Direction::ToRam)[9], 1);
        statistics.add_judged(Rule::known(27), 5);
        assert_eq!(snapshot.cells.iter().sum::<u64>(), 9);
        let snapshot = statistics.snapshot();
        assert_eq!((snapshot.judged(Rule::known(27)), snapshot.judged(Rule::known(26))), (5, 0));
    }

    #[test]
    fn another_mapping_of_the_memfd_sees_the_counts() {
        let memfd = Memfd::create("statistics", PAGE).expect("memfd");
        let (here, there) = (Statistics::shared(&memfd), Statistics::shared(&memfd));
        here.expect("mapped").add(Counter::CpuFaults, 3);
        assert_eq!(there.expect("mapped").snapshot().get(Counter::CpuFaults), 3);
    }
}
