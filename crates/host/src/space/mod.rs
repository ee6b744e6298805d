//! Shared memory for a program and the built-in device: allocate, launch, read the counters.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bifolio_buddy::AllocateError;
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn, Reset};
use bifolio_migrate::{Failure, NodeId, OrderRange, Rights};
use bifolio_policy::{FixedOrders, Memory as PolicyMemory, Policies};
use bifolio_pool::PoolName;
use bifolio_sys::{Access, AddressRange, Features, PAGE, Reads, SharedBytes, Uffd};

use crate::fault_loop::{Answer, Fault, Handlers, Readers};
use crate::setup::{SetupError, pages};
use crate::views::shared::{Keep, ReachableMemory, SharedView};
use bifolio_builtin::{Builtin, Kernel, Memory};
use bifolio_checker::{Checker, Observed};
use bifolio_engine::blocks::BLOCK_LEN;
use bifolio_engine::clock::MachineClock;
use bifolio_engine::detach::DetachError;
use bifolio_engine::device::{Device, DeviceFault};
use bifolio_engine::exclusive::Exclusive;
use bifolio_engine::pin::Pinned;
use bifolio_engine::reshape::Collapsed;
use bifolio_engine::sleep::Seen;
use bifolio_engine::statistics::{Counter, Snapshot, Statistics};
use bifolio_engine::view::CpuView;
use bifolio_engine::{Budget, Engine, Extent, NodeParts, Parts, Side};
use bifolio_rules::Violation;

mod allocations;
pub mod buffer;

use allocations::Allocations;

/// What a [`Space`] is to be like. All sizes are in bytes and rounded up to whole pages.
pub struct SpaceConfig {
    /// Address space for allocations.
    pub size: usize,
    /// Memory of each device.
    pub vram: usize,
    /// Number of devices. Each has memory, page table and units of its own.
    pub devices: NonZeroUsize,
    /// System memory that allocations may use at once; `None`: as much as there is.
    pub ram: Option<usize>,
    /// Whether the CPU maps device memory.
    pub kind: MemoryKind,
    /// Who hands out device memory.
    pub pool: PoolName,
    /// When the words of folios that ended are made clean.
    pub reset: Reset,
    /// Threads of each device.
    pub units: NonZeroUsize,
    /// How much moves at a time; `None`: chosen by the sizes.
    pub policy: Option<Box<dyn Policies>>,
    /// Whether the rules are checked after every transaction, and not only by [`Space::audit`].
    pub checked: bool,
    /// Who reads faults of the CPU; `None`: chosen by the kind. A space whose ports give out translations
    /// ([`Port::translate`](bifolio_builtin::Port::translate)) needs a separate reader: a handler may wait for the holder of one,
    /// and must be told if that thread falls asleep meanwhile.
    pub readers: Option<Readers>,
}

impl SpaceConfig {
    /// A private space of `size` bytes with one device of `vram` bytes and two units.
    #[must_use]
    pub fn new(size: usize, vram: usize) -> SpaceConfig {
        let units = NonZeroUsize::new(2).expect("two");
        let kind = MemoryKind::Private;
        let (pool, reset) = Default::default();
        SpaceConfig {
            size,
            vram,
            devices: NonZeroUsize::MIN,
            ram: None,
            kind,
            pool,
            reset,
            units,
            policy: None,
            checked: false,
            readers: None,
        }
    }
}

/// Why memory of a space was not freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FreeError {
    /// No allocation begins there.
    #[error("no allocation begins at {0:#x}")]
    Unknown(usize),
    /// Its folios cannot be taken back now.
    #[error("allocation at {address:#x} is in use: {why:?}")]
    InUse {
        /// The address.
        address: usize,
        /// Why.
        why: Failure,
    },
}

/// Memory shared by this process and built-in devices.
pub struct Space {
    /// Dropped first: handlers use everything else.
    handlers: Option<Handlers>,
    engine: Arc<Engine<SharedView>>,
    devices: Vec<Arc<Builtin>>,
    statistics: Statistics,
    /// Judges every transition, if asked for.
    checker: Option<Arc<Checker>>,
    access: Access,
    allocations: Mutex<Allocations>,
}

/// Threads that answer CPU faults.
const HANDLERS: usize = 2;
/// How long closing waits for others who hold folios.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

