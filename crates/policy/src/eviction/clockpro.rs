//! CLOCK-Pro (Jiang, Chen and Zhang, USENIX 2005): objects that are used at short intervals stay, however much passes by.
//!
//! ```text
//!            used again within its test              used: the newest again
//!    cold -----------------------------> hot <------------------+
//!     | <------------------------------- |  +-------------------+
//!     |      too many are hot: the oldest
//!     |
//!     +-- not used: leaves; its name is remembered (ghost), and if it comes back within its test, it is hot at once
//! ```
//!
//! The test of an object lasts until each hot object was used later than it. So an object becomes hot if it was used at a
//! shorter interval than the hot object that it replaces. In a loop over more than there is room for all intervals are the
//! same: what is hot stays, and the rest passes through the cold part. LIRS has the same rule; a clock needs no order of all
//! uses, but looks at the bits of the oldest objects when room is needed.
//!
//! **How much is cold.** Under LRU an object leaves once as many pages as there are were used after it. A page that comes back
//! sooner than that would still be there under LRU, and the cold part grows by `GROWTH` pages; one that comes back later, or
//! is hot and used later, is one that LRU would have lost, and the cold part shrinks by its pages. (The paper counts which tests
//! succeed. Walks by columns, each of which is used a few times and never again, need a large cold part at once.)

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::ghost::Ghost;
use super::queue::{Entries, Queue};
use super::{Eviction, Object, ObjectId, Removal};

/// The cold part and the hot part have at least one page in so many.
const LEAST_PART: u64 = 16;
/// The part that is cold at first.
const FIRST_PART: u64 = 4;
/// By how many pages the cold part grows for each page that comes back soon.
const GROWTH: u64 = 5;
/// What comes back after fewer pages than this part of the memory, in quarters, came back soon.
const SOON_QUARTERS: u64 = 3;
/// A page of a large object that left came back soon, if fewer pages than one part in so many of the memory were used since. When it was
/// used itself is not known, so that it makes nothing hot.
const PART_SOON: u64 = 4;
/// Hot pages that are looked at for a victim; what is not looked at is saved, up to one large folio's.
const HOT_LOOKS: u64 = 64;
const HOT_LOOKS_MAX: u64 = 512;
/// New objects whose first use is waited for, and how many of them are looked at for a victim.
const FRESH: usize = 64;
const FRESH_LOOKS: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    name: u64,
    /// When it was last known to be used.
    used_at: u64,
    is_hot: bool,
    /// Whether it was used since this was last looked at.
    is_used: bool,
    /// Whether the use that it came for has not been seen yet: that does not count.
    is_fresh: bool,
}

/// Objects that are used at short intervals stay.
#[derive(Clone, Debug)]
pub struct ClockPro {
    entries: Entries<Slot>,
    hot: Queue,
    cold: Queue,
    ghost: Ghost,
    /// The newest objects.
    fresh: VecDeque<ObjectId>,
    /// Pages that were known to be used so far.
    now: u64,
    pages: u64,
    cold_pages: u64,
    /// Whether the oldest hot object was not used when it was last looked at: then it is known which tests are over.
    is_settled: bool,
    /// Hot pages that may be looked at.
    looks: u64,
}

impl ClockPro {
    /// For a memory of `pages` pages. Names of as many pages are remembered.
    #[must_use]
    pub fn new(pages: u64) -> ClockPro {
        let (entries, ghost, fresh) = (Entries::default(), Ghost::new(pages), VecDeque::new());
        let (hot, cold, cold_pages) = (Queue::default(), Queue::default(), pages / FIRST_PART);
        ClockPro { entries, hot, cold, ghost, fresh, now: 0, pages, cold_pages, is_settled: false, looks: 0 }
    }

    /// How many pages may be hot.
    fn hot_pages(&self) -> u64 {
        self.pages - self.cold_pages
    }

    /// Tests of objects that were last used before this are over.
    fn horizon(&mut self) -> u64 {
        self.hot.oldest().map_or(0, |id| self.entries.data(id).used_at)
    }

    /// Notes that a page of this many came back, or was used, after so many others.
    fn adapt(&mut self, pages: u64, apart: u64) {
        let least = self.pages / LEAST_PART;
        self.cold_pages = match apart <= self.pages / 4 * SOON_QUARTERS {
            true => self.cold_pages + pages * GROWTH,
            false => self.cold_pages.saturating_sub(pages),
        };
        self.cold_pages = self.cold_pages.clamp(least, self.pages - least);
    }

    /// Tells whether an object was used since this was last asked.
    fn take_used(&mut self, id: ObjectId, was_used: &mut dyn FnMut(ObjectId) -> bool) -> bool {
        let told = core::mem::take(&mut self.entries.data(id).is_used);
        was_used(id) || told
    }

