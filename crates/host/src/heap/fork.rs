//! A program that forks: everything stands still, the child gets the bytes, the parent goes on.
//!
//! ```text
//!   before   stop: no transaction is under way; let the child inherit the memory
//!   child    faults are nobody's any more: the bytes that are on the device are written to where they belong
//!   parent   waits until the child has them, keeps the memory from further children, goes on
//! ```
//!
//! Between forks the memory is not inherited at all (`MADV_DONTFORK`): a child that came about unseen gets SIGSEGV there,
//! which is better than zeros.

use std::sync::PoisonError;

use bifolio_engine::view::span_of;

use crate::sync::{MutexGuard, RwLockWriteGuard};

use super::Heap;
use super::arena::Arena;
use super::spare::Spare;

/// A heap in which nothing moves. Dropped, it goes on.
pub struct Stopped<'h> {
    heap: &'h Heap,
    _arena: MutexGuard<'h, Arena>,
    _spare: MutexGuard<'h, Spare>,
    _alone: RwLockWriteGuard<'h, ()>,
}

impl Heap {
    /// Waits for transactions under way and lets no further one begin. The caller must not touch memory of the heap
    /// until the result is dropped.
    #[must_use]
    pub fn stop(&self) -> Stopped<'_> {
        let alone = self.inner.gate.write().unwrap_or_else(PoisonError::into_inner);
        let spare = self.inner.spare();
        Stopped { heap: self, _arena: self.inner.arena(), _spare: spare, _alone: alone }
    }
}

impl Stopped<'_> {
    /// Lets a child inherit the memory.
    pub fn share(&self) {
        self.heap.inner.engine.view().share_with_children(true);
    }

    /// Keeps the memory from children again.
    pub fn seal(&self) {
        self.heap.inner.engine.view().share_with_children(false);
    }

    /// Tells whether a child must fetch bytes from the device.
    #[must_use]
    pub fn has_bytes_on_device(&self) -> bool {
        self.heap.inner.engine.nodes()[0].pagemap().live_pages() > 0
    }

    /// In the child: writes the bytes that are on the device to where they belong. The memory is ordinary from then on;
    /// the heap must not be used any more.
    pub fn fill_in_child(&self) {
        let engine = &self.heap.inner.engine;
        engine.copy_out(|base, run| engine.view().window(span_of(base, run)));
    }
}
