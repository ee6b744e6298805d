//! What no policy can beat: the fewest pages that have to move if the future is known (Belady 1966).
//!
//! For tests and benches, which put it beside what a policy moved. Pages are of one size and move one at a time; nothing
//! is read or written where it is not.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// One access of a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touch {
    /// The page.
    pub page: u64,
    /// Whether it is written.
    pub writes: bool,
    /// Whether the other side touches it: then it has to leave, if it is here.
    pub away: bool,
}

impl Touch {
    /// A read of a page.
    #[must_use]
    pub fn read(page: u64) -> Touch {
        Touch { page, writes: false, away: false }
    }
}

/// The fewest pages that move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Optimum {
    /// Pages that come: accesses that miss.
    pub moved_in: u64,
    /// Pages that leave and were written here: the others need no copy.
    pub moved_out: u64,
}

/// No further access.
const NEVER: usize = usize::MAX;

/// The optimum for a memory of `pages` pages that is empty at first. The page whose next access is furthest leaves.
#[must_use]
pub fn optimum(string: &[Touch], pages: usize) -> Optimum {
    let next = next_touches(string);
    let mut found = Optimum::default();
    // What is here: the next access of each page, and whether it was written.
    let mut here: BTreeMap<u64, (usize, bool)> = BTreeMap::new();
    let mut by_next: BTreeSet<(usize, u64)> = BTreeSet::new();
    for (touch, next) in string.iter().zip(next) {
        let before = here.remove(&touch.page);
        if let Some((at, _)) = before {
            by_next.remove(&(at, touch.page));
        }
        let written = before.is_some_and(|(_, written)| written);
        if touch.away {
            found.moved_out += u64::from(written);
            continue;
        }
        found.moved_in += u64::from(before.is_none());
        if before.is_none() && here.len() >= pages.max(1) {
            let victim = by_next.pop_last().and_then(|(_, page)| here.remove(&page));
            found.moved_out += u64::from(victim.is_some_and(|(_, written)| written));
        }
        here.insert(touch.page, (next, written || touch.writes));
        by_next.insert((next, touch.page));
    }
    found
}

/// For each access, when its page is touched again, by either side.
fn next_touches(string: &[Touch]) -> Vec<usize> {
    let mut next = vec![NEVER; string.len()];
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, touch) in string.iter().enumerate().rev() {
        next[at] = seen.insert(touch.page, at).unwrap_or(NEVER);
    }
    next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_loop_keeps_what_fits_less_the_page_that_passes() {
        // 5 pages in room for 4: after the first round, each round of 4 accesses misses once.
        let string: Vec<Touch> = (0..5 + 4 * 10).map(|at| Touch::read(at % 5)).collect();
        assert_eq!(optimum(&string, 4), Optimum { moved_in: 5 + 10, moved_out: 0 });
    }

    #[test]
    fn only_what_was_written_is_copied_out() {
        let string = [
            Touch { writes: true, ..Touch::read(1) },
            Touch::read(2),
            Touch { away: true, ..Touch::read(1) },
            Touch { away: true, ..Touch::read(2) },
        ];
        assert_eq!(optimum(&string, 2), Optimum { moved_in: 2, moved_out: 1 });
    }

    /// The fewest misses, by trying every victim.
    fn fewest(string: &[u64], here: &mut Vec<u64>, room: usize) -> u64 {
        let Some((page, rest)) = string.split_first() else { return 0 };
        if here.contains(page) {
            return fewest(rest, here, room);
        }
        if here.len() < room {
            here.push(*page);
            let misses = 1 + fewest(rest, here, room);
            here.pop();
            return misses;
        }
        let tries = (0..here.len()).map(|at| {
            let victim = core::mem::replace(&mut here[at], *page);
            let misses = fewest(rest, here, room);
            here[at] = victim;
            1 + misses
        });
        tries.min().expect("there is room for one")
    }

    proptest! {
        #[test]
        fn no_choice_of_victims_misses_less(string in proptest::collection::vec(0u64..5, 0..14), room in 1usize..4) {
            let touches: Vec<Touch> = string.iter().copied().map(Touch::read).collect();
            prop_assert_eq!(optimum(&touches, room).moved_in, fewest(&string, &mut Vec::new(), room));
        }
    }
}
