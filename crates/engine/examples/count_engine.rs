//! Runs one case of the engine, so that its instructions can be counted, and prints how many requests it made.
//!
//! usage: `count_engine CASE`; without a case, it lists them. `scripts/count-instructions.sh` runs it under callgrind, which
//! counts only what is done inside `measured`. View and device do nothing, so that the engine's own work is counted.

use std::process::ExitCode;
use std::sync::Arc;

use bifolio_engine::clock::MachineClock;
use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, DeviceRequest, FaultHandler, Point, TableUpdate, UsedPages,
};
use bifolio_engine::event::Cause;
use bifolio_engine::view::{BlockSpan, CpuView, Refused};
use bifolio_engine::{Budget, Engine, NodeParts, Observer, Parts, Side, Statistics};
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_migrate::{CpuFaultOrders, DevicePage, NodeId, PageRun, PageSet, Rights};
use bifolio_policy::FixedOrders;
use bifolio_pool::PoolName;
use bifolio_sys::{HUGE_PAGE, Mapping, PAGE, Placement, Protection, SharedBytes};

/// A view in which nothing is ever hidden.
struct IdleView(Mapping);

impl CpuView for IdleView {
    type Staged = ();

    fn isolate(&self, _: BlockSpan, _: &PageSet) -> Result<(), Refused> {
        Ok(())
    }

    fn reserve(&self, _: BlockSpan) -> Result<(), Refused> {
        Ok(())
    }

    fn bytes<'v>(&'v self, place: BlockSpan, (): &(), run: PageRun) -> SharedBytes<'v> {
        let at = place.base + usize::from(run.first()) * PAGE - self.0.span().start();
        self.0.bytes(at, usize::from(run.pages()) * PAGE).expect("pages of the view")
    }

    fn remap(&self, _: BlockSpan, _: &PageSet, _: Option<()>) {}

    fn install(&self, _: BlockSpan, (): (), _: Option<u16>) -> Result<(), (Refused, ())> {
        Ok(())
    }

    fn install_zero(&self, _: BlockSpan, (): ()) -> Result<(), (Refused, ())> {
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

/// A device of so many pages that copies nothing.
struct IdleDevice(u64);

impl Device for IdleDevice {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.0)
    }

    fn attach(&self, _: Arc<dyn FaultHandler>) {}

    fn copy(&self, _: &[Copy<'_>]) -> Result<Point, DeviceError> {
        Ok(Point(0))
    }

    fn update(&self, _: &[TableUpdate]) -> Result<Point, DeviceError> {
        Ok(Point(0))
    }

    fn wait(&self, _: Point) -> Result<(), DeviceError> {
        Ok(())
    }

    fn used_pages(&self, _: usize, _: Order) -> UsedPages {
        UsedPages::NONE
    }
}

const BLOCKS: usize = 8;
const PAGES: usize = BLOCKS * HUGE_PAGE / PAGE;
/// A device that holds one block.
const SMALL: usize = HUGE_PAGE / PAGE;

struct World {
    engine: Arc<Engine<IdleView>>,
    start: usize,
}

impl World {
    /// An engine with a device of so many pages, whose memory the CPU has touched. All folios are of one page.
    fn new(device_pages: usize, observers: Vec<Arc<dyn Observer>>) -> World {
        let place = Placement::Aligned(HUGE_PAGE);
        let view = Mapping::anonymous(BLOCKS * HUGE_PAGE, Protection::ReadWrite, place).expect("memory");
        let (start, end) = (view.span().start(), view.span().end());
        let pages = device_pages as u64;
        let pool = PoolName::Buddy.make(pages).expect("a pool");
        let pagemap = PageMap::new(MemoryKind::Private, Pfn::ZERO, pages, pool).expect("a pagemap");
        let orders = FixedOrders { largest: Order::ZERO, smallest: Order::ZERO, populate: Order::ZERO };
        let engine = Engine::new(Parts {
            view: IdleView(view),
            nodes: vec![NodeParts { device: Arc::new(IdleDevice(pages)), pagemap }],
            budget: Budget::new(1 << 30, 0),
            policy: Box::new(orders),
            clock: Arc::new(MachineClock::new()),
            observers,
        })
        .expect("one node");
        engine.blocks().add_region(start..end).expect("blocks");
        engine.map(start..end).expect("blocks");
        let world = World { engine, start };
        (0..PAGES).for_each(|page| world.cpu_fault(page));
        world
    }

    /// The same, with so many pages on the device.
    fn on_device(device_pages: usize, pages: usize) -> World {
        let world = World::new(device_pages, Vec::new());
        (0..pages).for_each(|page| world.device_fault(page));
        world
    }

