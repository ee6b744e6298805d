//! What a space is to be like.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bifolio_engine::blocks::BLOCK_LEN;
use bifolio_engine::{Observer, Statistics};
use bifolio_folio::{MemoryKind, Order, Reset};
use bifolio_policy::{FixedOrders, Memory, Policies, PolicyName, Side, Switch};
use bifolio_pool::PoolName;
use bifolio_sys::{PAGE, ProgramMemory};

use crate::fault_loop::Readers;
use crate::setup::{SetupError, pages};

/// What a [`Space`](crate::Space) is to be like. All sizes are in bytes and rounded up to whole pages.
pub struct SpaceConfig {
    /// Address space for allocations.
    pub size: usize,
    /// Memory of each device.
    pub vram: usize,
    /// Number of devices.
    pub devices: NonZeroUsize,
    /// System memory that allocations may use at once; `None`: as much as there is.
    pub ram: Option<usize>,
    /// Whether the CPU maps device memory.
    pub kind: MemoryKind,
    /// What hands out device memory.
    pub pool: PoolName,
    /// When the words of folios that ended are made clean.
    pub reset: Reset,
    /// Threads of each built-in device.
    pub units: NonZeroUsize,
    /// What moves, how much of it, and what leaves; `None`: [`PolicyName::default`] for built-in devices, orders that leave room
    /// for several folios for devices of your own.
    pub policy: Option<Box<dyn Policies>>,
    /// Whether the rules are checked after every transaction, and not only by [`Space::audit`](crate::Space::audit).
    pub checked: bool,
    /// Which threads read faults of the CPU; `None`: chosen by the kind. A space whose ports give out translations
    /// ([`Port::translate`](bifolio_builtin::Port::translate)) needs a separate reader: a handler may wait for the holder of one,
    /// and must be told if that thread falls asleep meanwhile. With [`Readers::Toucher`] no thread has to be told; it is for memory
    /// that only code of the program touches, and asks some things of it: see [`touchers`](crate::touchers).
    pub readers: Option<Readers>,
    /// The counters, such as those of [`Gauges`](crate::gauges::Gauges), which other processes read; `None`: the space's own.
    pub statistics: Option<Statistics>,
    /// What hears of everything that happens, beside the counters.
    pub observers: Vec<Arc<dyn Observer>>,
    /// The right to memory of the program, for [`Space::adopt`](crate::Space::adopt); `None`: nothing can be adopted. With
    /// it, the page tables of devices have to cover all addresses of a process, and built-in devices use no system memory
    /// where it is. For private memory only.
    pub program: Option<ProgramMemory>,
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
            statistics: None,
            observers: Vec::new(),
            program: None,
        }
    }

    /// The same with a policy that is known by name. Folios of coherent memory are never smaller than 64 KiB.
    #[must_use]
    pub fn with_policy(self, name: PolicyName) -> SpaceConfig {
        SpaceConfig { policy: Some(for_kind(name, self.kind)), ..self }
    }

    /// The same with policies that can be exchanged for others while the space is used.
    #[must_use]
    pub fn with_switch(self, switch: Switch) -> SpaceConfig {
        SpaceConfig { policy: Some(for_kind(switch, self.kind)), ..self }
    }

    /// The same with the default of built-in devices, if it has no policy.
    pub(super) fn with_some_policy(self) -> SpaceConfig {
        if self.policy.is_some() { self } else { self.with_policy(PolicyName::default()) }
    }

    /// Address space in bytes, whole blocks.
    pub(super) fn whole_blocks(&self) -> Result<usize, SetupError> {
        let too_small = SetupError::TooSmall { what: "space", bytes: self.size, least: 1 };
        self.size.checked_next_multiple_of(BLOCK_LEN).filter(|rounded| *rounded > 0).ok_or(too_small)
    }

    /// Pages of the memory of each device.
    pub(super) fn vram_pages(&self) -> Result<u64, SetupError> {
        let least = match self.kind {
            MemoryKind::Private => PAGE,
            MemoryKind::Coherent => PAGE << SMALLEST_COHERENT.get(),
        };
        pages("device memory", self.vram, least)
    }

    /// Pages of system memory.
    pub(super) fn ram_pages(&self) -> Result<u64, SetupError> {
        let ram = self.ram.map(|bytes| pages("system memory", bytes, RAM_LEAST)).transpose()?;
        Ok(ram.unwrap_or(UNLIMITED_PAGES))
    }

    /// Which threads read faults.
    pub(super) fn readers(&self) -> Readers {
        let by_kind = match self.kind {
            MemoryKind::Private => Readers::Handlers,
            MemoryKind::Coherent => Readers::Separate,
        };
        self.readers.unwrap_or(by_kind)
    }
}

/// Device memory mapped for the CPU costs up to two VMAs a folio, so small folios are not.
const SMALLEST_COHERENT: Order = Order::K64;
/// Each handler and each unit may need a page at the same time.
const RAM_LEAST: usize = 16 * PAGE;
/// More pages than there are.
const UNLIMITED_PAGES: u64 = 1 << 40;

fn for_kind(policies: impl Policies + 'static, kind: MemoryKind) -> Box<dyn Policies> {
    match kind {
        MemoryKind::Private => Box::new(policies),
        MemoryKind::Coherent => Box::new(move |memory: &Memory| {
            let least = if memory.side == Side::Ram { Order::ZERO } else { SMALLEST_COHERENT };
            policies.make(&Memory { smallest: memory.smallest.max(least), ..*memory })
        }),
    }
}

/// The policy of memories of these sizes.
pub(super) fn default_policy(kind: MemoryKind, vram: u64, ram: u64) -> Box<dyn Policies> {
    let mut policy = FixedOrders::for_memory(vram, ram);
    if kind == MemoryKind::Coherent {
        policy.smallest = SMALLEST_COHERENT;
        policy.largest = policy.largest.max(SMALLEST_COHERENT);
    }
    Box::new(policy)
}
