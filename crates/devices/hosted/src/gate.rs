//! The gate: how entries leave the page table while ports use it.
//!
//! ```text
//!   port      begin -- look at the epoch -- translate -- touch device memory -- end
//!   change    remove entries -- next epoch -- barrier -- wait for each port that began in an epoch before
//! ```
//!
//! A port takes no lock: it says by two stores of its own that it is within an access, and in which epoch it began. A
//! translation that it cached is good in the epoch in which it was found. So a port that begins after the barrier sees the new
//! epoch, drops what it cached and finds the entry gone; one that began before is waited for. Between two accesses a port holds
//! nothing, and the thread that uses it may sleep, fault, launch or move pages.
//!
//! No number is counted up at each access: what an access stores does not depend on the access before it, so the processor
//! overlaps them.
//!
//! A port that was told an address of device memory ([`Port::translate`](crate::Port::translate)) stays within that
//! access until its next call. Its thread may touch shared memory meanwhile and then sleep until the very change is made that
//! waits for the port. Such a thread uses no translation, so it is not waited for: see [`Owner`].

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bifolio_engine::device::DeviceError;
use bifolio_engine::sleep::{Seen, Sleeper};

use crate::owner::Owner;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Barrier, Mutex, MutexGuard, thread};

/// Makes changes of the page table wait for accesses under way.
#[derive(Debug)]
pub(crate) struct Gate {
    barrier: Barrier,
    /// Number of the last change.
    epoch: AtomicU64,
    /// The ports. Replaced as a whole, so that a change waits without the lock.
    places: Mutex<Arc<[Arc<Place>]>>,
}

/// A port, as changes see it. On cache lines of its own: the port writes it at every access.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Place {
    /// [`IDLE`], or [`ACCESS`] or [`HELD`] with the epoch in which it began.
    state: AtomicU64,
    /// The thread that holds a translation.
    holder: Owner,
    /// The number of the last translation that was held.
    held: AtomicU64,
}

/// Between two accesses.
const IDLE: u64 = 0;
/// Within an access.
const ACCESS: u64 = 1;
/// Within an access that lasts until the port's next one: its thread holds a translation.
const HELD: u64 = 3;
/// Where the epoch begins in a state.
const EPOCH: u32 = 2;

impl Gate {
    /// Makes a gate of no ports.
    pub(crate) fn new() -> Gate {
        Gate { barrier: Barrier::new(), epoch: AtomicU64::new(0), places: Mutex::new(Arc::new([])) }
    }

    /// Adds a port.
    pub(crate) fn open(&self) -> Arc<Place> {
        let place = Arc::new(Place::default());
        let mut places = lock(&self.places);
        *places = places.iter().chain([&place]).map(Arc::clone).collect();
        place
    }

    /// Removes a port that is within no access.
    pub(crate) fn close(&self, place: &Arc<Place>) {
        let mut places = lock(&self.places);
        *places = places.iter().filter(|other| !Arc::ptr_eq(other, place)).map(Arc::clone).collect();
    }

    /// Has ports walk the page table at their next access. Returns the number of this change.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Begins an access of a port. Returns the number of the last change: what was cached under another one is stale.
    #[inline]
    pub(crate) fn begin(&self, place: &Place) -> u64 {
        // If a change comes between this look and the store, it waits for this access without need.
        let seen = self.epoch.load(Ordering::Relaxed);
        place.state.store(seen << EPOCH | ACCESS, Ordering::Relaxed);
        self.barrier.light();
        self.epoch.load(Ordering::Acquire)
    }

    /// Waits until no port uses an entry that was removed before this call.
    ///
    /// # Errors
    /// If a port holds a translation for longer than `patience`.
    pub(crate) fn settle(&self, patience: Duration) -> Result<(), DeviceError> {
        let epoch = self.next_epoch();
        self.barrier.heavy();
        let places = Arc::clone(&lock(&self.places));
        places.iter().try_for_each(|place| place.wait(epoch, patience))
    }

    /// Takes note that a thread sleeps in a fault of the CPU.
    pub(crate) fn see_asleep(&self, sleeper: Sleeper) -> Seen {
        let places = Arc::clone(&lock(&self.places));
        places.iter().map(|place| place.holder.see_asleep(sleeper)).fold(Seen::Known, Seen::and)
    }
}

impl Place {
    /// Ends the port's access.
    #[inline]
    pub(crate) fn end(&self) {
        // Release: a change that sees it sees what the access wrote.
        self.state.store(IDLE, Ordering::Release);
    }

    /// Lets the access of this thread, which began in `epoch`, last until the port's next one.
    pub(crate) fn hold(&self, epoch: u64) {
        let number = self.held.load(Ordering::Relaxed) + 1;
        self.held.store(number, Ordering::Relaxed);
        self.holder.begin(number);
        // Release: a change that sees it sees which thread holds what.
        self.state.store(epoch << EPOCH | HELD, Ordering::Release);
    }

