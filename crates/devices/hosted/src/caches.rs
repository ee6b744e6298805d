//! What the caching ports of a device keep, as changes of its page table see it: a change queues an invalidation for each port
//! that has a translation of it, and waits until all are acknowledged.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bifolio_engine::device::DeviceError;
use bifolio_engine::sleep::{Seen, Sleeper};
use bifolio_folio::Order;
use bifolio_sys::PAGE;

use crate::gate::Pause;
use crate::owner::Owner;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Translations that a port has to drop.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalidation {
    /// Its number, from 1 on.
    pub sequence: u64,
    /// Virtual address of the first page.
    pub address: usize,
    /// Number of bytes.
    pub bytes: usize,
    /// Whether it was not waited for, since the port's thread could not acknowledge it.
    pub forced: bool,
}

/// What a caching port keeps, as changes see it.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// The thread that uses it, by the number of its last translation or look for invalidations.
    holder: Owner,
    number: AtomicU64,
    acknowledged: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Pages with a translation.
    pub(crate) pages: BTreeSet<usize>,
    /// What was not fetched yet.
    queue: VecDeque<Invalidation>,
    sequence: u64,
}

/// The caching ports of a device.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    /// Replaced as a whole, so that a change waits without the lock.
    all: Mutex<Arc<[Arc<Cache>]>>,
    invalidations: AtomicU64,
    late: AtomicU64,
}

impl Cache {
    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        // Entries come and go one by one.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that nothing is kept any more of what the invalidations up to `sequence` named.
    pub(crate) fn acknowledge(&self, sequence: u64) {
        // Release: a thread that sees it also sees what was written through the translations.
        self.acknowledged.fetch_max(sequence, Ordering::Release);
    }

    /// The next invalidation, in order; `None` if all were fetched.
    pub(crate) fn next_invalidation(&self) -> Option<Invalidation> {
        let next = self.kept().queue.pop_front();
        if next.is_none() {
            self.use_again();
        }
        next
    }

    /// Says that the calling thread uses translations from here on.
    pub(crate) fn use_again(&self) {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        self.holder.begin(number);
    }

    /// Forgets the pages of a range and queues an invalidation; `None` if there was none of them.
    fn queue(&self, address: usize, bytes: usize) -> Option<u64> {
        let mut kept = self.kept();
        let mut rest = kept.pages.split_off(&address);
        let mut after = rest.split_off(&(address + bytes));
        kept.pages.append(&mut after);
        if rest.is_empty() {
            return None;
        }
        kept.sequence += 1;
        let sequence = kept.sequence;
        kept.queue.push_back(Invalidation { sequence, address, bytes, forced: false });
        Some(sequence)
    }

    /// Waits until an invalidation is acknowledged, or its thread cannot use what it named.
    fn wait(&self, sequence: u64, patience: Duration) -> Result<(), DeviceError> {
        self.holder.see_asleep(Sleeper::this_thread());
        let mut pause = Pause::new(patience);
        while self.acknowledged.load(Ordering::Acquire) < sequence {
            if self.holder.is_asleep_at(self.number.load(Ordering::Relaxed)) {
                let mut kept = self.kept();
                kept.queue
                    .iter_mut()
                    .filter(|next| next.sequence == sequence)
                    .for_each(|next| next.forced = true);
                break;
            }
            if !pause.again() {
                return Err(DeviceError::Lost);
            }
        }
        Ok(())
    }
}

impl Caches {
    fn all(&self) -> Arc<[Arc<Cache>]> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<[Arc<Cache>]>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self) -> Arc<Cache> {
        let cache = Arc::new(Cache::default());
        cache.use_again();
        let mut all = self.lock();
        *all = all.iter().chain([&cache]).map(Arc::clone).collect();
        cache
    }

    pub(crate) fn close(&self, cache: &Arc<Cache>) {
        let mut all = self.lock();
        *all = all.iter().filter(|other| !Arc::ptr_eq(other, cache)).map(Arc::clone).collect();
    }

    /// Has every port drop translations of pages that were removed, and waits until it has.
    pub(crate) fn invalidate(
        &self,
        removed: &[(usize, Order)],
        patience: Duration,
    ) -> Result<(), DeviceError> {
        for cache in self.all().iter() {
            let queued =
                removed.iter().filter_map(|(address, order)| cache.queue(*address, PAGE << order.get()));
            let queued: Vec<u64> = queued.collect();
            self.invalidations.fetch_add(queued.len() as u64, Ordering::Relaxed);
            if let Some(last) = queued.last() {
                cache.wait(*last, patience).inspect_err(|_| {
                    self.late.fetch_add(1, Ordering::Relaxed);
                })?;
            }
        }
        Ok(())
    }

    /// Whether any port keeps a translation of the pages.
    pub(crate) fn keep_any(&self, address: usize, order: Order) -> bool {
        let pages = address..address + (PAGE << order.get());
        self.all().iter().any(|cache| cache.kept().pages.range(pages.clone()).next().is_some())
    }

    pub(crate) fn see_asleep(&self, sleeper: Sleeper) -> Seen {
        self.all().iter().map(|cache| cache.holder.see_asleep(sleeper)).fold(Seen::Known, Seen::and)
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.invalidations.load(Ordering::Relaxed), self.late.load(Ordering::Relaxed))
    }
}
