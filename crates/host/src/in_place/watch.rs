//! Watching the program's memory: how much there is, and what is new.
//!
//! Below nine tenths of the limit nothing is registered, and a look is one system call, the less often the farther the limit
//! is. From there on all private data is registered, mapping by mapping, so that growth waits for room; and when everything
//! has long fitted into eight tenths, nothing is again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use bifolio_sys::{AddressRange, CopyMode, Errno, Modes, Outcome, USER_SPACE, advise, process, threads};

use crate::gauges::Outside;
use crate::in_place::child::Plan;
use crate::in_place::eligible::{Place, places};
use crate::in_place::faults::range_of;
use crate::in_place::service::Service;

/// Sampling, while nothing is registered.
const LOOK_LEAST: Duration = Duration::from_millis(1);
const LOOK_MOST: Duration = Duration::from_millis(50);
/// Sampling, while something is.
const ENGAGED_LOOK: Duration = Duration::from_millis(2);
/// Sampling, while everything is wanted at home.
const LOOK_HELD: Duration = Duration::from_millis(5);
/// Mappings are looked at anew at least as often, while something is registered.
const SCAN_MOST: Duration = Duration::from_millis(100);
/// Looking at mappings may take this share of the time.
const SCAN_SHARE: u32 = 20;
/// A moment is looked for so often at which no mapping changes.
const RESTS: u32 = 8;
/// So many mappings are asked for one by one.
const FEW: usize = 64;
/// Mappings that were refused are tried again after this time.
const REFUSED_TIME: Duration = Duration::from_secs(1);
/// Everything must have fitted for so long before nothing is registered any more.
const FITS_TIME: Duration = Duration::from_secs(2);
/// A mapping that appears beside registered ones and was touched before stays a mapping of its own for ever, so one that
/// grows is registered in pieces of this size, or when it has not grown for this time.
const PIECE: usize = 1 << 20;
const PIECE_TIME: Duration = Duration::from_millis(200);
/// Pages that one thread can touch in a microsecond, at most.
const PAGES_PER_MICROSECOND: u64 = 2;