    /// Waits until an access ends that began before `epoch`.
    fn wait(&self, epoch: u64, patience: Duration) -> Result<(), DeviceError> {
        if !self.is_within(epoch) {
            return Ok(());
        }
        // If this very thread holds a translation, it uses none while it changes the table.
        self.holder.see_asleep(Sleeper::this_thread());
        let mut pause = Pause::new(patience);
        while self.is_within(epoch) {
            if !pause.again() {
                return Err(DeviceError::Lost);
            }
        }
        Ok(())
    }

    /// Whether the port is within an access that began before `epoch`, and its thread may use what it found.
    fn is_within(&self, epoch: u64) -> bool {
        let state = self.state.load(Ordering::Acquire);
        let asleep = || self.holder.is_asleep_at(self.held.load(Ordering::Relaxed));
        match state & HELD {
            IDLE => false,
            HELD => state >> EPOCH < epoch && !asleep(),
            _ => state >> EPOCH < epoch,
        }
    }
}

/// Waits in small steps: an access takes nanoseconds, a translation is held for as long as a model likes.
pub(crate) struct Pause {
    start: Instant,
    limit: Duration,
    turns: u32,
}

/// Turns that yield, before others sleep.
const YIELDS: u32 = 64;
const NAP: Duration = Duration::from_micros(50);

impl Pause {
    pub(crate) fn new(limit: Duration) -> Pause {
        Pause { start: Instant::now(), limit, turns: 0 }
    }

    /// Waits a little; `false` once the limit is reached.
    pub(crate) fn again(&mut self) -> bool {
        self.turns += 1;
        if self.turns < YIELDS {
            thread::yield_now();
        } else {
            thread::sleep(NAP);
        }
        self.turns < YIELDS || self.start.elapsed() < self.limit
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The list is replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Ports read a value through a pointer that changes retire: what was retired is never read after its change settled.
    #[test]
    fn no_access_uses_what_was_removed_before_a_change() {
        let gate = Gate::new();
        let current = AtomicU64::new(0);
        let retired = [const { AtomicBool::new(false) }; 2000];
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let (gate, current, retired, done) = (&gate, &current, &retired, &done);
                scope.spawn(move || {
                    let place = gate.open();
                    while !done.load(Ordering::Relaxed) {
                        gate.begin(&place);
                        let entry = usize::try_from(current.load(Ordering::Acquire)).expect("small");
                        assert!(!retired[entry].load(Ordering::Relaxed), "entry {entry}");
                        place.end();
                    }
                });
            }
            for entry in 1..retired.len() {
                current.store(entry as u64, Ordering::Release);
                gate.settle(LIMIT).expect("accesses are short");
                retired[entry - 1].store(true, Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn port_between_accesses_does_not_hold_up_a_change() {
        let gate = Gate::new();
        let place = gate.open();
        let before = gate.begin(&place);
        place.end();
        gate.settle(LIMIT).expect("nothing to wait for");
        assert_eq!(gate.begin(&place), before + 1);
    }

    #[test]
    fn held_translation_is_waited_for_up_to_the_limit() {
        let (gate, short) = (Gate::new(), Duration::from_millis(5));
        let place = gate.open();
        std::thread::scope(|scope| {
            // Held by another thread, which is awake.
            scope.spawn(|| place.hold(gate.begin(&place)));
        });
        assert_eq!(gate.settle(short), Err(DeviceError::Lost));
        place.end();
        assert_eq!(gate.settle(LIMIT), Ok(()));
        gate.begin(&place);
        gate.close(&place);
        assert_eq!(gate.settle(LIMIT), Ok(()), "a port that is gone is not waited for");
    }

    #[test]
    fn access_that_began_after_a_change_is_not_waited_for() {
        let gate = Gate::new();
        let place = gate.open();
        let epoch = gate.begin(&place);
        assert!(place.is_within(epoch + 1) && !place.is_within(epoch));
        place.hold(epoch);
        assert!(place.is_within(epoch + 1) && !place.is_within(epoch));
    }

    #[test]
    fn own_translation_does_not_hold_up_a_change_of_the_same_thread() {
        let gate = Gate::new();
        let place = gate.open();
        let epoch = gate.begin(&place);
        place.hold(epoch);
        assert_eq!(gate.settle(LIMIT), Ok(()));
        // A short access of the same port is waited for again, and so is its next translation.
        let epoch = gate.begin(&place);
        assert!(place.is_within(epoch + 1));
        place.hold(epoch);
        assert!(place.is_within(epoch + 1));
    }
}
