//! What threads of the program ask for.

use std::ops::Range;
use std::time::{Duration, Instant};

use bifolio_engine::event::Cause;
use bifolio_folio::Order;
use bifolio_sys::{AddressRange, Backing, Outcome, PAGE, USER_SPACE, Wake, advise};

use crate::in_place::child::Plan;
use crate::in_place::control::{NextMapping, Request};
use crate::in_place::faults::range_of;
use crate::in_place::service::Service;

/// Threads that wake are waited for so long.
const WAKING: Duration = Duration::from_micros(100);

impl Service {
    /// Serves what waits in the control block.
    pub(super) fn serve_requests(&mut self) {
        if !self.shows_wake_page && !self.control.has_pending() {
            return;
        }
        self.same_cpu.release();
        self.show_wake_page();
        self.answer_requests();
        if self.have_woken() {
            self.hide_wake_page();
            // A thread that found the page there has posted its request before.
            self.answer_requests();
        }
    }

    fn answer_requests(&mut self) {
        while let Some((slot, request)) = self.control.take() {
            let answer = self.serve_request(request);
            self.control.answer(slot, answer);
        }
    }

    /// Lets the threads go on that touch the wake page.
    fn show_wake_page(&mut self) {
        if !self.quiet.zeropage(self.wake_page(), Wake::Now).is_done() {
            let _: Outcome = self.quiet.wake(self.wake_page());
        }
        self.shows_wake_page = true;
        let mut buffer = bifolio_sys::MessageBuf::new();
        // The messages say only that the page was touched.
        while self.quiet.read(&mut buffer).is_ok_and(|messages| !messages.is_empty()) {}
    }

    /// Makes the next touch of the wake page a fault again.
    fn hide_wake_page(&mut self) {
        advise::dontneed_locked(self.own.wake_page()).expect("the wake page is private memory");
        self.shows_wake_page = false;
    }

    /// Waits a moment for the threads that touched the wake page; tells whether all have found it there. One that runs late on another
    /// processor would find it hidden again, and again.
    fn have_woken(&self) -> bool {
        let begun = Instant::now();
        loop {
            if !self.control.is_waking() {
                return true;
            }
            if begun.elapsed() >= WAKING {
                return false;
            }
            std::thread::yield_now();
        }
    }

    fn wake_page(&self) -> AddressRange {
        AddressRange::new(self.own.wake_page().address(), PAGE).expect("a page")
    }

    fn serve_request(&mut self, request: Request) -> usize {
        let range = |start: usize, len: usize| start..start.saturating_add(len).min(USER_SPACE);
        match request {
            Request::Fork => self.prepare_fork(),
            Request::Forked(plan, done) => self.forked(plan, done != 0),
            Request::Advised(advice, start, len) => {
                self.advised(advice, range(start, len));
                0
            }
            Request::ExpectGuards(start, len) => {
                self.expect_guards(range(start, len));
                0
            }
            Request::Grown(start, len) => {
                self.register_grown(&range(start, len));
                0
            }
            Request::Remapped => {
                self.advised.said_is_stale = true;
                0
            }
            Request::Leave(start, len) => {
                self.leave_unless_one(&range(start, len));
                0
            }
            Request::NextMapping(at) => self.next_mapping(at).map_or(0, NextMapping::encode),
            Request::BringHome(start, len) => self.bring_home(range(start, len)),
            Request::Ready(start, len) => {
                self.make_ready(range(start, len));
                0
            }
            Request::KeepStack(at) => {
                self.keep_stack(at);
                0
            }
            Request::Release => self.release_all(),
            Request::Room => {
                self.keep_limit();
                0
            }
            Request::BringAllHome(ends) => {
                self.dying |= ends;
                self.bring_home(0..USER_SPACE)
            }
        }
    }

    /// Registers what has grown, and lets leave what is too much.
    fn keep_limit(&mut self) {
        self.look(Instant::now());
        self.make_room(1);
        self.control.set_exceeded(false);
    }

    /// Brings all of a range home, whatever the limit says. Returns whether something could not come.
    pub(super) fn bring_home(&mut self, range: Range<usize>) -> usize {
        loop {
            let mut stored = Vec::new();
            self.engine.for_stored(range.clone(), |range, _| stored.push(range));
            if stored.is_empty() {
                return 0;
            }
            let mut all = true;
            for part in stored {
                all &= self.bring_part_home(part);
            }
            if !all {
                return 1;
            }
            // Events that were read meanwhile may have moved stored pages into the range.
        }
    }

