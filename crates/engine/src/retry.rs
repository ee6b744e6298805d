//! One way to try again: what is in use is held for as long as another transaction, or a look for victims, takes.

use std::time::Duration;

use crate::sync::thread;

/// Tries of a transaction that finds a page, a folio or all victims in use.
pub(crate) const BUSY_TRIES: u32 = 2000;
/// The same where there is another way out: what is held for a moment is waited for, about a millisecond.
pub(crate) const FEW_TRIES: u32 = YIELDS + 8;
/// After so many tries the next ones sleep instead of yielding.
const YIELDS: u32 = 32;
const PAUSE: Duration = Duration::from_micros(100);

/// Counts tries of one thing, and pauses between them.
#[derive(Debug)]
pub(crate) struct Retry {
    tries: u32,
    limit: u32,
}

impl Retry {
    /// Allows `limit` tries after the first.
    pub(crate) fn new(limit: u32) -> Retry {
        Retry { tries: 0, limit }
    }

    /// Pauses and returns true if another try is allowed. To be called without any lock.
    pub(crate) fn again(&mut self) -> bool {
        let allowed = self.tries < self.limit;
        if allowed {
            self.pause();
        }
        allowed
    }

    /// Pauses, and counts the try without a limit.
    pub(crate) fn pause(&mut self) {
        if self.tries < YIELDS {
            thread::yield_now();
        } else {
            thread::sleep(PAUSE);
        }
        self.tries += 1;
    }

    /// Begins anew, since something was gained.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Tries so far.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }
}
