//! An engine over simulated parts, whose faults are answered by their own threads.

use std::ops::Range;
use std::sync::Arc;

use bifolio_checker::{Checker, Observed};
use bifolio_engine::device::Device;
use bifolio_engine::{Budget, Counter, Engine, NodeParts, Observer, Parts, Residence, Statistics};
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_migrate::{NodeId, Rights};
use bifolio_policy::{FixedOrders, Policies, PolicyName};
use bifolio_pool::PoolName;
use bifolio_sim::faulty::{FailAfter, FaultyDevice, FaultyView};
use bifolio_sim::{SimDevice, SimView, Touch, VirtualClock};
use bifolio_sys::{HUGE_PAGE, PAGE, SharedBytes};

/// Pages of the block.
pub const PAGES: usize = HUGE_PAGE / PAGE;

/// How far apart the page numbers of two devices begin.
const NODE_STRIDE: u64 = 1 << Order::MAX.get();

/// What a machine is like.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Kind and pages of each device.
    pub devices: Vec<(MemoryKind, u64)>,
    /// What hands their memory out.
    pub pool: PoolName,
    /// Pages of system memory.
    pub ram_pages: u64,
    /// What decides; without it folios of one order, as large as `largest`.
    pub policy: Option<PolicyName>,
    /// Largest order of folios.
    pub largest: Order,
    /// How long a copy takes for each page.
    pub copy_ns: u64,
    /// Whether devices can use system memory where it is.
    pub remote: bool,
}

impl Setup {
    /// One device, plenty of system memory, folios of up to 2 MiB, no time.
    pub fn new(kind: MemoryKind, device_pages: u64) -> Setup {
        let devices = vec![(kind, device_pages)];
        Setup {
            devices,
            pool: PoolName::Buddy,
            policy: None,
            ram_pages: 1024,
            largest: Order::PMD,
            copy_ns: 0,
            remote: false,
        }
    }
}

/// The machine: one block, all of it live.
pub struct Machine {
    pub engine: Arc<Engine<FaultyView<SimView>>>,
    pub statistics: Statistics,
    pub checker: Arc<Checker>,
    pub devices: Vec<Arc<SimDevice>>,
    pub failures: Arc<FailAfter>,
    pub clock: VirtualClock,
}

/// What a page holds that was written once: its number, and something else than zero.
fn value(page: usize) -> u64 {
    1 + page as u64
}

impl Machine {
    pub fn new(setup: &Setup) -> Machine {
        Machine::observed(setup, Vec::new())
    }

    /// The same, with more observers.
    pub fn observed(setup: &Setup, more: Vec<Arc<dyn Observer>>) -> Machine {
        let (failures, clock) = (FailAfter::never(), VirtualClock::default());
        let script = || Arc::clone(&failures) as Arc<_>;
        let first = |node: usize| Pfn::new(node as u64 * NODE_STRIDE);
        let device = |(node, &(kind, pages)): (usize, &(MemoryKind, u64))| {
            Arc::new(SimDevice::new(kind, first(node), pages).timed(clock.clone(), setup.copy_ns))
        };
        let devices: Vec<Arc<SimDevice>> = setup.devices.iter().enumerate().map(device).collect();
        let node = |(node, device): (usize, &Arc<SimDevice>)| {
            let (kind, pages) = setup.devices[node];
            let pool = setup.pool.make_at(first(node), pages).expect("a pool");
            let pagemap = PageMap::new(kind, first(node), pages, pool).expect("a pagemap");
            let device: Arc<dyn Device> = Arc::new(FaultyDevice::over(Arc::clone(device), script()));
            NodeParts { device, pagemap }
        };
        let reachable: Vec<_> = devices.iter().map(|device| device.reachable()).collect();
        let view = SimView::of_blocks(1, &reachable);
        if setup.remote {
            devices.iter().for_each(|device| device.reach_system(view.memory()));
        }
        let addresses = view.addresses().start()..view.addresses().end();
        let statistics = Statistics::new().expect("a page");
        let populate = setup.largest.min(Order::K64);
        let policy: Box<dyn Policies> = match setup.policy {
            Some(name) => Box::new(name),
            None => Box::new(FixedOrders { largest: setup.largest, smallest: Order::ZERO, populate }),
        };
        let nodes = devices.iter().enumerate().map(node).collect();
        let Observed { nodes, mut observers, checker } = Observed::new(nodes, &statistics, true);
        let checker = checker.expect("asked for");
        observers.extend(more);
        let engine = Engine::new(Parts {
            view: FaultyView::over(view, script()),
            nodes,
            budget: Budget::new(setup.ram_pages, 16),
            policy,
            clock: Arc::new(clock.clone()),
            observers,
        })
        .expect("nodes with pages of their own");
        engine.blocks().add_region(addresses.clone()).expect("a block");
        engine.map(addresses).expect("a block");
        Machine { engine, statistics, checker, devices, failures, clock }
    }