impl Space {
    /// Makes a space and starts its fault handlers.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind.
    pub fn new(config: SpaceConfig) -> Result<Space, SetupError> {
        let size = whole_blocks("space", config.size)?;
        let (vram, ram) = memory_sizes(&config)?;
        let coherent = config.kind == MemoryKind::Coherent;
        let (uffd, _) = Uffd::open_ready(Reads::Blocking, required(config.kind), WISHED)?;
        let (access, uffd) = (uffd.access(), Arc::new(uffd));
        let keep = if config.ram.is_some() { Keep::Nothing } else { Keep::Pages };
        let memories = memories(vram, config.devices.get())?;
        let reachable =
            |memory: &Memory| ReachableMemory { memfd: Arc::clone(memory.memfd()), first: memory.first() };
        let shown = if coherent { memories.iter().map(reachable).collect() } else { Vec::new() };
        let view = SharedView::new(Arc::clone(&uffd), size, keep, shown)?;
        let addresses = view.addresses().start()..view.addresses().end();
        let make = |memory| Arc::new(Builtin::new(memory, config.units, addresses.clone()));
        let devices: Vec<Arc<Builtin>> = memories.into_iter().map(make).collect();
        let nodes = devices.iter().map(|device| node_of(device, &config));
        let nodes = nodes.collect::<Result<Vec<NodeParts>, SetupError>>()?;
        let policy = config.policy.unwrap_or_else(|| default_policy(config.kind, vram, ram));
        let memory = PolicyMemory { least_pages: vram.min(ram), ..PolicyMemory::device(vram) };
        let OrderRange { largest, smallest } = policy.make(&memory).orders();
        let statistics = Statistics::new()?;
        let Observed { nodes, observers, checker } = Observed::new(nodes, &statistics, config.checked);
        let engine = Engine::new(Parts {
            view,
            nodes,
            budget: Budget::new(ram, largest.pages() * 4),
            policy,
            clock: Arc::new(MachineClock::new()),
            observers,
        })?;
        engine.blocks().add_region(addresses.clone())?;
        let by_kind = if coherent { Readers::Separate } else { Readers::Handlers };
        let readers = config.readers.unwrap_or(by_kind);
        let answer: Arc<dyn Answer> = Arc::new(ByEngine(Arc::clone(&engine)));
        let handlers = Some(Handlers::start(uffd, HANDLERS, readers, &answer)?);
        let allocations = Mutex::new(Allocations::new(addresses, 1 << smallest.get())?);
        Ok(Space { handlers, engine, devices, statistics, checker, access, allocations })
    }

    /// Allocates `bytes` of zeros and returns their address, aligned to a page, and to 2 MiB if that long.
    ///
    /// # Errors
    /// If no range of the space is long enough.
    pub fn allocate(&self, bytes: usize) -> Result<usize, AllocateError> {
        let mut allocations = self.allocations();
        let pages = bytes.max(1).div_ceil(PAGE).next_multiple_of(allocations.granule);
        let address = allocations.take(pages)?;
        allocations.made.insert(address, pages);
        self.engine.map(address..address + pages * PAGE).expect("allocations lie in blocks");
        Ok(address)
    }

    /// Frees the allocation at `address`.
    ///
    /// # Errors
    /// See [`FreeError`].
    pub fn free(&self, address: usize) -> Result<(), FreeError> {
        let mut allocations = self.allocations();
        let pages = *allocations.made.get(&address).ok_or(FreeError::Unknown(address))?;
        self.engine
            .unmap(address..address + pages * PAGE)
            .map_err(|why| FreeError::InUse { address, why })?;
        allocations.made.remove(&address);
        allocations.give_back(address, pages);
        Ok(())
    }

