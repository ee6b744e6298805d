//! The buddy pool: device memory over the buddy allocator, and the backings of folios.
//!
//! Each allocation makes a [`Backing`], whose number every folio on it carries. A backing has one reference per
//! live folio: one for a 2 MiB folio, 512 after a split to 4 KiB. Its memory goes back to the allocator with the
//! last one (I7), as in GPU SVM: what a split freed before is not used for others until then.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bifolio_buddy::{Buddy, NewError};
use bifolio_folio::{DATA_MAX, FreeRange, Order, Pfn, Pool};
use slab::Slab;

use crate::blocks::BlockId;

/// What device memory was allocated for, until its last folio is freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backing {
    /// The block whose bytes are there.
    pub block: BlockId,
    /// The page of the block that is at `head`; the following pages follow.
    pub page: u16,
    /// First device page of the allocation.
    pub head: Pfn,
    /// Order of the allocation.
    pub order: Order,
    /// Live folios on it.
    references: u32,
}

/// A sum over backings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backings {
    /// Backings.
    pub count: u64,
    /// Live folios on them.
    pub references: u64,
    /// Device pages allocated for them.
    pub pages: u64,
}

/// Free device memory. Allocates ranges of an order, and gets each folio back with its order.
#[derive(Debug)]
pub struct BuddyPool {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    buddy: Buddy,
    backings: Slab<Backing>,
}

impl BuddyPool {
    /// Makes a pool of `pages` free pages from page 0.
    ///
    /// # Errors
    /// What the allocator refuses.
    pub fn new(pages: u64) -> Result<BuddyPool, NewError> {
        let inner = Inner { buddy: Buddy::new(pages)?, backings: Slab::new() };
        Ok(BuddyPool { inner: Mutex::new(inner) })
    }

    /// Allocates device memory for a folio of `order` that is to hold `page` of `block` and those after it. With
    /// it, the number that the folio is to carry.
    #[must_use]
    pub fn allocate(&self, order: Order, block: BlockId, page: u16) -> Option<(FreeRange, u32)> {
        let mut inner = self.lock();
        let data = u32::try_from(inner.backings.vacant_key()).ok().filter(|data| *data <= DATA_MAX)?;
        let head = Pfn::new(inner.buddy.allocate(u32::from(order.get())).ok()?);
        inner.backings.insert(Backing { block, page, head, order, references: 1 });
        Some((FreeRange::claim(head, order), data))
    }

    /// Takes back what [`BuddyPool::allocate`] gave and no folio was formed from.
    pub fn give_back(&self, range: FreeRange, data: u32) {
        self.folio_free(range, data);
    }

    /// The backing that a folio carries the number of, if it still lives.
    #[must_use]
    pub fn backing(&self, data: u32) -> Option<Backing> {
        self.lock().backings.get(data as usize).copied()
    }

    /// Whether a folio of `order` would fit now.
    #[must_use]
    pub fn has(&self, order: Order) -> bool {
        self.lock().buddy.largest_free_order().is_some_and(|largest| largest >= u32::from(order.get()))
    }

    /// Pages that are free.
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.lock().buddy.free_pages()
    }

    /// What the backings that live add up to.
    #[must_use]
    pub fn backings(&self) -> Backings {
        let inner = self.lock();
        let add = |sum: Backings, backing: &Backing| Backings {
            count: sum.count + 1,
            references: sum.references + u64::from(backing.references),
            pages: sum.pages + backing.order.pages(),
        };
        inner.backings.iter().map(|(_, backing)| backing).fold(Backings::default(), add)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Allocator and slab change nothing when they fail, so a panic elsewhere leaves them whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool for BuddyPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        let mut inner = self.lock();
        let Some(backing) = inner.backings.get_mut(data as usize) else {
            debug_assert!(false, "{range:?} carries the number of no backing: {data}");
            return;
        };
        backing.references -= 1;
        if backing.references == 0 {
            let Backing { head, order, .. } = inner.backings.remove(data as usize);
            let freed = inner.buddy.free(head.get(), u32::from(order.get()));
            debug_assert!(freed.is_ok(), "the memory of a backing was not allocated: {freed:?}");
        }
    }

    fn folio_split(&self, _head: Pfn, from: Order, to: Order, data: u32) {
        if let Some(backing) = self.lock().backings.get_mut(data as usize) {
            backing.references += (1 << (from.get() - to.get())) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use bifolio_folio::{MemoryKind, PageMap};

    use super::*;

    fn order(k: u8) -> Order {
        Order::new(k).expect("orders in tests are small")
    }

    #[test]
    fn order_4_comes_out_of_a_free_order_9() {
        let pool = BuddyPool::new(512).expect("a pool");
        let (whole, data) = pool.allocate(Order::PMD, BlockId(0), 0).expect("all is free");
        pool.folio_free(whole, data);
        let (part, _) = pool.allocate(order(4), BlockId(0), 0).expect("all is free again");
        assert_eq!((part.order(), pool.free_pages()), (order(4), 512 - 16));
    }

    #[test]
    fn backing_has_512_references_after_a_split_and_goes_with_the_last() {
        let pagemap = PageMap::new(MemoryKind::Private, Pfn::ZERO, 512, BuddyPool::new(512).expect("a pool"))
            .expect("a pagemap");
        let (range, data) = pagemap.pool().allocate(Order::PMD, BlockId(3), 0).expect("all is free");
        let folio = pagemap.form(range, data).expect("free pages");
        let references = || pagemap.pool().backings().references;
        assert_eq!(references(), 1);
        let pieces: Vec<_> = folio.split(Order::ZERO).expect("nobody else holds it").collect();
        assert_eq!(references(), 512);
        let mut pieces = pieces.into_iter();
        drop(pieces.next());
        assert_eq!((references(), pagemap.pool().free_pages()), (511, 0));
        drop(pieces);
        assert_eq!((pagemap.pool().backings(), pagemap.pool().free_pages()), (Backings::default(), 512));
    }
}
