//! The pool, watched: what it hands out and takes back, against the ledger.

use std::cell::Cell;
use std::sync::Arc;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};
use bifolio_pool::{Allocation, Contents, DevicePool, Rmap, Usage};
use bifolio_rules::facts::{self, Asked, Counted, Formed, Freed, Looked, Put, Stretch, Used};

use super::ledger::{Held, Use};
use super::{Checker, stretch};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread_local;

thread_local! {
    /// Whether this thread is inside a last put.
    static PUTTING: Cell<bool> = const { Cell::new(false) };
    /// Whether objects were released in that put.
    static RELEASED: Cell<bool> = const { Cell::new(false) };
}

/// How often a refusal is looked into while others take memory.
const LOOKS: u32 = 3;

/// A pool whose every call is judged.
#[derive(Debug)]
pub(super) struct CheckedPool {
    inner: Arc<dyn DevicePool>,
    checker: Arc<Checker>,
    takers: Takers,
}

/// Calls that take memory: those begun, and those of them that have ended.
#[derive(Debug, Default)]
struct Takers {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Takers {
    fn take<R>(&self, work: impl FnOnce() -> R) -> R {
        // In one order with `quiet` on all threads, and rare enough.
        self.begun.fetch_add(1, Ordering::SeqCst);
        let result = work();
        self.ended.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// How many have begun, if none is under way.
    fn quiet(&self) -> Option<u64> {
        // What has ended first: whoever began by the second look had ended by the first one.
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }
}

impl CheckedPool {
    pub(super) fn new(inner: Arc<dyn DevicePool>, checker: Arc<Checker>) -> CheckedPool {
        CheckedPool { inner, checker, takers: Takers::default() }
    }

    /// Judges whether a refusal had a reason (I9).
    fn refused(&self, order: Order, rmap: Rmap) {
        let free = (0..LOOKS).any(|_| self.refuses_without_reason(order, rmap)).then_some(order.get());
        let asked = Asked { order: order.get(), free, granted: false };
        self.checker.judge(9, facts::i9(&asked), || {
            let (pages, usage) = (self.inner.free_pages(), self.inner.usage());
            format!(
                "order {order} is refused to {rmap:?}, though the pool says that it has one: {pages} pages are free, {usage:?}"
            )
        });
    }

    /// Tells whether the pool says that there is room and refuses all the same, nobody else taking any in between.
    fn refuses_without_reason(&self, order: Order, rmap: Rmap) -> bool {
        let before = self.takers.quiet();
        if !self.inner.can_allocate(order, rmap) {
            return false;
        }
        let allocated = self.takers.take(|| self.inner.allocate(order, rmap, Contents::Any));
        if let Some(Allocation { range, data, .. }) = allocated {
            self.inner.give_back(range, data);
            return false;
        }
        // This one has begun and ended as well.
        before.is_some_and(|before| self.takers.quiet() == Some(before + 1))
    }

    /// Takes a range back, the pool's own work watched (I15).
    fn put(&self, (head, order): (Pfn, Order), take_back: impl FnOnce()) {
        PUTTING.set(true);
        take_back();
        PUTTING.set(false);
        let put = Put { may_sleep: RELEASED.replace(false) };
        self.checker.judge(15, facts::i15(&put), || {
            format!("the last put of order {order} at page {head} released objects")
        });
    }

    /// Judges whether an object is still there for what is left on it (I7).
    fn object_survives(&self, data: u32) {
        let survivor = || self.checker.ledger().survivor(data);
        let Some(held) = survivor() else { return };
        let lives = self.inner.rmap_of(held.head, data).is_some();
        // It may have been freed meanwhile, its object with it.
        let still = survivor().is_some_and(|now| now == held);
        let counted = Counted { counter: u64::from(lives || !still), truth: 1 };
        self.checker
            .judge(7, facts::i7(&counted), || format!("object {data} has gone, but {held:?} is on it"));
    }
}

impl Checker {
    /// Judges a range that the pool hands out (I1, I9, I21), and notes it.
    fn handed_out(&self, range: &FreeRange, data: u32, wanted: Order, used: Use) {
        let (head, order) = (range.head(), range.order());
        let overlapped = self.ledger().hand_out(head, order, data, used);
        let live = overlapped.as_ref().map_or(Stretch::NONE, Held::pages);
        self.judge(1, facts::i1(&joining(stretch(head, order), live)), || {
            format!("pages of {overlapped:?} are handed out again as order {order} at page {head}")
        });
        let asked = Asked { order: wanted.get(), free: Some(wanted.get()), granted: order == wanted };
        self.judge(9, facts::i9(&asked), || format!("order {wanted} was wanted, order {order} is given"));
        let own = Stretch { first: 0, pages: self.pages };
        let inside = facts::i21(&Used { pages: stretch(head, order), own }) && head.is_aligned(order);
        self.judge(21, inside, || {
            format!("order {order} at page {head} is not aligned inside of {} device pages", self.pages)
        });
    }

