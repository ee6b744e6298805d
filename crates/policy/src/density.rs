//! The tree of the GPU vendors: a fault brings the largest part of its block that would then be more than half full.
//!
//! ```text
//!   2 MiB                 512 pages
//!   ...
//!   128 KiB      [ 32 pages     ]  [              ]
//!   64 KiB       [ 16 ]  [ 16 ]    [ 16 ]  [ 16 ]      leaves: what a fault brings at least
//! ```
//!
//! A block is brought in ever larger steps as it fills, so a dense pass over it takes six faults, and scattered faults bring
//! no more than a leaf each. As in NVIDIA's driver, pages count as soon as they are decided to come.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::ops::Range;

use bifolio_folio::{AlignedRun, BLOCK_PAGES, Order, PAGE_SHIFT, PageRun, PageSet};
use bifolio_migrate::OrderRange;

use crate::eviction::{Eviction, EvictionName};
use crate::fact::Fact;
use crate::fault::{Decision, Fault, Prefetch};
use crate::memory::Memory;
use crate::policy::Policy;

/// Folios of the largest order that fit into the memory at once.
const FOLIOS_MIN: u64 = 16;

/// Brings what is more than half there already.
#[derive(Debug)]
pub struct Density {
    /// The pages of each block that are here.
    here: BTreeMap<u64, PageSet>,
    leaf: Order,
    smallest: Order,
    largest: Order,
    eviction: Box<dyn Eviction>,
}

impl Density {
    /// Nothing is here yet.
    #[must_use]
    pub fn new(memory: &Memory, eviction: EvictionName) -> Density {
        let largest = memory.largest_of(FOLIOS_MIN);
        Density {
            here: BTreeMap::new(),
            leaf: largest.min(Order::K64).max(memory.smallest),
            smallest: memory.smallest,
            largest,
            eviction: eviction.make(memory.pages),
        }
    }

    /// The largest run around a page of which more than half is here once its leaf is.
    fn run_to_bring(&self, here: &PageSet, page: u16) -> AlignedRun {
        let mut here = *here;
        here.insert(AlignedRun::around(page, self.leaf));
        let orders = self.largest.descending_to(self.leaf);
        let mut runs = orders.map(|order| AlignedRun::around(page, order));
        let dense = runs.find(|run| here.count_in(*run) * 2 > run.pages());
        dense.unwrap_or(AlignedRun::around(page, self.leaf))
    }
}

impl Policy for Density {
    fn decide(&mut self, fault: &Fault) -> Decision {
        let (block, page) = split(fault.page());
        let here = self.here.get(&block).copied().unwrap_or_default();
        let run = self.run_to_bring(&here, page);
        let whole = OrderRange { largest: run.order(), smallest: self.smallest };
        let mut decision = Decision::moving(whole);
        if here.intersects(run) {
            // Not all of it can be one folio.
            let first = (block * u64::from(BLOCK_PAGES) + u64::from(run.first())) << PAGE_SHIFT;
            let first = usize::try_from(first).expect("the page has an address");
            decision.prefetch = Some(Prefetch::range(first, u32::from(run.pages())));
        }
        decision
    }

    fn orders(&self) -> OrderRange {
        OrderRange { largest: self.largest, smallest: self.smallest }
    }

    fn learn(&mut self, fact: Fact<'_>) {
        match fact {
            Fact::Came { address, pages, .. } => {
                each_block(address, pages, |block, run| self.here.entry(block).or_default().insert(run));
            }
            Fact::Left { address, pages, .. } => each_block(address, pages, |block, run| {
                if let Some(here) = self.here.get_mut(&block) {
                    here.remove(run);
                    if here.is_empty() {
                        self.here.remove(&block);
                    }
                }
            }),
        }
    }

    fn eviction(&mut self) -> &mut dyn Eviction {
        &mut self.eviction
    }
}

/// The block of a page, and the page within it.
pub(crate) fn split(page: u64) -> (u64, u16) {
    let pages = u64::from(BLOCK_PAGES);
    (page / pages, u16::try_from(page % pages).expect("a page of a block"))
}

/// Calls `each` for the part of some pages in each block.
pub(crate) fn each_block(address: usize, pages: u32, mut each: impl FnMut(u64, PageRun)) {
    let first = address as u64 >> PAGE_SHIFT;
    let Range { mut start, end } = first..first + u64::from(pages);
    while start < end {
        let (block, page) = split(start);
        let next = end.min((block + 1) * u64::from(BLOCK_PAGES));
        let len = u16::try_from(next - start).expect("pages of a block");
        if let Some(run) = PageRun::new(page, len) {
            each(block, run);
        }
        start = next;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::fact::{Coming, Leaving};
    use crate::memory::Side;

    /// Faults of a device on single pages, each answered in full; returns the orders.
    fn faults(policy: &mut Density, pages: &[u64]) -> Vec<u8> {
        let answer = |page: &u64| {
            let address = usize::try_from(page << PAGE_SHIFT).expect("64 bits");
            let order = policy.decide(&Fault::new(address, Side::DEVICE, 0)).orders.largest;
            let first = address & !((1 << (u32::from(order.get()) + PAGE_SHIFT)) - 1);
            let pages = u32::try_from(order.pages()).expect("a block");
            policy.learn(Fact::Came { address: first, pages, why: Coming::Fault });
            order.get()
        };
        pages.iter().map(answer).collect()
    }

    fn density() -> Density {
        Density::new(&Memory::device(1 << 16), EvictionName::Lru)
    }

    #[test]
    fn a_block_is_brought_in_ever_larger_steps() {
        // A leaf; a second one, which fills two; then the half and the whole of what is filled.
        assert_eq!(faults(&mut density(), &[0, 16, 32, 64, 128, 256]), [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn half_is_not_enough() {
        assert_eq!(faults(&mut density(), &[0, 32, 96]), [4, 4, 4]);
    }

    #[test]
    fn pages_that_left_do_not_count() {
        let mut policy = density();
        faults(&mut policy, &[0]);
        let left =
            Fact::Left { address: 0, pages: 16, came: Coming::Fault, used: None, why: Leaving::Evicted };
        policy.learn(left);
        assert_eq!(faults(&mut policy, &[16]), [4]);
    }
}
