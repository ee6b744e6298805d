//! A pool whose every call is told to the checker.

use std::cell::Cell;
use std::sync::Arc;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};
use bifolio_migrate::NodeId;
use bifolio_pool::{Allocation, Contents, DevicePool, Rmap, Usage};
use bifolio_rules::{Event, FolioEvent, PoolEvent, Purpose};

use super::checker::{Checker, of_folio};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread_local;

thread_local! {
    /// Whether this thread is inside a last put.
    static PUTTING: Cell<bool> = const { Cell::new(false) };
    /// How often objects were released in that put.
    static RELEASED: Cell<u64> = const { Cell::new(0) };
}

/// How often a refusal is looked into while others take memory.
const LOOKS: u32 = 3;

/// A pool whose every call is told to the checker.
#[derive(Debug)]
pub(crate) struct CheckedPool {
    inner: Arc<dyn DevicePool>,
    node: NodeId,
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
        // What has ended first: a call that began by the second look had ended by the first one.
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }
}

impl CheckedPool {
    pub(crate) fn new(inner: Arc<dyn DevicePool>, node: NodeId, checker: Arc<Checker>) -> CheckedPool {
        CheckedPool { inner, node, checker, takers: Takers::default() }
    }

    fn tell(&self, event: PoolEvent) {
        self.checker.tell(&Event::Pool { node: self.node.0, event });
    }

    fn handed_out(&self, allocation: &Allocation, wanted: Order, purpose: Purpose) {
        let &Allocation { ref range, data, cleared } = allocation;
        let (head, order, wanted) = (range.head().get(), range.order().get(), wanted.get());
        self.tell(PoolEvent::Allocated { head, order, wanted, data, purpose, cleared });
    }

    fn given_back(&self, range: FreeRange, data: u32, cleared: bool, take_back: impl FnOnce(FreeRange)) {
        let (head, order) = (range.head(), range.order());
        self.tell(PoolEvent::GivenBack { head: head.get(), order: order.get(), data, cleared });
        self.put((head, order), || take_back(range));
    }

    /// Tells of a refusal, and whether the pool says that it has such a range.
    fn refused(&self, order: Order, rmap: Rmap) {
        let free = (0..LOOKS).any(|_| self.refuses_without_reason(order, rmap));
        let (wanted, largest_free) = (order.get(), free.then_some(order.get()));
        self.tell(PoolEvent::Refused { wanted, largest_free });
    }

    /// Tells whether the pool says that there is room and refuses all the same, while no other call takes any.
    fn refuses_without_reason(&self, order: Order, rmap: Rmap) -> bool {
        let before = self.takers.quiet();
        if !self.inner.can_allocate(order, rmap) {
            return false;
        }
        if let Some(allocation) = self.takers.take(|| self.inner.allocate(order, rmap, Contents::Any)) {
            let Allocation { range, data, cleared } = allocation;
            if cleared {
                self.inner.give_back_cleared(range, data);
            } else {
                self.inner.give_back(range, data);
            }
            return false;
        }
        // This one has begun and ended as well.
        before.is_some_and(|before| self.takers.quiet() == Some(before + 1))
    }

    /// Lets the pool take a range back, and tells how often it released objects meanwhile.
    fn put(&self, (head, order): (Pfn, Order), take_back: impl FnOnce()) {
        PUTTING.set(true);
        take_back();
        PUTTING.set(false);
        let (head, order, released) = (head.get(), order.get(), RELEASED.replace(0));
        self.tell(PoolEvent::PutDone { head, order, released });
    }

    /// Asks for an object that something is left on.
    fn ask_for_object(&self, data: u32) {
        let Some(held) = self.checker.shadow().survivor(self.node.0, data) else { return };
        let (head, exists) = (held.head, self.inner.rmap_of(Pfn::new(held.head), data).is_some());
        let mut shadow = self.checker.shadow();
        // It may have been freed meanwhile, its object with it.
        if exists || shadow.survivor(self.node.0, data) == Some(held) {
            let event = PoolEvent::ObjectAsked { head, data, exists };
            self.checker.tell_shadow(&mut shadow, &Event::Pool { node: self.node.0, event });
        }
    }
}

impl DevicePool for CheckedPool {
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        let allocated = self.takers.take(|| self.inner.allocate(order, rmap, contents));
        match &allocated {
            Some(allocation) => self.handed_out(allocation, order, Purpose::Folio),
            None => self.refused(order, rmap),
        }
        allocated
    }

    fn allocate_dirty(&self, largest: Order) -> Option<Allocation> {
        let allocated = self.takers.take(|| self.inner.allocate_dirty(largest));
        if let Some(allocation) = &allocated {
            self.handed_out(allocation, allocation.range.order(), Purpose::Buffer);
        }
        allocated
    }

    fn add_plain(&self, pages: u64, memory: &mut Vec<(FreeRange, u32)>) -> u64 {
        let before = memory.len();
        let added = self.takers.take(|| self.inner.add_plain(pages, memory));
        for (range, data) in &memory[before..] {
            let (head, order, data) = (range.head().get(), range.order().get(), *data);
            let purpose = Purpose::Buffer;
            self.tell(PoolEvent::Allocated { head, order, wanted: order, data, purpose, cleared: false });
        }
        added
    }

    fn give_back(&self, range: FreeRange, data: u32) {
        self.given_back(range, data, false, |range| self.inner.give_back(range, data));
    }

    fn give_back_cleared(&self, range: FreeRange, data: u32) {
        self.given_back(range, data, true, |range| self.inner.give_back_cleared(range, data));
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
        RELEASED.set(RELEASED.get() + u64::from(PUTTING.get()));
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
        let (head, order) = (range.head(), range.order());
        self.tell(PoolEvent::Freed { head: head.get(), order: order.get(), data });
        self.put((head, order), || self.inner.folio_free(range, data));
        self.ask_for_object(data);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let event = FolioEvent::Split { head: head.get(), from: from.get(), to: to.get(), data };
        self.checker.tell(&of_folio(self.node, event));
        self.inner.folio_split(head, from, to, data);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let event = FolioEvent::Collapsed { head: head.get(), from: from.get(), to: to.get(), data };
        self.checker.tell(&of_folio(self.node, event));
        self.inner.folio_collapse(head, from, to, data);
        self.ask_for_object(data);
    }
}
