//! A pool whose pages are numbered from another page than 0: [`OffsetPool`].

use std::fmt;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};

use crate::device_pool::{Allocation, Contents, DevicePool, Rmap, Usage};
use crate::error::NewError;

/// A pool of which every page number is shifted, so that the nodes of an engine can have pages of their own (I25).
#[derive(Debug)]
pub struct OffsetPool<P> {
    inner: P,
    first: u64,
}

impl<P: DevicePool> OffsetPool<P> {
    /// Numbers the pages of `inner` from `first` on.
    ///
    /// # Errors
    /// If `first` is not aligned to [`Order::MAX`].
    pub fn new(inner: P, first: Pfn) -> Result<OffsetPool<P>, NewError> {
        if !first.is_aligned(Order::MAX) {
            return Err(NewError::First(first));
        }
        Ok(OffsetPool { inner, first: first.get() })
    }

    /// Pages before the first get numbers beyond all pages, which the inner pool refuses.
    fn inside(&self, page: Pfn) -> Pfn {
        Pfn::new(page.get().wrapping_sub(self.first))
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

    fn allocation_outside(&self, allocation: Allocation) -> Allocation {
        Allocation { range: self.range_outside(allocation.range), ..allocation }
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
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        Some(self.allocation_outside(self.inner.allocate(order, rmap, contents)?))
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

    fn give_back_cleared(&self, range: FreeRange, data: u32) {
        self.inner.give_back_cleared(self.range_inside(range), data);
    }

    fn allocate_dirty(&self, largest: Order) -> Option<Allocation> {
        Some(self.allocation_outside(self.inner.allocate_dirty(largest)?))
    }

    fn declare_cleared(&self) {
        self.inner.declare_cleared();
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