    /// A window of an allocation, for the program's own loads and stores. Touching it may fault, and then waits.
    ///
    /// # Panics
    /// If `span` is not inside the space.
    #[must_use]
    pub fn window(&self, span: AddressRange) -> SharedBytes<'_> {
        self.engine.view().window(span)
    }

    /// The addresses of the whole space.
    #[must_use]
    pub fn addresses(&self) -> AddressRange {
        self.engine.view().addresses()
    }

    /// Runs `kernel` on all units of all devices; its units are numbered device by device.
    ///
    /// # Errors
    /// The first fault that could not be answered.
    pub fn launch(&self, kernel: &dyn Kernel) -> Result<(), DeviceFault> {
        let computed = match &self.devices[..] {
            [device] => device.launch(kernel)?,
            devices => launch_on_all(devices, kernel)?,
        };
        self.statistics.add_time(Counter::ComputeNs, computed);
        Ok(())
    }

    /// Brings page-aligned addresses to a side, as far as there is memory.
    ///
    /// # Errors
    /// The first failure; what comes before it was moved.
    pub fn prefetch(&self, span: AddressRange, side: Side) -> Result<(), Failure> {
        self.engine.prefetch(span.start()..span.end(), side)
    }

    /// Brings the pages of `span` home and keeps them in system memory until the result is dropped: see [`Engine::pin`].
    ///
    /// # Errors
    /// As [`Engine::pin`]; nothing is pinned then.
    pub fn pin(&self, span: AddressRange) -> Result<Pinned<'_, SharedView>, Failure> {
        self.engine.pin(span.start()..span.end())
    }

    /// Unmaps page-aligned addresses of an allocation, which lose their bytes: folios on the border are split in place,
    /// and the rest of them stays where it is. [`Space::free`] of the allocation unmaps what is left.
    ///
    /// # Errors
    /// The first failure; what comes before it is unmapped. [`Failure::Pinned`] if a page is pinned, [`Failure::Busy`]
    /// if somebody holds a folio on the border.
    pub fn unmap(&self, span: AddressRange) -> Result<(), Failure> {
        self.engine.unmap(span.start()..span.end())
    }

    /// Makes page-aligned addresses of an allocation empty again: they read as zero on both sides, and the memory they
    /// took is free, as after `MADV_DONTNEED` of private memory. `madvise` itself knows nothing of a device; on the memory of
    /// a space, which is shared, it forgets no byte.
    ///
    /// # Errors
    /// As [`Space::unmap`]; what comes before it is empty.
    pub fn discard(&self, span: AddressRange) -> Result<(), Failure> {
        self.engine.reset(span.start()..span.end())
    }

    /// Gives the pages of `span` to a device alone, until the CPU touches them or something else takes them: see
    /// [`Engine::make_device_exclusive`].
    ///
    /// # Errors
    /// As [`Engine::make_device_exclusive`].
    pub fn make_device_exclusive(
        &self,
        node: NodeId,
        span: AddressRange,
    ) -> Result<Exclusive<'_, SharedView>, Failure> {
        self.engine.make_device_exclusive(node, span.start()..span.end())
    }

    /// Tells where the pages of page-aligned addresses are, in folios of which order, and what may be done with them: see
    /// [`Engine::snapshot`].
    ///
    /// # Errors
    /// As [`Engine::snapshot`].
    pub fn snapshot(&self, span: AddressRange) -> Result<Vec<Extent>, Failure> {
        self.engine.snapshot(span.start()..span.end())
    }

    /// Lets accesses to page-aligned addresses of an allocation do what is in `rights` and nothing else, on both sides: see
    /// [`Engine::protect`]. Call this rather than `mprotect`, of which a device would know nothing.
    ///
    /// # Errors
    /// As [`Engine::protect`].
    pub fn protect(&self, span: AddressRange, rights: Rights) -> Result<(), Failure> {
        self.engine.protect(span.start()..span.end(), rights)
    }

    /// Splits the folios on the device that hold pages of `span`, where they are: see [`Engine::split`].
    ///
    /// # Errors
    /// As [`Engine::split`].
    pub fn split(&self, span: AddressRange, order: Order) -> Result<u64, Failure> {
        self.engine.split(span.start()..span.end(), order)
    }

    /// Collapses the folios on the device that lie in `span`, where they are: see [`Engine::collapse`].
    ///
    /// # Errors
    /// As [`Engine::collapse`].
    pub fn collapse(&self, span: AddressRange) -> Result<Collapsed, Failure> {
        self.engine.collapse(span.start()..span.end())
    }

    /// The first device.
    #[must_use]
    pub fn device(&self) -> &Arc<Builtin> {
        &self.devices[0]
    }

    /// All devices, by the number of their node.
    #[must_use]
    pub fn devices(&self) -> &[Arc<Builtin>] {
        &self.devices
    }

    /// The engine, for those who drive it themselves.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine<SharedView>> {
        &self.engine
    }

    /// Which faults are caught: all, or only those of user mode.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// The counters.
    #[must_use]
    pub fn statistics(&self) -> Snapshot {
        self.statistics.snapshot()
    }

    /// Checks all rules, while faults wait: see [`Engine::audit`]. What breaks one is counted too. In a checked space, returns
    /// before that what transitions broke.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        // No address is given out meanwhile, so no block is used for the first time.
        let _allocations = self.allocations();
        let found = self.engine.audit();
        match &self.checker {
            Some(checker) => checker.violations_and(found),
            None => found,
        }
    }

    /// Takes the device away from the space, and waits up to a second for others who hold folios: see
    /// [`Engine::detach`]. All bytes are in system memory then, where the CPU reads and writes them until the space is
    /// dropped.
    ///
    /// # Errors
    /// [`DetachError`]: somebody still holds folios (I16), or bytes could not be brought home. The space stays as usable
    /// as after success, and may be closed again.
    pub fn close(&self) -> Result<(), DetachError> {
        self.engine.detach(CLOSE_PATIENCE)
    }

    fn allocations(&self) -> std::sync::MutexGuard<'_, Allocations> {
        self.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Handlers hold the engine; they must not outlive the memory they answer for.
        self.handlers = None;
    }
}

