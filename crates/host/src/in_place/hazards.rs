//! Memory that system calls in progress use, where the kernel's own faults are not caught: it must stay at home.
//!
//! A thread publishes the ranges of its call, then looks whether they are being evicted; the service publishes what it is
//! about to evict, then looks for ranges that are in use. Whichever is second sees the other.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use bifolio_sys::PAGE;

/// Calls that can be in progress.
const CALLS: usize = 1024;
/// Ranges of one call; beyond that, neighbouring ones are taken for one.
pub const RANGES_MOST: usize = 12;

#[derive(Debug)]
struct InUse {
    /// Number of the thread; 0 if free.
    thread: AtomicU32,
    /// Where its stack was: a thread that is further up has left the call by a jump.
    stack: AtomicUsize,
    ranges: [(AtomicUsize, AtomicUsize); RANGES_MOST],
}

/// See the module.
#[derive(Debug)]
pub struct Hazards {
    in_use: [InUse; CALLS],
    /// No call was ever known from this place on.
    end: AtomicUsize,
    /// What the service evicts.
    evicting: (AtomicUsize, AtomicUsize),
}

impl Hazards {
    pub(super) const fn new() -> Hazards {
        Hazards {
            in_use: [const {
                InUse {
                    thread: AtomicU32::new(0),
                    stack: AtomicUsize::new(0),
                    ranges: [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; RANGES_MOST],
                }
            }; CALLS],
            end: AtomicUsize::new(0),
            evicting: (AtomicUsize::new(0), AtomicUsize::new(0)),
        }
    }

    /// Begins a call of a thread whose stack is at `stack`. What it has left by a jump is over.
    #[must_use]
    pub fn begin(&self, thread: u32, stack: usize) -> Option<CallInUse<'_>> {
        for left in self.known().iter().filter(|call| call.thread.load(SeqCst) == thread) {
            if left.stack.load(SeqCst) < stack {
                left.end();
            }
        }
        let free = |call: &&InUse| call.thread.compare_exchange(0, thread, SeqCst, SeqCst).is_ok();
        let at = self.in_use.iter().position(|call| free(&call))?;
        let call = &self.in_use[at];
        self.end.fetch_max(at + 1, SeqCst);
        call.stack.store(stack, SeqCst);
        Some(CallInUse { hazards: self, call, count: 0 })
    }

    /// Begins a call in which a thread was found: it ends with the next one that the thread begins itself, or is found in.
    pub(super) fn found(&self, thread: u32) -> Option<CallInUse<'_>> {
        let of_thread = |call: &&InUse| call.thread.load(SeqCst) == thread && call.stack.load(SeqCst) == 0;
        self.known().iter().filter(of_thread).for_each(InUse::end);
        self.begin(thread, 0)
    }

    /// The calls that may be in progress.
    fn known(&self) -> &[InUse] {
        &self.in_use[..self.end.load(SeqCst)]
    }

    /// Says what is about to be evicted.
    pub(super) fn set_evicting(&self, range: &Range<usize>) {
        self.evicting.0.store(range.start, SeqCst);
        self.evicting.1.store(range.end, SeqCst);
    }

    /// Says that nothing is.
    pub(super) fn end_evicting(&self) {
        self.evicting.1.store(0, SeqCst);
    }

    /// Waits until an eviction that has begun is over. One that begins later sees what the caller has said before.
    pub fn wait_for_eviction(&self) {
        while self.evicting.1.load(SeqCst) != 0 {
            std::thread::yield_now();
        }
    }

    /// The parts of `range` that calls use, as whole pages.
    pub(super) fn used_in(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let calls = self.known().iter().filter(|call| call.thread.load(SeqCst) != 0);
        let ranges = calls.flat_map(|call| &call.ranges);
        let ranges = ranges.map(|(start, end)| start.load(SeqCst)..end.load(SeqCst));
        ranges.filter(|used| used.start < range.end && range.start < used.end).collect()
    }

    /// Ends the calls of threads that are gone.
    pub(super) fn forget_threads(&self, lives: impl Fn(u32) -> bool) {
        for call in self.known() {
            let thread = call.thread.load(SeqCst);
            if thread != 0 && !lives(thread) {
                call.end();
            }
        }
    }

    fn is_being_evicted(&self, range: &Range<usize>) -> bool {
        let (start, end) = (self.evicting.0.load(SeqCst), self.evicting.1.load(SeqCst));
        range.start < end && start < range.end
    }
}

