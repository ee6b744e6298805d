//! SIEVE (Zhang et al., NSDI 2024): a clock whose used objects stay where they are.
//!
//! ```text
//!   oldest  [ ] [x] [x] [ ] [ ] [x]  newest       x: used since the hand passed
//!                    ^ hand, goes towards newer objects and then begins again at the oldest
//! ```
//!
//! New objects come behind the hand's back, so objects that nothing uses go soon, and those that are used stay.

use alloc::vec::Vec;

use super::queue::{Entries, Queue};
use super::{Eviction, Object, ObjectId, Removal};

/// The first object from the hand on that was not used since the hand passed leaves first.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    /// With each object, whether it was used.
    entries: Entries<bool>,
    queue: Queue,
    /// The next object to look at; none: the oldest.
    hand: Option<ObjectId>,
}

impl Eviction for Sieve {
    fn insert(&mut self, id: ObjectId, object: Object) {
        self.entries.insert(&mut self.queue, id, object.pages, false);
    }

    fn touch(&mut self, id: ObjectId) {
        *self.entries.data(id) = true;
    }

    fn remove(&mut self, id: ObjectId, _why: Removal) {
        if self.hand == Some(id) {
            self.hand = self.entries.newer(id);
        }
        self.entries.unlink(&mut self.queue, id);
    }

    fn victims(
        &mut self,
        count: usize,
        was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        let (mut at, mut first, end) = (self.hand, None, victims.len() + count);
        while victims.len() < end {
            let Some(id) = at.or(self.queue.oldest()).filter(|id| first != Some(*id)) else { return };
            at = self.entries.newer(id);
            let touched = core::mem::take(self.entries.data(id));
            if was_used(id) || touched {
                continue;
            }
            if first.is_none() {
                (first, self.hand) = (Some(id), Some(id));
            }
            victims.push(id);
        }
    }
}