    /// Sees the first uses of new objects.
    fn see_fresh(&mut self, was_used: &mut dyn FnMut(ObjectId) -> bool) {
        for _ in 0..self.fresh.len().min(FRESH_LOOKS) {
            let Some(id) = self.fresh.pop_front() else { return };
            let slot = self.entries.data(id);
            slot.is_fresh = slot.is_fresh && !was_used(id);
        }
    }

    /// Renews the oldest hot objects that were used.
    fn renew_hot(&mut self, was_used: &mut dyn FnMut(ObjectId) -> bool) {
        self.looks = (self.looks + HOT_LOOKS).min(HOT_LOOKS_MAX);
        while let Some(id) = self.hot.oldest() {
            let pages = self.entries.pages(id);
            let Some(left) = self.looks.checked_sub(pages.min(HOT_LOOKS_MAX)) else { return };
            self.looks = left;
            self.is_settled = !self.take_used(id, was_used);
            if self.is_settled {
                return;
            }
            let apart = self.use_now(id);
            let was_fresh = core::mem::take(&mut self.entries.data(id).is_fresh);
            if !was_fresh && apart > self.pages {
                self.adapt(pages, apart);
            }
            self.entries.renew(&mut self.hot, id);
        }
        self.is_settled = true;
    }

    /// Notes that an object was used; returns how many pages were since it was used before.
    fn use_now(&mut self, id: ObjectId) -> u64 {
        self.now += self.entries.pages(id);
        self.now - core::mem::replace(&mut self.entries.data(id).used_at, self.now)
    }

    /// The oldest cold object that was not used. Those before it become hot, or go round once more.
    fn cold_victim(&mut self, was_used: &mut dyn FnMut(ObjectId) -> bool) -> Option<ObjectId> {
        while let Some(id) = self.cold.oldest() {
            if !self.take_used(id, was_used) {
                return Some(id);
            }
            let horizon = self.horizon();
            let slot = self.entries.data(id);
            if core::mem::take(&mut slot.is_fresh) {
                self.entries.renew(&mut self.cold, id);
                continue;
            }
            let in_test = slot.used_at > horizon;
            self.use_now(id);
            self.entries.unlink(&mut self.cold, id);
            self.push(id, in_test);
            self.cool_down();
        }
        None
    }

    /// Makes an object the newest of the hot ones, or of the cold ones.
    fn push(&mut self, id: ObjectId, is_hot: bool) {
        self.entries.data(id).is_hot = is_hot;
        self.entries.push(if is_hot { &mut self.hot } else { &mut self.cold }, id);
    }

    fn unlink(&mut self, id: ObjectId) -> Slot {
        let slot = *self.entries.data(id);
        self.entries.unlink(if slot.is_hot { &mut self.hot } else { &mut self.cold }, id);
        slot
    }

    /// Makes the oldest hot objects cold, and the first to leave, while there are too many.
    fn cool_down(&mut self) {
        while self.hot.pages() > self.hot_pages() {
            let Some(id) = self.hot.oldest() else { return };
            self.cool(id);
        }
    }

    /// Makes a hot object cold, and the first to leave.
    fn cool(&mut self, id: ObjectId) {
        self.entries.unlink(&mut self.hot, id);
        self.entries.data(id).is_hot = false;
        self.entries.push_oldest(&mut self.cold, id);
    }
}

impl Eviction for ClockPro {
    fn insert(&mut self, id: ObjectId, Object { name, pages }: Object) {
        self.now += u64::from(pages);
        let part_of = self.ghost.holds(name).filter(|_| self.is_settled);
        let left = self.ghost.forget(name).filter(|_| self.is_settled);
        let in_test = left.is_some_and(|used_at| used_at > self.horizon());
        if let Some(used_at) = left {
            self.adapt(u64::from(pages), self.now - used_at);
        } else if part_of.is_some_and(|used_at| self.now - used_at <= self.pages / PART_SOON) {
            self.adapt(u64::from(pages), 0);
        }
        let is_hot = in_test || self.hot.pages() + u64::from(pages) <= self.hot_pages();
        let slot = Slot { name, used_at: self.now, is_hot, is_used: false, is_fresh: true };
        self.entries.insert(if is_hot { &mut self.hot } else { &mut self.cold }, id, pages, slot);
        self.fresh.push_back(id);
        self.fresh.drain(..self.fresh.len().saturating_sub(FRESH));
        self.cool_down();
    }

    fn touch(&mut self, id: ObjectId) {
        let slot = self.entries.data(id);
        (slot.is_used, slot.is_fresh) = (true, false);
    }

