//! A pool for tests: a simple buddy under a mutex, which remembers every call it gets.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

use bifolio_folio::{FreeRange, MemoryKind, Order, PageMap, PageMapError, Pfn, Pool};

/// One call of the pagemap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Free { head: Pfn, order: Order, data: u32 },
    Split { head: Pfn, from: Order, to: Order, data: u32 },
    Collapse { head: Pfn, from: Order, to: Order, data: u32 },
}

/// What is behind the mutex.
#[derive(Debug, Default)]
pub struct Books {
    /// Heads of the free blocks of each order.
    pub free: [BTreeSet<u64>; Order::COUNT],
    /// Calls so far.
    pub calls: Vec<Call>,
    /// References of the one backing object all folios share: one for each folio.
    pub backing: u64,
}

impl Books {
    fn insert(&mut self, range: FreeRange) {
        let (head, order) = range.surrender();
        if let Some(larger) = order.larger()
            && self.free[order.index()].remove(&head.buddy(order).get())
        {
            return self.insert(FreeRange::claim(head.align_down(larger), larger));
        }
        assert!(self.free[order.index()].insert(head.get()), "order {order} at {head} freed twice");
    }

    fn take(&mut self, order: Order) -> Option<FreeRange> {
        if let Some(head) = self.free[order.index()].pop_first() {
            return Some(FreeRange::claim(Pfn::new(head), order));
        }
        let (lower, upper) = self.take(order.larger()?)?.halve().expect("larger than order 0");
        self.insert_alone(upper);
        Some(lower)
    }

    /// Takes one particular block out of the free block around it.
    fn take_at(&mut self, head: Pfn, order: Order) -> Option<FreeRange> {
        if self.free[order.index()].remove(&head.get()) {
            return Some(FreeRange::claim(head, order));
        }
        let larger = order.larger()?;
        let (lower, upper) = self.take_at(head.align_down(larger), larger)?.halve().expect("larger");
        let (wanted, other) = if lower.head() == head { (lower, upper) } else { (upper, lower) };
        self.insert_alone(other);
        Some(wanted)
    }

    fn insert_alone(&mut self, range: FreeRange) {
        let (head, order) = range.surrender();
        self.free[order.index()].insert(head.get());
    }

    pub fn free_pages(&self) -> u64 {
        Order::all().map(|order| self.free[order.index()].len() as u64 * order.pages()).sum()
    }

    /// Frees so far, as head, order and data.
    pub fn freed(&self) -> Vec<(Pfn, Order, u32)> {
        let freed = self.calls.iter().filter_map(|call| match *call {
            Call::Free { head, order, data } => Some((head, order, data)),
            Call::Split { .. } | Call::Collapse { .. } => None,
        });
        freed.collect()
    }
}

#[derive(Debug, Default)]
pub struct TestPool(Mutex<Books>);

impl TestPool {
    /// Makes a pool whose free memory is these pages.
    pub fn new(first: Pfn, pages: u64) -> TestPool {
        let pool = TestPool::default();
        let mut done = 0;
        while let Some(order) = first.checked_add(done).and_then(|pfn| pfn.largest_block(pages - done)) {
            pool.books().insert(FreeRange::claim(Pfn::new(first.get() + done), order));
            done += order.pages();
        }
        pool
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("no test panics with the books open")
    }

    /// Takes free memory for a folio and one reference of the backing.
    pub fn allocate(&self, order: Order) -> Option<FreeRange> {
        let mut books = self.books();
        let range = books.take(order)?;
        books.backing += 1;
        Some(range)
    }

    /// Takes one particular block of free memory for a folio, and one reference of the backing.
    pub fn allocate_at(&self, head: Pfn, order: Order) -> Option<FreeRange> {
        let mut books = self.books();
        let range = books.take_at(head, order)?;
        books.backing += 1;
        Some(range)
    }

    /// Takes back what no folio was formed of.
    pub fn give_back(&self, range: FreeRange) {
        let mut books = self.books();
        books.backing -= 1;
        books.insert(range);
    }
}

impl Pool for TestPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        let mut books = self.books();
        books.calls.push(Call::Free { head: range.head(), order: range.order(), data });
        books.backing = books.backing.checked_sub(1).expect("I7: a reference of the backing for each folio");
        books.insert(range);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let mut books = self.books();
        books.calls.push(Call::Split { head, from, to, data });
        books.backing += (from.pages() / to.pages()) - 1;
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        let mut books = self.books();
        books.calls.push(Call::Collapse { head, from, to, data });
        let left = books.backing.checked_sub((to.pages() / from.pages()) - 1);
        books.backing = left.expect("I7: a reference of the backing for each folio");
    }
}

/// Makes a pagemap of one free block at page 0.
pub fn pagemap(order: Order) -> PageMap<TestPool> {
    pagemap_at(Pfn::ZERO, order.pages())
}

/// Makes a pagemap of free pages.
pub fn pagemap_at(first: Pfn, pages: u64) -> PageMap<TestPool> {
    map_of(MemoryKind::Private, first, pages, TestPool::new(first, pages)).expect("a small pagemap")
}

/// Makes a pagemap with the reset that is tested.
pub fn map_of<P: Pool>(
    kind: MemoryKind,
    first: Pfn,
    pages: u64,
    pool: P,
) -> Result<PageMap<P>, PageMapError> {
    PageMap::with_reset(crate::RESET, kind, first, pages, pool)
}

/// Makes an order.
pub fn order(order: u8) -> Order {
    Order::new(order).expect("at most 18")
}