    /// The memory of an unmodified program: the engine knows only what is on the device.
    fn heap() -> World {
        let place = Placement::Aligned(HUGE_PAGE);
        let view = Mapping::anonymous(BLOCKS * HUGE_PAGE, Protection::ReadWrite, place).expect("memory");
        let (start, end, pages) = (view.span().start(), view.span().end(), PAGES as u64);
        let pool = PoolName::FreeList.make(pages).expect("a pool");
        let pagemap = PageMap::new(MemoryKind::Private, Pfn::ZERO, pages, pool).expect("a pagemap");
        let engine = Engine::new(Parts {
            view: IdleView(view),
            nodes: vec![NodeParts { device: Arc::new(IdleDevice(pages)), pagemap }],
            budget: Budget::new(1 << 30, 0),
            policy: Box::new(FixedOrders {
                largest: Order::PMD,
                smallest: Order::ZERO,
                populate: Order::ZERO,
            }),
            clock: Arc::new(MachineClock::new()),
            observers: vec![Arc::new(Statistics::new().expect("a page"))],
        })
        .expect("one node");
        engine.blocks().add_region(start..end).expect("blocks");
        World { engine, start }
    }

    /// Lets four of five pages leave, block by block; returns how many.
    fn store(&self) -> usize {
        let mut pages = PageSet::EMPTY;
        (0..512).filter(|page| page * 7 % 5 != 0).for_each(|page| pages.insert(PageRun::single(page)));
        let stored = |block| self.engine.store(self.start + block * HUGE_PAGE, &pages, Order::MAX).count();
        (0..BLOCKS).map(|block| usize::from(stored(block))).sum()
    }

    /// Brings them home one by one, here and there; returns how many.
    fn fetch(&self) -> usize {
        let orders = CpuFaultOrders { to_ram: Order::ZERO, populate: Order::ZERO };
        // An odd number of places apart, each of a power of two comes once.
        let addresses = (0..PAGES).map(|at| self.start + at * 4_099 % PAGES * PAGE);
        let fetched = addresses.map(|address| self.engine.fetch(address, orders, Cause::CpuFault));
        fetched.filter(|fetched| matches!(fetched, Ok(Some(_)))).count()
    }

    fn cpu_fault(&self, page: usize) {
        self.engine.cpu_fault(self.start + page * PAGE).expect("there is memory");
    }

    fn device_fault(&self, page: usize) {
        let request = DeviceRequest::new(self.start + page * PAGE, Rights::READ);
        self.engine.device_fault(NodeId(0), &request).expect("there is room, or something to evict");
    }
}

/// A case of the list, which returns the requests it made.
type Case = fn() -> usize;

const CASES: [(&str, Case); 8] = [
    ("fault.device", || {
        measured(World::on_device(PAGES, 0), |world| each(0..PAGES, |at| world.device_fault(at)))
    }),
    ("fault.device.observed", || {
        let statistics = Statistics::new().expect("a page");
        measured(World::new(PAGES, vec![Arc::new(statistics)]), |world| {
            each(0..PAGES, |at| world.device_fault(at))
        })
    }),
    ("fault.cpu", || {
        measured(World::on_device(PAGES, PAGES), |world| each(0..PAGES, |at| world.cpu_fault(at)))
    }),
    ("evict", || {
        measured(World::on_device(SMALL, SMALL), |world| each(SMALL..PAGES, |at| world.device_fault(at)))
    }),
    ("prefetch", || {
        measured(World::on_device(PAGES, 0), |world| {
            let addresses = world.start..world.start + PAGES * PAGE;
            world.engine.prefetch(addresses, Side::DEVICE).expect("there is room");
            PAGES
        })
    }),
    ("heap.store", || measured(World::heap(), World::store)),
    ("heap.fetch", || {
        let world = World::heap();
        world.store();
        measured(world, World::fetch)
    }),
    ("free", || {
        measured(World::on_device(PAGES, PAGES), |world| {
            world.engine.unmap(world.start..world.start + PAGES * PAGE).expect("nothing is in use");
            PAGES
        })
    }),
];

fn each(pages: std::ops::Range<usize>, request: impl FnMut(usize)) -> usize {
    let requests = pages.len();
    pages.for_each(request);
    requests
}

/// Runs what is to be counted. Its name is what the script tells callgrind, so it must stay a function of its own.
#[inline(never)]
fn measured(world: World, case: fn(&World) -> usize) -> usize {
    // The result is looked at after the call, so that it cannot become a jump, which callgrind takes for a return.
    let requests = std::hint::black_box(case(&world));
    std::mem::forget(world);
    requests
}

#[expect(clippy::print_stdout, reason = "a program's output")]
fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        CASES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    match CASES.iter().find(|(case, _)| *case == name) {
        Some((_, case)) => {
            println!("{}", case());
            ExitCode::SUCCESS
        }
        None => ExitCode::from(2),
    }
}
