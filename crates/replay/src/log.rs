//! An observer that counts waits, and checksums everything that it is told.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bifolio_engine::event::EventKind;
use bifolio_engine::{Detail, Event, Observer};
use bifolio_trace::{Kind, kinds_of};
use hdrhistogram::Histogram;

/// Longer waits count as this one: a day.
const WAIT_MAX_NS: u64 = 86_400_000_000_000;

/// What is known so far.
pub(crate) struct Known {
    /// FNV-1a over the events, with addresses as distances from the first block.
    pub(crate) checksum: u64,
    pub(crate) waits: Histogram<u64>,
    pub(crate) stall_ns: u64,
    evicted: HashSet<u64>,
    pub(crate) returns: u64,
}

/// The observer. It counts only once it was begun.
pub(crate) struct Log {
    base: u64,
    latency_ns: u64,
    known: Mutex<Option<Known>>,
}

impl Log {
    /// Addresses begin at `base`; a fault takes `latency_ns` beside its copies.
    pub(crate) fn new(base: u64, latency_ns: u64) -> Log {
        Log { base, latency_ns, known: Mutex::new(None) }
    }

    pub(crate) fn begin(&self) {
        let waits = Histogram::new_with_bounds(1, WAIT_MAX_NS, 3).expect("three digits are possible");
        let (checksum, evicted) = (0xcbf2_9ce4_8422_2325, HashSet::new());
        *self.known() = Some(Known { checksum, waits, stall_ns: 0, evicted, returns: 0 });
    }

    pub(crate) fn finish(&self) -> Known {
        self.known().take().expect("it was begun")
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.checksum = (self.checksum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn count(&mut self, kind: &Kind) {
        match *kind {
            Kind::Evicted { address, .. } => drop(self.evicted.insert(address)),
            Kind::ToDevice { address, .. } => self.returns += u64::from(self.evicted.remove(&address)),
            _ => {}
        }
    }
}

impl Observer for Log {
    fn detail(&self) -> Detail {
        Detail::Results
    }

    fn observe(&self, event: &Event<'_>) {
        let mut known = self.known();
        let Some(known) = known.as_mut() else { return };
        if let EventKind::DeviceFault { wait_ns, .. } = event.kind {
            let wait_ns = wait_ns + self.latency_ns;
            known.waits.saturating_record(wait_ns);
            known.stall_ns += wait_ns;
        }
        kinds_of(&event.kind, |kind| {
            let kind = kind.relative_to(self.base);
            known.count(&kind);
            known.add(&kind.to_bytes());
        });
    }
}
