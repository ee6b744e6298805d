//! An engine over simulated parts, whose faults are answered by whoever meets them.

use std::ops::Range;
use std::sync::Arc;

use bifolio_engine::clock::MachineClock;
use bifolio_engine::device::Device;
use bifolio_engine::{Budget, Counter, Engine, NodeParts, Parts, Residence, Statistics};
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_migrate::Rights;
use bifolio_policy::FixedOrders;
use bifolio_pool::DevicePool;
use bifolio_sim::faulty::{FailAfter, FaultyDevice, FaultyView};
use bifolio_sim::{SimDevice, SimView, Touch};
use bifolio_sys::{HUGE_PAGE, PAGE};

/// The machine: one block, all of it live.
pub struct Machine {
    pub engine: Arc<Engine<FaultyView<SimView>>>,
    pub statistics: Statistics,
    pub device: Arc<SimDevice>,
    pub failures: Arc<FailAfter>,
}

/// What each page holds, if it was written: its number, and something else than zero.
fn value(page: usize) -> u64 {
    1 + page as u64
}

impl Machine {
    /// A machine over `device`, whose memory `pool` hands out.
    pub fn new(kind: MemoryKind, device: SimDevice, pool: Arc<dyn DevicePool>, ram_pages: u64) -> Machine {
        let (device, failures) = (Arc::new(device), FailAfter::never());
        let script = || Arc::clone(&failures) as Arc<_>;
        let view = SimView::of_blocks(1, &[device.memfd()]);
        let addresses = view.addresses().start()..view.addresses().end();
        let device_pages = device.capabilities().pages;
        let faulty: Arc<dyn Device> = Arc::new(FaultyDevice::over(Arc::clone(&device), script()));
        let statistics = Statistics::new().expect("a page");
        let pagemap = PageMap::new(kind, Pfn::ZERO, device_pages, pool).expect("a pagemap");
        let engine = Engine::new(Parts {
            view: FaultyView::over(view, script()),
            nodes: vec![NodeParts { device: faulty, pagemap }],
            budget: Budget::new(ram_pages, 16),
            policy: Box::new(FixedOrders {
                largest: Order::PMD,
                smallest: Order::ZERO,
                populate: Order::K64,
            }),
            clock: Arc::new(MachineClock::new()),
            observers: vec![Arc::new(statistics.clone())],
            checked: Some(statistics.clone()),
        })
        .expect("one node");
        engine.blocks().add_region(addresses.clone()).expect("a block");
        engine.map(addresses).expect("a block");
        Machine { engine, statistics, device, failures }
    }

    /// The same, with every page written by the CPU.
    pub fn written(
        kind: MemoryKind,
        device_pages: u64,
        pool: Arc<dyn DevicePool>,
        ram_pages: u64,
    ) -> Machine {
        let machine = Machine::new(kind, SimDevice::new(kind, device_pages), pool, ram_pages);
        (0..HUGE_PAGE / PAGE).for_each(|page| machine.write(page));
        machine
    }

    pub fn view(&self) -> &SimView {
        self.engine.view().inner()
    }

    /// Addresses of some pages.
    pub fn addresses(&self, pages: Range<usize>) -> Range<usize> {
        self.view().address(pages.start)..self.view().address(pages.end)
    }

    /// Addresses of all pages.
    pub fn all(&self) -> Range<usize> {
        self.addresses(0..HUGE_PAGE / PAGE)
    }

    /// Does `access` as a thread of the program that answers its own faults.
    pub fn touch<R>(&self, page: usize, access: impl Fn(bifolio_sys::SharedBytes<'_>) -> R) -> R {
        loop {
            match self.view().try_touch(self.view().address(page), &access).expect("no SIGBUS") {
                Touch::Done(result) => return result,
                Touch::Asleep(sleeper) => {
                    let fault = self.view().take_fault().expect("its own");
                    self.engine.cpu_fault(fault).expect("there is memory");
                    assert!(self.view().is_awake(sleeper), "an answered fault wakes its thread");
                }
            }
        }
    }

    pub fn write(&self, page: usize) {
        self.touch(page, |bytes| bytes.store_u64(0, value(page)).expect("a word"));
    }

    /// Checks every page that is live, by the CPU, and all counts.
    pub fn check(&self) {
        self.failures.stop();
        assert_eq!(self.engine.audit(), []);
        for page in 0..HUGE_PAGE / PAGE {
            if self.engine.residence(self.view().address(page)) != Residence::NotMapped {
                let word = self.touch(page, |bytes| bytes.load_u64(0).expect("a word"));
                assert_eq!(word, value(page), "page {page}");
            }
        }
        assert_eq!(self.engine.audit(), []);
        assert_eq!(self.statistics.snapshot().get(Counter::Violations), 0);
    }

    /// Reads the first word of a page as a unit of the device.
    pub fn device_read(&self, page: usize) -> u64 {
        let load = |bytes: bifolio_sys::SharedBytes<'_>| bytes.load_u64(0).expect("a word");
        self.device.access(self.view().address(page), Rights::READ, load).expect("there is room")
    }
}
