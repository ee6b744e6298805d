//! Which thread uses a translation, and whether it sleeps in a fault of the CPU.
//!
//! The kernel says which thread sleeps, but only as of the moment when its message was read: another handler may have answered
//! that fault since, and the thread runs. A message tells something of a translation only if the translation was taken
//! before the look for messages began: then its holder slept while it held it, and what it held is void by contract. If it was
//! taken after that, nothing is known ([`Seen::Unsure`]): the thread is woken, and if it still needs the page, it faults again
//! and a new message comes.

use bifolio_engine::sleep::{Seen, Sleeper, looks};

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Written by one thread at a time, read by all.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    /// Number of what is held; 0 while the other fields change.
    number: AtomicU64,
    thread: AtomicU32,
    /// Looks for messages that had begun when it was taken.
    looks: AtomicU64,
    /// What the thread held when it was last seen asleep.
    asleep_at: AtomicU64,
}

impl Owner {
    /// Says that the calling thread takes what has this number, which is not 0.
    pub(crate) fn begin(&self, number: u64) {
        self.number.store(0, Ordering::Relaxed);
        // The fields below are not seen before the zero, nor the number before them.
        fence(Ordering::Release);
        self.thread.store(Sleeper::this_thread().thread, Ordering::Relaxed);
        self.looks.store(looks(), Ordering::Relaxed);
        self.number.store(number, Ordering::Release);
    }

    /// Takes note that a thread sleeps, if it is the one that holds something.
    pub(crate) fn see_asleep(&self, sleeper: Sleeper) -> Seen {
        let number = self.number.load(Ordering::Acquire);
        let (thread, looks) = (self.thread.load(Ordering::Relaxed), self.looks.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let same = self.number.load(Ordering::Relaxed) == number && number != 0;
        // A holder that sleeps changes nothing here.
        if !same || thread != sleeper.thread {
            return Seen::Known;
        }
        if looks > sleeper.look {
            return Seen::Unsure;
        }
        self.asleep_at.store(number, Ordering::Release);
        Seen::Known
    }

    /// Whether the thread was seen asleep while it held what has this number.
    pub(crate) fn is_asleep_at(&self, number: u64) -> bool {
        self.asleep_at.load(Ordering::Acquire) == number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_after_a_look_that_began_later_counts() {
        let owner = Owner::default();
        owner.begin(5);
        let sleeper = Sleeper::found(Sleeper::this_thread().thread, bifolio_engine::sleep::begin_look());
        assert_eq!(owner.see_asleep(sleeper), Seen::Known);
        assert!(owner.is_asleep_at(5) && !owner.is_asleep_at(7));
    }

    #[test]
    fn look_that_began_before_tells_nothing() {
        let owner = Owner::default();
        let sleeper = Sleeper::found(Sleeper::this_thread().thread, bifolio_engine::sleep::begin_look());
        owner.begin(5);
        assert_eq!(owner.see_asleep(sleeper), Seen::Unsure);
        assert!(!owner.is_asleep_at(5));
    }

    #[test]
    fn other_threads_do_not_matter() {
        let owner = Owner::default();
        owner.begin(5);
        let sleeper = Sleeper::found(1, bifolio_engine::sleep::begin_look());
        assert_eq!(owner.see_asleep(sleeper), Seen::Known);
        assert!(!owner.is_asleep_at(5));
    }
}
