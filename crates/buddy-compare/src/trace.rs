//! The mixed trace: blocks of order 0..=9 come and go in random places, the same sequence for every allocator.

use crate::rivals::Rival;
use std::time::Instant;

/// Orders asked for, each equally often.
const ORDERS: u64 = 10;

/// One step: free what the slot holds, then allocate a block of the order into it.
#[derive(Clone, Copy)]
struct Step {
    slot: u32,
    order: u32,
}

/// A sequence of steps over a number of slots; the first ones fill all slots in order.
pub struct Trace {
    slots: usize,
    steps: Vec<Step>,
}

/// A small generator of pseudo-random numbers (xorshift64*), so that a seed always means the same trace.
pub struct Random(u64);

impl Random {
    /// A generator started from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    }
}

impl Trace {
    /// A trace that keeps up to `slots` blocks live and replaces `steps` of them at random.
    pub fn new(seed: u64, slots: u32, steps: usize) -> Self {
        let mut random = Random::new(seed);
        let slot_of = |at: usize, random: &mut Random| match u32::try_from(at) {
            Ok(at) if at < slots => at,
            _ => random.below(slots),
        };
        let steps = (0..slots as usize + steps)
            .map(|at| Step { slot: slot_of(at, &mut random), order: random.below(ORDERS as u32) })
            .collect();
        Self { slots: slots as usize, steps }
    }

    /// Runs the trace on a new allocator; returns nanoseconds per call, the filling not counted. Requests that fail
    /// leave the slot empty; `failed` counts them.
    pub fn run<R: Rival>(&self, pages: u64, failed: &mut u64) -> f64 {
        let mut rival = R::new(pages, self.slots as u32);
        let mut slots: Vec<Option<(R::Handle, u32)>> = (0..self.slots).map(|_| None).collect();
        let (fill, steps) = self.steps.split_at(self.slots);
        for step in fill {
            slots[step.slot as usize] = rival.allocate(step.order).map(|handle| (handle, step.order));
        }
        let mut calls = 0u64;
        let begun = Instant::now();
        for step in steps {
            let slot = &mut slots[step.slot as usize];
            if let Some((handle, order)) = slot.take() {
                rival.free(handle, order);
                calls += 1;
            }
            *slot = rival.allocate(step.order).map(|handle| (handle, step.order));
            calls += 1;
            *failed += u64::from(slot.is_none());
        }
        begun.elapsed().as_nanos() as f64 / calls as f64
    }
}
