//! Shared memory for a program and devices: allocate, launch, read the counters.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bifolio_buddy::AllocateError;
use bifolio_folio::{MemoryKind, Order, PageMap, Pfn, Reset};
use bifolio_migrate::{Failure, NodeId, OrderRange, Rights};
use bifolio_policy::{Advice, Granularity, Memory as PolicyMemory, Policies, PolicyName};
use bifolio_pool::PoolName;
use bifolio_sys::{Access, AddressRange, PAGE, SharedBytes, SysError, USER_SPACE, Uffd};

use crate::fault_loop::{Answer, Readers};
use crate::setup::{SetupError, pages};
use crate::views::shared::{Keep, ReachableMemory, SharedView};
use bifolio_builtin::{Builtin, Kernel, Memory};
use bifolio_checker::{Checker, Observed};
use bifolio_engine::clock::MachineClock;
use bifolio_engine::detach::DetachError;
use bifolio_engine::device::{Device, DeviceFault, REMOTE_ACCESS};
use bifolio_engine::exclusive::Exclusive;
use bifolio_engine::pin::Pinned;
use bifolio_engine::reshape::Collapsed;
use bifolio_engine::statistics::{Counter, Snapshot, Statistics};
use bifolio_engine::{Budget, Engine, Extent, NodeParts, Parts, Side};
use bifolio_rules::Violation;

pub mod adopt;
mod allocations;
pub mod buffer;
mod by_engine;
mod config;
mod moved;
mod serving;
mod slot;

use allocations::Allocations;
use by_engine::ByEngine;
pub use config::SpaceConfig;
use config::default_policy;
use serving::Serving;
pub use slot::DeviceSlot;

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

/// Memory shared by this process and devices of type `D`.
pub struct Space<D: ?Sized = Builtin> {
    /// Dropped first: it uses everything else.
    serving: Option<Serving>,
    uffd: Arc<Uffd>,
    answer: Arc<dyn Answer>,
    engine: Arc<Engine<SharedView>>,
    devices: Vec<Arc<D>>,
    pool: PoolName,
    reset: Reset,
    statistics: Statistics,
    /// Judges every transition, if asked for.
    checker: Option<Arc<Checker>>,
    access: Access,
    /// The addresses that page tables of devices have to cover.
    reach: Range<usize>,
    allocations: Mutex<Allocations>,
}

/// Orders that leave room for several folios in each memory.
const FIXED: PolicyName = PolicyName { granularity: Granularity::Fixed, eviction: None, throttle: false };
/// How long closing waits for folios that are held outside.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

impl Space {
    /// Makes a space of built-in devices and starts its fault handlers.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind.
    pub fn new(config: SpaceConfig) -> Result<Space, SetupError> {
        let memories = memories(config.vram_pages()?, config.devices.get())?;
        let coherent = config.kind == MemoryKind::Coherent;
        let reachable =
            |memory: &Memory| ReachableMemory { memfd: Arc::clone(memory.memfd()), first: memory.first() };
        let shown = if coherent { memories.iter().map(reachable).collect() } else { Vec::new() };
        let (units, mut memories, adopts) = (config.units, memories.into_iter(), config.program.is_some());
        let config = config.with_some_policy();
        Space::assemble(config, shown, |slot, view| {
            let memory = memories.next().expect("one for each device");
            // Where adopted memory has its bytes in the file is not where its address says.
            let memory =
                if adopts { memory } else { memory.with_system(view.memfd(), slot.addresses.len())? };
            Ok(Arc::new(Builtin::new(memory, units, slot.addresses)))
        })
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
        let remote: u64 = self.devices.iter().map(|device| device.hosted().take_remote_accesses()).sum();
        self.statistics.add(Counter::BytesRemote, remote * REMOTE_ACCESS);
        Ok(())
    }
}

