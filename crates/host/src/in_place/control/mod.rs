//! What threads of the program and the service tell each other: words of shared memory, no locks.
//!
//! ```text
//!   thread    takes a slot, writes a request, touches the wake page, waits for the slot's word to change
//!   service   sees the slot, does it, writes the answer, wakes
//! ```

use std::ops::Range;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};
use std::time::Duration;

use bifolio_sys::futex;

use crate::in_place::hazards::Hazards;

mod placed;
mod request;

pub use placed::Placed;
pub use request::{NextMapping, Request};

/// Requests that can wait at the same time.
const SLOTS: usize = 64;
/// Threads whose stacks are known.
const THREADS: usize = 4096;
/// Threads that have a stack for signals.
const KEPT: usize = THREADS;
/// Bytes of a reason.
const REASON_MOST: usize = 400;

/// States of a slot's word.
const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const POSTED: u32 = 2;
const TAKEN: u32 = 3;
const DONE: u32 = 4;

#[derive(Debug)]
struct Slot {
    word: AtomicU32,
    request: [AtomicUsize; 3],
    answer: AtomicUsize,
}

/// States of the service.
const STARTING: u32 = 0;
const READY: u32 = 1;
const FAILED: u32 = 2;

/// See the module.
#[derive(Debug)]
pub struct Control {
    state: AtomicU32,
    engaged: AtomicU32,
    /// More is resident than may be.
    exceeded: AtomicBool,
    /// Threads of the program that are forking.
    forking: AtomicU32,
    program: AtomicU32,
    pending: AtomicU32,
    /// Threads that touch the wake page, or are about to.
    waking: AtomicU32,
    wake_page: AtomicUsize,
    slots: [Slot; SLOTS],
    /// Thread number and thread pointer of each thread that is known; 0 if free.
    threads: [(AtomicU32, AtomicUsize); THREADS],
    reason: [AtomicU8; REASON_MOST],
    reason_len: AtomicUsize,
    user_mode: AtomicBool,
    selector: AtomicU8,
    /// Calls come to us first from the start on, so that call sites are known.
    call_sites: AtomicBool,
    /// Memory that must stay at home: stacks that signals are handled on.
    kept: [(AtomicUsize, AtomicUsize); KEPT],
    hazards: Hazards,
    placed: Placed,
}

impl Control {
    /// An empty control block.
    #[expect(clippy::new_without_default, reason = "control blocks are statics")]
    #[must_use]
    pub const fn new() -> Control {
        Control {
            state: AtomicU32::new(STARTING),
            engaged: AtomicU32::new(0),
            exceeded: AtomicBool::new(false),
            forking: AtomicU32::new(0),
            program: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            waking: AtomicU32::new(0),
            wake_page: AtomicUsize::new(0),
            slots: [const {
                Slot {
                    word: AtomicU32::new(FREE),
                    request: [const { AtomicUsize::new(0) }; 3],
                    answer: AtomicUsize::new(0),
                }
            }; SLOTS],
            threads: [const { (AtomicU32::new(0), AtomicUsize::new(0)) }; THREADS],
            reason: [const { AtomicU8::new(0) }; REASON_MOST],
            reason_len: AtomicUsize::new(0),
            user_mode: AtomicBool::new(false),
            selector: AtomicU8::new(0),
            call_sites: AtomicBool::new(false),
            kept: [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; KEPT],
            hazards: Hazards::new(),
            placed: Placed::new(),
        }
    }

    /// Waits until the service says that it is ready, or why it is not; looks after it at times by `is_there`.
    ///
    /// # Errors
    /// The reason; none if it is not there any more.
    pub fn wait_until_ready(
        &self,
        look: Duration,
        is_there: impl Fn() -> bool,
    ) -> Result<(), Option<String>> {
        loop {
            let there = is_there();
            match self.state.load(Acquire) {
                READY => return Ok(()),
                FAILED => return Err(Some(self.read_reason())),
                _ if !there => return Err(None),
                state => futex::wait(&self.state, state, Some(look)),
            }
        }
    }

    /// Says that the service waits for work, and where its wake page is.
    pub(super) fn say_ready(&self, program: u32, wake_page: usize) {
        self.program.store(program, Relaxed);
        self.wake_page.store(wake_page, Relaxed);
        self.state.store(READY, Release);
        futex::wake_all(&self.state);
    }

    /// Says that there is no service, and why.
    pub fn say_failed(&self, reason: &str) {
        let len = reason.len().min(REASON_MOST);
        self.reason.iter().zip(reason.bytes()).for_each(|(cell, byte)| cell.store(byte, Relaxed));
        self.reason_len.store(len, Relaxed);
        self.state.store(FAILED, Release);
        futex::wake_all(&self.state);
    }

