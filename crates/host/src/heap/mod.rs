//! Memory of a program that knows nothing of Bifolio: blocks for its allocator, limited system memory, faults.
//!
//! ```text
//!   arena     which addresses are whose        streams   how much to move at a fault
//!   fork      stopping everything while the program forks
//! ```
//!
//! Everything passes the *gate*: faults, allocations and frees together, a fork alone. Lock order: the gate, then the
//! spare blocks, then the arena, then a block. Nothing here may touch the program's own memory: whoever holds a lock and waits for a fault
//! waits for ever.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bifolio_folio::{MemoryKind, Order, PageMap, Pfn, Reset};
use bifolio_migrate::{CpuFaultOrders, Failure, Moved};
use bifolio_policy::FixedOrders;
use bifolio_pool::PoolName;
use bifolio_sys::{
    Access, AddressRange, Features, HUGE_PAGE, Mapping, PAGE, Placement, Protection, Reads, SharedBytes, Uffd,
};

use crate::fault_loop::{Answer, Fault, Handlers, Readers};
use crate::setup::{SetupError, pages};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use crate::views::anonymous::AnonymousView;
use bifolio_builtin::{Builtin, Memory};
use bifolio_checker::{Checker, Observed};
use bifolio_engine::clock::MachineClock;
use bifolio_engine::device::Device;
use bifolio_engine::statistics::Statistics;
use bifolio_engine::{Budget, Engine, NodeParts, Parts};
use bifolio_rules::Violation;

mod arena;
mod fork;
pub mod settings;
mod spare;
pub(crate) mod streams;

use arena::Arena;
pub use fork::Stopped;
use spare::Spare;
use streams::Streams;

/// What a [`Heap`] is to be like. Sizes are in bytes.
#[derive(Debug)]
pub struct HeapConfig {
    /// Address space for blocks; rounded up to whole 2 MiB.
    pub space: usize,
    /// Device memory.
    pub vram: usize,
    /// System memory that blocks may use at once, at least [`RAM_LEAST`].
    pub ram: usize,
    /// Who hands out device memory.
    pub pool: PoolName,
    /// When the words of folios that ended are made clean.
    pub reset: Reset,
    /// Whether the rules are checked after every transaction.
    pub checked: bool,
    /// Where it is counted; `None`: in memory of this process.
    pub statistics: Option<Statistics>,
    /// Called by a handler before each answer, so that an allocator can know it.
    pub in_handler: Option<fn()>,
}

/// The least system memory that a heap works with.
pub const RAM_LEAST: usize = 1 << 20;

/// Threads that answer faults.
const HANDLERS: usize = 2;
/// Folios of the largest order that system memory must have room for.
const FOLIOS_MIN: u64 = 16;
/// Pages kept for the next folio that comes home.
const WARM_PAGES: u64 = 4 * Order::PMD.pages();
/// Freed blocks keep so many pages at most, and no more than this share of system memory.
const SPARE_PAGES: usize = 4096;
const SPARE_SHARE: u64 = 16;
/// A first touch shows at least so much: zeros cost little.
const ZEROS: Order = Order::K64;

/// Blocks of memory of which a limited part is resident.
pub struct Heap {
    /// Dropped first: handlers use everything else.
    handlers: Option<Handlers>,
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<Engine<AnonymousView>>,
    statistics: Statistics,
    /// Judges every transition, if asked for.
    checker: Option<Arc<Checker>>,
    streams: Mutex<Streams>,
    gate: RwLock<()>,
    spare: Mutex<Spare>,
    arena: Mutex<Arena>,
    addresses: Range<usize>,
    largest: Order,
    access: Access,
}

impl Heap {
    /// Makes a heap and starts its fault handlers.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind.
    pub fn new(config: &HeapConfig) -> Result<Heap, SetupError> {
        let (vram, ram) =
            (pages("device memory", config.vram, PAGE)?, pages("system memory", config.ram, RAM_LEAST)?);
        let space =
            config.space.max(1).checked_next_multiple_of(HUGE_PAGE).unwrap_or(usize::MAX - HUGE_PAGE + 1);
        let (uffd, _) = Uffd::open_ready(Reads::Blocking, Features::MOVE, Features::POISON)?;
        let uffd = Arc::new(uffd.raised());
        let (access, view) = (uffd.access(), AnonymousView::new(Arc::clone(&uffd), WARM_PAGES)?);
        let blocks = Mapping::anonymous(space, Protection::ReadWrite, Placement::Aligned(HUGE_PAGE))?;
        let whole = blocks.span();
        view.add_region(blocks)?;
        view.watch(whole)?;
        let in_handler = config.in_handler.unwrap_or(|| ());
        let mut heap = Heap::over(view, access, whole, (vram, ram), config)?;
        let answer = Arc::clone(&heap.inner);
        let answer: Arc<dyn Answer> = Arc::new(move |fault: Fault| {
            in_handler();
            answer.fault(fault.address);
        });
        heap.handlers = Some(Handlers::start(uffd, HANDLERS, Readers::Handlers, &answer)?);
        Ok(heap)
    }

