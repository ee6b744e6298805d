//! A checked engine over plain memory, whose device and pool may lie.

use std::sync::{Arc, OnceLock};

use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_migrate::{DevicePage, Failure, Finished, Outcome, PageRun, PageSet, Step};
use bifolio_policy::FixedOrders;
use bifolio_pool::{BuddyPool, DevicePool};
use bifolio_rules::Rule;
use bifolio_sys::{HUGE_PAGE, Mapping, PAGE, Protection, SharedBytes};

use super::lying::{Lies, LyingDevice, LyingPool};
use super::memory_device::MemoryDevice;
use super::order;
use crate::blocks::BlockState;
use crate::budget::Budget;
use crate::checked::Checker;
use crate::clock::MachineClock;
use crate::engine::{Engine, Parts, Side};
use crate::event::Cause;
use crate::executor::StepExecutor;
use crate::node::NodeParts;
use crate::run::Request;
use crate::statistics::Statistics;
use crate::view::{BlockSpan, CpuView, Refused};

/// Pages of the device.
pub(super) const DEVICE_PAGES: u64 = 1024;

/// Memory that is always in view: nobody else looks at it.
pub(super) struct PlainView(pub(super) Mapping);

impl CpuView for PlainView {
    type Staged = ();

    fn isolate(&self, _: BlockSpan, _: &PageSet) -> Result<(), Refused> {
        Ok(())
    }

    fn reserve(&self, _: BlockSpan) -> Result<(), Refused> {
        Ok(())
    }

    fn bytes<'v>(&'v self, place: BlockSpan, (): &(), run: PageRun) -> SharedBytes<'v> {
        let offset = place.base - self.0.span().start() + usize::from(run.first()) * PAGE;
        self.0.bytes(offset, usize::from(run.pages()) * PAGE).expect("inside of the view")
    }

    fn remap(&self, _: BlockSpan, _: &PageSet, _: Option<()>) {}

    fn install(&self, _: BlockSpan, (): (), _: Option<u16>) -> Result<(), (Refused, ())> {
        Ok(())
    }

    fn install_zero(&self, place: BlockSpan, staged: ()) -> Result<(), (Refused, ())> {
        self.bytes(place, &staged, place.span.into()).fill_zero();
        Ok(())
    }

    fn release(&self, _: BlockSpan, (): ()) {}

    fn discard(&self, _: usize, _: PageRun, _: &PageSet) -> Result<(), Refused> {
        Ok(())
    }

    fn map_coherent(&self, _: BlockSpan, _: DevicePage) -> Result<(), Refused> {
        Ok(())
    }

    fn unmap_coherent(&self, _: BlockSpan) -> Result<(), Refused> {
        Ok(())
    }

    fn wake(&self, _: usize) {}

    fn poison(&self, _: usize) {}
}

/// A checked engine of two blocks, all live and empty.
pub(super) struct Rig {
    pub(super) engine: Arc<Engine<PlainView>>,
    pub(super) statistics: Statistics,
    pub(super) lies: Arc<Lies>,
    pub(super) base: usize,
}

impl Rig {
    pub(super) fn new() -> Rig {
        let lies = Arc::new(Lies::default());
        let place = bifolio_sys::Placement::Aligned(HUGE_PAGE);
        let view = Mapping::anonymous(2 * HUGE_PAGE, Protection::ReadWrite, place).expect("memory");
        let addresses = view.span().start()..view.span().end();
        let inner = MemoryDevice::new(DEVICE_PAGES);
        let outer = Arc::new(OnceLock::new());
        let buddy = BuddyPool::new(DEVICE_PAGES).expect("a pool");
        let pool = LyingPool { inner: buddy, lies: Arc::clone(&lies), outer: Arc::clone(&outer) };
        let pool = Arc::new(pool) as Arc<dyn DevicePool>;
        let statistics = Statistics::new().expect("a page");
        let node = NodeParts {
            device: Arc::new(LyingDevice { inner, lies: Arc::clone(&lies) }),
            pagemap: PageMap::new(MemoryKind::Private, Pfn::ZERO, DEVICE_PAGES, pool).expect("a pagemap"),
        };
        let engine = Engine::new(Parts {
            view: PlainView(view),
            nodes: vec![node],
            budget: Budget::new(4096, 16),
            policy: Box::new(FixedOrders { largest: order(4), smallest: Order::ZERO, populate: order(4) }),
            clock: Arc::new(MachineClock::new()),
            observers: vec![Arc::new(statistics.clone())],
            checked: Some(statistics.clone()),
        })
        .expect("one node");
        outer.set(Arc::downgrade(engine.nodes()[0].pool())).expect("set once");
        engine.blocks().add_region(addresses.clone()).expect("two blocks");
        engine.map(addresses.clone()).expect("two blocks");
        Rig { engine, statistics, lies, base: addresses.start }
    }

    /// Brings the first 16 pages to a side, where they hold something.
    pub(super) fn to(&self, side: Side) -> Result<(), Failure> {
        self.engine.prefetch(self.base..self.base + 16 * PAGE, side)
    }

    /// Touches the first pages, and brings them to the device as a folio of order 4.
    pub(super) fn written_on_device(&self) {
        self.engine.cpu_fault(self.base).expect("zeros");
        let bytes = self.engine.view().0.bytes(0, 16 * PAGE).expect("the first pages");
        (0..16 * PAGE).step_by(64).for_each(|at| bytes.write(at, at as u64).expect("inside"));
        self.to(Side::DEVICE).expect("room");
    }

    /// Performs one step of no transaction, and whatever it leads to.
    pub(super) fn step(&self, step: Step) -> Outcome {
        self.steps(|drive, cell| drive.perform(step, cell))
    }

    /// Performs steps on the first block.
    pub(super) fn steps<R>(
        &self,
        steps: impl FnOnce(&mut StepExecutor<'_, PlainView>, &mut BlockState) -> R,
    ) -> R {
        let found = self.engine.blocks().find(self.base).expect("the first block");
        let mut cell = found.lock();
        steps(&mut StepExecutor::begin(&self.engine, found, Request::new(Cause::Prefetch)), &mut cell)
    }

    /// Ends a transaction of these steps.
    pub(super) fn ends(&self, steps: &[Step], result: Result<Finished, Failure>) {
        let found = self.engine.blocks().find(self.base).expect("the first block");
        let mut cell = found.lock();
        let mut drive = StepExecutor::begin(&self.engine, found, Request::new(Cause::Prefetch));
        for step in steps {
            let _: Outcome = drive.perform(*step, &mut cell);
        }
        drive.end(&result, &cell);
    }

    pub(super) fn pool(&self) -> &Arc<dyn DevicePool> {
        self.engine.nodes()[0].pool()
    }

    pub(super) fn checker(&self) -> &Checker {
        self.engine.checker().expect("it is checked")
    }

    pub(super) fn broken(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.checker().violations().iter().map(|broken| broken.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    #[track_caller]
    pub(super) fn breaks(&self, number: u8) {
        let broken = self.broken();
        assert!(broken.contains(&Rule::known(number)), "I{number} is not among {broken:?}");
    }
}
