//! What the engine asks of a pool: [`DevicePool`].

use std::fmt;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};

/// The reverse mapping of a device page: the page of address space whose bytes it holds, in the engine's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Rmap {
    /// Number of the block.
    pub block: u32,
    /// Page within the block.
    pub page: u16,
}

impl Rmap {
    /// No page of any block: the mapping of memory that no folio is formed from.
    pub const NONE: Rmap = Rmap { block: u32::MAX, page: 0 };
}

/// What the objects of a pool add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Objects that live, and dead ones whose memory was not released yet.
    pub objects: u64,
    /// Their references: one for each folio on them, and for each range that is handed out and not yet formed.
    pub references: u64,
    /// Device pages that they hold, those included that no folio uses now.
    pub pages: u64,
    /// Frees, splits and collapses that the pool refused, because no such range was handed out at that order. Each is a
    /// bug of the caller; the memory that it named stayed as it was.
    pub refusals: u64,
}

/// What the bytes of device memory are to be when it is handed out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Contents {
    /// Anything: every byte will be written. Memory that is not known to be cleared is taken first, to save the other.
    #[default]
    Any,
    /// Zeros, if they can be had: some bytes would have to be cleared. Memory that is known to be cleared is taken first.
    Zeros,
}

/// Device memory that [`DevicePool::allocate`] handed out.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "device memory that is dropped stays allocated"]
pub struct Allocation {
    /// The pages.
    pub range: FreeRange,
    /// The number that the folio is to carry as its `data`, and by which the pages are given back.
    pub data: u32,
    /// Whether all bytes are known to be zeros. If not, they may be what an earlier owner left (I22).
    pub cleared: bool,
}

/// A pool that the engine can run on: free device memory, and what it is used for.
///
/// Called by many threads at once. No call waits for anything but a short lock of the pool's own.
pub trait DevicePool: Pool + Send + Sync + fmt::Debug {
    /// Hands out device memory for a folio of `order` that is to hold the bytes of `rmap` and of the pages after it.
    /// `None` if there is none of that order now. `contents` decides only which memory is preferred.
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation>;

    /// Hands out device memory for a plain object, one that the device uses without folios: up to `pages` pages, as
    /// much as there is. Adds the ranges to `memory`, which is what the object has so far, each with the number to
    /// give it back by, and returns the pages that they add up to.
    fn add_plain(&self, pages: u64, memory: &mut Vec<(FreeRange, u32)>) -> u64 {
        let (mut left, mut largest) = (pages, Some(Order::PMD));
        while let Some(order) = largest.and_then(|largest| Some(Order::largest_fitting(left)?.min(largest))) {
            match self.allocate(order, Rmap::NONE, Contents::Any) {
                Some(Allocation { range, data, .. }) => {
                    left -= range.pages();
                    memory.push((range, data));
                }
                None => largest = order.smaller(),
            }
        }
        pages - left
    }

    /// Takes back what [`DevicePool::allocate`] or [`DevicePool::add_plain`] gave and no folio was formed from. Its
    /// bytes count as unknown, as those of a folio do.
    fn give_back(&self, range: FreeRange, data: u32) {
        self.folio_free(range, data);
    }

    /// Takes memory back as [`give_back`](DevicePool::give_back) does, all bytes of which are zeros and stay so: it was
    /// cleared, or was handed out cleared and not written since. The caller answers for that (I22). A pool that does not
    /// keep track of cleared memory forgets it.
    fn give_back_cleared(&self, range: FreeRange, data: u32) {
        self.give_back(range, data);
    }

    /// Hands out free memory that is not known to be cleared, the largest that it finds up to order `largest`, for the
    /// caller to clear while the device is idle and to give back by [`DevicePool::give_back_cleared`]. `None` if all free
    /// memory is known to be cleared, or the pool does not keep track of it.
    fn allocate_dirty(&self, largest: Order) -> Option<Allocation> {
        let _ = largest;
        None
    }

    /// Declares that all bytes of the memory that is free now are zeros, as those of a device may be that was just
    /// switched on. The caller answers for that (I22).
    fn declare_cleared(&self) {}

    /// Returns the reverse mapping of `page`, a page of a folio that carries `data`; `None` if the folio has gone. Memory
    /// of plain objects has none, or [`Rmap::NONE`].
    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap>;

    /// Tells whether [`DevicePool::allocate`] would succeed now.
    fn can_allocate(&self, order: Order, rmap: Rmap) -> bool;

    /// Returns the first page and the order of the range to evict so that a folio of `order` fits where `page` is now:
    /// at least the aligned range of that order around `page`. `page` belongs to a folio that carries `data`.
    fn eviction_range(&self, page: Pfn, data: u32, order: Order) -> (Pfn, Order) {
        let _ = data;
        (page.align_down(order), order)
    }

    /// Returns the pages that can be handed out.
    fn free_pages(&self) -> u64;

    /// Returns what the objects that live add up to. Pages are either free or held by an object.
    fn usage(&self) -> Usage;

    /// Does the work that freeing has left: memory of dead objects becomes free. Returns the number of objects
    /// released. Called where it may take its time, never by a put (I15).
    fn release(&self) -> u64 {
        0
    }

    /// Ends the use of the pool: what it kept for later goes back to the device. Called when the pagemap is drained;
    /// what is allocated afterwards may be refused.
    fn close(&self) {}

    /// Walks everything the pool knows and compares it with its counts.
    ///
    /// # Errors
    /// The first contradiction, in words.
    fn check_consistency(&self) -> Result<(), String> {
        Ok(())
    }
}