impl Service {
    /// Takes a sample and acts on it; `false` if the program has ended or runs another program.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if self.is_left() {
            return false;
        }
        self.same_cpu.look(now);
        self.drop_plans();
        self.follow_wish();
        self.measure_at_times(now);
        let Ok(memory) = self.meter.read() else { return true };
        let resident = memory.anonymous();
        let grown = resident > self.limits.resident + self.limits.reserve / 4;
        self.limits.resident = resident;
        if self.is_held() {
            self.next_look = now + LOOK_HELD;
            return true;
        }
        if !self.engaged {
            let threshold = self.limits.limit - self.limits.limit / 10;
            if resident < threshold {
                self.unmanageable_since = None;
                self.next_look = now + pause(threshold - resident);
                return true;
            }
            self.engage();
            let since = self.unmanageable_since.unwrap_or(now);
            self.unmanageable_since = (!self.engaged).then_some(since);
            self.limits.mapped = memory.mapped;
        } else if self.is_scan_due(now, grown, memory.mapped != self.limits.mapped) {
            self.scan();
            self.limits.mapped = memory.mapped;
        }
        // What cannot leave is no reason: it grows no more.
        let exceeded = self.engaged && grown && self.limits.is_exceeded();
        self.control.set_exceeded(exceeded);
        if exceeded {
            self.evict_touched();
        }
        self.disengage_if_all_fits(now);
        self.next_look = now + ENGAGED_LOOK;
        true
    }

    /// Tells whether to look at all mappings: there are new ones, or it is long ago. Of many mappings that takes a while, and a
    /// twentieth of the time at most; half of it where memory grows that is not registered.
    fn is_scan_due(&self, now: Instant, grown: bool, changed: bool) -> bool {
        let (end, cost) = self.last_scan;
        let wanted = changed || now >= self.next_scan;
        grown && now >= end + cost || wanted && now >= end + cost * SCAN_SHARE
    }

    /// Takes the policy that a command wants.
    fn follow_wish(&self) {
        if let Some(name) = self.gauges.take_policy_wish() {
            self.switch.set(name);
            self.gauges.see_policy(name);
        }
    }

    /// Tells whether the program does not use this memory any more: it has ended, or runs another program.
    fn is_left(&self) -> bool {
        match process::share_memory(process::pid(), self.program) {
            Ok(same) => !same,
            Err(error) => error.errno == Errno::SRCH,
        }
    }

    /// Begins to manage the program's data.
    fn engage(&mut self) {
        self.engaged = self.control.engage() && self.begin_dispatch();
        if self.engaged {
            self.scan();
            // Measured more often from now on.
            self.next_measure = Instant::now();
        } else {
            self.control.disengage();
        }
    }

    /// Stops to manage it, once everything has fitted for a while.
    fn disengage_if_all_fits(&mut self, now: Instant) {
        let all = self.limits.resident + self.stored_pages();
        if all > self.limits.limit / 10 * 8 || !self.plans.is_empty() {
            self.fits_since = now;
        } else if now - self.fits_since > FITS_TIME {
            self.release_all();
            self.fits_since = now;
        }
    }

    /// Leaves all memory to the kernel, if everything can come home. Returns whether something could not.
    pub(super) fn release_all(&mut self) -> usize {
        self.register_grown(&(0..USER_SPACE));
        let missing = self.bring_home(0..USER_SPACE);
        if missing == 0 && self.engaged {
            for range in self.regions.take() {
                self.leave(range);
            }
            self.end_dispatch();
            self.engaged = false;
            self.first_scan_done = false;
            self.control.disengage();
        }
        missing
    }

    /// Leaves a whole mapping to the kernel, which has everything at home.
    pub(super) fn leave(&mut self, range: AddressRange) {
        // A mapping that has just gone has no registration either.
        let _: Result<(), _> = self.uffd.unregister(range);
        self.share_again(range.start()..range.end());
    }

    /// Leaves the mapping around an address to the kernel, as far as it can come home: a stack.
    pub(super) fn keep_stack(&mut self, address: usize) {
        let found = self.maps.next_from(address).ok().flatten().map(|entry| entry.range);
        let Some(around) = found.filter(|range| range.contains(address)) else { return };
        let mapping = around.start()..around.end();
        if self.regions.within(mapping.clone()).is_empty() {
            return;
        }
        // It may have grown.
        self.note_growth(&mapping);
        if self.bring_home(mapping.clone()) == 0 {
            self.leave(around);
            self.regions.remove(mapping);
        }
    }

    /// Leaves all memory to the kernel while that is wanted; tells whether it is.
    fn is_held(&mut self) -> bool {
        let wish = self.gauges.home_wanted();
        self.held = wish.is_some();
        // A child may need what is in the store.
        if let Some(wish) = wish
            && self.plans.is_empty()
            && !self.gauges.is_home()
            && self.release_all() == 0
        {
            self.gauges.say_home(wish);
        }
        self.held
    }

    /// Registers what is there and not registered yet.
    pub(super) fn scan(&mut self) {
        self.same_cpu.release();
        let now = Instant::now();
        self.next_scan = now + SCAN_MOST;
        if now - self.refused_since > REFUSED_TIME {
            self.refused.take();
            self.refused_since = now;
        }
        self.forget_threads();
        self.exclusions.addresses.clear();
        self.exclusions.addresses.extend(self.control.thread_pointers());
        let Ok(entries) = self.maps.read() else { return };
        self.borders.clear();
        let mut found = Vec::new();
        let mut stacks = Vec::new();
        for (entry, place) in places(entries, &self.exclusions) {
            self.borders.push(entry.range.start());
            let range = entry.range.start()..entry.range.end();
            match place {
                Some(Place::Data) => found.push(range),
                Some(Place::Outside(Outside::Stacks)) => stacks.push(range),
                _ => {}
            }
        }
        self.last_scan = (Instant::now(), now.elapsed());
        // Registered before it was known to be a stack.
        stacks.retain(|range| !self.regions.within(range.clone()).is_empty());
        stacks.iter().for_each(|range| self.keep_stack(range.start));
        if self.spawning.load(SeqCst) != 0 {
            // A stack among them may not be known yet.
            self.next_scan = now + ENGAGED_LOOK;
            return;
        }
        let mut growing = BTreeMap::new();
        found.retain(|range| {
            let known = self.regions.contains_all(range) || self.refused.contains_all(range);
            !known && !self.is_growing(range, now, &mut growing)
        });
        self.growing = growing;
        self.register_all(found);
        self.first_scan_done = true;
    }

    /// Tells whether a mapping is too small to be registered yet, and notes it in `growing` then.
    fn is_growing(
        &self,
        range: &Range<usize>,
        now: Instant,
        growing: &mut BTreeMap<usize, (usize, Instant)>,
    ) -> bool {
        let since = self.growing.get(&range.start).filter(|(end, _)| *end == range.end);
        let since = since.map_or(now, |(_, since)| *since);
        let grows = self.first_scan_done && range.len() < PIECE && now - since <= PIECE_TIME;
        if grows {
            growing.insert(range.start, (range.end, since));
        }
        grows
    }

    /// Takes over what mappings with pages of `within` have grown by where they are (`mremap`) since the last scan. The kernel has
    /// registered it and keeps it from children, as it does the rest.
    pub(super) fn register_grown(&mut self, within: &Range<usize>) {
        let Ok(entries) = self.maps.within(within) else { return };
        let mappings = entries.into_iter().map(|entry| entry.range.start()..entry.range.end());
        let has_grown = |mapping: &Range<usize>| {
            !self.regions.contains_all(mapping) && !self.regions.within(mapping.clone()).is_empty()
        };
        let grown: Vec<_> = mappings.filter(has_grown).collect();
        self.register_all(grown);
    }

    /// Registers mappings, and keeps them from children that were not announced: they would read zeros.
    fn register_all(&mut self, mappings: Vec<Range<usize>>) {
        if mappings.is_empty() {
            return;
        }
        let unshared = self.unshared_by_program(&mappings);
        let mut registered = Vec::new();
        for range in mappings {
            match self.register(range.clone()) {
                Some(new) => registered.push(new),
                None => self.refused.insert(range),
            }
        }
        let ranges: Vec<_> = registered.iter().map(|new| new.range.clone()).collect();
        self.note_unshared(&ranges, &unshared);
        if self.plans.iter().all(Plan::is_forked) {
            for range in &ranges {
                // Only a mapping that has just gone refuses.
                let _: Result<(), _> = advise::dontfork(self.memory.window(range_of(range)));
            }
        }
        self.confirm(registered);
    }

    /// Keeps of the mappings that were registered as they were read only those that are still so. A part that was unmapped in
    /// between, without an event, and mapped anew since is not registered: what was evicted there would read as zeros. It is a
    /// mapping of its own, which shows. Where all was mapped anew, with events, these have taken it away again. Either is tried
    /// again at the next scan. Neighbours that are registered may have become one mapping.
    fn confirm(&mut self, registered: Vec<Registered>) {
        let ranges: Vec<_> = registered.iter().map(|new| new.range.clone()).collect();
        let whole = self.are_whole_at_rest(&ranges);
        for (Registered { range, fresh }, whole) in registered.into_iter().zip(whole) {
            if whole && self.regions.contains_all(&range) {
                continue;
            }
            // What was managed before, and still is, has pages away. All else is left, or children would lack it: an event
            // takes from the regions what the kernel has registered anew since.
            fresh.into_iter().for_each(|part| self.regions.remove(part));
            for part in self.regions.others(range) {
                self.leave(range_of(&part));
            }
            self.next_scan = Instant::now();
        }
    }

    /// Tells of each range whether it is within one mapping, at a moment at which every event of what has changed them is
    /// applied: one that came later would take away what is there now. Where the program changes its mappings all the time, no
    /// such moment is found, and none is.
    fn are_whole_at_rest(&mut self, ranges: &[Range<usize>]) -> Vec<bool> {
        for _ in 0..RESTS {
            self.read_messages();
            let whole = self.are_whole(ranges);
            if !self.is_changing() {
                return whole;
            }
            std::thread::yield_now();
        }
        vec![false; ranges.len()]
    }

    /// Of few ranges each is asked for: the shorter that takes, the less changes meanwhile.
    fn are_whole(&mut self, ranges: &[Range<usize>]) -> Vec<bool> {
        let ends: BTreeMap<usize, usize> = if ranges.len() > FEW {
            let entries = self.maps.read().into_iter().flatten();
            entries.map(|entry| (entry.range.start(), entry.range.end())).collect()
        } else {
            let around = |range: &Range<usize>| self.maps.next_from(range.start).ok().flatten();
            let entries = ranges.iter().filter_map(around);
            entries.map(|entry| (entry.range.start(), entry.range.end())).collect()
        };
        let around = |range: &Range<usize>| ends.range(..=range.start).next_back();
        ranges.iter().map(|range| around(range).is_some_and(|(_, end)| range.end <= *end)).collect()
    }

    /// Tells whether an event of a change that has begun is still to be read. The kernel copies nothing then, wherever it is to.
    fn is_changing(&self) -> bool {
        let nowhere = self.own.guard();
        matches!(self.uffd.copy(nowhere, self.own.zeros(nowhere.len()), CopyMode::empty()), Outcome::Again(_))
    }

    /// Forgets the threads that have ended, and asks those that are not known.
    pub(super) fn forget_threads(&mut self) {
        let Ok(now) = threads::of_process(self.program) else { return };
        let alive: BTreeSet<u32> = now.into_iter().collect();
        if alive.contains(&self.program) {
            self.control.forget_threads(|thread| alive.contains(&thread));
            self.ask_unknown_threads(&alive);
        }
    }

    /// Catches the faults of a mapping.
    fn register(&mut self, range: Range<usize>) -> Option<Registered> {
        self.populate_used(&range);
        self.uffd.register(self.memory.window(range_of(&range)), Modes::MISSING).ok()?;
        self.note_growth(&range);
        // At once, so that an event takes it away that comes before it is confirmed.
        let fresh = self.regions.others(range.clone());
        self.regions.insert(range.clone());
        self.residents.look_through(range.clone());
        Some(Registered { range, fresh })
    }
}

/// A mapping that was registered, and what of it was not managed before.
struct Registered {
    range: Range<usize>,
    fresh: Vec<Range<usize>>,
}

fn pause(distance_pages: u64) -> Duration {
    Duration::from_micros(distance_pages / PAGES_PER_MICROSECOND).clamp(LOOK_LEAST, LOOK_MOST)
}
