//! What time it is for an engine: the machine's clock, or a model's.

use std::time::{Duration, Instant};

/// Tells the time. Only differences matter.
pub trait Clock: Send + Sync {
    /// Nanoseconds since some moment.
    fn now_ns(&self) -> u64;

    /// Lets time pass.
    fn sleep(&self, ns: u64);
}

/// The machine's own clock.
#[derive(Debug)]
pub struct MachineClock {
    start: Instant,
}

impl MachineClock {
    /// Begins at zero.
    #[must_use]
    pub fn new() -> MachineClock {
        MachineClock { start: Instant::now() }
    }
}

impl Default for MachineClock {
    fn default() -> MachineClock {
        MachineClock::new()
    }
}

impl Clock for MachineClock {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, ns: u64) {
        std::thread::sleep(Duration::from_nanos(ns));
    }
}
