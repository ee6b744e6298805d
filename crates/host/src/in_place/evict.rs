//! Making room: blocks leave by address, one after the other, through the staging to the store.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use bifolio_engine::view::span_of;
use bifolio_migrate::{PageRun, PageSet};
use bifolio_sys::{AddressRange, HUGE_PAGE, Modes, MoveMode, Outcome, PAGE, advise, resident_pages};

use crate::in_place::faults::range_of;
use crate::in_place::service::{STORE, Service};

/// After a round in which nothing went, nothing is tried for this time.
const STUCK: Duration = Duration::from_millis(20);
/// A block with so many pages that cannot go is left.
const REFUSED_MOST: u32 = 4;
/// An eviction waits so often for an event to be over.
const WAITS_MOST: u32 = 1000;

impl Service {
    /// Tells whether something should go, and can.
    pub(super) fn is_short_of_room(&self) -> bool {
        let limits = &self.limits;
        self.engaged && limits.resident + limits.reserve > limits.limit && self.may_evict()
    }

    /// Whether eviction is worth a try: no child needs what is in the store, not everything is
    /// wanted at home, the store has room, and the last round through
    /// the regions found something.
    fn may_evict(&self) -> bool {
        self.plans.is_empty()
            && self.spawning.load(SeqCst) == 0
            && !self.held
            && !self.dying
            && self.engine.node(STORE).pool().free_pages() > 0
            && Instant::now() >= self.hand.stuck_until
    }

    /// Makes room for `pages`, as far as anything can go.
    pub(super) fn make_room(&mut self, pages: u64) {
        while self.limits.room() < pages && self.engaged && self.may_evict() {
            self.evict_some();
        }
    }

    /// Evicts from the next block that has something.
    pub(super) fn evict_some(&mut self) {
        let Some(window) = self.next_window() else { return };
        let before = self.limits.resident;
        if self.is_user_mode() {
            let window = window.start()..window.end();
            self.control.hazards().set_evicting(&window);
            for part in self.evictable(window) {
                self.evict(range_of(&part));
            }
            self.control.hazards().end_evicting();
        } else {
            self.evict(window);
        }
        self.hand.gone += before.saturating_sub(self.limits.resident);
    }

    /// The part of the next block that is in a region. At the end of a round begins the next.
    fn next_window(&mut self) -> Option<AddressRange> {
        let Some(region) = self.regions.next_from(self.hand.at) else {
            if self.hand.gone == 0 {
                self.hand.stuck_until = Instant::now() + STUCK;
            }
            (self.hand.at, self.hand.gone) = (0, 0);
            self.forked_pages = self.sharing.take_kept();
            return None;
        };
        let start = region.start.max(self.hand.at);
        let end = region.end.min((start + 1).next_multiple_of(HUGE_PAGE));
        // A move is within one mapping.
        let end =
            self.borders.get(self.borders.partition_point(|at| *at <= start)).map_or(end, |at| end.min(*at));
        self.hand.at = end;
        Some(range_of(&(start..end)))
    }

    /// Moves what is there of a window within one block out.
    fn evict(&mut self, window: AddressRange) {
        let mut there = [0; HUGE_PAGE / PAGE];
        let there = &mut there[..window.pages()];
        if resident_pages(window, there).is_err() {
            return;
        }
        let is_there = |byte: &u8| byte & 1 == 1;
        let Some(first) = there.iter().position(is_there) else { return };
        let last = there.iter().rposition(is_there).expect("there is one");
        let window = window.part(first * PAGE, (last + 1 - first) * PAGE).expect("within the window");
        self.move_out(window);
        let base = window.start() & !(HUGE_PAGE - 1);
        let staged = self.staged_pages(window);
        if staged.is_empty() {
            return self.clear_staging();
        }
        self.staged = Some((base, staged));
        self.store_staged(base, staged);
        self.put_back();
        self.clear_staging();
    }

    /// Moves the pages of a window to the staging, but those that are in use.
    fn move_out(&mut self, window: AddressRange) {
        let (mut at, mut step, mut refused, mut waits) = (0, window.len(), 0, 0);
        while at < window.len() && refused < REFUSED_MOST {
            let rest = window.part(at, step.min(window.len() - at)).expect("within the window");
            let target = self.engine.view().staging_of(rest);
            let target = AddressRange::new(target.address(), target.len()).expect("whole pages");
            let mode = MoveMode::ALLOW_SOURCE_HOLES | MoveMode::DONT_WAKE;
            match self.uffd.move_(target, self.memory.window(rest), mode) {
                Outcome::Done(bytes) => at += bytes,
                Outcome::Again(bytes) if bytes > 0 => at += bytes,
                // Shared with a child, or pinned.
                Outcome::Busy => {
                    let shared = window.part(at, window.len() - at).expect("within the window");
                    if self.unshare(shared) {
                        // One page of a fork is like the other: the rest of the block waits for the next round.
                        return;
                    }
                    (at, refused) = (at + PAGE, refused + 1);
                }
                // No page but a mark.
                Outcome::NoSource | Outcome::Missing => (at, refused) = (at + PAGE, refused + 1),
                // An event waits to be read, or for the thread that caused it to go on. What has staged is of the mappings
                // as they were before it, so nothing more joins it.
                Outcome::Again(_) if at == 0 && waits < WAITS_MOST => {
                    waits += 1;
                    self.read_messages();
                    std::thread::yield_now();
                }
                // More than one mapping.
                Outcome::Invalid(_) if step > PAGE => step = (step / 2).next_multiple_of(PAGE),
                // One with other rights than the staging.
                Outcome::Invalid(_) => (at, refused) = (at + PAGE, refused + 1),
                _ => return,
            }
        }
    }

