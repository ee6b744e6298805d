//! S3-FIFO (Yang et al., SOSP 2023): three first-in-first-out queues.
//!
//! ```text
//!            used twice                 used: round again
//!   small ---------------> main <------------------------+
//!   (1/10)                  | +--------------------------+
//!     | else                | else
//!     v                     v
//!   ghost: names only      gone
//!     | comes back: straight to main
//! ```
//!
//! What is used only once passes through the small queue and never displaces what the large one holds.

use alloc::vec::Vec;

use super::ghost::Ghost;
use super::queue::{Entries, Queue};
use super::{Eviction, Object, ObjectId, Removal};

/// Uses of an object in the small queue that bring it to the main one.
const TO_MAIN: u8 = 2;
/// Uses are counted up to this.
const USES_MAX: u8 = 3;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    name: u64,
    uses: u8,
    in_main: bool,
}

/// Objects that are used once leave soon; others stay as long as they are used.
#[derive(Clone, Debug)]
pub struct S3Fifo {
    entries: Entries<Slot>,
    small: Queue,
    main: Queue,
    ghost: Ghost,
    small_pages: u64,
    main_pages: u64,
    has_evicted: bool,
}

impl S3Fifo {
    /// For a memory of `pages` pages: the small queue has a tenth of it, and names of nine tenths are remembered.
    #[must_use]
    pub fn new(pages: u64) -> S3Fifo {
        let small_pages = pages / 10;
        let main_pages = pages - small_pages;
        S3Fifo {
            entries: Entries::default(),
            small: Queue::default(),
            main: Queue::default(),
            ghost: Ghost::new(pages * 9 / 10),
            small_pages,
            main_pages,
            has_evicted: false,
        }
    }

    fn queue(&mut self, in_main: bool) -> &mut Queue {
        if in_main { &mut self.main } else { &mut self.small }
    }

    fn unlink(&mut self, id: ObjectId) -> Slot {
        let slot = *self.entries.data(id);
        let queue = if slot.in_main { &mut self.main } else { &mut self.small };
        self.entries.unlink(queue, id);
        slot
    }

    /// Makes an object the newest of the main queue.
    fn move_to_main(&mut self, id: ObjectId, uses: u8) {
        self.unlink(id);
        let slot = self.entries.data(id);
        (slot.uses, slot.in_main) = (uses, true);
        self.entries.push(&mut self.main, id);
    }

    fn first_victim(&mut self, was_used: &mut dyn FnMut(ObjectId) -> bool) -> Option<ObjectId> {
        let main_first = self.main.pages() > self.main_pages;
        let small = if main_first { None } else { self.victim_of_small(was_used) };
        small.or_else(|| self.victim_of_main(was_used))
    }

    /// The oldest of the small queue that was not used twice; those before it go to the main queue.
    fn victim_of_small(&mut self, was_used: &mut dyn FnMut(ObjectId) -> bool) -> Option<ObjectId> {
        while let Some(id) = self.small.oldest() {
            // A bit says that an object was used since it came, but not how often.
            if !was_used(id) && self.entries.data(id).uses < TO_MAIN {
                return Some(id);
            }
            self.move_to_main(id, 0);
        }
        None
    }

    /// The oldest of the main queue that was not used since its turn came last; those before it go round once more.
    fn victim_of_main(&mut self, was_used: &mut dyn FnMut(ObjectId) -> bool) -> Option<ObjectId> {
        while let Some(id) = self.main.oldest() {
            let uses = self.entries.data(id).uses.max(u8::from(was_used(id)));
            if uses == 0 {
                return Some(id);
            }
            self.move_to_main(id, uses - 1);
        }
        None
    }
}

impl Eviction for S3Fifo {
    fn insert(&mut self, id: ObjectId, Object { name, pages }: Object) {
        let filling = !self.has_evicted && self.small.pages() >= self.small_pages;
        let in_main = self.ghost.forget(name).is_some() || filling;
        let slot = Slot { name, uses: 0, in_main };
        let queue = if in_main { &mut self.main } else { &mut self.small };
        self.entries.insert(queue, id, pages, slot);
    }

    fn touch(&mut self, id: ObjectId) {
        let slot = self.entries.data(id);
        slot.uses = (slot.uses + 1).min(USES_MAX);
    }

    fn remove(&mut self, id: ObjectId, why: Removal) {
        let Slot { name, in_main, .. } = self.unlink(id);
        if why == Removal::Evicted {
            self.has_evicted = true;
            if !in_main {
                self.ghost.remember(name, self.entries.pages(id), 0);
            }
        }
    }

    fn victims(
        &mut self,
        count: usize,
        was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        let end = victims.len() + count;
        let Some(first) = self.first_victim(was_used).filter(|_| count > 0) else { return };
        victims.push(first);
        let main_first = self.entries.data(first).in_main;
        // Those that would come next if nothing were used meanwhile; then all others.
        for idle_only in [true, false] {
            for in_main in [main_first, !main_first] {
                let mut next = self.queue(in_main).oldest();
                while let Some(id) = next.filter(|_| victims.len() < end) {
                    next = self.entries.newer(id);
                    let idle = self.entries.data(id).uses == 0;
                    if idle == idle_only && id != first {
                        victims.push(id);
                    }
                }
            }
        }
    }
}
