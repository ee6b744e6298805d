//! The engine: what transactions share, and the requests that are no faults.
//!
//! Lock order: a block or a buffer object, then the eviction orders, then the pool. A second block or buffer object is
//! only ever tried (I24), save by an audit, which waits for one block after the other.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

use bifolio_folio::PageMap;
use bifolio_migrate::{AlignedRun, Failure, Moved, NodeId, Transaction};
use bifolio_policy::Policy;
use bifolio_pool::{DevicePool, Rmap};

use crate::blocks::{BlockId, BlockRef, BlockState, Blocks};
use crate::budget::Budget;
use crate::buffer::Buffers;
use crate::checked::Checker;
use crate::device::Device;
use crate::device_lru::DeviceLru;
use crate::executor::Priority;
use crate::lru::LruList;
use crate::statistics::Statistics;
use crate::sync::atomic::AtomicU32;
use crate::sync::{Mutex, MutexGuard};
use crate::view::{CpuView, address_of};

/// The one device.
pub(crate) const NODE: NodeId = NodeId(0);

/// Everything that transactions share.
pub struct Engine<V: CpuView> {
    pub(crate) view: V,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) pagemap: PageMap<Arc<dyn DevicePool>>,
    pub(crate) blocks: Blocks,
    /// What is on the device, by its last use.
    pub(crate) victims: Mutex<DeviceLru>,
    pub(crate) resident: Mutex<LruList<BlockId>>,
    pub(crate) budget: Budget,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) statistics: Statistics,
    pub(crate) buffers: Buffers,
    /// Judges every transition, if asked for.
    pub(crate) checker: Option<Arc<Checker>>,
    /// Pages whose touch raises SIGBUS.
    pub(crate) poisoned: Mutex<BTreeSet<(BlockId, u16)>>,
    /// Faults to go until it is tried again to keep the limit of system memory.
    pub(crate) stuck: AtomicU32,
}

/// What an [`Engine`] is made of.
pub struct Parts<V> {
    /// The CPU's view.
    pub view: V,
    /// The device.
    pub device: Arc<dyn Device>,
    /// Its memory.
    pub pagemap: PageMap<Arc<dyn DevicePool>>,
    /// Pages of system memory that may be resident.
    pub budget: Budget,
    /// How much moves at a time.
    pub policy: Box<dyn Policy>,
    /// Where it is counted.
    pub statistics: Statistics,
    /// Whether the rules are judged at every transition: see [`checked`](crate::checked).
    pub checked: bool,
}

/// Where pages are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// On the device.
    Device,
    /// In system memory.
    Ram,
}

impl<V: CpuView> Engine<V> {
    /// Makes an engine of no memory yet.
    #[must_use]
    pub fn new(parts: Parts<V>) -> Engine<V> {
        let Parts { device, pagemap, statistics, .. } = parts;
        let (checker, device, pagemap) = if parts.checked {
            let (checker, device, pagemap) = Checker::install(statistics.clone(), device, pagemap);
            (Some(checker), device, pagemap)
        } else {
            (None, device, pagemap)
        };
        Engine {
            view: parts.view,
            device,
            blocks: Blocks::new(),
            pagemap,
            victims: Mutex::default(),
            buffers: Buffers::default(),
            resident: Mutex::default(),
            budget: parts.budget,
            policy: parts.policy,
            statistics,
            checker,
            poisoned: Mutex::default(),
            stuck: AtomicU32::new(0),
        }
    }

    /// The CPU's view.
    #[must_use]
    pub fn view(&self) -> &V {
        &self.view
    }

    /// The map from addresses to blocks.
    #[must_use]
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Pages of device memory.
    #[must_use]
    pub fn pagemap(&self) -> &PageMap<Arc<dyn DevicePool>> {
        &self.pagemap
    }

    /// The budget of system memory.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The checker, if every transition is judged.
    #[must_use]
    pub fn checker(&self) -> Option<&Arc<Checker>> {
        self.checker.as_ref()
    }

    /// The counters.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Makes page-aligned addresses live and empty, as an allocation that begins.
    ///
    /// # Panics
    /// If any page is live already.
    pub fn map(&self, addresses: Range<usize>) {
        for (found, run) in self.blocks.parts(addresses) {
            let mut cell = found.lock();
            self.view.forget_unmapped(found.base, run);
            cell.block.map(run);
            self.heal(&found, &mut cell, run);
        }
    }

    /// Makes page-aligned addresses live whose pages are in system memory and in view already.
    ///
    /// # Panics
    /// If any page is live already.
    pub fn adopt(&self, addresses: Range<usize>) {
        for (found, run) in self.blocks.parts(addresses) {
            let mut cell = found.lock();
            cell.block.adopt(run);
            self.budget.take_resident(u64::from(run.pages()));
            self.account(&found, &mut cell);
        }
    }

    /// Unmaps page-aligned addresses. What is live there loses its bytes.
    ///
    /// # Errors
    /// The first failure; what comes before it is unmapped.
    pub fn unmap(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            self.run_retrying(Priority::Fault, found, |_| Transaction::unmap(run))?;
            Ok(())
        })
    }

    /// Makes live, page-aligned addresses empty again: they read as zero, and no fault finds them unmapped in between.
    ///
    /// # Errors
    /// The first failure; what comes before it is empty.
    pub fn reset(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            let mut cell = found.lock();
            self.run(&found, &mut cell, Transaction::unmap(run), Priority::Fault)?;
            cell.block.map(run);
            Ok(())
        })
    }

    /// Brings page-aligned addresses to a side, folio by folio, as far as there is memory.
    ///
    /// # Errors
    /// The first failure; what comes before it was moved.
    pub fn prefetch(&self, addresses: Range<usize>, side: Side) -> Result<(), Failure> {
        let orders = self.policy.to_device_orders();
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            let mut page = run.first();
            while page < run.end() {
                let plan = |_: &BlockState| match side {
                    Side::Device => Transaction::to_device(NODE, page, orders),
                    Side::Ram => Transaction::to_ram(page),
                };
                let (Moved::ToDevice(span) | Moved::ToRam(span) | Moved::AlreadyThere(span)) =
                    self.run_retrying(Priority::Fault, found, plan)?.moved
                else {
                    unreachable!("prefetches move or find")
                };
                page = span.end();
            }
            Ok(())
        })
    }
}

/// The address of a page, for messages and device tables.
pub(crate) fn address(found: &BlockRef<'_>, page: u16) -> usize {
    address_of(found.base, page)
}

/// The pages of a block as the pool knows them.
pub(crate) fn rmap_for(found: &BlockRef<'_>, span: AlignedRun) -> Rmap {
    Rmap { block: found.id.0, page: span.first() }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The orders are changed by single calls that either happen or panic before they change anything.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
