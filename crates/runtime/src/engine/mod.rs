//! The engine: runs transactions on blocks, doing their steps on the CPU's view, the device and the pool.
//!
//! Lock order: a block or a plain object, then the eviction orders, then the pool. A second block or plain object is only
//! ever tried (I24), save by an audit, which waits for one block after the other.

pub mod audit;
pub mod budget;
pub mod checked;
pub mod detach;
pub(crate) mod drive;
pub mod lru;
pub mod pin;
pub(crate) mod plain;
pub(crate) mod reclaim;
pub mod reshape;
pub(crate) mod victims;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bifolio_folio::PageMap;
use bifolio_migrate::{AlignedRun, Failure, Finished, Moved, Outcome, PageRun, Policy, Step, Transaction};
use bifolio_pool::{DevicePool, Rmap};

use crate::blocks::{BlockId, BlockRef, BlockState, Blocks};
use crate::cpu::{CpuView, address_of};
use crate::device::{Device, DeviceFault, FaultHandler};
use crate::engine::budget::Budget;
use crate::engine::checked::Checker;
use crate::engine::drive::StepExecutor;
use crate::engine::lru::LruList;
use crate::engine::plain::PlainObjects;
use crate::engine::victims::DeviceLru;
use crate::statistics::{Counter, Direction, Statistics};
use crate::sync::{Mutex, MutexGuard, thread};

/// Everything that transactions share.
pub struct Engine<V: CpuView> {
    pub(crate) view: V,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) pagemap: PageMap<Arc<dyn DevicePool>>,
    pub(crate) blocks: Blocks,
    /// What is on the device, by age.
    pub(crate) victims: Mutex<DeviceLru>,
    pub(crate) resident: Mutex<LruList<BlockId>>,
    pub(crate) budget: Budget,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) statistics: Statistics,
    pub(crate) plain: PlainObjects,
    /// Judges every transition, if asked for.
    pub(crate) checker: Option<Arc<Checker>>,
    /// Pages whose touch raises SIGBUS.
    poisoned: Mutex<BTreeSet<(BlockId, u16)>>,
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
    /// Whether the rules are judged at every transition: see [`checked`].
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