    fn remove(&mut self, id: ObjectId, why: Removal) {
        let Slot { name, used_at, .. } = self.unlink(id);
        self.fresh.retain(|fresh| *fresh != id);
        if why == Removal::Evicted {
            self.ghost.remember(name, self.entries.pages(id), used_at);
        }
    }

    fn take_over(&mut self) {
        while let Some(id) = self.hot.newest() {
            self.cool(id);
        }
    }

    fn victims(
        &mut self,
        count: usize,
        was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        self.see_fresh(was_used);
        self.renew_hot(was_used);
        let first = self.cold_victim(was_used);
        let end = victims.len() + count;
        victims.extend(first.filter(|_| count > 0));
        for queue in [self.cold, self.hot] {
            let mut next = queue.oldest();
            while let Some(id) = next.filter(|_| victims.len() < end) {
                next = self.entries.newer(id);
                if first != Some(id) {
                    victims.push(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::belady::{Touch, optimum};
    use crate::eviction::EvictionName;
    use crate::page_cache::misses;

    const PAGES: usize = 256;

    fn reads(pages: impl IntoIterator<Item = u64>) -> Vec<Touch> {
        pages.into_iter().map(Touch::read).collect()
    }

    /// Misses of an order in a memory of [`PAGES`] pages.
    fn misses_of(string: &[Touch], name: EvictionName) -> u64 {
        misses(string, PAGES, name.make(PAGES as u64).as_mut())
    }

    #[test]
    fn loop_over_more_than_there_is_room_for_keeps_most_of_it() {
        let string = reads((0..10 * 320).map(|at| at % 320));
        let fewest = optimum(&string, PAGES, |_| true).misses;
        assert_eq!(misses_of(&string, EvictionName::Lru), 3200, "the next page has always just left");
        let found = misses_of(&string, EvictionName::ClockPro);
        assert!(found < fewest * 5 / 3, "{found} of at least {fewest}");
    }

    #[test]
    fn pass_over_much_leaves_what_is_used_again_and_again() {
        // A set of half the memory, in turn with pages that are used once.
        let string = reads((0..20_000).map(|at| if at % 2 == 0 { at / 2 % 128 } else { 1000 + at }));
        let found = misses_of(&string, EvictionName::ClockPro);
        assert!(found <= 10_000 + 2 * 128, "{found}");
        assert!(misses_of(&string, EvictionName::Fifo) > 14_000);
    }

    #[test]
    fn sets_that_are_used_a_few_times_each_soon_pass_as_under_lru() {
        let columns = |set: u64| (0..8).flat_map(move |_| (0..128).map(move |row| set * 128 + row));
        let string = reads((0..20).flat_map(columns));
        let (lru, found) =
            (misses_of(&string, EvictionName::Lru), misses_of(&string, EvictionName::ClockPro));
        assert_eq!(lru, 20 * 128);
        assert!(found < lru * 5 / 4, "{found}");
    }

    #[test]
    fn loop_after_such_sets_is_kept_again() {
        let columns = |set: u64| (0..8).flat_map(move |_| (0..128).map(move |row| set * 128 + row));
        let sets: Vec<u64> = (0..20).flat_map(columns).collect();
        let rounds =
            |count: u64| reads(sets.iter().copied().chain((0..count * 320).map(|at| 9000 + at % 320)));
        let late =
            misses_of(&rounds(30), EvictionName::ClockPro) - misses_of(&rounds(20), EvictionName::ClockPro);
        assert!(late < 10 * 320 / 2, "{late} misses in ten rounds");
    }

    #[test]
    fn use_that_an_object_came_for_is_no_second_use() {
        // Bits tell of the first use, as those of a device do: without more, everything leaves in the order in which it came.
        let mut order = ClockPro::new(16);
        let mut left = Vec::new();
        for id in 0..64 {
            if id >= 16 {
                let mut victims = Vec::new();
                // What came last was used meanwhile.
                order.victims(1, &mut |asked| asked.0 == id - 1, &mut victims);
                order.remove(victims[0], Removal::Evicted);
                left.push(victims[0].0);
            }
            order.insert(ObjectId(id), Object { name: u64::from(id), pages: 1 });
        }
        let cold: Vec<u32> = left.into_iter().filter(|id| *id >= 16).collect();
        assert!(cold.len() > 32 && cold.is_sorted(), "{cold:?}");
    }

    #[test]
    fn what_another_order_had_leaves_in_its_order() {
        let mut order = ClockPro::new(16);
        (0..16).for_each(|id| order.insert(ObjectId(id), Object { name: u64::from(id), pages: 1 }));
        order.take_over();
        let mut victims = Vec::new();
        order.victims(16, &mut |_| false, &mut victims);
        assert_eq!(victims, (0..16).map(ObjectId).collect::<Vec<ObjectId>>());
    }
}