    /// Makes a heap of the addresses that `view` watches, with so many pages of device and of system memory. Nobody
    /// answers its faults yet.
    pub(crate) fn over(
        view: AnonymousView,
        access: Access,
        whole: AddressRange,
        (vram, ram): (u64, u64),
        config: &HeapConfig,
    ) -> Result<Heap, SetupError> {
        let addresses = whole.start()..whole.end();
        let largest =
            Order::largest_fitting(ram.min(vram) / FOLIOS_MIN).unwrap_or(Order::ZERO).min(Order::PMD);
        let statistics = config.statistics.clone().map_or_else(Statistics::new, Ok)?;
        let nodes = vec![node(vram, config)?];
        let Observed { nodes, observers, checker } = Observed::new(nodes, &statistics, config.checked);
        let engine = Engine::new(Parts {
            view,
            nodes,
            budget: Budget::new(ram, 0),
            policy: Box::new(FixedOrders { largest, smallest: Order::ZERO, populate: largest }),
            clock: Arc::new(MachineClock::new()),
            observers,
        })?;
        engine.blocks().add_region(addresses.clone())?;
        let arena = Mutex::new(Arena::new(whole.start(), whole.len())?);
        let streams = Mutex::new(Streams::new(largest));
        let spare_pages = usize::try_from(ram / SPARE_SHARE).unwrap_or(0).min(SPARE_PAGES);
        let spare = Mutex::new(Spare::new(spare_pages));
        let gate = RwLock::default();
        let inner =
            Inner { engine, statistics, checker, streams, gate, spare, arena, addresses, largest, access };
        Ok(Heap { handlers: None, inner: Arc::new(inner) })
    }

    /// Which faults are caught: all, or only those of user mode.
    #[must_use]
    pub fn access(&self) -> Access {
        self.inner.access
    }

    /// The addresses that blocks are allocated from.
    #[must_use]
    pub fn addresses(&self) -> Range<usize> {
        self.inner.addresses.clone()
    }

