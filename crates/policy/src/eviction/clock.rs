//! Clock: first in, first out, with a second chance.

use alloc::vec::Vec;

use super::queue::{Entries, Queue};
use super::{Eviction, Object, ObjectId, Removal};

/// The object that came first leaves first, unless it was used since its turn came last: then it goes round once more.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// With each object, whether it was used.
    entries: Entries<bool>,
    queue: Queue,
}

impl Eviction for Clock {
    fn insert(&mut self, id: ObjectId, object: Object) {
        self.entries.insert(&mut self.queue, id, object.pages, false);
    }

    fn touch(&mut self, id: ObjectId) {
        *self.entries.data(id) = true;
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
            let touched = core::mem::take(self.entries.data(id));
            if was_used(id) || touched {
                // It is met again as the newest, where it may be already.
                next = next.or(Some(id));
                self.entries.renew(&mut self.queue, id);
            } else {
                victims.push(id);
            }
        }
    }
}