impl<D: Device + 'static> Space<D> {
    /// Makes a space of devices of your own and starts its fault handlers. `make` is called once for each device. The number
    /// of built-in units in `config` means nothing here.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind. [`SetupError::Kind`] for coherent memory: the CPU maps the memory of
    /// built-in devices only.
    pub fn with_device(
        config: SpaceConfig,
        mut make: impl FnMut(DeviceSlot) -> Arc<D>,
    ) -> Result<Space<D>, SetupError> {
        require_private(config.kind)?;
        Space::assemble(config, Vec::new(), |slot, _| Ok(make(slot)))
    }

    fn assemble(
        mut config: SpaceConfig,
        shown: Vec<ReachableMemory>,
        mut make: impl FnMut(DeviceSlot, &SharedView) -> Result<Arc<D>, SetupError>,
    ) -> Result<Space<D>, SetupError> {
        let (vram, ram, count) = (config.vram_pages()?, config.ram_pages()?, config.devices.get());
        let policy = config.policy.take().unwrap_or_else(|| default_policy(config.kind, vram, ram));
        let (kind, pool, reset) = (config.kind, config.pool, config.reset);
        let mut devices = Vec::new();
        let mut space = Space::<D>::with_nodes(config, policy, shown, vram, |addresses, view| {
            let slots = DeviceSlot::several(count, vram, addresses);
            let parts = slots.map(|slot| {
                let device = make(slot.clone(), view)?;
                devices.push(Arc::clone(&device));
                node_parts(&slot, device, kind, pool, reset)
            });
            parts.collect()
        })?;
        space.devices = devices;
        Ok(space)
    }
}

impl Space<dyn Device> {
    /// Makes a space without a device yet, and starts its fault handlers. Allocations, loads and stores of the program work
    /// at once; devices come by [`Space::attach`]. The number and the memory of devices in `config` mean nothing here.
    ///
    /// # Errors
    /// See [`SetupError`]; nothing is left behind.
    pub fn without_devices(mut config: SpaceConfig) -> Result<Space<dyn Device>, SetupError> {
        require_private(config.kind)?;
        let policy = config.policy.take().unwrap_or_else(|| Box::new(FIXED));
        let ram = config.ram_pages()?;
        Space::with_nodes(config, policy, Vec::new(), ram, |_, _| Ok(Vec::new()))
    }
}

impl<D: Device + ?Sized> Space<D> {
    /// Makes a space of the nodes that `nodes` makes for its addresses, the smallest of which has `vram` pages.
    fn with_nodes(
        config: SpaceConfig,
        policy: Box<dyn Policies>,
        shown: Vec<ReachableMemory>,
        vram: u64,
        nodes: impl FnOnce(Range<usize>, &SharedView) -> Result<Vec<NodeParts>, SetupError>,
    ) -> Result<Space<D>, SetupError> {
        let (size, ram, readers) = (config.whole_blocks()?, config.ram_pages()?, config.readers());
        if readers == Readers::Toucher && config.program.is_some() {
            return Err(SetupError::ToucherAdopts);
        }
        let uffd = serving::open(readers)?;
        let (access, uffd) = (uffd.access(), Arc::new(uffd));
        let keep = if config.ram.is_some() { Keep::Nothing } else { Keep::Pages };
        let mut view = SharedView::new(Arc::clone(&uffd), size, keep, shown)?;
        let addresses = view.addresses().start()..view.addresses().end();
        let mut reach = addresses.clone();
        if let Some(program) = config.program {
            require_private(config.kind).map_err(|_| SetupError::Adopts)?;
            (view, reach) = (view.with_program(program), 0..USER_SPACE);
        }
        let nodes = nodes(reach.clone(), &view)?;
        let memory = PolicyMemory { least_pages: vram.min(ram), ..PolicyMemory::device(vram) };
        let OrderRange { largest, smallest } = policy.make(&memory).orders();
        let granules = nodes.iter().map(|node| node.device.capabilities().smallest_order);
        let granule = granules.fold(smallest, Order::max);
        let statistics = config.statistics.map_or_else(Statistics::new, Ok)?;
        let Observed { nodes, mut observers, checker } = Observed::new(nodes, &statistics, config.checked);
        observers.extend(config.observers);
        let engine = Engine::new(Parts {
            view,
            nodes,
            budget: Budget::new(ram, largest.pages() * 4),
            policy,
            clock: Arc::new(MachineClock::new()),
            observers,
        })?;
        engine.blocks().add_region(addresses.clone())?;
        let answer: Arc<dyn Answer> = Arc::new(ByEngine::new(Arc::clone(&engine), Arc::clone(&uffd)));
        let window = engine.view().window(engine.view().addresses());
        let serving = Some(Serving::start(&uffd, readers, window, &answer)?);
        let allocations = Mutex::new(Allocations::new(addresses, 1 << granule.get())?);
        let (pool, reset) = (config.pool, config.reset);
        Ok(Space {
            serving,
            uffd,
            answer,
            engine,
            devices: Vec::new(),
            pool,
            reset,
            statistics,
            checker,
            access,
            reach,
            allocations,
        })
    }

