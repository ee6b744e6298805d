//! The default: learns from what came of what it brought, and combines the others accordingly.
//!
//! ```text
//!   fault -- advice? ------------------------------------------------------------> as the program says
//!        |-- goes back and forth? -----------------------------------------------> waits, then stays (bounces)
//!        |-- there is room? -----------------------------------------------------> moves, in a large folio; the first few, and
//!        |                                                                         steps that leave pages out, as single pages
//!        |-- step of a walk? ----------------------------------------------------> moves, more at each step; a walk that
//!        |                                                                         leaves pages out is run ahead of (streams)
//!        |-- the device can use it where it is, and has not used it often yet? --> stays, and is counted
//!        +-- else ---------------------------------------------------------------> moves, as much as was worth it here
//! ```
//!
//! **How much.** When a folio leaves, it is known which of its pages were used. When folios leave in which most pages were used,
//! some faults of their block try the next larger order, and all of them take it once such a folio leaves well used. It
//! shrinks to what was used otherwise; each time growing was wrong, the next try takes twice as long. So random access
//! settles at single pages, and dense regions at the largest order.
//!
//! **Whether at all.** A page that comes costs as much as 64 uses of 64 bytes over the link, and as much again if it goes
//! written. So while there is no room a page stays in system memory for its first [`USES`] uses: at worst that costs twice as much as to move it at once,
//! and a page that is used less never moves (as for skis: rent until renting has cost as much as buying).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use bifolio_folio::{BLOCK_PAGES, Order, PAGE_SHIFT};
use bifolio_migrate::OrderRange;

use crate::advice::Pattern;
use crate::bounces::{Bounces, Verdict};
use crate::eviction::{Eviction, EvictionName};
use crate::fact::{Fact, Leaving};
use crate::fault::{Decision, Fault, Placement, USES_OF_KEPT};
use crate::memory::{Memory, Side};
use crate::policy::Policy;
use crate::streams::{Step, Streams, is_in_vain};

/// Uses of a page that was left in system memory after which it moves.
pub const USES: u32 = 64;
/// Folios of the largest order that fit into the memory at once.
const FOLIOS_MIN: u64 = 16;
/// There is room while more than one page in so many is free.
const ROOM: u64 = 16;
/// While there is room, a folio takes at most one part in so many of what is free.
const FILLING_PART: u64 = 2;
/// The first faults that bring single pages, though there is room: in large folios a walk that leaves pages out is not seen.
const FIRST: u8 = 3;
/// Blocks that are remembered.
const BLOCKS: usize = 1 << 16;
/// Folios that must leave well used until a block's order grows.
const GROW_AFTER: u8 = 2;
const GROW_AFTER_MAX: u8 = 128;
/// While the next larger order is tried, one fault in so many brings it.
const TRY_EVERY: u8 = 8;

/// What was worth moving in one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Worth {
    order: u8,
    /// Folios that left well used, one after the other.
    dense: u8,
    grow_after: u8,
    /// Faults since the next larger order is tried, counted round; `None` while it is not.
    tries: Option<u8>,
}

/// The default policy.
#[derive(Debug)]
pub struct Auto {
    side: Side,
    pages: u64,
    remote: bool,
    smallest: Order,
    largest: Order,
    streams: Streams,
    ahead_max: u32,
    /// Whether nothing has left yet to make room.
    is_filling: bool,
    /// Faults so far, up to [`FIRST`].
    first: u8,
    bounces: Bounces,
    blocks: BTreeMap<u64, Worth>,
    /// What is assumed of a block that nothing is known of: what was learned last.
    usual: Worth,
    eviction: Box<dyn Eviction>,
}

impl Auto {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(memory: &Memory, eviction: EvictionName) -> Auto {
        Auto {
            side: memory.side,
            pages: memory.pages,
            remote: memory.remote,
            smallest: memory.smallest,
            largest: memory.largest_of(FOLIOS_MIN),
            streams: Streams::of(memory),
            ahead_max: u32::try_from(memory.least_pages / FOLIOS_MIN).unwrap_or(u32::MAX),
            is_filling: true,
            first: 0,
            bounces: Bounces::default(),
            blocks: BTreeMap::new(),
            usual: Worth { order: 0, dense: 0, grow_after: GROW_AFTER, tries: None },
            eviction: eviction.make(memory.pages),
        }
    }

    /// Whether what comes beside the page that was touched takes nothing else's place.
    fn has_room(&self, free_pages: u64) -> bool {
        self.is_filling && free_pages > 0 || free_pages > self.pages / ROOM
    }

