//! Where only faults of user mode are caught: a system call on memory that is away fails with EFAULT. So calls come to us
//! first while something is registered, and find their memory at home.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use bifolio_sys::threads::{self, Activity};
use bifolio_sys::{Access, Outcome, PAGE, advise};

use crate::in_place::faults::range_of;
use crate::in_place::service::Service;

/// The bit of SIGSYS, 31, in a mask.
const SIGSYS: u64 = 1 << 30;
/// A thread that has run for so long has left the call that it may have been in: those that use much memory begin with us, or
/// sleep.
const SHORT: Duration = Duration::from_micros(300);
/// Looks at what threads do are so far apart, and end after this time.
const PAUSE: Duration = Duration::from_micros(50);
const WAIT: Duration = Duration::from_millis(20);
/// Pages that are made ready beyond the limit at most, for one call.
const READY_MOST: usize = 64 << 20;

impl Service {
    pub(super) fn is_user_mode(&self) -> bool {
        self.uffd.access() == Access::UserModeOnly
    }

    /// Lets calls of all threads come to us first, if that is possible just now: no thread may block SIGSYS.
    pub(super) fn begin_dispatch(&mut self) -> bool {
        if !self.is_user_mode() {
            return true;
        }
        if !self.all_threads_can_trap() {
            self.forget_threads();
            return false;
        }
        // The C library blocks all signals while it begins a thread.
        if self.spawning.load(SeqCst) != 0 {
            return false;
        }
        self.control.selector().store(1, SeqCst);
        // One that blocked it since would be ended by its next call.
        let can = self.spawning.load(SeqCst) == 0 && self.all_threads_can_trap();
        if can {
            self.hold_calls_in_progress();
        } else {
            self.end_dispatch();
        }
        can
    }

    /// Keeps at home what calls use that have begun before they came to us first. A thread that runs may be in such a call as
    /// well, but not for long.
    fn hold_calls_in_progress(&self) {
        let Ok(mut running) = threads::of_process(self.program) else { return };
        let (begin, begin_used) = (Instant::now(), threads::time_used(self.program));
        while begin.elapsed() < WAIT {
            running.retain(|thread| match threads::activity(self.program, *thread) {
                Activity::Running => true,
                Activity::InCall(number, arguments) => {
                    if let Some(mut held) = self.control.hazards().found(*thread) {
                        (self.hold_call)(number, arguments, &mut held);
                        held.keep();
                    }
                    false
                }
                Activity::Other => false,
            });
            let used = threads::time_used(self.program).zip(begin_used).map(|(now, begin)| now - begin);
            let all = SHORT * u32::try_from(running.len()).unwrap_or(u32::MAX);
            if used.is_none_or(|used| used >= all) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Lets all calls pass.
    pub(super) fn end_dispatch(&self) {
        let stays = self.control.records_call_sites();
        self.control.selector().store(u8::from(stays), SeqCst);
    }

    /// Tells whether every thread of the program is known, so that its calls are ours to see, and takes SIGSYS.
    fn all_threads_can_trap(&self) -> bool {
        let Ok(now) = threads::of_process(self.program) else { return false };
        now.into_iter().all(|thread| {
            let known = self.control.threads().any(|known| known == thread);
            // A thread that has ended meanwhile blocks nothing.
            known && threads::blocked_signals(self.program, thread).is_none_or(|mask| mask & SIGSYS == 0)
        })
    }

    /// Asks threads that are not known, by a signal, to become known and let their calls come to us: they were begun past the
    /// library's `pthread_create`.
    pub(super) fn ask_unknown_threads(&mut self, alive: &BTreeSet<u32>) {
        if !self.is_user_mode() {
            return;
        }
        let known: BTreeSet<u32> = self.control.threads().collect();
        self.asked.retain(|thread| alive.contains(thread));
        for thread in alive.difference(&known) {
            let open = threads::blocked_signals(self.program, *thread).is_some_and(|mask| mask & SIGSYS == 0);
            // One that is just beginning becomes known by itself.
            if open && self.spawning.load(SeqCst) == 0 && self.asked.insert(*thread) {
                // One that has ended needs nothing.
                let _: Result<(), _> = threads::send_sigsys(self.program, *thread);
            }
        }
    }

    /// Lets the pages of a range be there: as they are in the store, or as zeros.
    pub(super) fn make_ready(&mut self, range: Range<usize>) {
        let end = range.end.min(range.start.saturating_add(READY_MOST));
        for part in self.regions.within(range.start & !(PAGE - 1)..end.next_multiple_of(PAGE)) {
            self.make_room((part.len() / PAGE) as u64);
            self.bring_home(part.clone());
            self.fill_missing(part);
        }
    }

    /// Shows zeros wherever nothing is in a registered range, and the store has nothing of it either.
    fn fill_missing(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let mut end = range.end;
            self.engine.for_stored(at..range.end, |stored, _| end = end.min(stored.start));
            if end == at {
                at += PAGE;
                continue;
            }
            match self.fill_zeros_at(range_of(&(at..end))) {
                Outcome::Done(bytes) | Outcome::Again(bytes) if bytes > 0 => at += bytes,
                Outcome::Again(_) => {
                    self.read_messages();
                    std::thread::yield_now();
                }
                _ => at += PAGE,
            }
        }
    }

    /// Lets pages be there, in a mapping that is about to be registered, that calls in progress use: they were looked after when
    /// their touch was no fault yet. A call that begins now asks first, and is answered afterwards.
    pub(super) fn populate_used(&self, mapping: &Range<usize>) {
        if !self.is_user_mode() {
            return;
        }
        for used in self.control.hazards().used_in(mapping) {
            let end = used.end.min(mapping.end).min(used.start.saturating_add(READY_MOST));
            let part = used.start.max(mapping.start)..end;
            if part.is_empty() {
                continue;
            }
            // What has just gone is for the call itself to refuse.
            let _: Result<(), _> = advise::populate_write(self.memory.window(range_of(&part)));
        }
    }

    /// Parts of a range that may be evicted: what calls use, and what is kept, is left out.
    pub(super) fn evictable(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut used = self.control.hazards().used_in(&range);
        used.extend(self.control.kept().filter(|kept| kept.start < range.end && range.start < kept.end));
        used.sort_by_key(|used| used.start);
        let mut parts = Vec::new();
        let mut at = range.start;
        for used in used {
            if at < used.start {
                parts.push(at..used.start.min(range.end));
            }
            at = at.max(used.end);
        }
        if at < range.end {
            parts.push(at..range.end);
        }
        parts
    }
}
