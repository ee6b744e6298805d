//! A pool whose pages are numbered from another page than 0: [`OffsetPool`].

use std::fmt;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};

use crate::device_pool::{DevicePool, Rmap, Usage};

/// A pool of which every page number is shifted, so that the nodes of an engine can have pages of their own (I25).
#[derive(Debug)]
pub struct OffsetPool<P> {
    inner: P,
    first: u64,
}

/// Page numbers that cannot be the first of a pool: folios of the largest order would not be aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("page {0} is not aligned to the largest order of a folio")]
pub struct Misaligned(pub Pfn);

impl<P: DevicePool> OffsetPool<P> {
    /// Numbers the pages of `inner` from `first` on.
    ///
    /// # Errors
    /// If `first` is not aligned to [`Order::MAX`].
    pub fn new(inner: P, first: Pfn) -> Result<OffsetPool<P>, Misaligned> {
        if !first.is_aligned(Order::MAX) {
            return Err(Misaligned(first));
        }
        Ok(OffsetPool { inner, first: first.get() })
    }

    fn inside(&self, page: Pfn) -> Pfn {
        Pfn::new(page.get() - self.first)
    }

    fn outside(&self, page: Pfn) -> Pfn {
        Pfn::new(page.get() + self.first)
    }

    fn range_inside(&self, range: FreeRange) -> FreeRange {
        let (head, order) = range.surrender();
        FreeRange::claim(self.inside(head), order)
    }

    fn range_outside(&self, range: FreeRange) -> FreeRange {
        let (head, order) = range.surrender();
        FreeRange::claim(self.outside(head), order)
    }
}

impl<P: DevicePool> Pool for OffsetPool<P> {
    fn folio_free(&self, range: FreeRange, data: u32) {
        self.inner.folio_free(self.range_inside(range), data);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.inner.folio_split(self.inside(head), from, to, data);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.inner.folio_collapse(self.inside(head), from, to, data);
    }
}

impl<P: DevicePool + fmt::Debug> DevicePool for OffsetPool<P> {
    fn allocate(&self, order: Order, rmap: Rmap) -> Option<(FreeRange, u32)> {
        let (range, data) = self.inner.allocate(order, rmap)?;
        Some((self.range_outside(range), data))
    }

    fn add_plain(&self, pages: u64, memory: &mut Vec<(FreeRange, u32)>) -> u64 {
        let mut more = Vec::new();
        let added = self.inner.add_plain(pages, &mut more);
        memory.extend(more.into_iter().map(|(range, data)| (self.range_outside(range), data)));
        added
    }

    fn give_back(&self, range: FreeRange, data: u32) {
        self.inner.give_back(self.range_inside(range), data);
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        self.inner.rmap_of(self.inside(page), data)
    }

    fn can_allocate(&self, order: Order, rmap: Rmap) -> bool {
        self.inner.can_allocate(order, rmap)
    }

    fn eviction_range(&self, page: Pfn, data: u32, order: Order) -> (Pfn, Order) {
        let (first, order) = self.inner.eviction_range(self.inside(page), data, order);
        (self.outside(first), order)
    }

    fn free_pages(&self) -> u64 {
        self.inner.free_pages()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn release(&self) -> u64 {
        self.inner.release()
    }

    fn close(&self) {
        self.inner.close();
    }

    fn check_consistency(&self) -> Result<(), String> {
        self.inner.check_consistency()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::PoolName;

    #[test]
    fn pages_are_numbered_from_the_first_on() {
        let first = Pfn::new(Order::MAX.pages());
        for &name in PoolName::ALL {
            let pool = name.make_at(first, 512).expect("a small pool");
            let rmap = Rmap { block: 3, page: 0 };
            let (range, data) = pool.allocate(Order::K64, rmap).expect("nothing is in use");
            let head = range.head();
            assert!((first.get()..first.get() + 512).contains(&head.get()), "{name}: {head}");
            assert_eq!(pool.rmap_of(head, data), Some(rmap), "{name}");
            assert!(pool.eviction_range(head, data, Order::PMD).0 >= first, "{name}");
            pool.give_back(range, data);
            pool.release();
            assert_eq!(pool.free_pages(), 512, "{name}");
        }
    }

    #[test]
    fn odd_first_pages_are_refused() {
        let refused = PoolName::Buddy.make_at(Pfn::new(512), 512).expect_err("not aligned");
        assert!(refused.to_string().contains("0x200"), "{refused}");
    }
}