impl InUse {
    fn end(&self) {
        for (start, end) in self.ranges.iter().filter(|(_, end)| end.load(SeqCst) != 0) {
            end.store(0, SeqCst);
            start.store(0, SeqCst);
        }
        self.thread.store(0, SeqCst);
    }
}

/// A call in progress; it ends when this is dropped.
#[derive(Debug)]
pub struct CallInUse<'h> {
    hazards: &'h Hazards,
    call: &'h InUse,
    count: usize,
}

impl CallInUse<'_> {
    /// Keeps the pages of a range at home from now on; those that are there.
    pub fn hold(&mut self, range: &Range<usize>) {
        let range = range.start & !(PAGE - 1)..range.end.next_multiple_of(PAGE);
        let at = self.count.min(RANGES_MOST - 1);
        let (start, end) = &self.call.ranges[at];
        if self.count < RANGES_MOST {
            self.count += 1;
            start.store(range.start, SeqCst);
            end.store(range.end, SeqCst);
        } else {
            start.fetch_min(range.start, SeqCst);
            end.fetch_max(range.end, SeqCst);
        }
        while self.hazards.is_being_evicted(&range) {
            std::hint::spin_loop();
        }
    }
}

impl CallInUse<'_> {
    /// Leaves the ranges in use.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for CallInUse<'_> {
    fn drop(&mut self) {
        self.call.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn ranges_are_in_use_until_the_call_ends() {
        static HAZARDS: Hazards = Hazards::new();
        let mut call = HAZARDS.begin(7, 1000).expect("room");
        call.hold(&(PAGE + 5..PAGE + 6));
        assert_eq!(HAZARDS.used_in(&(0..10 * PAGE)), vec![PAGE..2 * PAGE]);
        assert_eq!(HAZARDS.used_in(&(2 * PAGE..3 * PAGE)), []);
        drop(call);
        assert_eq!(HAZARDS.used_in(&(0..10 * PAGE)), []);
    }

    #[test]
    fn call_left_by_a_jump_ends_with_the_next_one_further_up() {
        static HAZARDS: Hazards = Hazards::new();
        let mut left = HAZARDS.begin(7, 1000).expect("room");
        left.hold(&(PAGE..2 * PAGE));
        std::mem::forget(left);
        let nested = HAZARDS.begin(7, 500).expect("room");
        assert_eq!(HAZARDS.used_in(&(0..10 * PAGE)).len(), 1, "a handler runs within the call");
        drop(nested);
        drop(HAZARDS.begin(7, 2000));
        assert_eq!(HAZARDS.used_in(&(0..10 * PAGE)), []);
    }

    #[test]
    fn call_that_was_found_ends_with_the_next_one() {
        static HAZARDS: Hazards = Hazards::new();
        for page in [1, 2] {
            let mut found = HAZARDS.found(7).expect("room");
            found.hold(&(page * PAGE..(page + 1) * PAGE));
            found.keep();
        }
        assert_eq!(HAZARDS.used_in(&(0..10 * PAGE)), vec![2 * PAGE..3 * PAGE]);
        drop(HAZARDS.begin(7, 500));
        assert_eq!(HAZARDS.used_in(&(0..10 * PAGE)), []);
    }

    #[test]
    fn more_ranges_than_room_become_one() {
        static HAZARDS: Hazards = Hazards::new();
        let mut call = HAZARDS.begin(1, 1).expect("room");
        for page in 0..20 {
            call.hold(&(page * PAGE..page * PAGE + 1));
        }
        let last = RANGES_MOST - 1;
        assert_eq!(HAZARDS.used_in(&(last * PAGE..20 * PAGE)), vec![last * PAGE..20 * PAGE]);
    }

    #[test]
    fn nothing_in_use_is_evicted() {
        static HAZARDS: Hazards = Hazards::new();
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let range = PAGE..2 * PAGE;
        std::thread::scope(|scope| {
            let service = scope.spawn(|| {
                let mut evicted = 0;
                for _ in 0..20_000 {
                    HAZARDS.set_evicting(&range);
                    if HAZARDS.used_in(&range).is_empty() {
                        TAKEN.store(true, SeqCst);
                        evicted += 1;
                        TAKEN.store(false, SeqCst);
                    }
                    HAZARDS.end_evicting();
                }
                evicted
            });
            for _ in 0..20_000 {
                let mut call = HAZARDS.begin(1, 1).expect("room");
                call.hold(&range);
                assert!(!TAKEN.load(SeqCst), "taken while in use");
                drop(call);
            }
            assert!(service.join().expect("no panic") > 0);
        });
    }
}
