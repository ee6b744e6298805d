//! Private anonymous memory through the engine, on real userfaultfd: what goes out comes back, at every order.

mod kernel;

use std::num::NonZeroUsize;
use std::sync::Arc;

use bifolio_builtin::{Builtin, Memory};
use bifolio_checker::Observed;
use bifolio_engine::clock::MachineClock;
use bifolio_engine::{Budget, NodeParts, Parts};
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_host::views::anonymous::AnonymousView;
use bifolio_host::{Counter, Direction, Engine, Side, Statistics};
use bifolio_policy::FixedOrders;
use bifolio_pool::PoolName;
use bifolio_sim::faulty::{Call, FailAfter, FaultyDevice, Script};
use bifolio_sys::pagemap::Pagemap;
use bifolio_sys::{
    AddressRange, Features, HUGE_PAGE, Mapping, PAGE, Placement, Protection, Reads, SharedBytes, Uffd, advise,
};

const BLOCKS: usize = 4;
const LEN: usize = BLOCKS * HUGE_PAGE;

struct Rig {
    engine: Arc<Engine<AnonymousView>>,
    statistics: Statistics,
    failures: Arc<FailAfter>,
    span: AddressRange,
}

/// Memory of `BLOCKS` blocks, watched, and no thread to answer faults; `None` where the kernel grants no moves.
fn rig(order: u8) -> Option<Rig> {
    let uffd = match Uffd::open_ready(Reads::Blocking, Features::MOVE, Features::POISON) {
        Ok((uffd, _)) => Arc::new(uffd),
        Err(refused) => {
            kernel::skip(std::thread::current().name().unwrap_or("a test"), &refused);
            return None;
        }
    };
    let order = Order::new(order).expect("small");
    let view = AnonymousView::new(uffd, 1024).expect("staging memory");
    let memory =
        Mapping::anonymous(LEN, Protection::ReadWrite, Placement::Aligned(HUGE_PAGE)).expect("memory");
    let _: Result<(), _> = advise::hugepage(memory.all());
    let span = memory.span();
    view.add_region(memory).expect("the first region");
    view.watch(span).expect("registered");
    let pages = (2 * LEN / PAGE) as u64;
    let inner = Builtin::new(Memory::new(Pfn::ZERO, pages).expect("a memfd"), NonZeroUsize::MIN, 0..0);
    let failures = FailAfter::never();
    let copies = Arc::clone(&failures);
    let script = Arc::new(move |call: Call| call.is_copy().then(|| copies.fault(call))?);
    let pool = PoolName::Buddy.make(pages).expect("a pool");
    let statistics = Statistics::new().expect("a page");
    let node = NodeParts {
        device: Arc::new(FaultyDevice::over(Arc::new(inner), script)),
        pagemap: PageMap::new(MemoryKind::Private, Pfn::ZERO, pages, pool).expect("a pagemap"),
    };
    let Observed { nodes, observers, .. } = Observed::new(vec![node], &statistics, true);
    let engine = Engine::new(Parts {
        view,
        nodes,
        budget: Budget::new(1 << 30, 0),
        policy: Box::new(FixedOrders { largest: order, smallest: order, populate: order }),
        clock: Arc::new(MachineClock::new()),
        observers,
    })
    .expect("one node");
    engine.blocks().add_region(span.start()..span.end()).expect("whole blocks");
    engine.map(span.start()..span.end()).expect("whole blocks");
    Some(Rig { engine, statistics, failures, span })
}

impl Rig {
    fn bytes(&self) -> SharedBytes<'_> {
        self.engine.view().window(self.span)
    }

    fn addresses(&self) -> std::ops::Range<usize> {
        self.span.start()..self.span.end()
    }

    /// Touches every page first, as faults would, and then writes every word.
    fn fill(&self) {
        for page in (0..LEN).step_by(PAGE) {
            self.engine.cpu_fault(self.span.start() + page).expect("zeros can be shown");
        }
        for offset in (0..LEN).step_by(8) {
            self.bytes().store_u64(offset, offset as u64).expect("inside");
        }
    }

    fn check(&self) {
        for offset in (0..LEN).step_by(8) {
            assert_eq!(self.bytes().load_u64(offset), Ok(offset as u64), "word at {offset:#x}");
        }
        assert_eq!(self.engine.audit(), []);
        assert_eq!(self.statistics.snapshot().get(Counter::Violations), 0);
    }

    fn present(&self) -> usize {
        Pagemap::open().expect("proc").present_pages(self.span).expect("user space")
    }
}

