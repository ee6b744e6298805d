//! What the tests share: a pool that counts its calls, and pages that remember their users.
//!
//! "Used" is a relaxed store. loom lets a relaxed load see an old value wherever no happens-before forbids it,
//! so a load that always sees the store proves that the page word's orderings carry it over.

use alloc::vec::Vec;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};

use crate::folio::{Folio, Locked};
use crate::order::Order;
use crate::pagemap::{MemoryKind, PageMap};
use crate::pfn::Pfn;
use crate::pool::Pool;
use crate::range::FreeRange;
use crate::reset::Reset;

/// What the pool was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) frees: u64,
    pub(crate) pages: u64,
    /// Folios more after splits than before.
    pub(crate) pieces: u64,
    /// Folios less after collapses than before.
    pub(crate) joined: u64,
    /// Marks found at the last free.
    pub(crate) marks: u64,
}

/// A pool without an allocator: the tests claim ranges themselves, and take freed ones back.
pub(crate) struct Ledger {
    told: Mutex<Told>,
    freed: Mutex<Vec<FreeRange>>,
    marks: [AtomicU64; 3],
}

impl Ledger {
    fn new() -> Ledger {
        let marks = [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)];
        Ledger { told: Mutex::default(), freed: Mutex::default(), marks }
    }

    pub(crate) fn told(&self) -> Told {
        *self.told.lock().expect("no test panics")
    }

    /// Takes a range that was freed.
    pub(crate) fn take(&self) -> Option<FreeRange> {
        self.freed.lock().expect("no test panics").pop()
    }

    /// Uses the memory as its `user`: a plain write, as far as ordering goes.
    pub(crate) fn mark(&self, user: usize) {
        self.marks[user].store(1, Ordering::Relaxed);
    }

    /// Returns how many users' writes can be seen.
    pub(crate) fn marks(&self) -> u64 {
        self.marks.iter().map(|mark| mark.load(Ordering::Relaxed)).sum()
    }
}

impl Pool for Ledger {
    fn folio_free(&self, range: FreeRange, _data: u32) {
        // Before the mutex, which would bring an ordering of its own.
        let marks = self.marks();
        let mut told = self.told.lock().expect("no test panics");
        told.frees += 1;
        told.pages += range.pages();
        told.marks = marks;
        drop(told);
        self.freed.lock().expect("no test panics").push(range);
    }

    fn folio_split(&self, _head: Pfn, from: Order, to: Order, _data: u32) {
        self.told.lock().expect("no test panics").pieces += from.pages() / to.pages() - 1;
    }

    fn folio_collapse(&self, _head: Pfn, from: Order, to: Order, _data: u32) {
        self.told.lock().expect("no test panics").joined += to.pages() / from.pages() - 1;
    }
}

pub(crate) type Map = PageMap<Ledger>;

/// Makes a pagemap of 2^order free pages.
pub(crate) fn pagemap(reset: Reset, order: u8) -> Arc<Map> {
    let pages = self::order(order).pages();
    let map = PageMap::with_reset(reset, MemoryKind::Private, Pfn::ZERO, pages, Ledger::new());
    Arc::new(map.expect("a small pagemap"))
}

pub(crate) fn order(order: u8) -> Order {
    Order::new(order).expect("at most 18")
}

/// Forms a folio at page 0.
pub(crate) fn form(map: &Map, size: u8, data: u32) -> Folio<'_, Ledger, Locked> {
    map.form(FreeRange::claim(Pfn::ZERO, order(size)), data).expect("free")
}

/// Checks that nothing is live and everything that was formed was freed.
pub(crate) fn assert_all_free(map: &Map, told: Told) {
    assert_eq!(map.pool().told(), told);
    assert_eq!((map.live_pages(), map.folios().count()), (0, 0));
    assert_eq!(map.check_consistency(), Ok(()));
}

/// Runs a test in all interleavings, once for each way to reset folios.
pub(crate) fn check(test: impl Fn(Reset) + Copy + Sync + Send + 'static) {
    explore(|_| None, test);
}

/// Runs a test in all interleavings with at most this many forced switches of threads, where trying all of them
/// takes minutes; once for each way to reset folios. `LOOM_MAX_PREEMPTIONS` can ask for more.
pub(crate) fn check_bounded(switches: usize, test: impl Fn(Reset) + Copy + Sync + Send + 'static) {
    explore(|asked| Some(asked.unwrap_or(0).max(switches)), test);
}

/// Runs a test for each way to reset folios, with as many forced switches as `bound` makes of what the environment asks.
fn explore(
    bound: impl Fn(Option<usize>) -> Option<usize>,
    test: impl Fn(Reset) + Copy + Sync + Send + 'static,
) {
    for reset in Reset::ALL {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = bound(builder.preemption_bound);
        builder.check(move || test(reset));
    }
}