/// The memories of `count` devices, with page numbers of their own.
fn memories(pages: u64, count: usize) -> Result<Vec<Memory>, SetupError> {
    let stride = pages.next_multiple_of(Order::MAX.pages());
    let firsts = (0..count as u64).map(|number| Pfn::new(number * stride));
    Ok(firsts.map(|first| Memory::new(first, pages)).collect::<Result<_, _>>()?)
}

fn node_of(device: &Arc<Builtin>, config: &SpaceConfig) -> Result<NodeParts, SetupError> {
    let (first, pages) = (device.memory().first(), device.memory().pages());
    let pool = config.pool.make_at(first, pages)?;
    // A memfd holds zeros where nothing was written.
    pool.declare_cleared();
    let pagemap = PageMap::with_reset(config.reset, config.kind, first, pages, pool)?;
    Ok(NodeParts { device: Arc::clone(device) as Arc<dyn Device>, pagemap })
}

/// Runs `kernel` on several devices at once; returns the time that their units computed.
fn launch_on_all(devices: &[Arc<Builtin>], kernel: &dyn Kernel) -> Result<Duration, DeviceFault> {
    let units = devices.iter().map(|device| device.units()).sum();
    let mut first = 0;
    std::thread::scope(|scope| {
        let mut launches = Vec::new();
        for device in devices {
            let from = first;
            first += device.units();
            launches.push(scope.spawn(move || device.launch_part(kernel, from, units)));
        }
        launches.into_iter().map(|launch| launch.join().expect("kernels do not panic")).sum()
    })
}

/// SIGBUS for what is lost, and which thread sleeps, so that no device waits for it.
const WISHED: Features = Features::POISON.union(Features::THREAD_ID);

/// The features that a space of this kind cannot do without.
fn required(kind: MemoryKind) -> Features {
    let shared = Features::MISSING_SHMEM | Features::MINOR_SHMEM;
    match kind {
        MemoryKind::Private => shared,
        MemoryKind::Coherent => shared | Features::EVENT_REMAP,
    }
}

fn whole_blocks(what: &'static str, bytes: usize) -> Result<usize, SetupError> {
    let too_small = SetupError::TooSmall { what, bytes, least: 1 };
    bytes.checked_next_multiple_of(BLOCK_LEN).filter(|rounded| *rounded > 0).ok_or(too_small)
}

/// Pages of device memory and of system memory.
fn memory_sizes(config: &SpaceConfig) -> Result<(u64, u64), SetupError> {
    let least = match config.kind {
        MemoryKind::Private => PAGE,
        MemoryKind::Coherent => PAGE << SMALLEST_COHERENT.get(),
    };
    let vram = pages("device memory", config.vram, least)?;
    let ram = config.ram.map(|bytes| pages("system memory", bytes, RAM_LEAST)).transpose()?;
    Ok((vram, ram.unwrap_or(UNLIMITED_PAGES)))
}

/// Device memory mapped for the CPU costs up to two VMAs a folio, so small folios are not.
const SMALLEST_COHERENT: Order = Order::K64;
/// Each handler and each unit may need a page at the same time.
const RAM_LEAST: usize = 16 * PAGE;
/// More pages than there are.
const UNLIMITED_PAGES: u64 = 1 << 40;

fn default_policy(kind: MemoryKind, vram: u64, ram: u64) -> Box<dyn Policies> {
    let mut policy = FixedOrders::for_memory(vram, ram);
    if kind == MemoryKind::Coherent {
        policy.smallest = SMALLEST_COHERENT;
        policy.largest = policy.largest.max(SMALLEST_COHERENT);
    }
    Box::new(policy)
}

/// Answers faults by the engine.
struct ByEngine(Arc<Engine<SharedView>>);

impl Answer for ByEngine {
    fn was_read(&self, fault: &Fault) -> bool {
        let known = fault.sleeper.map_or(Seen::Known, |sleeper| self.0.thread_sleeps(sleeper));
        if known == Seen::Unsure {
            // It faults again if it still needs the page.
            self.0.view().wake(fault.address);
        }
        known == Seen::Known
    }

    fn answer(&self, fault: Fault) {
        // A failure is told to observers, and the toucher gets SIGBUS.
        let _: Result<_, Failure> = self.0.cpu_fault(fault.address);
    }
}
