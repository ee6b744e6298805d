//! Which calls of the device and the pool go wrong.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, Weak};

use bifolio_pool::DevicePool;
use bifolio_sim::faulty::{Call, FaultKind, Script};

/// Calls that go wrong, from when a test says so.
#[derive(Default)]
pub(super) struct Faults {
    wrong: Mutex<Vec<(Call, FaultKind)>>,
    /// Whether objects are released within each put.
    releases_in_put: AtomicBool,
    /// The pool as the engine has it.
    pool: OnceLock<Weak<dyn DevicePool>>,
}

impl Faults {
    /// Lets these calls go wrong from here on.
    pub(super) fn inject(&self, wrong: &[(Call, FaultKind)]) {
        *self.wrong.lock().expect("no panic") = wrong.to_vec();
    }

    /// Releases objects of `pool` within each put from here on.
    pub(super) fn release_in_put(&self, pool: Weak<dyn DevicePool>) {
        assert!(self.pool.set(pool).is_ok(), "set once");
        self.releases_in_put.store(true, Ordering::Relaxed);
    }
}

impl Script for Faults {
    fn fault(&self, call: Call) -> Option<FaultKind> {
        let wrong = self.wrong.lock().expect("no panic");
        wrong.iter().find(|(wrong, _)| *wrong == call).map(|(_, kind)| *kind)
    }

    fn ended(&self, call: Call) {
        if call == Call::FolioFree && self.releases_in_put.load(Ordering::Relaxed) {
            let pool = self.pool.get().and_then(Weak::upgrade).expect("the engine is there");
            pool.release();
        }
    }
}
