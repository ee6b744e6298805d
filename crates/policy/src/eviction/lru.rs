//! Least recently used.

use alloc::vec::Vec;

use super::queue::{Entries, Queue};
use super::{Eviction, Object, ObjectId, Removal};

/// The object that was used longest ago leaves first.
#[derive(Clone, Debug, Default)]
pub struct Lru {
    entries: Entries<()>,
    queue: Queue,
}

impl Eviction for Lru {
    fn insert(&mut self, id: ObjectId, object: Object) {
        self.entries.insert(&mut self.queue, id, object.pages, ());
    }

    fn touch(&mut self, id: ObjectId) {
        self.entries.renew(&mut self.queue, id);
    }

    fn remove(&mut self, id: ObjectId, _why: Removal) {
        self.entries.unlink(&mut self.queue, id);
    }

    fn victims(
        &mut self,
        count: usize,
        was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        let (mut next, end) = (self.queue.oldest(), victims.len() + count);
        while let Some(id) = next.filter(|_| victims.len() < end) {
            next = self.entries.newer(id);
            if was_used(id) {
                // It is met again as the newest, where it may be already.
                next = next.or(Some(id));
                self.touch(id);
            } else {
                victims.push(id);
            }
        }
    }
}
