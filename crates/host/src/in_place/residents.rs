//! Which range leaves next: the ranges of the program that have pages in memory, and the policy that decides about them. A range is a
//! block, or an aligned part of one where little memory is allowed: a range that leaves empties at most a small share of it.
//!
//! ```text
//!   registered, or moved here -> unseen --looked through--+
//!   a page came -----------------------------------------+-> policy's order -> victim: leaves as a whole, or is newest again
//! ```
//!
//! The kernel does not tell when pages are gone, so a range may be in the order that has none. When its turn comes, that is
//! found out.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bifolio_folio::{BLOCK_PAGES, Order, PAGE_SHIFT, PageRun, PageSet};
use bifolio_policy::{
    Coming, Decision, Fact, Fault, Leaving, Memory, Object, ObjectId, Policies, Policy, Removal, Side, Switch,
};
use bifolio_sys::PAGE;
use slab::Slab;

/// What leaves at once is such a share of the memory that is allowed, within these bounds (in pages).
const RANGE_SHARE: u64 = 64;
const RANGE_PAGES: std::ops::RangeInclusive<u64> = 32..=BLOCK_PAGES as u64;

/// See the module.
pub(super) struct Residents {
    policy: Box<dyn Policy>,
    /// Bytes of a range.
    size: usize,
    /// The ranges in the order, by number.
    ranges: Slab<Resident>,
    /// The number of each, by address.
    numbers: BTreeMap<usize, ObjectId>,
    /// Addresses that may have pages which no fault has told of.
    unseen: VecDeque<Range<usize>>,
}

/// A range with pages in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Resident {
    pub(super) range: Range<usize>,
    /// Pages that came together, when pages came back last. More of them need not be stored in one folio: while a page of a folio
    /// is away, the store has the memory of all.
    pub(super) together: Order,
}

impl Residents {
    /// No range has pages yet, of `pages` that may be in memory; `least` pages fit into each memory.
    pub(super) fn new(switch: &Switch, pages: u64, least: u64) -> Residents {
        let memory = Memory { side: Side::Ram, least_pages: least, blind: true, ..Memory::device(pages) };
        let range = (pages / RANGE_SHARE).clamp(*RANGE_PAGES.start(), *RANGE_PAGES.end());
        let size = PAGE << range.ilog2();
        let (ranges, numbers, unseen) = (Slab::new(), BTreeMap::new(), VecDeque::new());
        Residents { policy: switch.make(&memory), size, ranges, numbers, unseen }
    }

    /// Ranges in the order.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// What is done about a fault.
    pub(super) fn decide(&mut self, fault: &Fault) -> Decision {
        self.policy.decide(fault)
    }

    /// Pages came that had not been stored.
    pub(super) fn began(&mut self, range: &Range<usize>) {
        self.came(range, Coming::Fault, None, Order::MAX);
    }

    /// Stored pages came back, because of a touch of an address, if any.
    pub(super) fn came_back(&mut self, range: &Range<usize>, touched: Option<usize>) {
        let why = if touched.is_some() { Coming::Fault } else { Coming::Prefetch };
        self.came(
            range,
            why,
            touched.map(page_of),
            Order::largest_fitting((range.len() / PAGE) as u64).unwrap_or(Order::ZERO),
        );
    }

    fn came(&mut self, range: &Range<usize>, why: Coming, touched: Option<u64>, together: Order) {
        if range.is_empty() {
            return;
        }
        self.add(range, together);
        let pages = pages_of(range);
        self.policy.learn(Fact::Came { address: range.start, pages, why });
        self.policy.eviction().pages_came(page_of(range.start), pages, touched);
    }

    /// A range may have pages that came without a fault.
    pub(super) fn look_through(&mut self, range: Range<usize>) {
        self.unseen.push_back(range);
    }

    /// The next part of what is to be looked through, within one range.
    pub(super) fn next_unseen(&mut self) -> Option<Range<usize>> {
        let range = self.unseen.front_mut()?;
        let end = range.end.min((range.start & !(self.size - 1)) + self.size);
        let part = range.start..end;
        range.start = end;
        if range.start == range.end {
            self.unseen.pop_front();
        }
        Some(part)
    }

    /// Addresses have pages. A range that is in the order stays where it is: a fault tells that pages were missing, not that others
    /// are in use.
    pub(super) fn add(&mut self, addresses: &Range<usize>, together: Order) {
        let (ranges, policy, size) = (&mut self.ranges, &mut self.policy, self.size);
        let pages = u32::try_from(size / PAGE).expect("at most a block");
        for start in (addresses.start & !(size - 1)..addresses.end).step_by(size) {
            let id = *self.numbers.entry(start).or_insert_with(|| {
                let number = ranges.insert(Resident { range: start..start + size, together });
                let id = ObjectId(u32::try_from(number).expect("there are fewer than 2^32 ranges"));
                policy.eviction().insert(id, Object { name: page_of(start), pages });
                id
            });
            ranges[id.0 as usize].together = together;
        }
    }

    /// Takes the range out of the order that is to leave next.
    pub(super) fn take_victim(&mut self) -> Option<Resident> {
        let mut victims = Vec::with_capacity(1);
        self.policy.eviction().victims(1, &mut |_| false, &mut victims);
        let id = *victims.first()?;
        self.policy.eviction().remove(id, Removal::Evicted);
        let victim = self.ranges.remove(id.0 as usize);
        self.numbers.remove(&victim.range.start);
        Some(victim)
    }

