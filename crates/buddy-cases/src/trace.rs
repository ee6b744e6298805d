//! The mixed trace: blocks of orders 0 to 9 come and go in random places, the same sequence for every allocator.

use std::time::{Duration, Instant};

use crate::{Allocator, Random};

/// Pages of the pool that mixed orders are measured on.
pub const POOL: u64 = 1 << 20;
/// Live blocks there: two fifths of the pool.
pub const LIVE: u32 = 4096;
/// Orders of the pools whose cost is compared, in pages.
pub const SCALES: [u32; 7] = [16, 18, 20, 22, 24, 26, 28];
/// Live blocks on each of those, few enough for the smallest.
pub const SCALE_LIVE: u32 = 256;

/// Orders asked for, each equally often.
const ORDERS: u32 = 10;

/// One step: free what the slot holds, then allocate a block of the order into it.
#[derive(Clone, Copy, Debug)]
struct Step {
    slot: u32,
    order: u32,
}

/// A sequence of steps over a number of slots; the first ones fill all slots in order.
#[derive(Clone, Debug)]
pub struct Trace {
    slots: u32,
    steps: Vec<Step>,
}

/// What a run of a trace came to, the filling not counted.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Calls made, those that free and those that allocate.
    pub calls: u64,
    /// Requests that were not served; their slots stay empty.
    pub failed: u64,
    /// Time that the calls took together.
    pub elapsed: Duration,
}

impl Outcome {
    /// Returns the mean time of a call in nanoseconds.
    #[must_use]
    pub fn ns_per_call(&self) -> f64 {
        self.elapsed.as_nanos() as f64 / self.calls as f64
    }
}

impl Trace {
    /// Makes a trace that keeps up to `slots` blocks live and replaces `steps` of them at random.
    #[must_use]
    pub fn new(seed: u64, slots: u32, steps: u32) -> Self {
        let mut random = Random::new(seed);
        let step = |at| {
            let slot = if at < slots { at } else { random.below(slots) };
            Step { slot, order: random.below(ORDERS) }
        };
        Self { slots, steps: (0..slots + steps).map(step).collect() }
    }

    /// Runs the trace on a new allocator of `pages` pages.
    #[must_use]
    pub fn run<A: Allocator>(&self, pages: u64) -> Outcome {
        let mut allocator = A::with_pages(pages, self.slots);
        let (fill, steps) = self.steps.split_at(self.slots as usize);
        let allocated = |step: &Step| allocator.allocate(step.order).map(|handle| (handle, step.order));
        let mut slots: Vec<Option<(A::Handle, u32)>> = fill.iter().map(allocated).collect();
        let (mut calls, mut failed) = (0, 0);
        let begun = Instant::now();
        for step in steps {
            let slot = &mut slots[step.slot as usize];
            if let Some((handle, order)) = slot.take() {
                allocator.free(handle, order);
                calls += 1;
            }
            *slot = allocator.allocate(step.order).map(|handle| (handle, step.order));
            calls += 1;
            failed += u64::from(slot.is_none());
        }
        Outcome { calls, failed, elapsed: begun.elapsed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::Marks;
    use bifolio_buddy::Buddy;

    #[test]
    fn every_step_frees_one_block_and_allocates_another() {
        let outcome = Trace::new(1, 256, 1000).run::<Buddy>(1 << 16);
        assert_eq!((outcome.calls, outcome.failed), (2000, 0));
    }

    #[test]
    fn requests_that_do_not_fit_are_counted_and_leave_their_slot_empty() {
        // 256 blocks of 102 pages on average do not fit 4096 pages.
        let outcome = Trace::new(1, 256, 1000).run::<Buddy>(1 << 12);
        assert!(outcome.failed > 0 && outcome.calls < 2000, "{outcome:?}");
    }

    #[test]
    fn floor_makes_the_same_calls() {
        let outcome = Trace::new(1, 256, 1000).run::<Marks>(1 << 16);
        assert_eq!((outcome.calls, outcome.failed), (2000, 0));
    }
}