    /// Judges a range that goes back to the pool (I4, I7, I11), and forgets it.
    fn handed_back(&self, range: &FreeRange, data: u32) {
        let (head, order) = (range.head(), range.order());
        let mut ledger = self.ledger();
        let (held, mapped) = (ledger.at(head), ledger.mapped(stretch(head, order)));
        ledger.take_back(head);
        drop(ledger);
        let freed = Freed {
            order: held.map_or(u8::MAX, |held| held.order.get()),
            told: Some(order.get()),
            clean: mapped == Stretch::NONE,
        };
        self.judge(4, facts::i4(&freed), || {
            format!("order {order} at page {head} is given back, where there is {held:?}")
        });
        self.judge(11, facts::i11_freed(&freed), || {
            format!("page {} is given back while the device's page table has it", mapped.first)
        });
        let counted = Counted { counter: u64::from(data), truth: held.map_or(0, |held| held.data.into()) };
        self.judge(7, held.is_none() || facts::i7(&counted), || {
            format!("page {head} is given back to object {data}, but is on {held:?}")
        });
    }

    /// Judges a split of a live folio, while it is frozen (I7, I10), and notes its pieces.
    fn split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let mut ledger = self.ledger();
        let folio = ledger.folio(head);
        ledger.split(head, to);
        drop(ledger);
        let block = stretch(head, from);
        let free = if folio.is_some() { Stretch::NONE } else { block };
        self.judge(10, facts::i10(&Looked { free, like_frozen: block }), || {
            format!("pages are frozen by a split at page {head}, but they are free")
        });
        let of_folio = folio.is_some_and(|folio| (folio.head, folio.order, folio.data) == (head, from, data));
        self.judge(7, facts::i7(&Counted { counter: u64::from(of_folio), truth: 1 }), || {
            format!(
                "object {data} is told of a split of order {from} at page {head}, where there is {folio:?}"
            )
        });
    }

    /// Judges a collapse of live folios, while they are frozen (I7, I10), and notes the whole.
    fn collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let mut ledger = self.ledger();
        let (tiled, first) = (ledger.is_tiled(head, from, to, data), ledger.folio(head));
        ledger.collapse(head, to);
        drop(ledger);
        let block = stretch(head, to);
        let free = if first.is_some() { Stretch::NONE } else { block };
        self.judge(10, facts::i10(&Looked { free, like_frozen: block }), || {
            format!("pages are frozen by a collapse at page {head}, but they are free")
        });
        self.judge(7, facts::i7(&Counted { counter: u64::from(tiled), truth: 1 }), || {
            format!(
                "object {data} is told that order {from} becomes order {to} at page {head}, where there is {first:?}"
            )
        });
    }
}

/// Free pages about to become one range.
fn joining(range: Stretch, live: Stretch) -> Formed<Stretch> {
    Formed {
        range,
        live,
        compound: Stretch::NONE,
        as_from_nothing: true,
        pagemap_right: true,
        references: 1,
        locked: true,
        after_kill: false,
    }
}

impl DevicePool for CheckedPool {
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        let allocated = self.takers.take(|| self.inner.allocate(order, rmap, contents));
        match &allocated {
            Some(Allocation { range, data, .. }) => {
                self.checker.handed_out(range, *data, order, Use::HandedOut);
            }
            None => self.refused(order, rmap),
        }
        allocated
    }

    fn add_plain(&self, pages: u64, memory: &mut Vec<(FreeRange, u32)>) -> u64 {
        let before = memory.len();
        let added = self.takers.take(|| self.inner.add_plain(pages, memory));
        for (range, data) in &memory[before..] {
            self.checker.handed_out(range, *data, range.order(), Use::Plain);
        }
        added
    }

    fn give_back(&self, range: FreeRange, data: u32) {
        self.checker.handed_back(&range, data);
        self.put((range.head(), range.order()), || self.inner.give_back(range, data));
    }

    fn give_back_cleared(&self, range: FreeRange, data: u32) {
        self.checker.handed_back(&range, data);
        self.put((range.head(), range.order()), || self.inner.give_back_cleared(range, data));
    }

    fn allocate_dirty(&self, largest: Order) -> Option<Allocation> {
        let allocated = self.takers.take(|| self.inner.allocate_dirty(largest));
        if let Some(Allocation { range, data, .. }) = &allocated {
            self.checker.handed_out(range, *data, range.order(), Use::HandedOut);
        }
        allocated
    }

    fn declare_cleared(&self) {
        self.inner.declare_cleared();
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        self.inner.rmap_of(page, data)
    }

    fn can_allocate(&self, order: Order, rmap: Rmap) -> bool {
        self.inner.can_allocate(order, rmap)
    }

    fn eviction_range(&self, page: Pfn, data: u32, order: Order) -> (Pfn, Order) {
        self.inner.eviction_range(page, data, order)
    }

    fn free_pages(&self) -> u64 {
        self.inner.free_pages()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn release(&self) -> u64 {
        RELEASED.set(PUTTING.get());
        self.inner.release()
    }

    fn close(&self) {
        self.takers.take(|| self.inner.close());
    }

    fn check_consistency(&self) -> Result<(), String> {
        self.inner.check_consistency()
    }
}

impl Pool for CheckedPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        self.checker.handed_back(&range, data);
        self.put((range.head(), range.order()), || self.inner.folio_free(range, data));
        self.object_survives(data);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.checker.split(head, from, to, data);
        self.inner.folio_split(head, from, to, data);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.checker.collapse(head, from, to, data);
        self.inner.folio_collapse(head, from, to, data);
        self.object_survives(data);
    }
}
