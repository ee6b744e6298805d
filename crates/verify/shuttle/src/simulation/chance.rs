//! Failures of the machine below, by chance.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use shuttle::rand::{Rng, thread_rng};

/// Decides which calls fail. Its choices are part of the schedule, so a replay makes them again.
#[derive(Debug)]
pub struct Chance {
    per_mille: u32,
    over: AtomicBool,
}

impl Chance {
    /// Lets this many of a thousand calls fail.
    #[must_use]
    pub fn per_mille(per_mille: u32) -> Chance {
        Chance { per_mille, over: AtomicBool::new(false) }
    }

    /// Tells whether a call may have failed so far, or may yet.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.per_mille > 0
    }

    /// Tells whether the call that asks fails.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.is_any() && !self.over.load(Relaxed) && thread_rng().gen_range(0..1000) < self.per_mille
    }

    /// Lets nothing fail from here on.
    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }
}
