//! First in, first out.

use alloc::vec::Vec;

use super::queue::{Entries, Queue};
use super::{Eviction, Object, ObjectId, Removal};

/// The object that came first leaves first, however much it is used.
#[derive(Clone, Debug, Default)]
pub struct Fifo {
    entries: Entries<()>,
    queue: Queue,
}

impl Eviction for Fifo {
    fn insert(&mut self, id: ObjectId, object: Object) {
        self.entries.insert(&mut self.queue, id, object.pages, ());
    }

    fn touch(&mut self, _id: ObjectId) {}

    fn remove(&mut self, id: ObjectId, _why: Removal) {
        self.entries.unlink(&mut self.queue, id);
    }

    fn victims(
        &mut self,
        count: usize,
        _was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        self.entries.oldest(&self.queue, count, victims);
    }
}