    /// Adds a device of `bytes` of memory to a space that runs, and returns its number.
    ///
    /// # Errors
    /// See [`SetupError`], or what `make` says; the space is as it was. A device whose page table maps nothing as small as a
    /// page must be there before the first allocation, since allocations are whole numbers of its smallest folio.
    pub fn attach<E: From<SetupError>>(
        &self,
        bytes: usize,
        make: impl FnOnce(DeviceSlot) -> Result<Arc<dyn Device>, E>,
    ) -> Result<NodeId, E> {
        let slot = self.next_slot(pages("device memory", bytes, PAGE)?);
        let device = make(slot.clone())?;
        let granule = 1 << device.capabilities().smallest_order.get();
        let mut allocations = self.allocations();
        if granule > allocations.granule && !allocations.made.is_empty() {
            return Err(SetupError::Granule { pages: granule }.into());
        }
        allocations.granule = allocations.granule.max(granule);
        drop(allocations);
        let kind = self.engine.view().kind();
        let parts = node_parts(&slot, device, kind, self.pool, self.reset)?;
        let parts = match &self.checker {
            Some(checker) => checker.watch_node(NodeId(slot.node), parts),
            None => parts,
        };
        Ok(self.engine.add_node(parts).map_err(SetupError::from)?)
    }

    fn next_slot(&self, pages: u64) -> DeviceSlot {
        let nodes = self.engine.nodes();
        let node = u8::try_from(nodes.len()).expect("few devices");
        DeviceSlot { node, first: nodes.next_first(), pages, addresses: self.reach.clone() }
    }

    /// Answers faults of the CPU on the calling thread, for a space whose [`Readers`] is the caller: waits up to `timeout`
    /// for one, and answers at most `most`. Returns how many were answered.
    ///
    /// # Errors
    /// [`SysError`] if the kernel refuses, or the space has handlers of its own.
    pub fn serve(&self, timeout: Duration, most: usize) -> Result<usize, SysError> {
        crate::fault_loop::serve(&self.uffd, self.answer.as_ref(), timeout, most)
    }

