//! A whole machine: the engine, a program's view, devices with units, threads that answer faults.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bifolio_folio::{MemoryKind, Order, PageMap, Pfn};
use bifolio_migrate::{DevicePage, Failure, NodeId, PageRun};
use bifolio_policy::FixedOrders;
use bifolio_pool::{DevicePool, PoolName};
use bifolio_sys::{PAGE, SharedBytes};
use shuttle::thread;

use super::View;
use super::faults::{Faults, quirks};
use crate::blocks::{BLOCK_LEN, BlockRef};
use crate::budget::Budget;
use crate::checker::Observed;
use crate::clock::MachineClock;
use crate::detach::DetachError;
use crate::device::DeviceFault;
use crate::engine::{Engine, Parts, Side};
use crate::mutant::{self, Mutant};
use crate::sim::faulty::{FaultyDevice, FaultyPool, FaultyView};
use crate::sim::oracle::{Oracle, WORDS};
use crate::sim::view::{Entry, ReachableMemory, SimView};
use crate::space::Space;
use crate::statistics::{Counter, Statistics};
use crate::view::span_of;
use crate::{Builtin, Kernel, Memory, Node, NodeParts, Unit};

/// What a machine is like.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How the CPU reaches device memory.
    pub kind: MemoryKind,
    /// The same for a second device of as many pages, if there is one.
    pub second: Option<MemoryKind>,
    /// Blocks of address space.
    pub blocks: usize,
    /// Pages of device memory.
    pub device_pages: u64,
    /// Units of the device.
    pub units: NonZeroUsize,
    /// Pages of system memory that may be resident, and of these a reserve for making room.
    pub ram_pages: (u64, u64),
    /// Orders of folios, and of zeros.
    pub orders: FixedOrders,
    /// Calls of the machine below that fail, of a thousand.
    pub failures_per_mille: u32,
}

impl Setup {
    /// Plenty of both memories, folios of up to 4 pages, no failures.
    #[must_use]
    pub fn new(kind: MemoryKind) -> Setup {
        let order = |k| Order::new(k).expect("a small order");
        let orders = FixedOrders { largest: order(2), smallest: Order::ZERO, populate: order(1) };
        let ram_pages = (1 << 20, 16);
        let units = NonZeroUsize::MIN;
        Setup {
            kind,
            second: None,
            blocks: 1,
            device_pages: 32,
            units,
            ram_pages,
            orders,
            failures_per_mille: 0,
        }
    }
}

/// A page of the machine: its block, and its number in there.
pub type PageOf = (usize, usize);

/// The machine. Pages are named by block and number.
pub struct Machine {
    engine: Arc<Engine<View>>,
    devices: Vec<Arc<Builtin>>,
    statistics: Statistics,
    /// Where buffer objects are.
    pub(super) space: Space,
    pub(super) oracle: Oracle,
    faults: Arc<Faults>,
    start: usize,
    detached: AtomicBool,
    /// Pages that were pinned at any time, by number: the device may be refused there. Never held while another thread
    /// may go on.
    pinned: Mutex<BTreeSet<usize>>,
}

/// A thread of a scenario.
pub type Actor<'a> = &'a (dyn Fn(&Machine) + Sync);

/// How far apart the page numbers of two devices begin.
const NODE_STRIDE: u64 = 1 << Order::MAX.get();
/// Threads that answer faults of the CPU.
const HANDLERS: usize = 2;
/// Pages at the end of the last block that are addresses of buffer objects.
const BUFFER_PAGES: usize = 64;
/// Turns of other threads while one holds a folio, or waits with pages pinned.
const HELD_FOR: u32 = 3;