    /// The pages of the block that are in the staging.
    fn staged_pages(&self, window: AddressRange) -> PageSet {
        let mut there = [0; HUGE_PAGE / PAGE];
        let there = &mut there[..window.pages()];
        let staging = self.engine.view().staging_of(window);
        let staging = AddressRange::new(staging.address(), staging.len()).expect("whole pages");
        resident_pages(staging, there).expect("the staging is mapped");
        let first = (window.start() % HUGE_PAGE) / PAGE;
        let mut pages = PageSet::EMPTY;
        for (index, _) in there.iter().enumerate().filter(|(_, byte)| *byte & 1 == 1) {
            pages.insert(page_run(first + index));
        }
        pages
    }

    /// Stores what is in the staging. Pages of zeros need no store: missing pages read as zero.
    fn store_staged(&mut self, base: usize, staged: PageSet) {
        let view = self.engine.view();
        let mut full = staged;
        for run in staged.runs(PageRun::BLOCK) {
            for page in run.first()..run.end() {
                let run = page_run(page.into());
                if view.staging_of(span_of(base, run)).is_zero() {
                    full.remove(run);
                }
            }
        }
        let zeros = staged.count() - full.count();
        let stored = self.store_pages(base, &full, true);
        self.limits.resident =
            self.limits.resident.saturating_sub(u64::from(zeros) + u64::from(stored.count()));
        let mut left = full;
        stored.runs(PageRun::BLOCK).for_each(|run| left.remove(run));
        self.staged = (!left.is_empty()).then_some((base, left));
    }

    /// Lets the engine store pages of a block from the staging, or else from the scratch memory.
    fn store_pages(&self, base: usize, pages: &PageSet, staged: bool) -> PageSet {
        let view = self.engine.view();
        view.set_isolated(Some((base, staged)));
        let stored = self.engine.store(base, pages);
        view.set_isolated(None);
        stored
    }

    /// Stores a range of one block whose bytes are in the scratch memory; what does not fit is copied into the program.
    pub(super) fn store_scratch(&mut self, range: AddressRange) {
        let base = range.start() & !(HUGE_PAGE - 1);
        let (first, mut pages) = ((range.start() - base) / PAGE, PageSet::EMPTY);
        (first..first + range.pages()).for_each(|page| pages.insert(page_run(page)));
        let stored = self.store_pages(base, &pages, false);
        stored.runs(PageRun::BLOCK).for_each(|run| pages.remove(run));
        for run in pages.runs(PageRun::BLOCK) {
            let part = span_of(base, run);
            let done = self.engine.view().copy_in(part, self.engine.view().scratch_of(part));
            self.limits.resident += (done / PAGE) as u64;
        }
    }

    /// Copies back what could not be stored. What was dropped meanwhile is forgotten by the events.
    fn put_back(&mut self) {
        while let Some((base, pages)) = self.staged {
            let Some(run) = pages.runs(PageRun::BLOCK).next() else {
                self.staged = None;
                return;
            };
            let part = span_of(base, run);
            let view = self.engine.view();
            let done = view.copy_in(part, view.staging_of(part));
            let first = usize::from(run.first());
            let gone = match view.take_stopped() {
                // The mapping is gone, and the bytes with it.
                Some(Outcome::Missing | Outcome::Gone) => done / PAGE + 1,
                _ => done / PAGE,
            };
            if let Some((_, left)) = &mut self.staged {
                (first..first + gone).for_each(|page| left.remove(page_run(page)));
            }
            if gone == 0 {
                self.read_messages();
                std::thread::yield_now();
            }
        }
    }

    /// Frees what is left in the staging.
    fn clear_staging(&self) {
        // While it is registered, dropping pages would raise an event that only this process reads.
        let staging = self.own.staging();
        let range = AddressRange::new(staging.address(), staging.len()).expect("whole pages");
        self.uffd.unregister(range).expect("the staging is registered");
        advise::dontneed(staging).expect("the staging is private memory");
        self.uffd.register(staging, Modes::MISSING).expect("it was registered before");
    }

    /// Drops the pages of a range that are in the program, without an event.
    pub(super) fn discard(&mut self, range: AddressRange) {
        let mut at = range.start();
        while at < range.end() {
            let end = range.end().min((at + 1).next_multiple_of(HUGE_PAGE));
            self.discard_part(range_of(&(at..end)));
            at = end;
        }
    }

    fn discard_part(&mut self, part: AddressRange) {
        let mut there = [0; HUGE_PAGE / PAGE];
        let there = &mut there[..part.pages()];
        if resident_pages(part, there).is_err() || there.iter().all(|byte| byte & 1 == 0) {
            return;
        }
        let discarded = self.own.discarded();
        let (mut at, mut refused) = (0, 0);
        while at < part.len() && refused < REFUSED_MOST {
            let rest = part.part(at, part.len() - at).expect("within the part");
            let target = discarded.part(rest.start() % HUGE_PAGE, rest.len()).expect("pages of one block");
            let target = AddressRange::new(target.address(), target.len()).expect("whole pages");
            let mode = MoveMode::ALLOW_SOURCE_HOLES | MoveMode::DONT_WAKE;
            match self.quiet.move_(target, self.memory.window(rest), mode) {
                Outcome::Done(_) => break,
                Outcome::Again(bytes) if bytes > 0 => at += bytes,
                // Not ours to move, so not ours to evict either: the kernel drops it.
                _ => (at, refused) = (at + PAGE, refused + 1),
            }
        }
        advise::dontneed(discarded).expect("discarded pages are private memory");
    }
}

/// One page of a block.
fn page_run(page: usize) -> PageRun {
    let page = u16::try_from(page).expect("a page of a block");
    PageRun::new(page, 1).expect("a page of a block")
}
