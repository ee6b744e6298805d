//! Making room: ranges leave in the order of the policy, one after the other, through the staging to the store.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use bifolio_engine::view::span_of;
use bifolio_folio::Order;
use bifolio_migrate::{PageRun, PageSet};
use bifolio_sys::{AddressRange, HUGE_PAGE, Modes, MoveMode, Outcome, PAGE, SharedBytes, advise};

use crate::in_place::faults::{PAUSE, TRIES, range_of};
use crate::in_place::held::{Held, run_of};
use crate::in_place::service::{STORE, Service};
use crate::in_place::view::InPlaceView;

/// After a round in which nothing went, nothing is tried for this time.
const STUCK: Duration = Duration::from_millis(20);
/// The same, while an event is to be over.
const EVENT: Duration = Duration::from_micros(50);
/// After so many pages that cannot go the rest of a block is left.
const REFUSED_MOST: u32 = 4;
/// So many ranges have their turn without a look at what else there is to do, if nothing goes.
const TURNS: u32 = 8;
/// So many blocks of memory that no fault has told of are looked at before one leaves.
const LOOKS: usize = 1024;

impl Service {
    /// Tells whether something should go, and can.
    pub(super) fn is_short_of_room(&self) -> bool {
        let limits = &self.limits;
        self.engaged && limits.resident + limits.reserve > limits.limit && self.may_evict()
    }

    /// Whether eviction is worth a try: no child needs what is in the store, not everything is
    /// wanted at home, the store has room, and the last round found something.
    fn may_evict(&self) -> bool {
        self.plans.is_empty()
            && self.spawning.load(SeqCst) == 0
            && !self.held
            && !self.dying
            && self.engine.node(STORE).pool().free_pages() > 0
            && Instant::now() >= self.round.stuck_until
    }

    /// Makes room for `pages`, as far as anything can go.
    pub(super) fn make_room(&mut self, pages: u64) {
        while self.limits.room() < pages && self.engaged && self.may_evict() {
            self.evict_some();
        }
    }

    /// Evicts the next ranges of the policy's order, until something went or some had their turn in vain.
    pub(super) fn evict_some(&mut self) {
        self.read_messages();
        self.look_at_unseen();
        for _ in 0..TURNS {
            if self.evict_next() || !self.may_evict() {
                return;
            }
        }
    }

    /// Gives the next range of the policy's order its turn. Returns whether anything went, or there is none.
    fn evict_next(&mut self) -> bool {
        if self.round.left == 0 {
            self.begin_round();
        }
        let Some(victim) = self.residents.take_victim() else {
            // All of it may have come without a fault.
            self.regions.all().for_each(|range| self.residents.look_through(range.start()..range.end()));
            self.round.left = 0;
            return true;
        };
        self.round.left = self.round.left.saturating_sub(1);
        let before = self.limits.resident;
        let mut stay = false;
        for region in self.regions.within(victim.range.clone()) {
            for window in self.within_mappings(region) {
                stay |= self.evict_window(window, victim.together);
            }
        }
        if stay {
            self.residents.add(&victim.range, victim.together);
        }
        let went = self.limits.resident < before;
        self.round.went |= went;
        went
    }

    /// Evicts the pages that were touched last. The program grew above its limit in memory that is not registered yet, so no
    /// fault of it waited for room; these it needs soon, and the fault waits.
    pub(super) fn evict_touched(&mut self) {
        let pages: BTreeSet<usize> = self.touched.drain(..).collect();
        for page in pages {
            if !self.may_evict() {
                return;
            }
            if self.regions.contains_all(&(page..page + PAGE)) {
                self.evict_window(page..page + PAGE, Order::ZERO);
            }
        }
    }

    /// Every range will have its turn once. If nothing went in the last round, nothing is tried for a while.
    fn begin_round(&mut self) {
        if !self.round.went {
            self.round.stuck_until = Instant::now() + STUCK;
        }
        (self.round.left, self.round.went) = (self.residents.len(), false);
        self.forked_pages = self.sharing.take_kept();
    }

    /// Adds the ranges to the order that have pages which came before they were registered, or by a move.
    fn look_at_unseen(&mut self) {
        for _ in 0..LOOKS {
            let Some(part) = self.residents.next_unseen() else { return };
            if self.is_any_there(&part) {
                self.residents.add(&part, Order::MAX);
            }
        }
    }

