//! The free-list pool: chunks of device memory, and a list of free folios for each order.
//!
//! As Nouveau's, which makes chunks on demand and keeps free folios on lists, and repaired where that is unsound or
//! wasteful: a free folio is halved for a smaller order and joined again, so memory that was freed at one order
//! serves all (I9); an empty chunk goes back to the device; no page is left over at the end of a chunk or of a device.
//! The published form, with its two lists and without any undoing of folios, breaks rules and exists only in the
//! checker, as the design `linux-6.18-nouveau`.
//!
//! There are no objects: a folio's memory is free with the folio, and that of a piece with the piece. Each allocation has
//! a reverse mapping, under the number that its folio and all pieces of it carry, until the last of them is freed. Which memory is cleared is not kept: all of it counts as dirty. A page of a piece is found by its distance from the first page of the allocation.

use std::sync::PoisonError;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};

use crate::backing::Backing;
use crate::chunks::{Chunks, Empty};
use crate::counted::{Counted, Freed};
use crate::sync::{Mutex, MutexGuard};
use crate::{Allocation, Contents, DevicePool, NewError, Rmap, Usage};

/// Free lists over chunks of device memory.
#[derive(Debug)]
pub struct FreeListPool {
    pub(crate) inner: Mutex<Inner>,
}

#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) chunks: Chunks,
    pub(crate) backings: Counted<Backing>,
    /// Pages that are handed out.
    held: u64,
}

impl FreeListPool {
    /// Makes a pool of `pages` free pages from page 0. Empty chunks go back to the device.
    ///
    /// # Errors
    /// If there are no pages, or too many.
    pub fn new(pages: u64) -> Result<FreeListPool, NewError> {
        FreeListPool::over(Chunks::new(pages, Empty::GivenBack)?)
    }

    pub(crate) fn over(chunks: Chunks) -> Result<FreeListPool, NewError> {
        let backings = Counted::new(chunks.pages()).ok_or(NewError::OutOfMemory)?;
        Ok(FreeListPool { inner: Mutex::new(Inner { chunks, backings, held: 0 }) })
    }

    /// Returns how many chunks are made.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.lock().chunks.made()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Lists and table change nothing when they fail, so a panic elsewhere leaves them whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DevicePool for FreeListPool {
    fn allocate(&self, order: Order, rmap: Rmap, _: Contents) -> Option<Allocation> {
        let mut inner = self.lock();
        let head = inner.chunks.take(order)?;
        match inner.backings.insert(Backing { rmap, head, order }, head, order) {
            Ok(data) => {
                inner.held += order.pages();
                Some(Allocation { range: FreeRange::claim(head, order), data, cleared: false })
            }
            Err(_) => {
                inner.chunks.give(head, order);
                None
            }
        }
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        self.lock().backings.get(data)?.rmap_of(page)
    }

    fn can_allocate(&self, order: Order, _home: Rmap) -> bool {
        self.lock().chunks.can_allocate(order)
    }

    fn free_pages(&self) -> u64 {
        self.lock().chunks.free_pages()
    }

    fn usage(&self) -> Usage {
        let inner = self.lock();
        let backings = &inner.backings;
        Usage {
            objects: 0,
            references: backings.references(),
            pages: inner.held,
            refusals: backings.refusals(),
        }
    }

    fn close(&self) {
        self.lock().chunks.give_back_empty();
    }

    fn check_consistency(&self) -> Result<(), String> {
        let inner = self.lock();
        inner.backings.check_consistency()?;
        inner.chunks.check_consistency()
    }
}

impl Pool for FreeListPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        let (head, order) = range.surrender();
        let mut inner = self.lock();
        match inner.backings.free(data, head, order) {
            Freed::Lives => {}
            Freed::Dies => {
                inner.backings.take_dead();
            }
            Freed::Refused => return,
        }
        inner.held -= order.pages();
        inner.chunks.give(head, order);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.lock().backings.split(data, head, from, to);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.lock().backings.collapse(data, head, from, to);
    }
}
