//! The simulated machine that a trace is replayed on.

use std::sync::Arc;

use bifolio_engine::clock::Clock;
use bifolio_engine::device::{Device, DeviceFault, REMOTE_ACCESS};
use bifolio_engine::{Budget, Counter, Engine, NodeParts, Observer, Parts, Snapshot, Statistics};
use bifolio_folio::{MemoryKind, PAGE_SIZE, PageMap, Pfn};
use bifolio_migrate::{Failure, Rights};
use bifolio_policy::Policies;
use bifolio_pool::PoolName;
use bifolio_sim::{SimDevice, SimView, Touch as Touched, VirtualClock};

use crate::log::Log;
use crate::outcome::Outcome;
use crate::requests::{Limited, Requests, Step, Touch, Unmap};

/// What lies between the memories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Bytes that it carries in a second.
    pub bytes_per_second: u64,
    /// Nanoseconds that a fault takes beside its copies.
    pub latency_ns: u64,
    /// Nanoseconds that an access takes beside all that.
    pub access_ns: u64,
}

/// Why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It holds no touches.
    #[error("the trace has neither faults nor accesses of devices: nothing can be replayed")]
    Empty,
    /// It has faults only.
    #[error(
        "the trace has faults only: what was touched without one is not known, so neither the optimum nor misses by size \
         can be told; `bifolio demo` records accesses with --trace-accesses"
    )]
    FaultsOnly,
    /// Events are missing.
    #[error(
        "events are missing from the trace: which pages were touched meanwhile is not known, so neither the optimum nor \
         misses by size can be told"
    )]
    Gaps,
    /// The memory does not hold a page for each touch.
    #[error("{pages} pages of device memory are too few: give 2 at least")]
    TooSmall {
        /// Pages.
        pages: u64,
    },
    /// The machine refuses memory for counters.
    #[error("no memory for counters")]
    Counters(#[from] bifolio_sys::MapError),
    /// A fault was not answered.
    #[error(transparent)]
    Fault(#[from] DeviceFault),
    /// A fault of the CPU was not answered.
    #[error("a fault of the CPU was not answered")]
    CpuFault(#[from] Failure),
    /// Pages could not be unmapped.
    #[error("pages could not be unmapped")]
    Unmap(#[source] Failure),
}

/// An engine over simulated parts.
struct Machine {
    engine: Arc<Engine<SimView>>,
    device: Arc<SimDevice>,
    statistics: Statistics,
    clock: VirtualClock,
    log: Arc<Log>,
    link: Link,
}

/// Replays `requests` under a policy, in a limited memory of `pages` pages that is empty at first. All data is in the other
/// memory then.
///
/// The simulated device is the side whose memory is limited. Where that is the CPU, the sides are exchanged: its touches are
/// those of the simulated device, and to the policy nothing is different but that nothing can be used where it is.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay(
    requests: &Requests,
    policy: impl Policies + 'static,
    pages: u64,
    link: Link,
) -> Result<Outcome, ReplayError> {
    if requests.touches.is_empty() {
        return Err(ReplayError::Empty);
    }
    if pages < 2 {
        return Err(ReplayError::TooSmall { pages });
    }
    let machine = Machine::new(requests, policy, pages, link)?;
    machine.fill(requests)?;
    machine.log.begin();
    let (before, begin_ns) = (machine.statistics.snapshot(), machine.clock.now_ns());
    requests.steps().try_for_each(|step| match step {
        Step::Touch(touch) => machine.touch(touch),
        Step::Unmap(unmap) => machine.unmap(unmap),
    })?;
    Ok(machine.outcome(requests, &before, begin_ns))
}

impl Machine {
    fn new(
        requests: &Requests,
        policy: impl Policies + 'static,
        pages: u64,
        link: Link,
    ) -> Result<Machine, ReplayError> {
        let clock = VirtualClock::default();
        let ns_per_page = PAGE_SIZE * 1_000_000_000 / link.bytes_per_second.max(1);
        let device = SimDevice::new(MemoryKind::Private, Pfn::ZERO, pages);
        let device = device.timed(clock.clone(), ns_per_page).without_bytes();
        let device = Arc::new(device);
        let pool = PoolName::Buddy.make(pages).expect("a pool of some pages");
        let pagemap =
            PageMap::new(MemoryKind::Private, Pfn::ZERO, pages, pool).expect("a pagemap of some pages");
        let mut view = SimView::of_blocks(requests.blocks, &[]);
        if requests.limited == Limited::Device {
            // As the built-in device beside system memory that has no limit.
            view = view.keeping_bytes();
            device.reach_system(view.memory());
        }
        let addresses = view.addresses().start()..view.addresses().end();
        let log = Arc::new(Log::new(addresses.start as u64, link.latency_ns));
        let statistics = Statistics::new()?;
        let observers: Vec<Arc<dyn Observer>> =
            vec![Arc::new(statistics.clone()), Arc::clone(&log) as Arc<dyn Observer>];
        let engine = Engine::new(Parts {
            view,
            nodes: vec![NodeParts { device: Arc::clone(&device) as Arc<dyn Device>, pagemap }],
            budget: Budget::new(u64::MAX >> 16, 0),
            policy: Box::new(policy),
            clock: Arc::new(clock.clone()),
            observers,
        })
        .expect("one node");
        engine.blocks().add_region(addresses.clone()).expect("blocks of the view");
        engine.map(addresses).expect("blocks of the view");
        Ok(Machine { engine, device, statistics, clock, log, link })
    }

    /// Has the other side write each page once that holds data.
    fn fill(&self, requests: &Requests) -> Result<(), ReplayError> {
        requests.filled.iter().try_for_each(|page| self.cpu_touch(self.address(*page)))
    }

    fn address(&self, page: u64) -> usize {
        self.engine.view().address(usize::try_from(page).expect("a page of the view"))
    }

    fn touch(&self, touch: &Touch) -> Result<(), ReplayError> {
        let address = self.address(touch.page);
        if touch.by_cpu {
            return self.cpu_touch(address);
        }
        let access = if touch.write { Rights::READ | Rights::WRITE } else { Rights::READ };
        self.clock.advance(u64::from(touch.accesses) * self.link.access_ns);
        let mut left = touch.accesses;
        loop {
            left -= self.device.try_accesses(address, access, left);
            if left == 0 {
                return Ok(());
            }
            self.clock.advance(self.link.latency_ns);
            self.device.fault(address, access)?;
        }
    }

    /// Takes the bytes of pages away. They stay mapped: what is touched again finds zeros.
    fn unmap(&self, unmap: &Unmap) -> Result<(), ReplayError> {
        let pages = unmap.pages();
        self.engine.reset(self.address(pages.start)..self.address(pages.end)).map_err(ReplayError::Unmap)
    }

    fn cpu_touch(&self, address: usize) -> Result<(), ReplayError> {
        loop {
            match self.engine.view().try_touch(address, |_| ()).map_err(|_| Failure::NotMapped)? {
                Touched::Done(()) => return Ok(()),
                Touched::Asleep(_) => {
                    let fault = self.engine.view().take_fault().unwrap_or(address);
                    self.engine.cpu_fault(fault)?;
                }
            }
        }
    }

    fn outcome(&self, requests: &Requests, before: &Snapshot, begin_ns: u64) -> Outcome {
        let (after, known) = (self.statistics.snapshot(), self.log.finish());
        let count = |counter| after.get(counter) - before.get(counter);
        Outcome {
            touches: requests.touches.len() as u64,
            faults: count(Counter::DeviceFaults),
            cpu_faults: count(Counter::CpuFaults),
            bytes_in: count(Counter::BytesToDevice),
            bytes_out: count(Counter::BytesToRam),
            bytes_remote: self.device.remote_accesses() * REMOTE_ACCESS,
            bytes_useful: count(Counter::BytesUseful),
            evictions: count(Counter::Evictions),
            returns: known.returns,
            stall_ns: known.stall_ns,
            p50_ns: known.waits.value_at_quantile(0.5),
            p99_ns: known.waits.value_at_quantile(0.99),
            p999_ns: known.waits.value_at_quantile(0.999),
            elapsed_ns: self.clock.now_ns() - begin_ns,
            log: known.checksum,
        }
    }
}