    /// Tells whether a page of a range within one block is in memory.
    fn is_any_there(&self, range: &Range<usize>) -> bool {
        Held::of(range_of(range), &self.pagemap).is_ok_and(|held| !held.present.is_empty())
    }

    /// The parts of a range that are within one mapping each: a move is within one.
    fn within_mappings(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let first = self.borders.partition_point(|at| *at <= range.start);
        let within = self.borders[first..].iter().take_while(|at| **at < range.end);
        let ends = within.copied().chain([range.end]);
        ends.scan(range.start, |start, end| Some(std::mem::replace(start, end)..end)).collect()
    }

    /// Evicts what may go of a window within one block, in folios up to an order. Returns whether pages are left there.
    fn evict_window(&mut self, window: Range<usize>, largest: Order) -> bool {
        if !self.is_user_mode() {
            return self.evict_part(&window, largest);
        }
        self.control.hazards().set_evicting(&window);
        let is_spawning = self.spawning.load(SeqCst) != 0;
        if !is_spawning {
            for part in self.evictable(window.clone()) {
                self.evict_part(&part, largest);
            }
        }
        self.control.hazards().end_evicting();
        self.is_any_there(&window)
    }

    fn evict_part(&mut self, part: &Range<usize>, largest: Order) -> bool {
        // Messages that were read since may have taken it away.
        if self.regions.contains_all(part) {
            self.evict(range_of(part), largest)
        } else {
            self.is_any_there(part)
        }
    }

    /// Moves what is there of a window within one block out. Returns whether pages are left there.
    fn evict(&mut self, window: AddressRange, largest: Order) -> bool {
        let base = block_of(window);
        let Ok(held) = Held::of(window, &self.pagemap) else { return false };
        let mut there = held.present;
        self.leave_out_dropping(window, &mut there);
        let stay = self.residents.stay(base, &there);
        self.round.went |= !stay.is_empty();
        stay.runs(PageRun::BLOCK).for_each(|run| there.remove(run));
        if there.is_empty() {
            return !held.present.is_empty();
        }
        let gone = self.move_to_store(window, &with_holes(&there, &held.all()), largest);
        gone.count() < held.present.count()
    }

    /// Moves what is there of parts of a window within one block to the store. Returns the pages that are not at home any more.
    fn move_to_store(&mut self, window: AddressRange, parts: &[PageRun], largest: Order) -> PageSet {
        let base = block_of(window);
        self.move_out(base, parts);
        let staging = self.engine.view().staging_of(window);
        let staging = AddressRange::new(staging.address(), staging.len()).expect("whole pages");
        // What the kernel has swapped out since the look has moved as well.
        let staged = Held::of(staging, &self.pagemap).expect("as before").all();
        if staged.is_empty() {
            self.clear_staging();
            return staged;
        }
        self.staged = Some((base, staged));
        self.store_staged(base, staged, largest);
        let mut gone = staged;
        let back = self.staged.map_or(PageSet::EMPTY, |(_, back)| back);
        back.runs(PageRun::BLOCK).for_each(|run| gone.remove(run));
        self.residents.left(base, &gone);
        self.put_back();
        self.clear_staging();
        gone
    }

    /// Leaves out pages that the program may be about to drop. Where none is there, it has.
    fn leave_out_dropping(&mut self, window: AddressRange, there: &mut PageSet) {
        let (base, now) = (block_of(window), Instant::now());
        for part in self.dropping.within(&(window.start()..window.end()), now) {
            let part = range_of(&part);
            for page in run_of(part).into_iter().map(PageRun::single) {
                if there.contains(page.first()) {
                    there.remove(page);
                } else {
                    let gone = span_of(base, page);
                    self.dropping.end(&(gone.start()..gone.end()));
                }
            }
        }
    }

    /// Moves what is there of parts of a block to the staging, but pages that are in use.
    fn move_out(&mut self, base: usize, parts: &[PageRun]) {
        let mut refused = 0;
        for part in parts {
            if !self.move_part(span_of(base, *part), &mut refused) {
                return;
            }
        }
    }

