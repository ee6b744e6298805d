//! The mirror pool: as the kernel's HMM test device, which mirrors a process on memory that is ordinary memory.
//!
//! It is the pool to test with. Chunks are made on demand and never given back before [`MirrorPool::close`], so
//! memory once used stays on the lists; one allocation can be told to fail; and it serves private and coherent memory
//! alike, as the test device has instances of both.
//!
//! [`MirrorPool::close`]: DevicePool::close

use std::sync::PoisonError;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};

use crate::chunks::{Chunks, Empty};
use crate::sync::Mutex;
use crate::{Allocation, Contents, DevicePool, FreeListPool, NewError, Rmap, Usage};

/// Free lists whose chunks stay, and whose allocations fail when told to.
#[derive(Debug)]
pub struct MirrorPool {
    pub(crate) lists: FreeListPool,
    pub(crate) mode: Mutex<FailureMode>,
}

/// How the next allocation is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FailureMode {
    /// As there is memory.
    Normal,
    /// It is refused, and the one after it is not.
    FailNext,
    /// The pool is closed: all are refused.
    Closed,
}

impl MirrorPool {
    /// Makes a pool of `pages` free pages from page 0.
    ///
    /// # Errors
    /// If there are no pages, or too many.
    pub fn new(pages: u64) -> Result<MirrorPool, NewError> {
        MirrorPool::over(Chunks::new(pages, Empty::Kept)?)
    }

    pub(crate) fn over(chunks: Chunks) -> Result<MirrorPool, NewError> {
        Ok(MirrorPool { lists: FreeListPool::over(chunks)?, mode: Mutex::new(FailureMode::Normal) })
    }

    /// Makes the next allocation fail, once.
    pub fn fail_next(&self) {
        self.change_mode(|mode| if mode == FailureMode::Normal { FailureMode::FailNext } else { mode });
    }

    /// Returns how many chunks are made.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.lists.chunks()
    }

    /// Changes the mode, and returns what it was.
    pub(crate) fn change_mode(&self, change: impl FnOnce(FailureMode) -> FailureMode) -> FailureMode {
        // One plain value: a panic elsewhere leaves it whole.
        let mut mode = self.mode.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(*mode);
        std::mem::replace(&mut mode, changed)
    }
}

impl DevicePool for MirrorPool {
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        let once = |mode| if mode == FailureMode::FailNext { FailureMode::Normal } else { mode };
        match self.change_mode(once) {
            FailureMode::Normal => self.lists.allocate(order, rmap, contents),
            FailureMode::FailNext | FailureMode::Closed => None,
        }
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        self.lists.rmap_of(page, data)
    }

    fn can_allocate(&self, order: Order, rmap: Rmap) -> bool {
        self.change_mode(|mode| mode) != FailureMode::Closed && self.lists.can_allocate(order, rmap)
    }

    fn free_pages(&self) -> u64 {
        self.lists.free_pages()
    }

    fn usage(&self) -> Usage {
        self.lists.usage()
    }

    /// Gives all chunks back: the only moment they go.
    fn close(&self) {
        self.change_mode(|_| FailureMode::Closed);
        self.lists.close();
    }

    fn check_consistency(&self) -> Result<(), String> {
        self.lists.check_consistency()
    }
}

impl Pool for MirrorPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        self.lists.folio_free(range, data);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.lists.folio_split(head, from, to, data);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.lists.folio_collapse(head, from, to, data);
    }
}
