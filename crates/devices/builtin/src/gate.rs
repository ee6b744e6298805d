//! The gate: how the page table is changed while units run.
//!
//! A unit holds its own lock while it runs, and looks at a flag at every access, which costs one relaxed load.
//! Whoever changes the table raises the flag, takes the locks of all units, which each gives up at its next
//! access, makes the change, and lets them go. So a change sees no unit between translating an address and using
//! it, and each unit sees the change before its next access, by the unit's own lock.
//!
//! Lock order: `stopping`, then the units' locks by number. A unit waits on `stopping` only after it gave up its own.

use std::sync::PoisonError;

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Stops all units at their next access.
#[derive(Debug)]
pub struct Gate {
    stop: AtomicBool,
    /// Counts the changes, so that a unit knows to drop what it cached.
    changes: AtomicU64,
    stopping: Mutex<()>,
    units: Box<[Mutex<()>]>,
}

/// A unit that runs. Gives way when dropped.
#[derive(Debug)]
pub struct Running<'g> {
    gate: &'g Gate,
    unit: usize,
    guard: Option<MutexGuard<'g, ()>>,
}

impl Gate {
    /// Makes a gate for this many units.
    #[must_use]
    pub fn new(units: usize) -> Gate {
        Gate {
            stop: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            stopping: Mutex::new(()),
            units: (0..units).map(|_| Mutex::new(())).collect(),
        }
    }

    /// Lets unit number `unit` run.
    ///
    /// # Panics
    /// If there is no such unit.
    pub fn enter(&self, unit: usize) -> Running<'_> {
        let mut running = Running { gate: self, unit, guard: None };
        running.resume();
        running
    }

    /// Runs `change` while no unit runs.
    pub fn while_stopped<R>(&self, change: impl FnOnce() -> R) -> R {
        let _stopping = lock(&self.stopping);
        // Relaxed: the flag only hurries units; the locks order memory.
        self.stop.store(true, Ordering::Relaxed);
        let _stopped: Vec<_> = self.units.iter().map(lock).collect();
        self.changes.fetch_add(1, Ordering::Relaxed);
        let result = change();
        self.stop.store(false, Ordering::Relaxed);
        result
    }
}

impl Running<'_> {
    /// Whether the unit must call [`Running::give_way`] before its next access.
    #[must_use]
    pub fn must_give_way(&self) -> bool {
        self.gate.stop.load(Ordering::Relaxed)
    }

    /// Lets changes that wait happen, then goes on.
    pub fn give_way(&mut self) {
        self.pause();
        self.resume();
    }

    /// Stops running until [`Running::resume`]: changes need not wait for this unit.
    pub fn pause(&mut self) {
        self.guard = None;
    }

    /// Goes on after [`Running::pause`].
    pub fn resume(&mut self) {
        while self.guard.is_none() {
            drop(lock(&self.gate.stopping));
            let guard = lock(&self.gate.units[self.unit]);
            if !self.must_give_way() {
                self.guard = Some(guard);
            }
        }
    }

    /// Number of changes so far; what was cached under a smaller number is stale.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.gate.changes.load(Ordering::Relaxed)
    }
}

fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    // The locks guard no data of their own, so a panicked holder left nothing half done in them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_unit_runs_during_a_change() {
        let gate = Gate::new(2);
        let running = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for unit in 0..2 {
                let (gate, running, done) = (&gate, &running, &done);
                scope.spawn(move || {
                    let mut here = gate.enter(unit);
                    while !done.load(Ordering::Relaxed) {
                        if here.must_give_way() {
                            here.give_way();
                        }
                        running.fetch_add(1, Ordering::SeqCst);
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..2000 {
                gate.while_stopped(|| assert_eq!(running.load(Ordering::SeqCst), 0));
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn paused_unit_does_not_hold_up_a_change() {
        let gate = Gate::new(1);
        let mut here = gate.enter(0);
        here.pause();
        let before = here.changes();
        gate.while_stopped(|| ());
        here.resume();
        assert_eq!(here.changes(), before + 1);
    }
}