fn round_trip(order: u8) {
    let Some(rig) = rig(order) else { return };
    rig.fill();
    for _ in 0..3 {
        rig.engine.prefetch(rig.addresses(), Side::DEVICE).expect("room on the device");
        assert_eq!(rig.present(), 0, "all pages are out of view");
        rig.engine.prefetch(rig.addresses(), Side::Ram).expect("room in memory");
        assert_eq!(rig.present(), LEN / PAGE);
        rig.check();
    }
    let folios = (LEN / (PAGE << order)) as u64;
    let moved = rig.statistics.snapshot();
    assert_eq!(moved.folios(Direction::ToDevice)[usize::from(order)], 3 * folios);
    assert_eq!(moved.folios(Direction::ToRam)[usize::from(order)], 3 * folios);
}

#[test]
fn single_pages_come_back_as_they_left() {
    round_trip(0);
}

#[test]
fn folios_of_64_kib_come_back_as_they_left() {
    round_trip(4);
}

#[test]
fn whole_blocks_come_back_as_they_left() {
    round_trip(9);
}

#[test]
fn huge_pages_stay_huge() {
    let Some(rig) = rig(9) else { return };
    let huge = || Pagemap::open().expect("proc").huge_bytes(rig.span).expect("told");
    rig.fill();
    if huge() < LEN {
        kernel::skip("huge_pages_stay_huge", &"the kernel gives no huge pages");
        return;
    }
    for _ in 0..2 {
        rig.engine.prefetch(rig.addresses(), Side::DEVICE).expect("room on the device");
        rig.engine.prefetch(rig.addresses(), Side::Ram).expect("room in memory");
    }
    assert_eq!(huge(), LEN);
    rig.check();
}

#[test]
fn copy_that_fails_leaves_every_byte() {
    for order in [0, 4, 9] {
        let Some(rig) = rig(order) else { return };
        rig.fill();
        for side in [Side::DEVICE, Side::Ram, Side::DEVICE, Side::Ram] {
            rig.failures.fail_after(2);
            let stopped = rig.engine.prefetch(rig.addresses(), side);
            assert!(stopped.is_err(), "the third copy to {side:?} failed");
            rig.engine.prefetch(rig.addresses(), Side::Ram).expect("copies succeed again");
            rig.check();
            if side == Side::DEVICE {
                rig.engine.prefetch(rig.addresses(), Side::DEVICE).expect("copies succeed");
            }
        }
    }
}

#[test]
fn pages_dropped_behind_our_back_read_as_zero() {
    for order in [4, 9] {
        let Some(rig) = rig(order) else { return };
        rig.fill();
        let dropped = rig.bytes().part(5 * PAGE, 3 * PAGE).expect("inside");
        advise::dontneed(dropped).expect("our own memory");
        rig.engine.prefetch(rig.addresses(), Side::DEVICE).expect("holes count as zeros");
        rig.engine.prefetch(rig.addresses(), Side::Ram).expect("room in memory");
        assert!(dropped.is_zero());
        assert_eq!(rig.bytes().load_u64(8 * PAGE), Ok(8 * PAGE as u64));
        assert_eq!(rig.engine.audit(), []);
    }
}

#[test]
fn fault_on_a_page_dropped_behind_our_back_shows_zeros() {
    let Some(rig) = rig(4) else { return };
    rig.fill();
    let dropped = rig.bytes().part(5 * PAGE, PAGE).expect("inside");
    advise::dontneed(dropped).expect("our own memory");
    rig.engine.cpu_fault(dropped.address()).expect("answered");
    assert!(dropped.is_zero());
}

#[test]
fn unmapped_memory_gives_its_folios_back() {
    let Some(rig) = rig(4) else { return };
    rig.fill();
    rig.engine.prefetch(rig.addresses(), Side::DEVICE).expect("room on the device");
    rig.engine.unmap(rig.addresses()).expect("no folio is held elsewhere");
    assert_eq!(rig.engine.nodes()[0].pagemap().live_pages(), 0);
    rig.engine.map(rig.addresses()).expect("whole blocks");
    rig.engine.cpu_fault(rig.span.start()).expect("zeros");
    assert_eq!(rig.bytes().load_u64(0), Ok(0));
}