    /// Moves what is there of a part of a block to the staging; tells whether the rest of the block is worth a try.
    fn move_part(&mut self, part: AddressRange, refused: &mut u32) -> bool {
        let mode = MoveMode::DONT_WAKE | MoveMode::ALLOW_HOLES;
        let (mut at, mut step) = (0, part.len());
        while at < part.len() {
            if *refused == REFUSED_MOST {
                return false;
            }
            let rest = part.part(at, step.min(part.len() - at)).expect("within the part");
            let target = self.engine.view().staging_of(rest);
            let target = AddressRange::new(target.address(), target.len()).expect("whole pages");
            match self.uffd.move_(target, self.memory.window(rest), mode) {
                Outcome::Done(bytes) => at += bytes,
                Outcome::Again(bytes) if bytes > 0 => at += bytes,
                // It has moved: the kernel tried once more and found it there.
                Outcome::Exists => at += PAGE,
                // Shared with a child, or pinned.
                Outcome::Busy => {
                    let shared = part.part(at, part.len() - at).expect("within the part");
                    if self.unshare(shared) {
                        // One page of a fork is like the other: the rest of the block waits for the next round.
                        return false;
                    }
                    (at, *refused) = (at + PAGE, *refused + 1);
                }
                // No mapping is there any more.
                Outcome::Missing => at += PAGE,
                // No page but a mark.
                Outcome::NoSource => (at, *refused) = (at + PAGE, *refused + 1),
                // An event waits to be read, or for the thread that caused it to go on. What has staged is of the mappings
                // as they were before it, so nothing more joins it: what is here afterwards may not be registered.
                Outcome::Again(_) => {
                    self.round.stuck_until = Instant::now() + EVENT;
                    self.same_cpu.release();
                    std::thread::yield_now();
                    return false;
                }
                // More than one mapping.
                Outcome::Invalid(_) if step > PAGE => step = (step / 2).next_multiple_of(PAGE),
                // One with other rights than the staging.
                Outcome::Invalid(_) => (at, *refused) = (at + PAGE, *refused + 1),
                _ => return false,
            }
        }
        true
    }

    /// Stores what is in the staging. Pages of zeros need no store: missing pages read as zero.
    fn store_staged(&mut self, base: usize, staged: PageSet, largest: Order) {
        let view = self.engine.view();
        let mut full = staged;
        for run in staged.runs(PageRun::BLOCK) {
            for page in run.first()..run.end() {
                let run = PageRun::single(page);
                if view.staging_of(span_of(base, run)).is_zero() {
                    full.remove(run);
                }
            }
        }
        let zeros = staged.count() - full.count();
        let stored = self.store_pages(base, &full, Some(largest));
        self.limits.resident =
            self.limits.resident.saturating_sub(u64::from(zeros) + u64::from(stored.count()));
        let mut left = full;
        stored.runs(PageRun::BLOCK).for_each(|run| left.remove(run));
        self.staged = (!left.is_empty()).then_some((base, left));
    }

    /// Lets the engine store pages of a block: from the staging, in folios up to an order, or else from the scratch memory.
    fn store_pages(&self, base: usize, pages: &PageSet, staged: Option<Order>) -> PageSet {
        let view = self.engine.view();
        view.set_isolated(Some((base, staged.is_some())));
        let stored = self.engine.store(base, pages, staged.unwrap_or(Order::MAX));
        view.set_isolated(None);
        stored
    }

    /// Stores a range of one block whose bytes are in the scratch memory; what does not fit is copied into the program.
    pub(super) fn store_scratch(&mut self, range: AddressRange) {
        let base = block_of(range);
        let mut pages = PageSet::EMPTY;
        pages.insert(run_of(range));
        let stored = self.store_pages(base, &pages, None);
        stored.runs(PageRun::BLOCK).for_each(|run| pages.remove(run));
        if pages.is_empty() {
            return;
        }
        if self.staged.is_some() {
            // The staging has what another eviction could not store.
            pages.runs(PageRun::BLOCK).for_each(|run| self.show_scratch(span_of(base, run)));
            return;
        }
        // Writing to what is registered and not there would wait for this very process.
        self.uffd.unregister(self.staging_range()).expect("the staging is registered");
        for run in pages.runs(PageRun::BLOCK) {
            let (part, view) = (span_of(base, run), self.engine.view());
            view.staging_of(part).copy_from(view.scratch_of(part)).expect("both are as long as the part");
        }
        self.limits.resident += u64::from(pages.count());
        self.staged = Some((base, pages));
        self.put_back();
        self.clear_staging();
    }

    /// Copies what is in the scratch memory into the program. Nothing else has the bytes of a page that cannot come: it is poisoned.
    fn show_scratch(&mut self, part: AddressRange) {
        let mut at = 0;
        while at < part.len() {
            let rest = part.part(at, part.len() - at).expect("within the part");
            let done = self.copy_some(rest, InPlaceView::scratch_of);
            self.limits.resident += (done / PAGE) as u64;
            if done == 0 {
                self.poison(rest.start());
            }
            at += done.max(PAGE);
        }
    }

