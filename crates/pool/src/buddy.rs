//! The buddy pool: device memory over the buddy allocator, and the backings of folios.
//!
//! Each allocation makes a *backing*, whose number every folio on it carries. A backing has one reference per
//! live folio: one for a 2 MiB folio, 512 after a split to 4 KiB. Its memory goes back to the allocator with the
//! last one (I7), as in GPU SVM: what a split freed before is not used for others until then.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bifolio_buddy::{Buddy, NewError};
use bifolio_folio::{DATA_MAX, FreeRange, Order, Pfn, Pool};
use slab::Slab;

use crate::{DevicePool, Home, Usage};

/// What device memory was allocated for, until its last folio is freed.
#[derive(Clone, Copy, Debug)]
struct Backing {
    /// Whose bytes are at `head`; the following pages follow.
    home: Home,
    head: Pfn,
    order: Order,
    /// Live folios on it.
    references: u32,
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Allocator and slab change nothing when they fail, so a panic elsewhere leaves them whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DevicePool for BuddyPool {
    fn allocate(&self, order: Order, home: Home) -> Option<(FreeRange, u32)> {
        let mut inner = self.lock();
        let data = u32::try_from(inner.backings.vacant_key()).ok().filter(|data| *data <= DATA_MAX)?;
        let head = Pfn::new(inner.buddy.allocate(u32::from(order.get())).ok()?);
        inner.backings.insert(Backing { home, head, order, references: 1 });
        Some((FreeRange::claim(head, order), data))
    }

    fn home(&self, page: Pfn, data: u32) -> Option<Home> {
        let inner = self.lock();
        let backing = inner.backings.get(data as usize)?;
        let into = page.offset_from(backing.head).filter(|into| *into < backing.order.pages())?;
        let page = backing.home.page.checked_add(u16::try_from(into).ok()?)?;
        Some(Home { page, ..backing.home })
    }

    fn has(&self, order: Order, _home: Home) -> bool {
        self.lock().buddy.largest_free_order().is_some_and(|largest| largest >= u32::from(order.get()))
    }

    /// A backing keeps its memory until its last folio has gone, so a larger one goes as a whole.
    fn to_empty(&self, page: Pfn, data: u32, order: Order) -> (Pfn, Order) {
        let holds = self.lock().backings.get(data as usize).map(|backing| backing.order);
        let order = holds.map_or(order, |holds| order.max(holds));
        (page.align_down(order), order)
    }

    fn free_pages(&self) -> u64 {
        self.lock().buddy.free_pages()
    }

    fn usage(&self) -> Usage {
        let inner = self.lock();
        let add = |sum: Usage, backing: &Backing| Usage {
            objects: sum.objects + 1,
            references: sum.references + u64::from(backing.references),
            pages: sum.pages + backing.order.pages(),
        };
        inner.backings.iter().map(|(_, backing)| backing).fold(Usage::default(), add)
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

    const HOME: Home = Home { block: 3, page: 0 };

    fn order(k: u8) -> Order {
        Order::new(k).expect("orders in tests are small")
    }

    #[test]
    fn order_4_comes_out_of_a_free_order_9() {
        let pool = BuddyPool::new(512).expect("a pool");
        let (whole, data) = pool.allocate(Order::PMD, HOME).expect("all is free");
        pool.folio_free(whole, data);
        let (part, _) = pool.allocate(order(4), HOME).expect("all is free again");
        assert_eq!((part.order(), pool.free_pages()), (order(4), 512 - 16));
    }

    #[test]
    fn backing_has_512_references_after_a_split_and_goes_with_the_last() {
        let pagemap = PageMap::new(MemoryKind::Private, Pfn::ZERO, 512, BuddyPool::new(512).expect("a pool"))
            .expect("a pagemap");
        let (range, data) = pagemap.pool().allocate(Order::PMD, HOME).expect("all is free");
        let folio = pagemap.form(range, data).expect("free pages");
        let references = || pagemap.pool().usage().references;
        assert_eq!(references(), 1);
        let pieces: Vec<_> = folio.split(Order::ZERO).expect("nobody else holds it").collect();
        assert_eq!(references(), 512);
        let mut pieces = pieces.into_iter();
        drop(pieces.next());
        assert_eq!((references(), pagemap.pool().free_pages()), (511, 0));
        drop(pieces);
        assert_eq!((pagemap.pool().usage(), pagemap.pool().free_pages()), (Usage::default(), 512));
    }
}
