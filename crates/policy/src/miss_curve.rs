//! How many accesses miss in memories of every size under LRU, by one pass over the accesses (Mattson et al. 1970).
//!
//! Pages are of one size and come one at a time. A page is found in every memory that is at least as large as its *depth*: its
//! place in the order of use, most recent first. A page that the other side takes leaves a *hole* at its place: room, in
//! every memory in which it was. The next page that comes takes the uppermost hole.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use crate::belady::Touch;

/// Misses by the size of the memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MissCurve {
    /// For each size from zero pages on, the accesses that miss. More pages than these miss no less.
    misses: Vec<u64>,
    touches: u64,
}

/// The order of use, by the time of the last access.
struct Order {
    /// The time of each page's last access.
    last: BTreeMap<u64, usize>,
    /// Times at which there is a hole.
    holes: BTreeSet<usize>,
    /// Pages and holes, counted by time.
    places: Counts,
}

impl MissCurve {
    /// Counts the misses of this side's accesses.
    #[must_use]
    pub fn of(string: &[Touch]) -> MissCurve {
        let mut order = Order::new(string.len());
        let (mut hits, mut touches) = (vec![0_u64], 0);
        for (time, touch) in string.iter().enumerate() {
            if touch.what.leaves() {
                order.take(touch.page);
                continue;
            }
            touches += 1;
            if let Some(depth) = order.access(touch.page, time) {
                if hits.len() <= depth {
                    hits.resize(depth + 1, 0);
                }
                hits[depth] += 1;
            }
        }
        let mut left = touches;
        for at in &mut hits {
            left -= *at;
            *at = left;
        }
        MissCurve { misses: hits, touches }
    }

    /// Accesses of this side.
    #[must_use]
    pub fn touches(&self) -> u64 {
        self.touches
    }

    /// Accesses that miss in a memory of so many pages.
    #[must_use]
    pub fn misses(&self, pages: u64) -> u64 {
        let last = self.misses.len() - 1;
        self.misses[usize::try_from(pages).unwrap_or(last).min(last)]
    }

    /// The least number of pages beyond which nothing misses less.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.misses.len() as u64 - 1
    }

    /// The least number of pages that avoids `percent` of the misses that any larger memory than one of `pages` pages avoids.
    #[must_use]
    pub fn enough(&self, pages: u64, percent: u64) -> u64 {
        let (now, least) = (self.misses(pages), self.misses(u64::MAX));
        let wanted = now - (now - least) * percent.min(100) / 100;
        self.misses.partition_point(|misses| *misses > wanted) as u64
    }
}

impl Order {
    fn new(times: usize) -> Order {
        Order { last: BTreeMap::new(), holes: BTreeSet::new(), places: Counts::new(times) }
    }

    /// Takes note of an access; returns the depth at which its page was, from one on.
    fn access(&mut self, page: u64, time: usize) -> Option<usize> {
        let before = self.last.insert(page, time);
        let depth = before.map(|before| self.places.from(before));
        let hole = self.holes.last().copied().filter(|hole| before.is_none_or(|before| *hole > before));
        if let Some(hole) = hole {
            self.holes.remove(&hole);
            self.places.remove(hole);
            self.holes.extend(before);
        } else if let Some(before) = before {
            self.places.remove(before);
        }
        self.places.add(time);
        depth
    }

    /// The other side takes a page.
    fn take(&mut self, page: u64) {
        self.holes.extend(self.last.remove(&page));
    }
}

/// A set of times that counts how many there are from one on (Fenwick's tree, over times from the last to the first).
struct Counts(Vec<u32>);

impl Counts {
    fn new(times: usize) -> Counts {
        Counts(vec![0; times + 1])
    }

    fn add(&mut self, time: usize) {
        self.change(time, |count| count + 1);
    }

    fn remove(&mut self, time: usize) {
        self.change(time, |count| count - 1);
    }

    fn change(&mut self, time: usize, by: impl Fn(u32) -> u32) {
        let mut at = self.0.len() - 1 - time;
        while at < self.0.len() {
            self.0[at] = by(self.0[at]);
            at += at & at.wrapping_neg();
        }
    }

    /// How many times there are from `time` on.
    fn from(&self, time: usize) -> usize {
        let (mut at, mut sum) = (self.0.len() - 1 - time, 0);
        while at > 0 {
            sum += self.0[at] as usize;
            at -= at & at.wrapping_neg();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::belady::Access;

    /// The misses of a memory of one size, by doing what LRU does.
    fn misses(string: &[Touch], pages: usize) -> u64 {
        let (mut here, mut misses): (Vec<u64>, u64) = (Vec::new(), 0);
        for touch in string {
            let at = here.iter().position(|page| *page == touch.page);
            at.map(|at| here.remove(at));
            if touch.what.leaves() {
                continue;
            }
            misses += u64::from(at.is_none());
            if here.len() >= pages {
                here.remove(0);
            }
            here.push(touch.page);
        }
        misses
    }

    fn touch() -> impl Strategy<Value = Touch> {
        (0u64..9, 0u8..4).prop_map(|(page, side)| {
            let what = if side == 0 { Access::Away } else { Access::Read };
            Touch { page, what }
        })
    }

    proptest! {
        #[test]
        fn each_size_misses_what_lru_misses(string in proptest::collection::vec(touch(), 0..60)) {
            let curve = MissCurve::of(&string);
            for pages in 1..=10 {
                prop_assert_eq!(curve.misses(pages as u64), misses(&string, pages), "{} pages", pages);
            }
            prop_assert_eq!(curve.misses(0), curve.touches());
        }
    }

    #[test]
    fn loop_needs_room_for_all_of_it() {
        let string: Vec<Touch> = (0..100).map(|at| Touch::read(at % 10)).collect();
        let curve = MissCurve::of(&string);
        assert_eq!((curve.misses(9), curve.misses(10), curve.largest()), (100, 10, 10));
        assert_eq!(curve.enough(4, 95), 10);
    }

    #[test]
    fn enough_is_no_more_than_what_the_last_few_misses_would_need() {
        // Most accesses are of two pages, some of a hundred.
        let string: Vec<Touch> =
            (0..4000).map(|at| Touch::read(if at % 20 == 0 { 10 + at / 20 % 100 } else { at % 2 })).collect();
        let curve = MissCurve::of(&string);
        assert!(curve.enough(1, 90) <= 4, "{}", curve.enough(1, 90));
        assert!(curve.enough(1, 100) > 90);
    }
}