    /// What becomes readable when [`Space::serve`] has work.
    #[must_use]
    pub fn fault_fd(&self) -> BorrowedFd<'_> {
        self.uffd.as_fd()
    }

    /// Brings page-aligned addresses to a device and into its page table, for a device that takes no faults: it does so
    /// before it uses them.
    ///
    /// # Errors
    /// The first failure; what comes before it was brought.
    pub fn prepare(&self, span: AddressRange, node: NodeId) -> Result<(), Failure> {
        self.engine.prepare(span.start()..span.end(), node)
    }

    /// Allocates `bytes` of zeros and returns their address, aligned to a page, and to 2 MiB if that long.
    ///
    /// A program may move the memory by `mremap`, to addresses that devices do not know: its bytes come home and stay in
    /// system memory, and the allocation is not freed any more. `MREMAP_DONTUNMAP`, and moving coherent memory while it is on
    /// a device, abort the process with a message.
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

    /// A window of an allocation, for the program's own loads and stores. Touching it may fault, and then waits, or serves
    /// itself: see [`Readers`].
    ///
    /// # Panics
    /// If `span` is not inside the space.
    #[must_use]
    pub fn window(&self, span: AddressRange) -> SharedBytes<'_> {
        self.engine.view().window(span)
    }

    /// Brings page-aligned addresses to a side, as far as there is memory.
    ///
    /// # Errors
    /// The first failure; what comes before it was moved.
    pub fn prefetch(&self, span: AddressRange, side: Side) -> Result<(), Failure> {
        self.engine.prefetch(span.start()..span.end(), side)
    }

    /// Says how page-aligned addresses will be used, from the next fault on: see [`Engine::advise`].
    ///
    /// # Errors
    /// As [`Engine::advise`].
    pub fn advise(&self, span: AddressRange, advice: Advice) -> Result<(), Failure> {
        self.engine.advise(span.start()..span.end(), advice)
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
    /// if a folio on the border is held elsewhere.
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

    /// The first of the devices that the space was made with.
    ///
    /// # Panics
    /// If it was made without.
    #[must_use]
    pub fn device(&self) -> &Arc<D> {
        &self.devices[0]
    }

    /// The devices that the space was made with, by the number of their node.
    #[must_use]
    pub fn devices(&self) -> &[Arc<D>] {
        &self.devices
    }

    /// The engine, for requests that a space does not have.
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

    /// Takes the device away from the space, and waits up to a second for folios that are held outside: see
    /// [`Engine::detach`]. All bytes are in system memory then, where the CPU reads and writes them until the space is
    /// dropped.
    ///
    /// # Errors
    /// [`DetachError`]: folios are still held outside (I16), or bytes could not be brought home. The space stays as usable
    /// as after success, and may be closed again.
    pub fn close(&self) -> Result<(), DetachError> {
        self.engine.detach(CLOSE_PATIENCE)
    }
}

impl<D: ?Sized> Space<D> {
    /// The addresses of the whole space.
    #[must_use]
    pub fn addresses(&self) -> AddressRange {
        self.engine.view().addresses()
    }

    fn allocations(&self) -> std::sync::MutexGuard<'_, Allocations> {
        self.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: ?Sized> Drop for Space<D> {
    fn drop(&mut self) {
        self.release_all();
        // It holds the engine, and must not outlive the memory that it answers for.
        self.serving = None;
    }
}

/// The memories of `count` devices, with page numbers of their own.
fn memories(pages: u64, count: usize) -> Result<Vec<Memory>, SetupError> {
    let stride = pages.next_multiple_of(Order::MAX.pages());
    let firsts = (0..count as u64).map(|number| Pfn::new(number * stride));
    Ok(firsts.map(|first| Memory::new(first, pages)).collect::<Result<_, _>>()?)
}

/// A device, and a pagemap for its memory.
fn node_parts(
    slot: &DeviceSlot,
    device: Arc<dyn Device>,
    kind: MemoryKind,
    pool: PoolName,
    reset: Reset,
) -> Result<NodeParts, SetupError> {
    let pool = pool.make_at(slot.first, slot.pages)?;
    if device.capabilities().zeroed {
        pool.declare_cleared();
    }
    let pagemap = PageMap::with_reset(reset, kind, slot.first, slot.pages, pool)?;
    Ok(NodeParts { device, pagemap })
}

fn require_private(kind: MemoryKind) -> Result<(), SetupError> {
    if kind == MemoryKind::Private { Ok(()) } else { Err(SetupError::Kind) }
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
