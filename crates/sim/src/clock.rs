//! Virtual time.

use std::sync::Arc;

use bifolio_engine::clock::Clock;

use crate::sync::atomic::{AtomicU64, Ordering};

/// A clock that only its users advance. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// Lets time pass.
    pub fn advance(&self, ns: u64) {
        self.0.fetch_add(ns, Ordering::Relaxed);
    }

    /// Waits until `ns`: time goes on to it, if it is not there yet.
    pub fn advance_to(&self, ns: u64) {
        self.0.fetch_max(ns, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now_ns(&self) -> u64 {
        // Relaxed: times guard no other memory.
        self.0.load(Ordering::Relaxed)
    }

    fn sleep(&self, ns: u64) {
        self.advance(ns);
    }
}