    /// Pages of a block that stay although its turn has come, of those that are there.
    pub(super) fn stay(&mut self, block: usize, there: &PageSet) -> PageSet {
        self.policy.eviction().stay(page_of(block), there)
    }

    /// Pages of a block have left, to make room. Which of them were used is not known.
    pub(super) fn left(&mut self, block: usize, pages: &PageSet) {
        for run in pages.runs(PageRun::BLOCK) {
            let (address, pages) = (block + usize::from(run.first()) * PAGE, run.pages().into());
            let (came, why) = (Coming::Fault, Leaving::Evicted);
            self.policy.learn(Fact::Left { address, pages, came, used: None, why });
        }
        self.policy.eviction().pages_left(page_of(block), pages);
    }
}

/// The number of the page at an address.
fn page_of(address: usize) -> u64 {
    address as u64 >> PAGE_SHIFT
}

fn pages_of(range: &Range<usize>) -> u32 {
    u32::try_from(range.len() / PAGE).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use bifolio_policy::PolicyName;
    use bifolio_sys::HUGE_PAGE;

    use super::*;

    fn residents() -> Residents {
        Residents::new(&Switch::new("stride+fifo".parse().expect("a name")), 1 << 16, 1 << 16)
    }

    #[test]
    fn blocks_leave_once_in_the_order_of_the_policy() {
        let mut residents = residents();
        residents.began(&(3 * HUGE_PAGE..3 * HUGE_PAGE + PAGE));
        residents.came_back(&(HUGE_PAGE + PAGE..2 * HUGE_PAGE + PAGE), None);
        residents.add(&(3 * HUGE_PAGE..3 * HUGE_PAGE + PAGE), Order::MAX);
        assert_eq!(residents.len(), 3);
        let order = [(); 4].map(|()| {
            residents.take_victim().map(|victim| (victim.range.start / HUGE_PAGE, victim.range.len()))
        });
        assert_eq!(order, [Some((3, HUGE_PAGE)), Some((1, HUGE_PAGE)), Some((2, HUGE_PAGE)), None]);
    }

    #[test]
    fn small_parts_of_blocks_leave_where_little_memory_is_allowed() {
        for (pages, size) in [(1, 32), (8 << 10, 128), (20 << 10, 256), (32 << 10, 512), (1 << 20, 512)] {
            let mut residents = Residents::new(&Switch::new(PolicyName::default()), pages, pages);
            residents.came_back(&(HUGE_PAGE - PAGE..HUGE_PAGE + PAGE), None);
            let last = residents.take_victim().expect("the end of a block");
            assert_eq!(last.range, HUGE_PAGE - size * PAGE..HUGE_PAGE);
            let first = residents.take_victim().expect("the beginning of the next one");
            assert_eq!(first.range, HUGE_PAGE..HUGE_PAGE + size * PAGE);
        }
    }

    #[test]
    fn page_that_came_back_soon_stays_when_its_block_leaves_next() {
        let mut residents = Residents::new(&Switch::new(PolicyName::default()), 1 << 16, 1 << 16);
        let (mut page, mut there) = (PageSet::EMPTY, PageSet::EMPTY);
        page.insert(PageRun::single(5));
        there.insert(PageRun::between(0, 9).expect("pages"));
        residents.left(HUGE_PAGE, &there);
        residents.came_back(&(HUGE_PAGE + 5 * PAGE..HUGE_PAGE + 6 * PAGE), Some(HUGE_PAGE + 5 * PAGE));
        assert_eq!(residents.take_victim().expect("a block").range, HUGE_PAGE..2 * HUGE_PAGE);
        assert_eq!(residents.stay(HUGE_PAGE, &there), page);
    }

    #[test]
    fn what_came_back_in_small_parts_leaves_in_small_parts() {
        let mut residents = residents();
        let mut leaves_after = |come: &dyn Fn(&mut Residents)| {
            come(&mut residents);
            residents.take_victim().expect("a block").together
        };
        assert_eq!(leaves_after(&|residents| residents.began(&(0..PAGE))), Order::MAX);
        assert_eq!(leaves_after(&|residents| residents.came_back(&(0..PAGE), Some(0))), Order::ZERO);
        let later = |residents: &mut Residents| {
            residents.came_back(&(0..PAGE), Some(0));
            residents.came_back(&(4 * PAGE..8 * PAGE), None);
        };
        assert_eq!(leaves_after(&later).pages(), 4);
    }

    #[test]
    fn unseen_memory_is_looked_through_block_by_block() {
        let mut residents = residents();
        residents.look_through(HUGE_PAGE - PAGE..2 * HUGE_PAGE + PAGE);
        residents.look_through(0..PAGE);
        let parts: Vec<_> = std::iter::from_fn(|| residents.next_unseen()).collect();
        let (first, last) = (HUGE_PAGE - PAGE..HUGE_PAGE, 2 * HUGE_PAGE..2 * HUGE_PAGE + PAGE);
        assert_eq!(parts, [first, HUGE_PAGE..2 * HUGE_PAGE, last, 0..PAGE]);
    }
}
