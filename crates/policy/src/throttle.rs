//! Slows down memory that goes back and forth between two sides, whatever policy decides otherwise.

use alloc::boxed::Box;

use bifolio_folio::{Order, PAGE_SHIFT};
use bifolio_migrate::OrderRange;

use crate::bounces::{Bounces, Verdict};
use crate::eviction::Eviction;
use crate::fact::{Fact, Leaving};
use crate::fault::{Decision, Fault, Placement};
use crate::memory::Memory;
use crate::policy::Policy;

/// Uses of a page after which it is asked again whether it stays.
const NOTIFY_AFTER: u32 = 1 << 16;

/// Another policy, and a watch over what bounces.
pub struct Throttle {
    inner: Box<dyn Policy>,
    bounces: Bounces,
    remote: bool,
}

impl Throttle {
    /// Watches over what `inner` decides.
    #[must_use]
    pub fn new(inner: Box<dyn Policy>, memory: &Memory) -> Throttle {
        Throttle { inner, bounces: Bounces::default(), remote: memory.remote }
    }
}

impl Policy for Throttle {
    fn decide(&mut self, fault: &Fault) -> Decision {
        let mut decision = self.inner.decide(fault);
        match self.bounces.judge(fault.page(), fault.now_ns) {
            Verdict::Go => {}
            Verdict::Wait(wait_ns) => decision.wait_ns = wait_ns,
            Verdict::Stay if self.remote => {
                decision.placement = Placement::Remote { order: Order::K64, notify_after: NOTIFY_AFTER };
            }
            // The other side cannot be kept from taking it, but it need not take more than it touches.
            Verdict::Stay => decision.orders.largest = decision.orders.smallest,
        }
        decision
    }

    fn orders(&self) -> OrderRange {
        self.inner.orders()
    }

    fn learn(&mut self, fact: Fact<'_>) {
        if let Fact::Left { address, why: Leaving::Wanted, .. } = fact {
            self.bounces.taken(address as u64 >> PAGE_SHIFT);
        }
        self.inner.learn(fact);
    }

    fn eviction(&mut self) -> &mut dyn Eviction {
        self.inner.eviction()
    }
}