impl Machine {
    /// Makes a machine of no live page.
    ///
    /// # Panics
    /// If the machine that simulates has no memory.
    #[must_use]
    pub fn new(setup: Setup) -> Machine {
        let faults = Arc::new(Faults::per_mille(setup.failures_per_mille));
        let script = || Arc::clone(&faults) as Arc<_>;
        let kinds: Vec<MemoryKind> = std::iter::once(setup.kind).chain(setup.second).collect();
        let first = |node: usize| Pfn::new(node as u64 * NODE_STRIDE);
        let memory = |node| Memory::new(first(node), setup.device_pages).expect("device memory");
        let memories: Vec<Memory> = (0..kinds.len()).map(memory).collect();
        let view = view_of(&setup, &kinds, &memories);
        let addresses = view.addresses().start()..view.addresses().end();
        let device = |memory| Arc::new(Builtin::new(memory, setup.units, addresses.clone()));
        let devices: Vec<Arc<Builtin>> = memories.into_iter().map(device).collect();
        let node = |(node, device): (usize, &Arc<Builtin>)| {
            let pool = PoolName::Buddy.make_at(first(node), setup.device_pages).expect("a pool");
            let pool: Arc<dyn DevicePool> = Arc::new(FaultyPool::over(pool, script()));
            let pagemap = PageMap::new(kinds[node], first(node), setup.device_pages, pool);
            NodeParts {
                device: Arc::new(FaultyDevice::over(Arc::clone(device), script()).by_page()),
                pagemap: pagemap.expect("a pagemap"),
            }
        };
        let statistics = Statistics::new().expect("a page");
        let Observed { nodes, observers, .. } =
            Observed::new(devices.iter().enumerate().map(node).collect(), &statistics, true);
        let engine = Engine::new(Parts {
            view: FaultyView::over(view, script()),
            nodes,
            budget: Budget::new(setup.ram_pages.0, setup.ram_pages.1),
            policy: Box::new(setup.orders),
            clock: Arc::new(MachineClock::new()),
            observers,
        })
        .expect("nodes with pages of their own");
        engine.blocks().add_region(addresses.clone()).expect("blocks");
        let oracle = Oracle::new(addresses.len() / PAGE);
        let buffers = addresses.end - BUFFER_PAGES * PAGE..addresses.end;
        let space = Space::over(Arc::clone(&engine), buffers);
        let (detached, pinned) = (AtomicBool::new(false), Mutex::default());
        Machine {
            engine,
            devices,
            statistics,
            space,
            oracle,
            faults,
            start: addresses.start,
            detached,
            pinned,
        }
    }

