//! What recording does on the path of a fault: it allocates nothing.

use std::sync::Arc;

use allocation_counter::AllocationInfo;
use bifolio_engine::device::Device;
use bifolio_engine::{Budget, Engine, NodeParts, Observer, Parts};
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_migrate::Rights;
use bifolio_policy::FixedOrders;
use bifolio_pool::PoolName;
use bifolio_sim::{SimDevice, SimView, Touch, VirtualClock};
use bifolio_trace::{Options, Recorder, Trace};

/// Pages of the block, of which the device holds a quarter.
const PAGES: usize = 512;
const DEVICE_PAGES: u64 = 128;

/// An engine over simulated parts, whose faults are answered by the thread that touches.
struct Machine {
    engine: Arc<Engine<SimView>>,
    device: Arc<SimDevice>,
}

impl Machine {
    fn new(observers: Vec<Arc<dyn Observer>>) -> Machine {
        let device = Arc::new(SimDevice::new(MemoryKind::Private, Pfn::ZERO, DEVICE_PAGES));
        let pool = PoolName::Buddy.make(DEVICE_PAGES).expect("a pool");
        let pagemap = PageMap::new(MemoryKind::Private, Pfn::ZERO, DEVICE_PAGES, pool).expect("a pagemap");
        let view = SimView::of_blocks(1, &[]);
        let addresses = view.addresses().start()..view.addresses().end();
        let order = Order::ZERO;
        let engine = Engine::new(Parts {
            view,
            nodes: vec![NodeParts { device: Arc::clone(&device) as Arc<dyn Device>, pagemap }],
            budget: Budget::new(1024, 16),
            policy: Box::new(FixedOrders { largest: order, smallest: order, populate: order }),
            clock: Arc::new(VirtualClock::default()),
            observers,
        })
        .expect("one node");
        engine.blocks().add_region(addresses.clone()).expect("a block");
        engine.map(addresses).expect("a block");
        Machine { engine, device }
    }

    /// Touches every page on the CPU, then on the device, which evicts what it has no room for.
    fn touch_all(&self) {
        for page in 0..PAGES {
            let address = self.engine.view().address(page);
            while matches!(self.engine.view().try_touch(address, |_| ()), Ok(Touch::Asleep(_))) {
                let fault = self.engine.view().take_fault().unwrap_or(address);
                self.engine.cpu_fault(fault).expect("there is memory");
            }
        }
        for page in 0..PAGES {
            let address = self.engine.view().address(page);
            self.device.access(address, Rights::READ, |_| ()).expect("there is room, or something to evict");
        }
    }

    /// What a round allocates, once all that grows has grown.
    fn allocations(&self) -> AllocationInfo {
        (0..3).for_each(|_| self.touch_all());
        allocation_counter::measure(|| self.touch_all())
    }
}

#[test]
fn faults_allocate_as_much_with_a_recorder_as_without() {
    let plain = Machine::new(Vec::new()).allocations();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t");
    let recorder = Recorder::create(&path, &Options::new([("command", "a test")])).expect("a file");
    let recorded = Machine::new(vec![recorder.observer()]).allocations();
    let written = recorder.finish::<&str, &str>([]).expect("room");
    // All four rounds are in the trace: each moves every page to the device.
    assert!(written.events > 4 * PAGES as u64 * 3 && written.lost == 0, "{written:?}");
    assert_eq!(Trace::open(&path).expect("a trace").len(), written.events);
    assert_eq!((recorded.count_total, recorded.bytes_total), (plain.count_total, plain.bytes_total));
}

#[test]
fn counter_of_allocations_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7_u64))));
    assert_eq!((counted.count_total, counted.bytes_total), (1, 8));
}
