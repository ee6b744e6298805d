//! What no policy can beat: the fewest pages that have to move if the future is known (Belady 1966).
//!
//! For tests and benches, which put it beside what a policy moved. Pages are of one size and move one at a time; nothing
//! is read or written where it is not.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// One step of a string of accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touch {
    /// The page.
    pub page: u64,
    /// What happens to it.
    pub what: Access,
}

/// What happens to a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It is read here.
    Read,
    /// It is written here.
    Write,
    /// The other side touches it: it has to leave, if it is here.
    Away,
    /// It is unmapped, and loses its bytes: nothing has to move. Its next access finds zeros.
    Unmap,
}

impl Access {
    /// Whether the page is not here afterwards.
    #[must_use]
    pub fn leaves(self) -> bool {
        matches!(self, Access::Away | Access::Unmap)
    }
}

impl Touch {
    /// A read of a page.
    #[must_use]
    pub fn read(page: u64) -> Touch {
        Touch { page, what: Access::Read }
    }
}

/// The fewest pages that move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Optimum {
    /// Accesses that find no page here.
    pub misses: u64,
    /// Pages that come with their bytes: misses of pages that have any.
    pub moved_in: u64,
    /// Pages that leave and were written here: the others need no copy where the other side kept theirs.
    pub moved_out: u64,
    /// Pages that leave with bytes, written here or not: what has to be copied where the other side keeps none.
    pub left: u64,
}

/// A page that is here.
#[derive(Clone, Copy, Debug)]
struct Page {
    /// When it is accessed next.
    next: usize,
    written: bool,
    /// Whether it came with bytes.
    holds_bytes: bool,
}

impl Optimum {
    fn leaves(&mut self, page: Option<Page>) {
        self.moved_out += u64::from(page.is_some_and(|page| page.written));
        self.left += u64::from(page.is_some_and(|page| page.written || page.holds_bytes));
    }
}

/// No further access.
const NEVER: usize = usize::MAX;

/// The optimum for a memory of `pages` pages that is empty at first. The page whose next access is furthest leaves.
/// `has_bytes` tells which pages hold bytes before the first access; others begin as zeros, which need not come.
#[must_use]
pub fn optimum(string: &[Touch], pages: usize, has_bytes: impl Fn(u64) -> bool) -> Optimum {
    let next = next_touches(string);
    let mut found = Optimum::default();
    // What is here.
    let mut here: BTreeMap<u64, Page> = BTreeMap::new();
    let mut by_next: BTreeSet<(usize, u64)> = BTreeSet::new();
    // Whether a page that is not here has bytes, for those that were accessed.
    let mut bytes: BTreeMap<u64, bool> = BTreeMap::new();
    for (touch, next) in string.iter().zip(next) {
        let before = here.remove(&touch.page);
        if let Some(page) = before {
            by_next.remove(&(page.next, touch.page));
        }
        let had_bytes = bytes.insert(touch.page, touch.what != Access::Unmap);
        if touch.what.leaves() {
            found.leaves(before.filter(|_| touch.what == Access::Away));
            continue;
        }
        let mut page = before.unwrap_or_else(|| {
            let holds_bytes = had_bytes.unwrap_or_else(|| has_bytes(touch.page));
            found.misses += 1;
            found.moved_in += u64::from(holds_bytes);
            Page { next, written: false, holds_bytes }
        });
        if before.is_none() && here.len() >= pages.max(1) {
            found.leaves(by_next.pop_last().and_then(|(_, page)| here.remove(&page)));
        }
        page.next = next;
        page.written |= touch.what == Access::Write;
        here.insert(touch.page, page);
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
        assert_eq!(
            optimum(&string, 4, |_| true),
            Optimum { misses: 15, moved_in: 5 + 10, moved_out: 0, left: 15 - 4 }
        );
    }

    #[test]
    fn only_what_was_written_is_copied_out() {
        let string = [(1, Access::Write), (2, Access::Read), (1, Access::Away), (2, Access::Away)];
        assert_eq!(
            optimum(&touches(&string), 2, |_| true),
            Optimum { misses: 2, moved_in: 2, moved_out: 1, left: 2 }
        );
    }

    #[test]
    fn nothing_moves_for_zeros_and_for_what_was_unmapped() {
        let write_then = |what| touches(&[(1, Access::Write), (1, what), (1, Access::Read)]);
        let moved = |what, pages, has_bytes: bool| {
            let found = optimum(&write_then(what), pages, |_| has_bytes);
            (found.misses, found.moved_in, found.moved_out)
        };
        assert_eq!(moved(Access::Unmap, 2, false), (2, 0, 0));
        assert_eq!(moved(Access::Unmap, 2, true), (2, 1, 0));
        assert_eq!(moved(Access::Away, 2, false), (2, 1, 1));
        // What was evicted has bytes, also if it began as zeros.
        let evicted = touches(&[(1, Access::Write), (2, Access::Write), (1, Access::Read)]);
        let fewest = Optimum { misses: 3, moved_in: 1, moved_out: 2, left: 2 };
        assert_eq!(optimum(&evicted, 1, |_| false), fewest);
    }

    fn touches(string: &[(u64, Access)]) -> Vec<Touch> {
        string.iter().map(|&(page, what)| Touch { page, what }).collect()
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
            prop_assert_eq!(optimum(&touches, room, |_| true).misses, fewest(&string, &mut Vec::new(), room));
        }
    }
}
