//! A shipped pool, with points around its calls where another thread may go on.

use std::fmt;
use std::sync::Arc;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};
use bifolio_pool::{Allocation, Contents, DevicePool, Rmap, Usage};

use crate::mutant::{self, Mutant};
use crate::sync::atomic::{AtomicU64, Ordering};

/// A pool, called in steps. Its own lock is never contended here, since nobody goes on while it is held.
pub struct SteppedPool {
    inner: Arc<dyn DevicePool>,
    calls: AtomicU64,
}

impl SteppedPool {
    /// Wraps a pool.
    #[must_use]
    pub fn new(inner: Arc<dyn DevicePool>) -> SteppedPool {
        SteppedPool { inner, calls: AtomicU64::new(0) }
    }

    /// Lets others go on; then the pool is called.
    fn stepped(&self) -> &dyn DevicePool {
        self.step();
        self.inner.as_ref()
    }

    fn step(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for SteppedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Pool for SteppedPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        self.stepped().folio_free(range, data);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        if !mutant::is(Mutant::SplitTakesNoReference) {
            self.stepped().folio_split(head, from, to, data);
        }
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        if !mutant::is(Mutant::CollapseKeepsReferences) {
            self.stepped().folio_collapse(head, from, to, data);
        }
    }
}

impl DevicePool for SteppedPool {
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        let allocated = self.stepped().allocate(order, rmap, contents);
        // Allocated, and not yet formed.
        self.step();
        allocated
    }

    fn add_plain(&self, pages: u64, memory: &mut Vec<(FreeRange, u32)>) -> u64 {
        let added = self.stepped().add_plain(pages, memory);
        // Handed out, and in no order of victims yet.
        self.step();
        added
    }

    fn give_back(&self, range: FreeRange, data: u32) {
        if !mutant::is(Mutant::GivesNothingBack) {
            self.stepped().give_back(range, data);
        }
    }

    fn give_back_cleared(&self, range: FreeRange, data: u32) {
        if !mutant::is(Mutant::GivesNothingBack) {
            self.stepped().give_back_cleared(range, data);
        }
    }

    fn allocate_dirty(&self, largest: Order) -> Option<Allocation> {
        let allocated = self.stepped().allocate_dirty(largest);
        self.step();
        allocated
    }

    fn declare_cleared(&self) {
        self.stepped().declare_cleared();
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        self.stepped().rmap_of(page, data)
    }

    fn can_allocate(&self, order: Order, rmap: Rmap) -> bool {
        self.stepped().can_allocate(order, rmap)
    }

    fn eviction_range(&self, page: Pfn, data: u32, order: Order) -> (Pfn, Order) {
        self.stepped().eviction_range(page, data, order)
    }

    fn free_pages(&self) -> u64 {
        self.stepped().free_pages()
    }

    fn usage(&self) -> Usage {
        self.stepped().usage()
    }

    fn release(&self) -> u64 {
        if mutant::is(Mutant::ReleasesNothing) { 0 } else { self.stepped().release() }
    }

    fn close(&self) {
        self.stepped().close();
    }

    fn check_consistency(&self) -> Result<(), String> {
        self.inner.check_consistency()
    }
}