    fn read_reason(&self) -> String {
        let bytes = self.reason.iter().take(self.reason_len.load(Relaxed));
        String::from_utf8_lossy(&bytes.map(|byte| byte.load(Relaxed)).collect::<Vec<_>>()).into_owned()
    }

    /// Tells whether anything is registered, so that memory may be away.
    #[must_use]
    pub fn is_engaged(&self) -> bool {
        self.engaged.load(Acquire) != 0
    }

    /// Process number of the program; 0 before the service is ready.
    #[must_use]
    pub fn program(&self) -> u32 {
        self.program.load(Relaxed)
    }

    /// Says that memory may be away from now on; `false` if a thread forks just now, who was told that none is.
    pub(super) fn engage(&self) -> bool {
        self.engaged.store(1, SeqCst);
        let alone = self.forking.load(SeqCst) == 0;
        if !alone {
            self.engaged.store(0, SeqCst);
        }
        alone
    }

    /// Says that no memory is away.
    pub(super) fn disengage(&self) {
        self.engaged.store(0, SeqCst);
    }

    /// Tells whether so much more is resident than may be that nothing is to be mapped before [`Request::Room`] is answered.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.exceeded.load(Relaxed)
    }

    pub(super) fn set_exceeded(&self, exceeded: bool) {
        self.exceeded.store(exceeded, Relaxed);
    }

    /// Says that a thread forks. Returns whether memory may be away; if not, none will be until [`Control::end_fork`].
    #[must_use]
    pub fn begin_fork(&self) -> bool {
        self.forking.fetch_add(1, SeqCst);
        self.engaged.load(SeqCst) != 0
    }

    /// Says that a thread has forked.
    pub fn end_fork(&self) {
        self.forking.fetch_sub(1, SeqCst);
    }

    /// Tells whether only faults of user mode are caught, so that system calls must find their memory at home.
    #[must_use]
    pub fn is_user_mode(&self) -> bool {
        self.user_mode.load(Acquire)
    }

    pub(super) fn set_user_mode(&self) {
        self.user_mode.store(true, Release);
    }

    /// Lets calls of threads come to us first from now on, for their call sites.
    pub fn record_call_sites(&self) {
        self.call_sites.store(true, Release);
        self.selector.store(1, SeqCst);
    }

    /// Tells whether calls come to us first for their call sites.
    #[must_use]
    pub fn records_call_sites(&self) -> bool {
        self.call_sites.load(Acquire)
    }

    /// What the kernel looks at when a thread of the program makes a system call: 1 while calls come to us first.
    #[must_use]
    pub fn selector(&self) -> &AtomicU8 {
        &self.selector
    }

    /// Memory that calls in progress use.
    #[must_use]
    pub fn hazards(&self) -> &Hazards {
        &self.hazards
    }

    /// Which thread is placed just now.
    #[must_use]
    pub fn placed(&self) -> &Placed {
        &self.placed
    }

    /// Keeps a range at home from now on, in place of what the thread with this number had kept. `false` if there are too
    /// many.
    pub fn keep(&self, index: usize, range: Range<usize>) -> bool {
        let Some((start, end)) = self.kept.get(index) else { return false };
        end.store(0, SeqCst);
        start.store(range.start, SeqCst);
        end.store(range.end, SeqCst);
        true
    }

    /// What is kept at home.
    pub(super) fn kept(&self) -> impl Iterator<Item = Range<usize>> {
        let ranges = self.kept.iter().map(|(start, end)| start.load(SeqCst)..end.load(SeqCst));
        ranges.filter(|range| !range.is_empty())
    }

    /// Asks the service, and waits for its answer. `touch` is given the address of the wake page.
    ///
    /// Not to be called by the service, nor by a process that does not share its memory.
    pub fn call(&self, request: Request, touch: impl Fn(usize)) -> usize {
        let slot = self.claim();
        for (cell, word) in slot.request.iter().zip(request.encode()) {
            cell.store(word, Relaxed);
        }
        // First, so that the count is never below what can be taken.
        self.pending.fetch_add(1, AcqRel);
        slot.word.store(POSTED, Release);
        self.waking.fetch_add(1, AcqRel);
        touch(self.wake_page.load(Relaxed));
        self.waking.fetch_sub(1, AcqRel);
        loop {
            match slot.word.load(Acquire) {
                DONE => break,
                word => futex::wait(&slot.word, word, None),
            }
        }
        let answer = slot.answer.load(Relaxed);
        slot.word.store(FREE, Release);
        answer
    }

    fn claim(&self) -> &Slot {
        loop {
            let free = |slot: &&Slot| slot.word.compare_exchange(FREE, CLAIMED, AcqRel, Relaxed).is_ok();
            if let Some(slot) = self.slots.iter().find(free) {
                return slot;
            }
            futex::wait(&self.slots[0].word, TAKEN, Some(Duration::from_millis(1)));
        }
    }

    /// Tells whether a request may wait, or a thread that touches the wake page for an answer.
    pub(super) fn has_pending(&self) -> bool {
        self.pending.load(Acquire) != 0 || self.is_waking()
    }

    /// Tells whether a thread touches the wake page.
    pub(super) fn is_waking(&self) -> bool {
        self.waking.load(Acquire) != 0
    }

    /// Takes a request that waits. It must be [answered](Control::answer).
    pub(super) fn take(&self) -> Option<(usize, Request)> {
        let posted =
            |(_, slot): &(usize, &Slot)| slot.word.compare_exchange(POSTED, TAKEN, AcqRel, Relaxed).is_ok();
        let (index, slot) = self.slots.iter().enumerate().find(posted)?;
        self.pending.fetch_sub(1, AcqRel);
        let words = [0, 1, 2].map(|word: usize| slot.request[word].load(Relaxed));
        let request = Request::decode(words).expect("slots hold what was encoded");
        Some((index, request))
    }

    /// Answers a request that was taken.
    pub(super) fn answer(&self, index: usize, answer: usize) {
        let slot = &self.slots[index];
        slot.answer.store(answer, Relaxed);
        slot.word.store(DONE, Release);
        futex::wake_all(&slot.word);
    }

    /// Makes a thread known, by its number and its thread pointer. Returns its place in the control block; `None` if there are too
    /// many.
    pub fn know_thread(&self, number: u32, pointer: usize) -> Option<usize> {
        let free = |(_, (taken, _)): &(usize, &(AtomicU32, AtomicUsize))| {
            taken.compare_exchange(0, number, AcqRel, Relaxed).is_ok()
        };
        let (index, (_, place)) = self.threads.iter().enumerate().find(free)?;
        place.store(pointer, Release);
        Some(index)
    }

    /// Forgets the threads that are gone.
    pub(super) fn forget_threads(&self, lives: impl Fn(u32) -> bool) {
        for ((number, pointer), (_, kept_end)) in self.threads.iter().zip(&self.kept) {
            let thread = number.load(Acquire);
            if thread != 0 && !lives(thread) {
                kept_end.store(0, SeqCst);
                pointer.store(0, Release);
                number.store(0, Release);
            }
        }
        self.hazards.forget_threads(&lives);
    }

    /// The numbers of the threads that are known.
    pub(super) fn threads(&self) -> impl Iterator<Item = u32> {
        self.threads.iter().map(|(number, _)| number.load(Acquire)).filter(|number| *number != 0)
    }

    /// Tells whether a known thread has this thread pointer.
    pub fn knows_pointer(&self, pointer: usize) -> bool {
        self.thread_pointers().any(|known| known == pointer)
    }

    /// The thread pointers that are known.
    pub(super) fn thread_pointers(&self) -> impl Iterator<Item = usize> {
        self.threads.iter().map(|(_, pointer)| pointer.load(Acquire)).filter(|pointer| *pointer != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn every_request_gets_its_own_answer() {
        static CONTROL: Control = Control::new();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let service = scope.spawn(|| {
                let mut served = 0;
                while !stop.load(Acquire) || CONTROL.has_pending() {
                    while let Some((index, request)) = CONTROL.take() {
                        let Request::Leave(start, len) = request else { panic!("{request:?}") };
                        CONTROL.answer(index, start + len);
                        served += 1;
                    }
                    std::thread::yield_now();
                }
                served
            });
            let threads = [1, 2, 3, 4].map(|number| {
                scope.spawn(move || {
                    for round in 0..500 {
                        assert_eq!(
                            CONTROL.call(Request::Leave(number * 1000, round), |_| ()),
                            number * 1000 + round
                        );
                    }
                })
            });
            for thread in threads {
                thread.join().expect("answers are right");
            }
            stop.store(true, Release);
            assert_eq!(service.join().expect("requests are whole"), 2000);
        });
    }

    #[test]
    fn reason_of_a_failure_arrives() {
        let control = Control::new();
        control.say_failed("no memory");
        let waited = control.wait_until_ready(Duration::from_secs(1), || true);
        assert_eq!(waited, Err(Some("no memory".into())));
    }

    #[test]
    fn threads_are_known_until_they_end() {
        let control = Control::new();
        let one = control.know_thread(1, 4096).expect("room");
        control.know_thread(2, 8192).expect("room");
        assert_eq!(one, 0);
        control.forget_threads(|number| number == 2);
        assert!(control.thread_pointers().eq([8192]));
    }
}
