//! Failures of the machine below: each call of the device or of the CPU's view that may fail does so once, for
//! every kind of request. After each, all bytes are where they can be read and all counts balance.
#![expect(clippy::print_stdout, reason = "a test tells how much it tried")]

mod kernel;

use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bifolio_builtin::{Builtin, Memory};
use bifolio_checker::Observed;
use bifolio_engine::clock::MachineClock;
use bifolio_engine::detach::{DetachError, Stuck};
use bifolio_engine::device::{DeviceFault, DeviceRequest, Served};
use bifolio_engine::{Budget, NodeParts, Parts, Residence};
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_host::fault_loop::{Answer, Fault, Handlers, Readers};
use bifolio_host::touchers::Touchers;
use bifolio_host::views::shared::{Keep, ReachableMemory, SharedView};
use bifolio_host::{Counter, Direction, Engine, Side, Statistics};
use bifolio_migrate::{Failure, NodeId, Rights};
use bifolio_policy::FixedOrders;
use bifolio_pool::{DevicePool, MirrorPool, PoolName};
use bifolio_sim::faulty::{Call, FailAfter, FaultKind, FaultyDevice, FaultyView, Script};
use bifolio_sys::touch::Touched;
use bifolio_sys::{AddressRange, Features, PAGE, Reads, SharedBytes, Uffd};

struct Machine {
    /// Dropped first, like the next.
    handlers: Option<Handlers>,
    touchers: Option<Touchers>,
    engine: Arc<Engine<FaultyView<SharedView>>>,
    statistics: Statistics,
    failures: Arc<FailAfter>,
    /// The device is gone for good: every copy fails.
    lost: Arc<AtomicBool>,
    span: AddressRange,
}

/// As a space answers.
struct ByEngine(Arc<Engine<FaultyView<SharedView>>>);

impl Answer for ByEngine {
    fn answer(&self, fault: Fault) {
        let _: Result<_, Failure> = self.0.cpu_fault(fault.address);
    }

    fn answer_own(&self, fault: Fault) -> Touched {
        self.answer(fault);
        if self.0.is_poisoned(fault.address) { Touched::Lost } else { Touched::Again }
    }
}

const BYTES: usize = 2 << 20;
const WORDS: usize = BYTES / 8;

impl Machine {
    /// A machine whose memory the CPU has written, with device memory and system memory of so many pages.
    fn written(kind: MemoryKind, device_pages: u64, ram_pages: u64) -> Machine {
        let pool = PoolName::default().make(device_pages).expect("a pool");
        Machine::with_pool(pool, kind, device_pages, ram_pages)
    }

    fn with_pool(pool: Arc<dyn DevicePool>, kind: MemoryKind, device_pages: u64, ram_pages: u64) -> Machine {
        Machine::answered(Readers::Separate, pool, kind, device_pages, ram_pages)
    }