    /// Brings a folio, or a part of one, home. Returns whether all of it has come or is gone.
    fn bring_part_home(&mut self, part: Range<usize>) -> bool {
        let (mut at, mut all) = (part.start, true);
        while at < part.end {
            match self.fetch(at, Order::PMD, Cause::Prefetch, None) {
                Ok(brought) => at = brought.end.max(at + PAGE),
                Err(Outcome::Again(_)) => {
                    self.read_messages();
                    std::thread::yield_now();
                }
                // Dropped meanwhile.
                Err(Outcome::Exists) => at += PAGE,
                Err(_) => (at, all) = (at + PAGE, false),
            }
        }
        all
    }

    /// Leaves mappings, or one with a hole beside it, to the kernel that are to move together: it moves only such as no
    /// userfaultfd has.
    fn leave_unless_one(&mut self, range: &Range<usize>) {
        let Ok(entries) = self.maps.within(range) else { return };
        let mappings: Vec<_> = entries.into_iter().map(|entry| entry.range).collect();
        if !matches!(mappings[..], [one] if one.start() <= range.start && range.end <= one.end()) {
            mappings.iter().for_each(|mapping| self.keep_stack(mapping.start()));
        }
    }

    fn next_mapping(&mut self, at: usize) -> Option<NextMapping> {
        let mut from = at;
        let entry = loop {
            let entry = self.maps.next_from(from).ok()??;
            if entry.backing != Backing::Kernel && !self.is_ours(entry.range) {
                break entry;
            }
            from = entry.range.end();
        };
        let start = entry.range.start().max(at);
        Some(NextMapping { start, len: entry.range.end() - start })
    }

    /// Tells whether a mapping has memory that is no data of the program.
    fn is_ours(&self, range: AddressRange) -> bool {
        let service = [self.store.span(), self.engine.view().scratch_span()];
        let plans = self.plans.iter().map(Plan::span);
        self.exclusions.own.iter().copied().chain(service).chain(plans).any(|own| own.overlaps(range))
    }

    /// Writes the plan for a child, and lets children have the memory.
    fn prepare_fork(&mut self) -> usize {
        self.read_messages();
        self.register_grown(&(0..USER_SPACE));
        let caught: Vec<AddressRange> = self.regions.all().collect();
        let (hidden, mut away) = (self.advised.hidden_from_children(), Vec::new());
        let store = &self.store;
        self.engine.for_stored(0..USER_SPACE, |range, page| {
            let bytes = store.part(page.pfn, (range.len() / PAGE) as u64).expect("pages of the store");
            // What is hidden reads as the kernel has it: zeros, or nothing.
            for part in hidden.others(range.clone()) {
                away.push((part.clone(), bytes.address() + (part.start - range.start)));
            }
        });
        let caught = if away.is_empty() { &[][..] } else { &caught };
        let Ok(plan) = Plan::new(caught, &away) else { return 0 };
        self.share_with_children(true);
        self.gauges.see_fork();
        self.record_fork(away.iter().map(|(range, _)| range.len()).sum());
        let address = plan.address();
        self.plans.push(plan);
        address
    }

    fn forked(&mut self, plan: usize, done: bool) -> usize {
        if let Some(at) = self.plans.iter().position(|known| known.address() == plan) {
            if done {
                self.plans[at].set_forked();
            } else {
                self.plans.remove(at);
            }
        }
        if self.plans.iter().all(Plan::is_forked) {
            self.share_with_children(false);
        }
        0
    }

    /// Lets go of the plans of children that are done.
    pub(super) fn drop_plans(&mut self) {
        self.plans.retain_mut(Plan::is_needed);
    }

    fn share_with_children(&self, share: bool) {
        for range in self.regions.all() {
            let advise = if share { advise::dofork } else { advise::dontfork };
            for part in self.advised.shared(range.start()..range.end()) {
                // A part that has just gone makes this an error; the rest is done all the same.
                let _: Result<(), _> = advise(self.memory.window(range_of(&part)));
            }
        }
    }
}
