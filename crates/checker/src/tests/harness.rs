//! A checked engine on a simulated machine, whose device and pool may go wrong.

use std::sync::Arc;

use bifolio_engine::clock::MachineClock;
use bifolio_engine::{Budget, Engine, Node, NodeParts, Parts, Side, Statistics};
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_migrate::Failure;
use bifolio_policy::FixedOrders;
use bifolio_pool::{DevicePool, PoolName};
use bifolio_rules::{Rule, RuleSet};
use bifolio_sim::faulty::{Call, FaultKind, FaultyDevice, FaultyPool, Script};
use bifolio_sim::{SimDevice, SimView, Touch};
use bifolio_sys::PAGE;

use super::faults::Faults;
use crate::checker::Checker;
use crate::observed::Observed;

/// Pages of each device.
pub(super) const DEVICE_PAGES: u64 = 1024;

/// A checked engine of two blocks, all live and empty.
pub(super) struct Harness {
    pub(super) engine: Arc<Engine<SimView>>,
    pub(super) checker: Arc<Checker>,
    pub(super) statistics: Statistics,
    pub(super) faults: Arc<Faults>,
    pub(super) base: usize,
}

impl Harness {
    /// An engine of one node.
    pub(super) fn new() -> Harness {
        Harness::of_nodes(1)
    }

    /// An engine of some nodes, which go wrong together.
    pub(super) fn of_nodes(count: u64) -> Harness {
        let (faults, statistics) = (Arc::new(Faults::default()), Statistics::new().expect("a page"));
        let view = SimView::of_blocks(2, &[]);
        let addresses = view.addresses().start()..view.addresses().end();
        let nodes = (0..count).map(|number| node(Pfn::new(number * Order::MAX.pages()), &faults)).collect();
        let Observed { nodes, observers, checker } = Observed::new(nodes, &statistics, true);
        let order = |k| Order::new(k).expect("a small order");
        let engine = Engine::new(Parts {
            view,
            nodes,
            budget: Budget::new(4096, 16),
            policy: Box::new(FixedOrders { largest: order(4), smallest: Order::ZERO, populate: order(4) }),
            clock: Arc::new(MachineClock::new()),
            observers,
        })
        .expect("nodes that fit together");
        engine.blocks().add_region(addresses.clone()).expect("two blocks");
        engine.map(addresses.clone()).expect("two blocks");
        let checker = checker.expect("asked for");
        Harness { engine, checker, statistics, faults, base: addresses.start }
    }

    /// Lets calls of devices and pools go wrong from here on.
    pub(super) fn inject(&self, wrong: &[(Call, FaultKind)]) {
        self.faults.inject(wrong);
    }

    pub(super) fn node(&self) -> &Node {
        &self.engine.nodes()[0]
    }

    /// Brings the first 16 pages to a side.
    pub(super) fn bring(&self, side: Side) -> Result<(), Failure> {
        self.engine.prefetch(self.base..self.base + 16 * PAGE, side)
    }

    /// Writes the first 16 pages.
    pub(super) fn write(&self) {
        let view = self.engine.view();
        for page in 0..16 {
            let store = |bytes: bifolio_sys::SharedBytes<'_>| bytes.store_u64(0, page + 1).expect("a word");
            let address = view.address(usize::try_from(page).expect("few pages"));
            while let Touch::Asleep(_) = view.try_touch(address, store).expect("no SIGBUS") {
                self.engine.cpu_fault(view.take_fault().expect("its own")).expect("there is memory");
            }
        }
    }

    /// Writes the first 16 pages, and brings them to the device as a folio of order 4.
    pub(super) fn write_and_move_out(&self) {
        self.write();
        self.bring(Side::DEVICE).expect("room");
    }

    /// Asks for a folio of order 4 for the 16 pages at page 64, which are empty. Whether there is one does not matter.
    pub(super) fn ask_for_folio(&self) {
        let first = self.base + 64 * PAGE;
        let _: Result<(), Failure> = self.engine.prefetch(first..first + 16 * PAGE, Side::DEVICE);
    }

    pub(super) fn broken(&self) -> RuleSet {
        let mut broken = RuleSet::NONE;
        let violations = self.checker.violations();
        violations.iter().for_each(|violation| broken.require(false, violation.rule.number()));
        broken
    }

    #[track_caller]
    pub(super) fn breaks(&self, number: u8) {
        let broken = self.broken();
        assert!(broken.contains(Rule::known(number)), "I{number} is not among {broken}");
    }
}

/// A node whose pages are numbered from `first` on.
fn node(first: Pfn, faults: &Arc<Faults>) -> NodeParts {
    let script = || Arc::clone(faults) as Arc<dyn Script>;
    let pool = PoolName::Buddy.make_at(first, DEVICE_PAGES).expect("a pool");
    let pool: Arc<dyn DevicePool> = Arc::new(FaultyPool::over(pool, script()));
    let device = Arc::new(SimDevice::new(MemoryKind::Private, first, DEVICE_PAGES));
    let pagemap = PageMap::new(MemoryKind::Private, first, DEVICE_PAGES, pool).expect("a pagemap");
    NodeParts { device: Arc::new(FaultyDevice::over(device, script())), pagemap }
}
