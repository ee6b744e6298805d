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
use crate::{DevicePool, FreeListPool, Home, NewError, Usage};

/// Free lists whose chunks stay, and whose allocations fail when told to.
#[derive(Debug)]
pub struct MirrorPool {
    pub(crate) lists: FreeListPool,
    pub(crate) mood: Mutex<Mood>,
}

/// How the next allocation is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// As there is memory.
    Willing,
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
        Ok(MirrorPool::over(Chunks::new(pages, Empty::Kept)?))
    }

    pub(crate) fn over(chunks: Chunks) -> MirrorPool {
        MirrorPool { lists: FreeListPool::over(chunks), mood: Mutex::new(Mood::Willing) }
    }

    /// Makes the next allocation fail, once.
    pub fn fail_next(&self) {
        self.change_mood(|mood| if mood == Mood::Willing { Mood::FailNext } else { mood });
    }

    /// Returns how many chunks are made.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.lists.chunks()
    }

    /// Changes the mood, and returns what it was.
    pub(crate) fn change_mood(&self, change: impl FnOnce(Mood) -> Mood) -> Mood {
        // One plain value: a panic elsewhere leaves it whole.
        let mut mood = self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(*mood);
        std::mem::replace(&mut mood, changed)
    }
}

impl DevicePool for MirrorPool {
    fn allocate(&self, order: Order, home: Home) -> Option<(FreeRange, u32)> {
        let once = |mood| if mood == Mood::FailNext { Mood::Willing } else { mood };
        match self.change_mood(once) {
            Mood::Willing => self.lists.allocate(order, home),
            Mood::FailNext | Mood::Closed => None,
        }
    }

    fn home(&self, page: Pfn, data: u32) -> Option<Home> {
        self.lists.home(page, data)
    }

    fn has(&self, order: Order, home: Home) -> bool {
        self.change_mood(|mood| mood) != Mood::Closed && self.lists.has(order, home)
    }

    fn free_pages(&self) -> u64 {
        self.lists.free_pages()
    }

    fn usage(&self) -> Usage {
        self.lists.usage()
    }

    /// Gives all chunks back: the only moment they go.
    fn close(&self) {
        self.change_mood(|_| Mood::Closed);
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