    /// The counters.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.inner.statistics
    }

    /// The engine, for those who drive it themselves.
    #[must_use]
    pub fn engine(&self) -> &Engine<AnonymousView> {
        &self.inner.engine
    }

    /// A window of a block, for loads and stores. Touching it may fault, and then waits.
    ///
    /// # Panics
    /// If `span` is not inside the heap.
    #[must_use]
    pub fn window(&self, span: AddressRange) -> SharedBytes<'_> {
        self.inner.engine.view().window(span)
    }

    /// Allocates a block of zeros at a multiple of `align` (a power of two), with address space for growing to
    /// `capacity`. `None` if no address range is long enough.
    #[must_use]
    pub fn allocate(&self, bytes: usize, align: usize, capacity: usize) -> Option<usize> {
        let _pass = self.inner.pass();
        let mut arena = self.inner.arena();
        let address = arena.reserve(bytes, align, capacity)?;
        let len = arena.len_at(address)?;
        self.inner.engine.map(address..address + len).ok()?;
        Some(address)
    }

    /// The bytes of the block that begins at `address`, whole pages.
    #[must_use]
    pub fn len_at(&self, address: usize) -> Option<usize> {
        self.inner.arena().len_at(address)
    }

    /// Allocates a block whose bytes may be anything.
    #[must_use]
    pub fn allocate_dirty(&self, bytes: usize) -> Option<usize> {
        let len = bytes.max(1).checked_next_multiple_of(PAGE)?;
        let spare = self.inner.spare().take(len);
        spare.or_else(|| self.allocate(bytes, 1, 0)).or_else(|| {
            self.empty_spare();
            self.allocate(bytes, 1, 0)
        })
    }

    /// Frees the block that begins at `address`, and may keep it for [`Heap::allocate_dirty`]; `false` if none begins
    /// there, or if it was freed already.
    pub fn recycle(&self, address: usize) -> bool {
        let Some(len) = self.len_at(address) else { return false };
        let whole = || self.inner.arena().live_around(address) == Some(address..address + len);
        let mut spare = self.inner.spare();
        if spare.has(address, len) {
            return false;
        }
        if whole() && spare.keep(address, len) {
            return true;
        }
        drop(spare);
        self.free(address)
    }

    fn empty_spare(&self) {
        let next = || self.inner.spare().take_any();
        while let Some(address) = next() {
            self.free(address);
        }
    }

    /// Frees the block that begins at `address`; `false` if none does.
    pub fn free(&self, address: usize) -> bool {
        let len = self.len_at(address);
        len.inspect(|len| self.unmap(address..address + len)).is_some()
    }

    /// Makes the block at `address` `bytes` long without moving it; `false` if that cannot be.
    pub fn resize(&self, address: usize, bytes: usize) -> bool {
        let pass = self.inner.pass();
        let mut arena = self.inner.arena();
        if let Some(more) = arena.lengthen(address, bytes) {
            self.inner.engine.map(more).expect("the arena lies in blocks");
            return true;
        }
        let rest = arena.shorten(address, bytes);
        drop((arena, pass));
        rest.inspect(|rest| self.unmap(rest.clone())).is_some()
    }

    /// Forgets page-aligned `range`: what is in use there loses its bytes and its addresses.
    pub fn unmap(&self, range: Range<usize>) {
        let _pass = self.inner.pass();
        let mut arena = self.inner.arena();
        let (live, lost) = (arena.live_in(range.clone()), arena.lost_in(range.clone()));
        arena.retire(range.clone());
        arena.bury(range.clone());
        drop(arena);
        for part in lost {
            self.inner.engine.view().bury(span(&part));
        }
        let unmapped = live.into_iter().try_for_each(|part| self.inner.engine.unmap(part));
        if unmapped.is_ok() {
            self.inner.arena().settle(range);
        }
    }

    /// Makes what is in use of page-aligned `range` read as zero.
    ///
    /// # Errors
    /// If folios there are in use; they keep their bytes.
    pub fn reset(&self, range: Range<usize>) -> Result<(), Failure> {
        let _pass = self.inner.pass();
        let live = self.inner.arena().live_in(range);
        live.into_iter().try_for_each(|part| self.inner.engine.reset(part))
    }

    /// Leaves page-aligned `range` to the kernel, bytes and all: it is ordinary memory from then on, never taken out.
    ///
    /// # Errors
    /// If folios there cannot be brought home.
    pub fn let_go(&self, range: Range<usize>) -> Result<(), Failure> {
        let _alone = self.inner.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut arena = self.inner.arena();
        for part in arena.live_in(range.clone()) {
            self.inner.engine.release_to_kernel(part.clone())?;
            self.inner.engine.view().leave(span(&part)).map_err(|_| Failure::MapFailed)?;
        }
        arena.lose(range);
        Ok(())
    }

    /// Forgets page-aligned `range`, over which the program maps something else: its addresses are not used again until
    /// that is unmapped, and not even then.
    pub fn give_away(&self, range: Range<usize>) {
        let _pass = self.inner.pass();
        let mut arena = self.inner.arena();
        let live = arena.live_in(range.clone());
        arena.lose(range);
        drop(arena);
        for part in live {
            // Folios that are in use stay on the device, for nothing; the addresses are lost all the same.
            let _: Result<(), Failure> = self.inner.engine.unmap(part);
        }
    }

    /// The part of a block around `address` that is the heap's to move.
    #[must_use]
    pub fn live_part(&self, address: usize) -> Option<Range<usize>> {
        self.inner.arena().live_around(address)
    }

    /// Tells whether `address` belongs to a block.
    #[must_use]
    pub fn is_taken(&self, address: usize) -> bool {
        self.inner.addresses.contains(&address) && self.inner.arena().is_taken(address)
    }

    /// Brings what is in use of page-aligned `range` into view, as far as there is room, as faults would.
    pub fn touch(&self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            at = self.inner.fault(at).map_or(at + PAGE, |brought| brought.end.max(at + PAGE));
        }
    }

    /// Checks all rules while nothing moves. What breaks one is counted too. In a checked heap, returns before that what
    /// transitions broke.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        let _alone = self.inner.gate.write().unwrap_or_else(PoisonError::into_inner);
        let found = self.inner.engine.audit();
        match &self.inner.checker {
            Some(checker) => checker.violations_and(found),
            None => found,
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // Handlers hold the rest; they must not outlive the memory they answer for.
        self.handlers = None;
    }
}

impl Inner {
    fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn arena(&self) -> MutexGuard<'_, Arena> {
        self.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a fault; returns the addresses that it brought.
    fn fault(&self, address: usize) -> Option<Range<usize>> {
        let _pass = self.pass();
        let order = self.streams().order_at(address);
        let populate = order.max(ZEROS).min(self.largest);
        let orders = CpuFaultOrders { to_ram: order, populate };
        let finished = self.engine.cpu_fault_by(address, orders).ok()?;
        let (Moved::ToRam(span) | Moved::Populated(span)) = finished.moved else { return None };
        let brought = self.engine.blocks().find(address)?.addresses_of(span.into());
        self.streams().learn(address, brought.clone());
        Some(brought)
    }
}

/// The device that a heap moves memory to. No job runs on it, so it has no page table.
fn node(vram: u64, config: &HeapConfig) -> Result<NodeParts, SetupError> {
    let memory = Memory::new(Pfn::ZERO, vram)?;
    let device: Arc<dyn Device> = Arc::new(Builtin::new(memory, std::num::NonZeroUsize::MIN, 0..0));
    let pool = config.pool.make(vram)?;
    let pagemap = PageMap::with_reset(config.reset, MemoryKind::Private, Pfn::ZERO, vram, pool)?;
    Ok(NodeParts { device, pagemap })
}

fn span(range: &Range<usize>) -> AddressRange {
    AddressRange::new(range.start, range.len()).expect("parts of the arena are whole pages")
}
