//! Calls that go wrong on demand: one decorator for each trait of the machine below the engine, and scripts that decide.
//!
//! ```text
//!   FaultyView<V: CpuView>    FaultyDevice<D: Device>    FaultyPool<P: DevicePool>
//!          \                         |                         /
//!           +------------- Script::fault(Call) ---------------+
//!                    FailAfter: the n-th call that may fail, fails
//!                    a closure: whatever a test wants
//! ```

mod device;
mod pool;
mod view;

use std::sync::Arc;

use bifolio_folio::Pfn;

pub use self::device::FaultyDevice;
pub use self::pool::FaultyPool;
pub use self::view::FaultyView;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A call of the machine below the engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// `CpuView::isolate`.
    Isolate,
    /// `CpuView::reserve`.
    Reserve,
    /// `CpuView::install` or `CpuView::park`.
    Install,
    /// `CpuView::install_zero`.
    InstallZero,
    /// `CpuView::discard`.
    Discard,
    /// `CpuView::protect`.
    Protect,
    /// `CpuView::map_coherent`.
    MapCoherent,
    /// `CpuView::unmap_coherent`.
    UnmapCoherent,
    /// A copy to the device.
    CopyToDevice,
    /// A copy to system memory.
    CopyToRam,
    /// Zeros to the device.
    Clear,
    /// An entry of the device's page table.
    Map,
    /// An entry in place of others.
    Remap,
    /// The removal of an entry.
    Unmap,
    /// A look at device memory.
    Inspect,
    /// `DevicePool::allocate`. Skipped, it hands memory out as cleared that is not.
    Allocate,
    /// `DevicePool::allocate_dirty`.
    AllocateDirty,
    /// `DevicePool::add_plain`.
    AddPlain,
    /// `DevicePool::give_back` or `DevicePool::give_back_cleared`.
    GiveBack,
    /// `Pool::folio_free`.
    FolioFree,
    /// `Pool::folio_split`.
    FolioSplit,
    /// `Pool::folio_collapse`.
    FolioCollapse,
    /// `DevicePool::rmap_of`.
    RmapOf,
    /// `DevicePool::usage`.
    Usage,
    /// `DevicePool::release`.
    Release,
    /// Any other call of a pool; none of them can go wrong.
    OtherOfPool,
}

impl Call {
    /// Tells whether bytes are copied or cleared.
    #[must_use]
    pub fn is_copy(self) -> bool {
        matches!(self, Call::CopyToDevice | Call::CopyToRam | Call::Clear)
    }

    /// Tells whether a pool is called.
    #[must_use]
    pub fn is_of_pool(self) -> bool {
        use Call::{
            AddPlain, Allocate, AllocateDirty, FolioCollapse, FolioFree, FolioSplit, GiveBack, OtherOfPool,
            Release, RmapOf, Usage,
        };
        matches!(
            self,
            Allocate
                | AllocateDirty
                | AddPlain
                | GiveBack
                | FolioFree
                | FolioSplit
                | FolioCollapse
                | RmapOf
                | Usage
                | Release
                | OtherOfPool
        )
    }

    /// Tells whether a view or a device may refuse the call without being broken. A pool may refuse to allocate, but then
    /// it must be full.
    #[must_use]
    pub fn may_fail(self) -> bool {
        use Call::{
            Clear, CopyToDevice, CopyToRam, Discard, Install, InstallZero, Isolate, Map, MapCoherent, Remap,
            Reserve, UnmapCoherent,
        };
        matches!(
            self,
            Isolate
                | Reserve
                | Install
                | InstallZero
                | Discard
                | MapCoherent
                | UnmapCoherent
                | CopyToDevice
                | CopyToRam
                | Clear
                | Map
                | Remap
        )
    }
}

/// How a call goes wrong. A decorator panics where it cannot do what is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// It is refused, and nothing is done.
    Refuse,
    /// Nothing is done, and the caller is told that it was.
    Skip,
    /// It is done, and a byte of what it wrote is wrong.
    Spoil,
    /// A byte of what it is about to read changes first.
    SpoilSource,
    /// Other memory than the pool's is handed out: the range that begins there.
    HandOut(Pfn),
}

/// Decides which calls go wrong.
pub trait Script: Send + Sync {
    /// How this call goes wrong, if it does.
    fn fault(&self, call: Call) -> Option<FaultKind>;

    /// The call is over.
    fn ended(&self, call: Call) {
        let _ = call;
    }
}

impl<F: Fn(Call) -> Option<FaultKind> + Send + Sync> Script for F {
    fn fault(&self, call: Call) -> Option<FaultKind> {
        self(call)
    }
}

/// Counts calls that may fail, and refuses one of them.
#[derive(Debug)]
pub struct FailAfter {
    /// Calls that succeed before the one that fails; [`NEVER`] for all.
    left: AtomicU64,
    failed: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl FailAfter {
    /// Lets all calls succeed.
    #[must_use]
    pub fn never() -> Arc<FailAfter> {
        Arc::new(FailAfter { left: AtomicU64::new(NEVER), failed: AtomicU64::new(0) })
    }

    /// Lets `calls` calls succeed from here on, refuses the one after them, and lets all others succeed.
    pub fn fail_after(&self, calls: u64) {
        self.failed.store(0, Ordering::Relaxed);
        self.left.store(calls, Ordering::Relaxed);
    }

    /// Lets all calls succeed from here on; the count of those that failed stays.
    pub fn stop(&self) {
        self.left.store(NEVER, Ordering::Relaxed);
    }

    /// Calls that were refused since it was last set: none, or one.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a call that may fail; tells whether it does.
    pub fn fails(&self) -> bool {
        let next = |left: u64| (left != NEVER).then(|| left.checked_sub(1).unwrap_or(NEVER));
        let fails = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) == Ok(0);
        self.failed.fetch_add(u64::from(fails), Ordering::Relaxed);
        fails
    }
}

impl Script for FailAfter {
    fn fault(&self, call: Call) -> Option<FaultKind> {
        (call.may_fail() && self.fails()).then_some(FaultKind::Refuse)
    }
}