    /// The order that a fault is worth.
    fn order(&mut self, fault: &Fault, step: Step) -> Order {
        let (block, _) = crate::density::split(fault.page());
        let learned = self.blocks.get_mut(&block).map_or(self.usual.order, Worth::next_order);
        // What a strided walk leaves out is not worth bringing.
        let learned = if step.is_strided() { 0 } else { learned };
        let order = match fault.advice.pattern {
            Pattern::Random => Order::ZERO,
            Pattern::Sequential => self.largest,
            Pattern::Any if self.has_room(fault.free_pages) && !step.is_strided() => {
                self.largest_now(fault.free_pages)
            }
            Pattern::Any => Order::new(learned).unwrap_or(Order::MAX).max(step.order()),
        };
        order.min(self.largest).max(self.smallest)
    }

    /// While there is room, a folio takes a part of it.
    fn largest_now(&mut self, free_pages: u64) -> Order {
        if self.first < FIRST {
            self.first += 1;
            return Order::ZERO;
        }
        let fitting = Order::largest_fitting(free_pages / FILLING_PART).unwrap_or(Order::ZERO);
        fitting.min(Order::PMD)
    }

    fn placement(&mut self, fault: &Fault, step: Step) -> (Placement, u64) {
        let kept = Placement::Remote { order: Order::PMD, notify_after: USES_OF_KEPT };
        let elsewhere = fault.advice.stay && fault.advice.is_elsewhere(self.side);
        let (verdict, mut wait_ns) = (self.bounces.judge(fault.page(), fault.now_ns), 0);
        if let Verdict::Wait(ns) = verdict {
            wait_ns = ns;
        }
        let walks = step.trust > 0 && fault.advice.pattern != Pattern::Random;
        let waits = !self.has_room(fault.free_pages) && !walks && !fault.was_remote;
        let placement = match self.remote {
            true if elsewhere || verdict == Verdict::Stay => kept,
            true if waits => Placement::Remote { order: Order::K64, notify_after: USES },
            _ => Placement::Move,
        };
        (placement, wait_ns)
    }

    fn learn_worth(&mut self, address: usize, pages: u32, used: u32) {
        let block = (address as u64 >> PAGE_SHIFT) / u64::from(BLOCK_PAGES);
        if self.blocks.len() >= BLOCKS {
            self.blocks.clear();
        }
        let worth = self.blocks.entry(block).or_insert(self.usual);
        worth.learn(pages, used, self.largest);
        self.usual = *worth;
    }
}

impl Worth {
    /// The order that the next fault brings.
    fn next_order(&mut self) -> u8 {
        let Some(tries) = &mut self.tries else { return self.order };
        *tries = (*tries + 1) % TRY_EVERY;
        self.order + u8::from(*tries == 0)
    }

    /// Learns that so many pages of a folio were used.
    fn learn(&mut self, pages: u32, used: u32, largest: Order) {
        let order = u8::try_from(pages.ilog2()).expect("an order");
        if used * 4 >= pages * 3 {
            self.learn_dense(order, largest);
        } else if order > 0 && used * 2 <= pages {
            let fits = u8::try_from(used.max(1).ilog2()).expect("an order");
            self.dense = 0;
            if self.order > fits || self.tries.is_some() && order == self.order + 1 {
                self.order = self.order.min(fits);
                self.tries = None;
                self.grow_after = self.grow_after.saturating_mul(2).min(GROW_AFTER_MAX);
            }
        }
    }

    /// Learns that a folio left well used. What came larger for other reasons tells nothing of what a fault here is worth.
    fn learn_dense(&mut self, order: u8, largest: Order) {
        if self.tries.is_some() {
            if order == self.order + 1 {
                (self.order, self.tries, self.dense) = (order, None, 0);
            }
            return;
        }
        self.dense = self.dense.saturating_add(1);
        if order >= self.order && self.dense >= self.grow_after && self.order < largest.get() {
            (self.tries, self.dense) = (Some(0), 0);
        }
    }
}

impl Policy for Auto {
    fn decide(&mut self, fault: &Fault) -> Decision {
        let page = fault.page();
        let step = self.streams.step(fault.unit, fault.address as u64);
        let order = self.order(fault, step);
        let (placement, wait_ns) = self.placement(fault, step);
        let mut prefetch = None;
        if placement == Placement::Move {
            let first = page & !(order.pages() - 1);
            self.streams.brings(step, first..first + order.pages());
            if fault.advice.pattern == Pattern::Any {
                prefetch = self.streams.run_ahead(step, self.ahead_max);
            }
        }
        let orders = OrderRange { largest: order, smallest: self.smallest };
        Decision { placement, wait_ns, prefetch, ..Decision::moving(orders) }
    }

    fn orders(&self) -> OrderRange {
        OrderRange { largest: self.largest, smallest: self.smallest }
    }