/// A transaction that finds a page, a folio or all victims in use tries again so often before it gives up. What is
/// in use is held for as long as another transaction, or a look for victims, takes.
const BUSY_RETRIES: u32 = 2000;
/// After so many retries the next ones pause.
const BUSY_YIELDS: u32 = 32;
const BUSY_PAUSE: Duration = Duration::from_micros(100);

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
            blocks: Blocks::new(pagemap.kind()),
            pagemap,
            victims: Mutex::default(),
            plain: PlainObjects::default(),
            resident: Mutex::default(),
            budget: parts.budget,
            policy: parts.policy,
            statistics,
            checker,
            poisoned: Mutex::default(),
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
            self.run_retrying(found, |_| Transaction::unmap(run))?;
            Ok(())
        })
    }

    /// Answers a CPU fault at `address`: on return the page is in view, or poisoned so that its toucher gets
    /// SIGBUS, and all sleepers are awake.
    ///
    /// # Errors
    /// Why the page was poisoned.
    pub fn cpu_fault(&self, address: usize) -> Result<Finished, Failure> {
        let start = Instant::now();
        let result = match self.blocks.find(address) {
            Some(found) => {
                let page = found.page_of(address);
                let plan =
                    |cell: &BlockState| Transaction::cpu_fault(&cell.block, page, self.policy.as_ref());
                self.timed(start, || self.run_retrying(found, plan))
            }
            None => Err(Failure::NotMapped),
        };
        self.statistics.add(Counter::CpuFaults, 1);
        match result {
            Ok(Finished { moved: Moved::AlreadyThere(_), .. }) => {
                self.statistics.add(Counter::RedundantFaults, 1);
            }
            Ok(Finished { moved: Moved::ToRam(_), .. }) => {
                self.statistics.add(Counter::BytesUseful, bifolio_folio::PAGE_SIZE);
            }
            Ok(_) => {}
            Err(why) => {
                self.statistics.add(Counter::Failures, 1);
                self.give_up(address, why);
            }
        }
        result
    }

    /// Poisons the page of a fault that cannot be answered. A page that was allocated since is left alone: the fault
    /// is of its former life, and whoever still waits looks again.
    fn give_up(&self, address: usize, why: Failure) {
        let Some(found) = self.blocks.find(address) else { return self.view.poison(address) };
        let page = found.page_of(address);
        let cell = found.lock();
        if why == Failure::NotMapped && cell.block.live().contains(page) {
            return self.view.wake(address);
        }
        self.view.poison(address);
        lock(&self.poisoned).insert((found.id, page));
    }

    /// Takes the poison off pages that begin a new life; the kernel does so where zeros are shown.
    fn heal(&self, found: &BlockRef<'_>, cell: &mut BlockState, run: PageRun) {
        let within = (found.id, run.first())..(found.id, run.end());
        let sick: Vec<_> = lock(&self.poisoned).range(within).copied().collect();
        for (id, page) in sick {
            lock(&self.poisoned).remove(&(id, page));
            let zeros = Transaction::cpu_fault(&cell.block, page, self.policy.as_ref());
            // Without memory for it the page stays poisoned, and its toucher learns that there is none.
            let _: Result<Finished, Failure> = self.run(found, cell, zeros, 0);
        }
    }

    /// Brings page-aligned addresses to a side, folio by folio, as far as there is memory.
    ///
    /// # Errors
    /// The first failure; what comes before it was moved.
    pub fn prefetch(&self, addresses: Range<usize>, side: Side) -> Result<(), Failure> {
        let (largest, _) = self.policy.to_device_orders();
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            let mut page = run.first();
            while page < run.end() {
                let plan = |_: &BlockState| match side {
                    Side::Device => Transaction::to_device(page, largest, self.policy.as_ref()),
                    Side::Ram => Transaction::to_ram(page),
                };
                let (Moved::ToDevice(span) | Moved::ToRam(span) | Moved::AlreadyThere(span)) =
                    self.run_retrying(found, plan)?.moved
                else {
                    unreachable!("prefetches move or find")
                };
                page = span.end();
            }
            Ok(())
        })
    }

    /// Runs a transaction on a block that is free, and again if something in it was in use.
    pub(crate) fn run_retrying(
        &self,
        found: BlockRef<'_>,
        plan: impl Fn(&BlockState) -> Transaction,
    ) -> Result<Finished, Failure> {
        self.run_retrying_at(0, found, plan)
    }

    /// As [`Engine::run_retrying`], at a depth: see [`StepExecutor`].
    pub(crate) fn run_retrying_at(
        &self,
        depth: u8,
        found: BlockRef<'_>,
        plan: impl Fn(&BlockState) -> Transaction,
    ) -> Result<Finished, Failure> {
        for retry in 0..BUSY_RETRIES {
            let mut cell = found.lock();
            let transaction = plan(&cell);
            match self.run(&found, &mut cell, transaction, depth) {
                Err(Failure::Busy) => {
                    self.statistics.add(Counter::Busy, 1);
                    drop(cell);
                    self.plain.wait_for_memory();
                    give_way(retry);
                }
                result => return result,
            }
        }
        Err(Failure::Busy)
    }

    /// Runs a transaction to its end on a block that the caller holds.
    pub(crate) fn run(
        &self,
        found: &BlockRef<'_>,
        cell: &mut BlockState,
        mut transaction: Transaction,
        depth: u8,
    ) -> Result<Finished, Failure> {
        let mut drive = StepExecutor::new(self, *found, depth);
        let mut outcome = Outcome::Start;
        let result = loop {
            match transaction.step(&mut cell.block, outcome) {
                Step::Finish(result) => break result,
                step => outcome = drive.perform(step, cell),
            }
        };
        drive.end(&result, cell);
        self.account(found, cell);
        if let Ok(finished) = &result {
            self.count(finished);
        }
        if depth == 0 {
            // No put releases (I15): what died in this transaction, or in one within it, is released here.
            self.pagemap.pool().release();
        }
        result
    }

    fn count(&self, finished: &Finished) {
        self.statistics.add(Counter::Fallbacks, u64::from(finished.fallbacks));
        match finished.moved {
            Moved::ToDevice(span) => self.statistics.add_folio(Direction::ToDevice, span.order()),
            Moved::ToRam(span) => self.statistics.add_folio(Direction::ToRam, span.order()),
            Moved::AlreadyThere(_)
            | Moved::Populated(_)
            | Moved::Unmapped(_)
            | Moved::Split(_)
            | Moved::Collapsed(_) => {}
        }
    }

    /// Keeps the order of blocks that have pages in system memory.
    pub(crate) fn account(&self, found: &BlockRef<'_>, cell: &mut BlockState) {
        let mut resident = lock(&self.resident);
        match (cell.block.ram().is_empty(), cell.resident) {
            (false, None) => cell.resident = Some(resident.push(found.id)),
            (true, Some(key)) => {
                resident.remove(key);
                cell.resident = None;
            }
            (false, Some(key)) => resident.touch(key),
            (true, None) => {}
        }
    }

    /// Runs `work`, and counts the time since `start` as waiting.
    pub(crate) fn timed<R>(&self, start: Instant, work: impl FnOnce() -> R) -> R {
        let result = work();
        self.statistics.add_time(Counter::WaitNs, start.elapsed());
        result
    }
}

impl<V: CpuView> FaultHandler for Engine<V> {
    fn device_fault(&self, address: usize) -> Result<(), DeviceFault> {
        let start = Instant::now();
        let found = self.blocks.find(address).ok_or(DeviceFault::NotMapped { address })?;
        let page = found.page_of(address);
        let plan = |_: &BlockState| Transaction::device_fault(page, self.policy.as_ref());
        let result = self.timed(start, || self.run_retrying(found, plan));
        self.statistics.add(Counter::DeviceFaults, 1);
        match result {
            Ok(Finished { moved: Moved::AlreadyThere(_), .. }) => {
                self.statistics.add(Counter::RedundantFaults, 1);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(why) => {
                self.statistics.add(Counter::Failures, 1);
                match why {
                    Failure::NotMapped => Err(DeviceFault::NotMapped { address }),
                    Failure::Detached => Err(DeviceFault::Detached { address }),
                    why => Err(DeviceFault::Unanswered { address, why }),
                }
            }
        }
    }
}

pub(crate) fn give_way(retry: u32) {
    if retry < BUSY_YIELDS {
        thread::yield_now();
    } else {
        thread::sleep(BUSY_PAUSE);
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