    /// The same, with every page written by the CPU.
    pub fn written(setup: &Setup) -> Machine {
        let machine = Machine::new(setup);
        (0..PAGES).for_each(|page| machine.write(page, value(page)));
        machine
    }

    pub fn view(&self) -> &SimView {
        self.engine.view().inner()
    }

    pub fn address(&self, page: usize) -> usize {
        self.view().address(page)
    }

    /// Addresses of some pages.
    pub fn addresses(&self, pages: Range<usize>) -> Range<usize> {
        self.address(pages.start)..self.address(pages.end)
    }

    /// Addresses of all pages.
    pub fn all(&self) -> Range<usize> {
        self.addresses(0..PAGES)
    }

    /// Does `access` as a thread of the program that answers its own faults.
    fn touch<R>(&self, page: usize, access: impl Fn(SharedBytes<'_>) -> R) -> R {
        loop {
            match self.view().try_touch(self.address(page), &access).expect("no SIGBUS") {
                Touch::Done(result) => return result,
                Touch::Asleep(sleeper) => {
                    let fault = self.view().take_fault().expect("its own");
                    self.engine.cpu_fault(fault).expect("there is memory");
                    assert!(self.view().is_awake(sleeper), "an answered fault wakes its thread");
                }
            }
        }
    }

    /// Writes the first word of a page as the CPU.
    pub fn write(&self, page: usize, value: u64) {
        self.touch(page, |bytes| bytes.store_u64(0, value).expect("a word"));
    }

    /// Reads the first word of a page as the CPU.
    pub fn read(&self, page: usize) -> u64 {
        self.touch(page, |bytes| bytes.load_u64(0).expect("a word"))
    }

    /// Writes the first word of a page as a device; `false` if its fault is not answered.
    pub fn device_write(&self, node: NodeId, page: usize, value: u64) -> bool {
        let store = |bytes: SharedBytes<'_>| bytes.store_u64(0, value).expect("a word");
        self.device(node).access(self.address(page), Rights::WRITE, store).is_ok()
    }

    /// Reads the first word of a page as a device; `None` if its fault is not answered.
    pub fn device_read(&self, node: NodeId, page: usize) -> Option<u64> {
        let load = |bytes: SharedBytes<'_>| bytes.load_u64(0).expect("a word");
        self.device(node).access(self.address(page), Rights::READ, load).ok()
    }

    fn device(&self, node: NodeId) -> &SimDevice {
        &self.devices[usize::from(node.0)]
    }

    pub fn is_live(&self, page: usize) -> bool {
        self.engine.residence(self.address(page)) != Residence::NotMapped
    }

    /// Checks every page that is live, by the CPU, and all counts.
    pub fn check(&self) {
        self.check_counts();
        for page in (0..PAGES).filter(|page| self.is_live(*page)) {
            assert_eq!(self.read(page), value(page), "page {page}");
        }
        self.check_counts();
    }

    /// Checks that all counts balance and that no rule was broken. From here on nothing fails.
    pub fn check_counts(&self) {
        self.failures.stop();
        assert_eq!(self.engine.audit(), []);
        assert_eq!(self.checker.violations(), []);
        assert_eq!(self.statistics.snapshot().get(Counter::Violations), 0);
    }
}
