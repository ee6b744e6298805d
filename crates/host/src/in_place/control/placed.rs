//! Which thread of the program is placed just now: its affinity is not its own, for as long as it wakes.

use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Relaxed, SeqCst},
};

/// Times that a thread lets others run until the service has certainly been killed.
const PATIENCE: u32 = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Placed {
    /// 0 if none is.
    thread: AtomicU32,
    /// The program has placed a thread by itself.
    by_program: AtomicBool,
}

impl Placed {
    pub(super) const fn new() -> Placed {
        Placed { thread: AtomicU32::new(0), by_program: AtomicBool::new(false) }
    }

    /// Says that a thread is to be placed; `false` if that is the program's business.
    pub(in crate::in_place) fn begin(&self, thread: u32) -> bool {
        self.thread.store(thread, SeqCst);
        let ours = !self.by_program.load(SeqCst);
        if !ours {
            self.end();
        }
        ours
    }

    /// Says that no thread is placed.
    pub(in crate::in_place) fn end(&self) {
        self.thread.store(0, SeqCst);
    }

    /// Tells whether a thread is placed just now.
    pub(in crate::in_place) fn is_placed(&self) -> bool {
        self.thread.load(SeqCst) != 0
    }

    /// Says that the program places its threads: none is placed from here on.
    pub fn program_places(&self) {
        if !self.by_program.load(Relaxed) {
            self.by_program.store(true, SeqCst);
        }
        self.settle();
    }

    /// Waits until every thread has its own affinity. For what would show another one, or hand it on to a child.
    pub fn settle(&self) {
        for _ in 0..PATIENCE {
            if !self.is_placed() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_placed_once_the_program_does() {
        let placed = Placed::new();
        assert!(placed.begin(7));
        assert!(placed.is_placed());
        placed.end();
        placed.program_places();
        assert!(!placed.begin(7));
        assert!(!placed.is_placed());
    }

    #[test]
    fn thread_settles_when_the_placed_one_has_its_own_affinity() {
        static PLACED: Placed = Placed::new();
        assert!(PLACED.begin(7));
        let settled = std::thread::spawn(|| PLACED.settle());
        std::thread::sleep(std::time::Duration::from_millis(1));
        PLACED.end();
        settled.join().expect("it does not wait for ever");
    }
}
