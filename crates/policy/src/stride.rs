//! Brings more at each step of a walk, and runs ahead of strided ones.

use alloc::boxed::Box;

use bifolio_folio::{Order, PAGE_SHIFT};
use bifolio_migrate::OrderRange;

use crate::eviction::{Eviction, EvictionName};
use crate::fact::Fact;
use crate::fault::{Decision, Fault};
use crate::memory::Memory;
use crate::policy::Policy;
use crate::streams::{Streams, is_in_vain};

/// Folios of the largest order that fit into the memory at once.
const FOLIOS_MIN: u64 = 16;

/// Lone faults bring one page. A dense walk brings four times as much at each step; a strided one twice as many steps.
#[derive(Debug)]
pub struct Stride {
    streams: Streams,
    smallest: Order,
    largest: Order,
    ahead_max: u32,
    eviction: Box<dyn Eviction>,
}

impl Stride {
    /// Follows nothing yet.
    #[must_use]
    pub fn new(memory: &Memory, eviction: EvictionName) -> Stride {
        let largest = memory.largest_of(FOLIOS_MIN);
        Stride {
            streams: Streams::of(memory),
            smallest: memory.smallest,
            largest,
            ahead_max: u32::try_from(memory.least_pages / FOLIOS_MIN).unwrap_or(u32::MAX),
            eviction: eviction.make(memory.pages),
        }
    }
}

impl Policy for Stride {
    fn decide(&mut self, fault: &Fault) -> Decision {
        let page = fault.page();
        let step = self.streams.step(fault.unit, fault.address as u64);
        let order = step.order().min(self.largest).max(self.smallest);
        let orders = OrderRange { largest: order, smallest: self.smallest };
        let first = page & !(order.pages() - 1);
        self.streams.brings(step, first..first + order.pages());
        let prefetch = self.streams.run_ahead(step, self.ahead_max);
        Decision { prefetch, ..Decision::moving(orders) }
    }

    fn orders(&self) -> OrderRange {
        OrderRange { largest: self.largest, smallest: self.smallest }
    }

    fn learn(&mut self, fact: Fact<'_>) {
        if let Fact::Left { address, pages, came, used: Some(used), .. } = fact
            && is_in_vain(came, pages, used)
        {
            self.streams.distrust(address as u64 >> PAGE_SHIFT, came);
        }
    }

    fn eviction(&mut self) -> &mut dyn Eviction {
        &mut self.eviction
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Prefetch;
    use crate::memory::Side;

    fn stride() -> Stride {
        Stride::new(&Memory::device(1 << 16), EvictionName::Lru)
    }

    fn decide(policy: &mut Stride, page: u64) -> Decision {
        policy.decide(&Fault::new(usize::try_from(page << PAGE_SHIFT).expect("64 bits"), Side::DEVICE, 0))
    }

    #[test]
    fn a_pass_over_memory_grows_to_the_largest_order() {
        let (mut policy, mut page) = (stride(), 512);
        let orders = [0; 7].map(|_| {
            let order = decide(&mut policy, page).orders.largest;
            page = (page & !(order.pages() - 1)) + order.pages();
            order.get()
        });
        assert_eq!(orders, [0, 2, 4, 6, 8, 9, 9]);
    }

    #[test]
    fn lone_faults_bring_one_page() {
        let mut policy = stride();
        let orders = [3u64, 900, 50, 700].map(|at| decide(&mut policy, at << 20).orders.largest);
        assert_eq!(orders, [Order::ZERO; 4]);
    }

    #[test]
    fn a_strided_walk_is_brought_ahead() {
        let mut policy = stride();
        let prefetches = [0, 100, 200].map(|page| decide(&mut policy, page).prefetch);
        let first = 300 << PAGE_SHIFT;
        let expected = Prefetch { first, stride: 100 << PAGE_SHIFT, bytes: 1, count: 2 };
        assert_eq!(prefetches, [None, None, Some(expected)]);
    }
}