    fn learn(&mut self, fact: Fact<'_>) {
        if let Fact::Left { address, pages, came, used, why } = fact {
            self.is_filling &= why != Leaving::Evicted;
            if used.is_some_and(|used| is_in_vain(came, pages, used)) {
                self.streams.distrust(address as u64 >> PAGE_SHIFT, came);
            }
            if why == Leaving::Wanted {
                self.bounces.taken(address as u64 >> PAGE_SHIFT);
            }
            if let Some(used) = used {
                self.learn_worth(address, pages, u32::from(used.count()));
            }
        }
    }

    fn eviction(&mut self) -> &mut dyn Eviction {
        &mut self.eviction
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::fact::Coming;
    use bifolio_folio::{PageRun, PageSet};

    /// For a memory of 256 MiB, from which something has been evicted.
    fn full() -> Auto {
        let mut policy = Auto::new(&Memory::device(1 << 16), EvictionName::S3Fifo);
        leave(&mut policy, 1 << 30, 1, 1);
        policy
    }

    fn address(page: u64) -> usize {
        usize::try_from(page << PAGE_SHIFT).expect("64 bits")
    }

    fn decide(policy: &mut Auto, page: u64) -> Decision {
        policy.decide(&Fault::new(address(page), Side::DEVICE, 0))
    }

    /// A folio of so many pages is evicted, of which the first `used` were used.
    fn leave(policy: &mut Auto, page: u64, pages: u32, used: u16) {
        let mut set = PageSet::EMPTY;
        PageRun::new(0, used).into_iter().for_each(|run| set.insert(run));
        let (used, why) = (Some(&set), Leaving::Evicted);
        policy.learn(Fact::Left { address: address(page), pages, came: Coming::Fault, used, why });
    }

    /// Orders of faults of one block that are no walk.
    fn orders(policy: &mut Auto, faults: u64) -> Vec<u8> {
        let scattered = |at: u64| 512 + (((at + 1) * (at + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55);
        (0..faults).map(|at| decide(policy, scattered(at)).orders.largest.get()).collect()
    }

    #[test]
    fn while_there_is_room_a_fault_brings_a_large_folio() {
        let mut policy = Auto::new(&Memory::device(1 << 16), EvictionName::S3Fifo);
        let fault = |page| Fault::new(address(page), Side::DEVICE, 1 << 16);
        let orders = [900, 20_000, 3].map(|page| policy.decide(&fault(page)).orders.largest);
        assert_eq!(orders, [Order::ZERO; 3], "a walk would be seen");
        assert_eq!(policy.decide(&fault(512)).orders.largest, Order::PMD);
        let few = Fault { free_pages: 32, ..fault(512) };
        assert_eq!(policy.decide(&few).orders.largest, Order::K64, "a part of what is free");
        leave(&mut policy, 1 << 20, 1, 1);
        assert_eq!(policy.decide(&few).orders.largest, Order::ZERO, "it would take another's place");
    }

    #[test]
    fn strided_walk_is_run_ahead_of_and_nothing_else_comes() {
        for free_pages in [0, 1 << 16] {
            let mut policy = full();
            let fault = |page| Fault::new(address(page), Side::DEVICE, free_pages);
            let decided = [0, 100, 200].map(|page| policy.decide(&fault(page)));
            assert!(decided.iter().all(|decision| decision.orders.largest == Order::ZERO), "{decided:?}");
            let [first, second, third] = decided.map(|decision| decision.prefetch);
            assert_eq!((first, second), (None, None));
            assert!(third.is_some_and(|ahead| ahead.first == address(300) && ahead.count == 2), "{third:?}");
        }
    }

    #[test]
    fn few_faults_try_the_next_order_until_it_proves_worth_it() {
        let mut policy = full();
        (0..GROW_AFTER).for_each(|at| leave(&mut policy, 512 + u64::from(at), 1, 1));
        let tried = orders(&mut policy, 64).iter().filter(|order| **order == 1).count();
        assert!((1..=64 / usize::from(TRY_EVERY)).contains(&tried), "{tried}");
        leave(&mut policy, 512, 2, 2);
        assert!(orders(&mut policy, 8).iter().all(|order| *order == 1));
    }

    #[test]
    fn order_that_proved_wrong_is_tried_half_as_soon() {
        let mut policy = full();
        for _ in 0..3 {
            let dense = (0..GROW_AFTER_MAX).take_while(|_| {
                leave(&mut policy, 512, 1, 1);
                orders(&mut policy, 16).iter().all(|order| *order == 0)
            });
            let dense = dense.count();
            leave(&mut policy, 512, 2, 1);
            assert!(orders(&mut policy, 16).iter().all(|order| *order == 0), "after {dense}");
        }
        let worth = policy.blocks[&1];
        assert_eq!((worth.order, worth.grow_after), (0, GROW_AFTER << 3));
    }
}