    fn answered(
        readers: Readers,
        pool: Arc<dyn DevicePool>,
        kind: MemoryKind,
        device_pages: u64,
        ram_pages: u64,
    ) -> Machine {
        let (failures, lost) = (FailAfter::never(), Arc::new(AtomicBool::new(false)));
        let script = || {
            let (failures, lost) = (Arc::clone(&failures), Arc::clone(&lost));
            Arc::new(move |call: Call| match lost.load(Ordering::Relaxed) && call.is_copy() {
                true => Some(FaultKind::Refuse),
                false => failures.fault(call),
            })
        };
        let (reads, signal) = match readers {
            Readers::Toucher => (Reads::NonBlocking, Features::SIGBUS),
            _ => (Reads::Blocking, Features::empty()),
        };
        let required = Features::MINOR_SHMEM | Features::EVENT_REMAP | signal;
        let (uffd, _) = Uffd::open_ready(reads, required, Features::POISON).expect("a userfaultfd");
        let uffd = Arc::new(uffd);
        let memory = Memory::new(Pfn::ZERO, device_pages).expect("device memory");
        let reachable = ReachableMemory { memfd: Arc::clone(memory.memfd()), first: Pfn::ZERO };
        let shown = if kind == MemoryKind::Coherent { vec![reachable] } else { Vec::new() };
        let view = SharedView::new(Arc::clone(&uffd), BYTES, Keep::Nothing, shown).expect("a view");
        let span = view.addresses();
        let inner = Builtin::new(memory, NonZeroUsize::MIN, span.start()..span.end());
        let smallest = if kind == MemoryKind::Coherent { Order::K64 } else { Order::ZERO };
        let statistics = Statistics::new().expect("a page");
        let node = NodeParts {
            device: Arc::new(FaultyDevice::over(Arc::new(inner), script())),
            pagemap: PageMap::new(kind, Pfn::ZERO, device_pages, pool).expect("a pagemap"),
        };
        let Observed { nodes, observers, .. } = Observed::new(vec![node], &statistics, true);
        let engine = Engine::new(Parts {
            view: FaultyView::over(view, script()),
            nodes,
            budget: Budget::new(ram_pages, 16),
            policy: Box::new(FixedOrders { largest: Order::PMD, smallest, populate: Order::K64 }),
            clock: Arc::new(MachineClock::new()),
            observers,
        })
        .expect("one node");
        engine.blocks().add_region(span.start()..span.end()).expect("blocks");
        engine.map(span.start()..span.end()).expect("blocks");
        let answer: Arc<dyn Answer> = Arc::new(ByEngine(Arc::clone(&engine)));
        let (mut handlers, mut touchers) = (None, None);
        if readers == Readers::Toucher {
            let memory = engine.view().inner().window(span);
            touchers = Some(Touchers::start(uffd, memory, &answer).expect("touchers"));
        } else {
            handlers = Some(Handlers::start(uffd, 2, readers, &answer).expect("handlers"));
        }
        let machine = Machine { handlers, touchers, engine, statistics, failures, lost, span };
        for word in (0..WORDS).step_by(64) {
            machine.window().store_u64(word * 8, word as u64 + 1).expect("inside");
        }
        machine
    }

    fn window(&self) -> SharedBytes<'_> {
        self.engine.view().inner().window(self.span)
    }

    fn device_fault(&self, address: usize) -> Result<Served, DeviceFault> {
        self.engine.device_fault(NodeId(0), &DeviceRequest::new(address, Rights::READ))
    }

    /// Checks every word that was written and not unmapped.
    fn check(&self) {
        self.failures.stop();
        assert_eq!(self.engine.audit(), []);
        for word in (0..WORDS).step_by(64) {
            if self.engine.residence(self.span.start() + word * 8) != Residence::NotMapped {
                assert_eq!(self.window().load_u64(word * 8), Ok(word as u64 + 1), "word {word}");
            }
        }
        assert_eq!(self.engine.audit(), []);
        let statistics = self.statistics.snapshot();
        assert_eq!(statistics.get(Counter::Violations), 0);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.handlers = None;
        self.touchers = None;
    }
}

#[derive(Clone, Copy, Debug)]
enum Request {
    DeviceFault,
    ToDevice,
    ToRam,
    Unmap,
    Detach,
    Reshape,
}

fn perform(machine: &Machine, request: Request) {
    let (start, end) = (machine.span.start(), machine.span.end());
    // Failing is what is tested; what counts is what is left afterwards.
    let _: bool = match request {
        Request::DeviceFault => machine.device_fault(start + 77 * PAGE).is_ok(),
        Request::ToDevice => machine.engine.prefetch(start..end, Side::DEVICE).is_ok(),
        Request::ToRam => machine.engine.prefetch(start..end, Side::Ram).is_ok(),
        Request::Unmap => machine.engine.unmap(start + 5 * PAGE..start + 300 * PAGE).is_ok(),
        Request::Reshape => {
            let split = machine.engine.split(start + 100 * PAGE..start + 103 * PAGE, Order::ZERO).is_ok();
            split && machine.engine.collapse(start..end).is_ok()
        }
        Request::Detach => machine.engine.detach(Duration::ZERO).is_ok(),
    };
}

const REQUESTS: [Request; 6] = [
    Request::DeviceFault,
    Request::ToDevice,
    Request::ToRam,
    Request::Unmap,
    Request::Detach,
    Request::Reshape,
];

