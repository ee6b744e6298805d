//! Queues of objects: doubly linked lists in one table, so that every change is O(1).
//!
//! ```text
//!   entries   [ older | newer | data ]  by object number
//!   Queue     oldest -> ... -> newest, and the pages of its objects
//! ```

use alloc::vec::Vec;

use super::ObjectId;

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Entry<D> {
    older: u32,
    newer: u32,
    pages: u32,
    data: D,
}

/// The entries of all objects of a memory; each is in at most one [`Queue`].
#[derive(Clone, Debug, Default)]
pub(super) struct Entries<D>(Vec<Entry<D>>);

/// Objects from the oldest to the newest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    oldest: u32,
    newest: u32,
    pages: u64,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { oldest: NONE, newest: NONE, pages: 0 }
    }
}

impl Queue {
    /// Pages of all its objects.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    pub(super) fn oldest(&self) -> Option<ObjectId> {
        id_of(self.oldest)
    }

    pub(super) fn newest(&self) -> Option<ObjectId> {
        id_of(self.newest)
    }
}

fn id_of(at: u32) -> Option<ObjectId> {
    (at != NONE).then_some(ObjectId(at))
}

impl<D: Default> Entries<D> {
    /// Makes an object known, and the newest of a queue.
    pub(super) fn insert(&mut self, queue: &mut Queue, id: ObjectId, pages: u32, data: D) {
        if self.0.len() <= id.index() {
            let empty = || Entry { older: NONE, newer: NONE, pages: 0, data: D::default() };
            self.0.resize_with(id.index() + 1, empty);
        }
        let entry = &mut self.0[id.index()];
        (entry.pages, entry.data) = (pages, data);
        self.push(queue, id);
    }
}

impl<D> Entries<D> {
    /// What a policy keeps of an object.
    pub(super) fn data(&mut self, id: ObjectId) -> &mut D {
        &mut self.0[id.index()].data
    }

    /// The pages of an object.
    pub(super) fn pages(&self, id: ObjectId) -> u64 {
        self.0[id.index()].pages.into()
    }

    /// The object that came to the queue after this one.
    pub(super) fn newer(&self, id: ObjectId) -> Option<ObjectId> {
        id_of(self.0[id.index()].newer)
    }

    /// Adds the oldest objects of a queue to `ids`, so many at most.
    pub(super) fn oldest(&self, queue: &Queue, count: usize, ids: &mut Vec<ObjectId>) {
        let from_oldest = core::iter::successors(queue.oldest(), |id| self.newer(*id));
        ids.extend(from_oldest.take(count));
    }

    /// Makes an object that is in no queue the newest of one.
    pub(super) fn push(&mut self, queue: &mut Queue, id: ObjectId) {
        self.link(queue, id, [queue.newest, NONE]);
    }

    /// Makes an object that is in no queue the oldest of one.
    pub(super) fn push_oldest(&mut self, queue: &mut Queue, id: ObjectId) {
        self.link(queue, id, [NONE, queue.oldest]);
    }

    /// Puts an object between two neighbours of a queue.
    fn link(&mut self, queue: &mut Queue, id: ObjectId, [older, newer]: [u32; 2]) {
        let entry = &mut self.0[id.index()];
        (entry.older, entry.newer) = (older, newer);
        queue.pages += u64::from(entry.pages);
        match older {
            NONE => queue.oldest = id.0,
            older => self.0[older as usize].newer = id.0,
        }
        match newer {
            NONE => queue.newest = id.0,
            newer => self.0[newer as usize].older = id.0,
        }
    }

    /// Takes an object out of its queue.
    pub(super) fn unlink(&mut self, queue: &mut Queue, id: ObjectId) {
        let Entry { older, newer, pages, .. } = self.0[id.index()];
        queue.pages -= u64::from(pages);
        match older {
            NONE => queue.oldest = newer,
            older => self.0[older as usize].newer = newer,
        }
        match newer {
            NONE => queue.newest = older,
            newer => self.0[newer as usize].older = older,
        }
    }

    /// Makes an object the newest of its queue.
    pub(super) fn renew(&mut self, queue: &mut Queue, id: ObjectId) {
        if queue.newest != id.0 {
            self.unlink(queue, id);
            self.push(queue, id);
        }
    }
}