    /// Races actors; then frees everything, and checks that it is free. No buffer object is left.
    ///
    /// # Panics
    /// If a rule is broken.
    pub fn run(&self, actors: &[Actor<'_>]) {
        self.race(actors);
        self.free_all();
    }

    /// Runs all actors at once, with handlers, until the actors are done; then checks everything.
    ///
    /// # Panics
    /// If a rule is broken.
    pub fn race(&self, actors: &[Actor<'_>]) {
        thread::scope(|scope| {
            let handlers: Vec<_> = (0..HANDLERS).map(|_| scope.spawn(|| self.answer_faults())).collect();
            let actors: Vec<_> = actors.iter().map(|actor| scope.spawn(|| actor(self))).collect();
            actors.into_iter().for_each(|actor| actor.join().expect("an actor"));
            self.view().close();
            handlers.into_iter().for_each(|handler| handler.join().expect("a handler"));
        });
        self.faults.end();
        self.check();
    }

    fn answer_faults(&self) {
        while let Some(address) = self.view().next_fault() {
            // A failure is counted, and its toucher gets SIGBUS.
            let _: Result<_, Failure> = self.engine.cpu_fault(address);
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine<View> {
        &self.engine
    }

    fn view(&self) -> &SimView {
        self.engine.view().inner()
    }

    /// The address of a page.
    #[must_use]
    pub fn address(&self, (block, page): PageOf) -> usize {
        self.start + block * BLOCK_LEN + page * PAGE
    }

    /// The addresses of some pages of a block.
    #[must_use]
    pub fn addresses(&self, block: usize, pages: Range<usize>) -> Range<usize> {
        self.address((block, pages.start))..self.address((block, pages.end))
    }

    /// Begins the life of some pages of a block.
    pub fn map(&self, block: usize, pages: Range<usize>) {
        pages.clone().for_each(|page| self.oracle.beginning(self.number((block, page))));
        self.engine.map(self.addresses(block, pages.clone())).expect("pages of a block");
        pages.for_each(|page| self.oracle.begun(self.number((block, page))));
    }

    /// Ends the life of some pages of a block; tells whether that was done.
    pub fn unmap(&self, block: usize, pages: Range<usize>) -> bool {
        pages.clone().for_each(|page| self.oracle.ending(self.number((block, page))));
        let gone = self.engine.unmap(self.addresses(block, pages.clone()));
        let pinned = gone == Err(Failure::Pinned) && self.were_pinned(block, pages.clone());
        assert!(gone.is_ok() || pinned || self.may_fail(), "unmapping fails: {gone:?}");
        pages.for_each(|page| self.oracle.ended(self.number((block, page)), gone.is_ok()));
        gone.is_ok()
    }

    /// Writes the word of a page that belongs to the calling thread; tells whether it could.
    pub fn write(&self, page: PageOf, word: usize) -> bool {
        self.view().write(&self.oracle, self.number(page), word, self.may_fail())
    }

    /// Reads a word of a page; tells whether it could.
    pub fn read(&self, page: PageOf, word: usize) -> bool {
        self.view().read(&self.oracle, self.number(page), word, self.may_fail())
    }

    /// Moves pages to a side, as a prefetch.
    pub fn prefetch(&self, block: usize, pages: Range<usize>, side: Side) {
        let moved = self.engine.prefetch(self.addresses(block, pages.clone()), side);
        let pinned = moved == Err(Failure::Pinned) && self.were_pinned(block, pages);
        assert!(moved.is_ok() || pinned || self.may_fail(), "prefetching fails: {moved:?}");
    }

    /// Audits while others go on; none of them makes, uses or drops a buffer object, or holds a folio.
    ///
    /// # Panics
    /// If a rule is broken.
    pub fn audit_meanwhile(&self) {
        assert_eq!(self.engine.audit(), [], "meanwhile");
    }

    /// Splits the folios of some pages.
    ///
    /// # Panics
    /// If that is refused, though no call may fail.
    pub fn split(&self, block: usize, pages: Range<usize>, order: Order) {
        let split = self.engine.split(self.addresses(block, pages), order);
        assert!(split.is_ok() || self.may_fail(), "splitting fails: {split:?}");
    }

    /// Collapses the folios of some pages, as far as they go together.
    ///
    /// # Panics
    /// If that is refused, though no call may fail.
    pub fn collapse(&self, block: usize, pages: Range<usize>) {
        let collapsed = self.engine.collapse(self.addresses(block, pages));
        assert!(collapsed.is_ok() || self.may_fail(), "collapsing fails: {collapsed:?}");
    }

    /// Does `work` while some pages of a block are pinned, and others go on for a while.
    ///
    /// # Errors
    /// If they cannot be pinned; nothing was done then.
    pub fn while_pinned<R>(
        &self,
        block: usize,
        pages: Range<usize>,
        work: impl FnOnce() -> R,
    ) -> Result<R, Failure> {
        self.pinned().extend(pages.clone().map(|page| self.number((block, page))));
        let forgotten = usize::from(mutant::is(Mutant::PinForgetsLastPage));
        let pinned = self.engine.pin(self.addresses(block, pages.start..pages.end - forgotten))?;
        let pinned = (!mutant::is(Mutant::PinEndsAtOnce)).then_some(pinned);
        let result = work();
        drop(pinned);
        Ok(result)
    }

    /// Writes a word of a pinned page by its physical address, as another device does, without asking the engine.
    pub fn write_physical(&self, page: PageOf, word: usize) {
        let (begun, value) = self.oracle.begin_write(self.number(page), word);
        self.physical(page).store_u64(word * 8, value).expect("a word of a page");
        self.oracle.end_write(begun, true, false);
    }

    /// Reads a word of a pinned page by its physical address.
    pub fn read_physical(&self, page: PageOf, word: usize) {
        let begun = self.oracle.begin_read(self.number(page), word);
        let value = self.physical(page).load_u64(word * 8).expect("a word of a page");
        self.oracle.end_read(begun, Some(value), false);
    }

    fn physical(&self, page: PageOf) -> SharedBytes<'_> {
        self.view().system_memory(self.address(page)).expect("a pinned page has system memory")
    }

    fn pinned(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn were_pinned(&self, block: usize, mut pages: Range<usize>) -> bool {
        pages.any(|page| self.pinned().contains(&self.number((block, page))))
    }

    /// Takes a reference of the folio on a device page as a scan of device memory does, holds it for a
    /// moment, and drops it.
    pub fn hold(&self, pfn: u64) {
        let _held = self.engine.nodes()[0].pagemap().try_get(Pfn::new(pfn));
        self.let_others_go_on();
    }

    /// Lets others go on for a while.
    pub fn let_others_go_on(&self) {
        (0..HELD_FOR).for_each(|_| thread::yield_now());
    }

    /// Does `work`, which is given the order, while holding the folio on a device page; `None` if there is none.
    pub fn holding<R>(&self, pfn: u64, work: impl FnOnce(Order) -> R) -> Option<R> {
        let folio = self.engine.nodes()[0].pagemap().try_get(Pfn::new(pfn)).ok()?;
        let order = folio.order();
        Some(work(order))
    }

    /// Takes one device away; its units may be refused from here on.
    ///
    /// # Errors
    /// As [`Engine::detach_node`].
    pub fn detach_node(&self, node: NodeId, patience: Duration) -> Result<(), DetachError> {
        self.detached.store(true, Relaxed);
        self.engine.detach_node(node, patience)
    }

    /// Takes all devices away; their units may be refused from here on.
    ///
    /// # Errors
    /// As [`Engine::detach`].
    pub fn detach(&self, patience: Duration) -> Result<(), DetachError> {
        self.detached.store(true, Relaxed);
        self.engine.detach(patience)
    }

    /// Whether calls of the machine below may fail.
    #[must_use]
    pub fn may_fail(&self) -> bool {
        self.faults.is_any()
    }

    fn unit_may_fail(&self, page: PageOf) -> bool {
        self.may_fail() || self.detached.load(Relaxed) || self.pinned().contains(&self.number(page))
    }

    /// Runs `job` on each unit of the first device, with the unit's number.
    pub fn launch(&self, job: &(dyn Fn(&mut OnUnit<'_, '_>, usize) + Sync)) {
        self.launch_on(NodeId(0), job);
    }

    /// Runs `job` on each unit of a device, with the unit's number.
    pub fn launch_on(&self, node: NodeId, job: &(dyn Fn(&mut OnUnit<'_, '_>, usize) + Sync)) {
        let result = self.devices[usize::from(node.0)].launch(&Job { machine: self, job });
        assert!(result.is_ok(), "the job itself ends well: {result:?}");
    }

    fn number(&self, (block, page): PageOf) -> usize {
        self.number_at(self.address((block, page)))
    }

    pub(super) fn number_at(&self, address: usize) -> usize {
        (address - self.start) / PAGE
    }

    /// Checks that each byte is where the block says, is right, and that no page leads elsewhere.
    fn check(&self) {
        assert_eq!(self.engine.audit(), [], "after everything");
        assert_eq!(self.statistics.snapshot().get(Counter::Violations), 0);
        for found in self.engine.blocks().made() {
            for page in live_runs(&found).flatten() {
                self.check_page(found.base + usize::from(page) * PAGE);
            }
        }
    }

    fn check_page(&self, address: usize) {
        let found = self.engine.blocks().find(address).expect("a page of a block");
        let page = found.page_of(address);
        let cell = found.lock();
        let (view, number) = (self.view(), self.number_at(address));
        let piece = cell.block.piece_of(page);
        let at = piece.map(|piece| piece.page().plus(page - piece.run.first()));
        let memory = |at: DevicePage| self.devices[usize::from(at.node.0)].memory();
        let bytes = match at {
            Some(at) => Some(memory(at).part(at.pfn, 1).expect("device memory")),
            None if cell.block.ram().contains(page) => view.system_memory(address),
            None => None,
        };
        match view.entry(address) {
            Entry::Absent | Entry::Poisoned => {}
            Entry::File => assert!(cell.block.ram().contains(page), "page {number} shows old system memory"),
            Entry::Device(shown) => assert_eq!(Some(shown), at, "page {number} shows old device memory"),
        }
        for word in 0..WORDS {
            let begun = self.oracle.begin_read(number, word);
            let value = bytes.map_or(0, |bytes| bytes.load_u64(word * 8).expect("a word of a page"));
            self.oracle.end_read(begun, Some(value), false);
        }
    }

    /// Frees everything, and checks that it is free. No buffer object is left.
    ///
    /// # Panics
    /// If anything is not.
    pub fn free_all(&self) {
        for found in self.engine.blocks().made() {
            for run in live_runs(&found) {
                let addresses = span_of(found.base, run);
                self.engine.unmap(addresses.start()..addresses.end()).expect("nothing fails any more");
            }
        }
        assert_eq!(self.engine.audit(), [], "after all was freed");
        for pagemap in self.engine.nodes().iter().map(Node::pagemap) {
            pagemap.kill();
            assert!(pagemap.is_drained(), "I16");
            assert_eq!(pagemap.pool().free_pages(), pagemap.pages());
        }
        assert_eq!(self.engine.budget().used_pages(), 0);
    }
}

/// The view of a program, which reaches the memory of coherent devices.
fn view_of<'m>(setup: &Setup, kinds: &[MemoryKind], memories: &'m [Memory]) -> SimView {
    let reachable = |(kind, memory): (&MemoryKind, &'m Memory)| {
        let (memfd, first) = (memory.memfd(), memory.first());
        (*kind == MemoryKind::Coherent).then(|| ReachableMemory { memfd, first })
    };
    let reachable: Vec<_> = kinds.iter().zip(memories).map(reachable).collect();
    SimView::with_quirks(setup.blocks, &reachable, quirks())
}

fn live_runs(found: &BlockRef<'_>) -> impl Iterator<Item = PageRun> {
    found.lock().block.live().runs(PageRun::BLOCK)
}

/// A job that runs on a unit.
struct Job<'m> {
    machine: &'m Machine,
    job: &'m (dyn Fn(&mut OnUnit<'_, '_>, usize) + Sync),
}

impl Kernel for Job<'_> {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, _units: usize) -> Result<(), DeviceFault> {
        (self.job)(&mut OnUnit { machine: self.machine, unit: memory }, unit);
        Ok(())
    }
}

/// A unit of the device, as a job uses it.
pub struct OnUnit<'m, 'u> {
    machine: &'m Machine,
    unit: &'m mut Unit<'u>,
}

impl OnUnit<'_, '_> {
    /// Writes the word of a page that belongs to the calling thread; tells whether it could.
    pub fn write(&mut self, page: PageOf, word: usize) -> bool {
        let oracle = &self.machine.oracle;
        let (begun, value) = oracle.begin_write(self.machine.number(page), word);
        let done = self.unit.store(self.machine.address(page) + word * 8, value).is_ok();
        oracle.end_write(begun, done, self.machine.unit_may_fail(page));
        done
    }

    /// Reads a word of a page; tells what it is, if it could.
    pub fn load(&mut self, page: PageOf, word: usize) -> Option<u64> {
        let oracle = &self.machine.oracle;
        let begun = oracle.begin_read(self.machine.number(page), word);
        let value = self.unit.load(self.machine.address(page) + word * 8).ok();
        oracle.end_read(begun, value, self.machine.unit_may_fail(page));
        value
    }

    /// Reads a word of a page; tells whether it could.
    pub fn read(&mut self, page: PageOf, word: usize) -> bool {
        self.load(page, word).is_some()
    }
}