fn survives_every_failure(name: PoolName, kind: MemoryKind, device_pages: u64, ram_pages: u64) {
    survives_answered(Readers::Separate, name, kind, device_pages, ram_pages);
}

fn survives_answered(readers: Readers, name: PoolName, kind: MemoryKind, device_pages: u64, ram_pages: u64) {
    for request in REQUESTS {
        for first in [None, Some(Request::ToDevice), Some(Request::DeviceFault)] {
            for calls in 0.. {
                let pool = name.make(device_pages).expect("a pool");
                let machine = Machine::answered(readers, pool, kind, device_pages, ram_pages);
                first.into_iter().for_each(|first| perform(&machine, first));
                machine.failures.fail_after(calls);
                perform(&machine, request);
                let failed = machine.failures.failed();
                machine.check();
                if failed == 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn private_memory_survives_every_failure() {
    if !kernel::grants("private_memory_survives_every_failure", kernel::SHARED) {
        return;
    }
    survives_every_failure(PoolName::Buddy, MemoryKind::Private, 1024, 1024);
}

#[test]
fn private_memory_survives_every_failure_when_the_device_is_small() {
    if !kernel::grants("private_memory_survives_every_failure_when_the_device_is_small", kernel::SHARED) {
        return;
    }
    survives_every_failure(PoolName::Buddy, MemoryKind::Private, 64, 1024);
}

#[test]
fn private_memory_survives_every_failure_when_system_memory_is_small() {
    if !kernel::grants("private_memory_survives_every_failure_when_system_memory_is_small", kernel::SHARED) {
        return;
    }
    survives_every_failure(PoolName::Buddy, MemoryKind::Private, 1024, 128);
}

#[test]
fn coherent_memory_survives_every_failure() {
    if !kernel::grants("coherent_memory_survives_every_failure", kernel::SHARED) {
        return;
    }
    survives_every_failure(PoolName::Buddy, MemoryKind::Coherent, 1024, 1024);
}

#[test]
fn memory_that_touchers_answer_for_survives_every_failure() {
    let needed = kernel::SHARED | Features::SIGBUS;
    if !kernel::grants("memory_that_touchers_answer_for_survives_every_failure", needed) {
        return;
    }
    survives_answered(Readers::Toucher, PoolName::Buddy, MemoryKind::Private, 1024, 1024);
    survives_answered(Readers::Toucher, PoolName::Buddy, MemoryKind::Private, 1024, 128);
    survives_answered(Readers::Toucher, PoolName::Buddy, MemoryKind::Coherent, 1024, 1024);
}

/// The pools beyond the default one, on a device that is full with a few folios.
fn survives_on_small_devices(name: PoolName) {
    survives_every_failure(name, MemoryKind::Private, 64, 1024);
    survives_every_failure(name, MemoryKind::Coherent, 128, 1024);
}

#[test]
fn memory_of_free_lists_survives_every_failure() {
    if !kernel::grants("memory_of_free_lists_survives_every_failure", kernel::SHARED) {
        return;
    }
    survives_on_small_devices(PoolName::FreeList);
}

#[test]
fn memory_of_shared_objects_survives_every_failure() {
    if !kernel::grants("memory_of_shared_objects_survives_every_failure", kernel::SHARED) {
        return;
    }
    survives_on_small_devices(PoolName::Coherent);
    survives_every_failure(PoolName::Coherent, MemoryKind::Coherent, 1024, 1024);
}

#[test]
fn memory_of_the_mirror_survives_every_failure() {
    if !kernel::grants("memory_of_the_mirror_survives_every_failure", kernel::SHARED) {
        return;
    }
    survives_on_small_devices(PoolName::Mirror);
}

/// A machine over a mirror, with the mirror itself.
fn mirrored(kind: MemoryKind, device_pages: u64) -> (Machine, Arc<MirrorPool>) {
    let mirror = Arc::new(MirrorPool::new(device_pages).expect("a pool"));
    let pool: Arc<dyn DevicePool> = Arc::<MirrorPool>::clone(&mirror);
    (Machine::with_pool(pool, kind, device_pages, 1024), mirror)
}

#[test]
fn allocation_that_is_refused_once_is_asked_for_again() {
    if !kernel::grants("allocation_that_is_refused_once_is_asked_for_again", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let (machine, mirror) = mirrored(kind, 1024);
        mirror.fail_next();
        machine.device_fault(machine.span.start()).expect("answered");

        let statistics = machine.statistics.snapshot();
        let (fallbacks, evictions) = (statistics.get(Counter::Fallbacks), statistics.get(Counter::Evictions));
        assert_eq!((fallbacks, evictions), (0, 0), "{kind:?}: there was room, and nothing to evict");
        assert_eq!(statistics.folios(Direction::ToDevice)[9], 1, "{kind:?}");
        machine.check();
    }
}

#[test]
fn closing_a_mirror_evicts_all_and_gives_its_chunks_back() {
    if !kernel::grants("closing_a_mirror_evicts_all_and_gives_its_chunks_back", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let (machine, mirror) = mirrored(kind, 1024);
        perform(&machine, Request::ToDevice);
        perform(&machine, Request::ToRam);
        assert_eq!((mirror.chunks(), mirror.free_pages()), (1, 1024), "{kind:?}: all is free, and kept");
        perform(&machine, Request::ToDevice);
        assert_eq!(machine.engine.detach(Duration::ZERO), Ok(()));
        assert_eq!((mirror.chunks(), mirror.free_pages()), (0, 1024), "{kind:?}");
        machine.check();
    }
}

/// Set in the child that is to die of a lost device.
const CHILD: &str = "BIFOLIO_TEST_TOUCH_LOST_PAGE";

#[test]
fn touching_a_page_that_a_lost_device_holds_is_sigbus_and_never_stale_bytes() {
    if !kernel::grants(
        "touching_a_page_that_a_lost_device_holds_is_sigbus_and_never_stale_bytes",
        kernel::SHARED,
    ) {
        return;
    }
    let Ok(readers) = std::env::var(CHILD) else {
        let name = "touching_a_page_that_a_lost_device_holds_is_sigbus_and_never_stale_bytes";
        for readers in ["Separate", "Toucher"] {
            let child = Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", name, "--nocapture"])
                .env(CHILD, readers)
                .output()
                .expect("the child runs");
            let told = String::from_utf8_lossy(&child.stdout);
            assert_eq!(child.status.signal(), Some(7), "SIGBUS, {readers}: {told}");
        }
        return;
    };
    let readers = if readers == "Toucher" { Readers::Toucher } else { Readers::Separate };
    let pool = PoolName::default().make(1024).expect("a pool");
    let machine = Machine::answered(readers, pool, MemoryKind::Private, 1024, 1024);
    perform(&machine, Request::ToDevice);
    machine.lost.store(true, Ordering::Relaxed);
    let touched = machine.window().load_u64(0);
    println!("read {touched:?} from a lost device");
}

#[test]
fn cpu_fault_that_cannot_copy_says_so() {
    if !kernel::grants("cpu_fault_that_cannot_copy_says_so", kernel::SHARED) {
        return;
    }
    let machine = Machine::written(MemoryKind::Private, 1024, 1024);
    perform(&machine, Request::ToDevice);
    // Reserving comes before copying.
    machine.failures.fail_after(1);
    assert_eq!(machine.engine.cpu_fault(machine.span.start()), Err(Failure::CopyFailed));
    assert_eq!(machine.statistics.snapshot().get(Counter::Failures), 1);
}

#[test]
fn detach_that_cannot_copy_says_so_and_goes_on_when_repeated() {
    if !kernel::grants("detach_that_cannot_copy_says_so_and_goes_on_when_repeated", kernel::SHARED) {
        return;
    }
    let machine = Machine::written(MemoryKind::Private, 1024, 1024);
    perform(&machine, Request::ToDevice);
    // Reserving comes before copying.
    machine.failures.fail_after(1);
    let stuck = Stuck { pages: 512, address: machine.span.start(), why: Failure::CopyFailed };
    assert_eq!(machine.engine.detach(Duration::ZERO), Err(DetachError::Stuck(stuck)));
    assert_eq!(machine.engine.detach(Duration::ZERO), Ok(()));
    machine.check();
}