    /// Copies as much into a part of the program as can come at once, or else its first page: the kernel may refuse all because of one
    /// page. Returns the bytes that are done.
    fn copy_some(
        &self,
        part: AddressRange,
        bytes_of: impl Fn(&InPlaceView, AddressRange) -> SharedBytes<'_>,
    ) -> usize {
        let view = self.engine.view();
        let first = part.part(0, PAGE).expect("not empty");
        match view.copy_in(part, bytes_of(view, part)) {
            0 if part.len() > PAGE => view.copy_in(first, bytes_of(view, first)),
            done => done,
        }
    }

    /// Copies back what could not be stored. What was dropped meanwhile is forgotten by the events. Pages that cannot come back
    /// are poisoned after a while, since the staging is needed.
    fn put_back(&mut self) {
        let mut tries = 0;
        while let Some((base, pages)) = self.staged {
            let Some(run) = pages.runs(PageRun::BLOCK).next() else {
                self.staged = None;
                return;
            };
            let part = span_of(base, run);
            let done = self.copy_some(part, InPlaceView::staging_of);
            let stopped = self.engine.view().take_stopped();
            let gone = match stopped {
                // The mapping is gone, and the bytes with it.
                Some(Outcome::Missing | Outcome::Gone) => done / PAGE + 1,
                Some(_) if tries == TRIES => {
                    self.poison(part.start() + done);
                    done / PAGE + 1
                }
                _ => done / PAGE,
            };
            if let Some((_, left)) = &mut self.staged {
                run.into_iter().take(gone).for_each(|page| left.remove(PageRun::single(page)));
            }
            if gone == 0 {
                self.same_cpu.release();
                self.read_messages();
                if !matches!(stopped, Some(Outcome::Again(_))) {
                    tries += 1;
                    std::thread::sleep(PAUSE);
                }
                std::thread::yield_now();
            }
        }
    }

    fn staging_range(&self) -> AddressRange {
        let staging = self.own.staging();
        AddressRange::new(staging.address(), staging.len()).expect("whole pages")
    }

    /// Frees all that is in the staging.
    fn clear_staging(&self) {
        // While it is registered, dropping pages would raise an event that only this process reads.
        let staging = self.own.staging();
        self.uffd.unregister(self.staging_range()).expect("the staging is mapped");
        advise::dontneed_locked(staging).expect("the staging is private memory");
        self.uffd.register(staging, Modes::MISSING).expect("no other userfaultfd has it");
    }
}

/// The runs of `pages`, joined where nothing else is in between of all that is held there. One move of many pages is cheaper than a move of
/// each run.
fn with_holes(pages: &PageSet, held: &PageSet) -> Vec<PageRun> {
    let mut others = *held;
    pages.runs(PageRun::BLOCK).for_each(|run| others.remove(run));
    let mut joined: Vec<PageRun> = Vec::new();
    for run in pages.runs(PageRun::BLOCK) {
        let whole = joined.last().and_then(|last| PageRun::between(last.first(), run.end()));
        match (joined.last_mut(), whole) {
            (Some(last), Some(whole)) if !others.intersects(whole) => *last = whole,
            _ => joined.push(run),
        }
    }
    joined
}

/// The address of the block that a range lies in.
fn block_of(range: AddressRange) -> usize {
    range.start() & !(HUGE_PAGE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(runs: &[PageRun]) -> PageSet {
        let mut set = PageSet::EMPTY;
        runs.iter().for_each(|run| set.insert(*run));
        set
    }

    #[test]
    fn holes_are_moved_with_the_pages_around_them_but_pages_that_stay_are_not() {
        let run = |first, pages| PageRun::new(first, pages).expect("pages of a block");
        let (pages, stays) = ([run(1, 2), run(5, 1), run(9, 1), run(511, 1)], run(7, 1));
        let there = set(&pages);
        let mut all = there;
        assert_eq!(with_holes(&there, &all), [run(1, 511)]);
        all.insert(stays);
        assert_eq!(with_holes(&there, &all), [run(1, 5), run(9, 503)]);
        all.insert(run(3, 1));
        assert_eq!(with_holes(&there, &all), [run(1, 2), run(5, 1), run(9, 503)]);
        assert_eq!(with_holes(&PageSet::EMPTY, &all), []);
    }
}
