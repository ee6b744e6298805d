//! Which block leaves next: the blocks of the program that have pages in memory, and the policy that decides about them.
//!
//! ```text
//!   registered, or moved here -> unseen --looked through--+
//!   a page came -----------------------------------------+-> policy's order -> victim: leaves as a whole, or is newest again
//! ```
//!
//! The kernel does not tell when pages are gone, so a block may be in the order that has none. When its turn comes, that is
//! found out.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bifolio_folio::{BLOCK_PAGES, PAGE_SHIFT, PageRun, PageSet};
use bifolio_policy::{
    Coming, Decision, Fact, Fault, Leaving, Memory, Object, ObjectId, Policies, Policy, Removal, Side, Switch,
};
use bifolio_sys::{HUGE_PAGE, PAGE};
use slab::Slab;

/// See the module.
pub(super) struct Residents {
    policy: Box<dyn Policy>,
    /// The address of each block in the order, by number.
    blocks: Slab<usize>,
    /// The number of each, by address.
    numbers: BTreeMap<usize, ObjectId>,
    /// Addresses that may have pages which no fault has told of.
    unseen: VecDeque<Range<usize>>,
}

impl Residents {
    /// No block has pages yet, of `pages` that may be in memory; `least` pages fit into each memory.
    pub(super) fn new(switch: &Switch, pages: u64, least: u64) -> Residents {
        let memory = Memory { side: Side::Ram, least_pages: least, blind: true, ..Memory::device(pages) };
        let (blocks, numbers, unseen) = (Slab::new(), BTreeMap::new(), VecDeque::new());
        Residents { policy: switch.make(&memory), blocks, numbers, unseen }
    }

    /// Blocks in the order.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// What is done about a fault.
    pub(super) fn decide(&mut self, fault: &Fault) -> Decision {
        self.policy.decide(fault)
    }

    /// Pages came.
    pub(super) fn came(&mut self, range: &Range<usize>, why: Coming) {
        if range.is_empty() {
            return;
        }
        let first = block_of(range.start);
        (first..range.end).step_by(HUGE_PAGE).for_each(|block| self.add(block));
        let pages = pages_of(range);
        self.policy.learn(Fact::Came { address: range.start, pages, why });
        self.policy.eviction().pages_came(page_of(range.start), pages);
    }

    /// A range may have pages that came without a fault.
    pub(super) fn look_through(&mut self, range: Range<usize>) {
        self.unseen.push_back(range);
    }

    /// The next block of what is to be looked through, and the part of it.
    pub(super) fn next_unseen(&mut self) -> Option<Range<usize>> {
        let range = self.unseen.front_mut()?;
        let end = range.end.min(block_of(range.start) + HUGE_PAGE);
        let part = range.start..end;
        range.start = end;
        if range.start == range.end {
            self.unseen.pop_front();
        }
        Some(part)
    }

    /// A block has pages. One that is in the order stays where it is: a fault tells that pages were missing, not that others
    /// are in use.
    pub(super) fn add(&mut self, block: usize) {
        let (blocks, policy) = (&mut self.blocks, &mut self.policy);
        self.numbers.entry(block).or_insert_with(|| {
            let number = u32::try_from(blocks.insert(block)).expect("there are fewer than 2^32 blocks");
            let object = Object { name: page_of(block), pages: BLOCK_PAGES.into() };
            policy.eviction().insert(ObjectId(number), object);
            ObjectId(number)
        });
    }

    /// Takes the block out of the order that is to leave next.
    pub(super) fn take_victim(&mut self) -> Option<usize> {
        let mut victims = Vec::with_capacity(1);
        self.policy.eviction().victims(1, &mut |_| false, &mut victims);
        let id = *victims.first()?;
        self.policy.eviction().remove(id, Removal::Evicted);
        let block = self.blocks.remove(id.0 as usize);
        self.numbers.remove(&block);
        Some(block)
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

/// The address of the block around an address.
pub(super) fn block_of(address: usize) -> usize {
    address & !(HUGE_PAGE - 1)
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

    use super::*;

    fn residents() -> Residents {
        Residents::new(&Switch::new("stride+fifo".parse().expect("a name")), 1 << 16, 1 << 16)
    }

    #[test]
    fn blocks_leave_once_in_the_order_of_the_policy() {
        let mut residents = residents();
        residents.came(&(3 * HUGE_PAGE..3 * HUGE_PAGE + PAGE), Coming::Fault);
        residents.came(&(HUGE_PAGE + PAGE..2 * HUGE_PAGE + PAGE), Coming::Prefetch);
        residents.add(3 * HUGE_PAGE);
        assert_eq!(residents.len(), 3);
        let order = [(); 4].map(|()| residents.take_victim());
        assert_eq!(order, [Some(3 * HUGE_PAGE), Some(HUGE_PAGE), Some(2 * HUGE_PAGE), None]);
    }

    #[test]
    fn page_that_came_back_soon_stays_when_its_block_leaves_next() {
        let mut residents = Residents::new(&Switch::new(PolicyName::default()), 1 << 16, 1 << 16);
        let (mut page, mut there) = (PageSet::EMPTY, PageSet::EMPTY);
        page.insert(PageRun::single(5));
        there.insert(PageRun::between(0, 9).expect("pages"));
        residents.left(HUGE_PAGE, &there);
        residents.came(&(HUGE_PAGE + 5 * PAGE..HUGE_PAGE + 6 * PAGE), Coming::Fault);
        assert_eq!(residents.take_victim(), Some(HUGE_PAGE));
        assert_eq!(residents.stay(HUGE_PAGE, &there), page);
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
