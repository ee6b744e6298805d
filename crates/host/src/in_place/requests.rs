//! What threads of the program ask for.

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_sys::{AddressRange, Outcome, PAGE, USER_SPACE, Wake, advise};

use crate::in_place::child::Plan;
use crate::in_place::control::Request;
use crate::in_place::faults::range_of;
use crate::in_place::service::Service;

impl Service {
    /// Serves what waits in the control block.
    pub(super) fn serve_requests(&mut self) {
        if !self.control.has_pending() {
            return;
        }
        self.answer_wakes();
        while let Some((slot, request)) = self.control.take() {
            let answer = self.serve_request(request);
            self.control.answer(slot, answer);
        }
    }

    /// Lets the threads go on that touched the wake page, and makes the next touch a fault again. Requests are looked at after it: a thread that
    /// found the page there has posted its request before.
    fn answer_wakes(&self) {
        let wake_page = self.own.wake_page();
        let page = AddressRange::new(wake_page.address(), PAGE).expect("a page");
        if !self.quiet.zeropage(page, Wake::Now).is_done() {
            let _: Outcome = self.quiet.wake(page);
        }
        advise::dontneed(wake_page).expect("the wake page is private memory");
        let mut buffer = bifolio_sys::MessageBuf::new();
        // The messages say only that the page was touched.
        while self.quiet.read(&mut buffer).is_ok_and(|messages| !messages.is_empty()) {}
    }

    fn serve_request(&mut self, request: Request) -> usize {
        let range = |start: usize, len: usize| start..start.saturating_add(len).min(USER_SPACE);
        match request {
            Request::Fork => self.prepare_fork(),
            Request::Forked(plan, done) => self.forked(plan, done != 0),
            Request::Forget(start, len) => {
                self.forget(range(start, len));
                0
            }
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
            Request::BringAllHome(ends) => {
                self.dying |= ends;
                self.bring_home(0..USER_SPACE)
            }
        }
    }

    /// Brings all of a range home, whatever the limit says. Returns whether something could not come.
    pub(super) fn bring_home(&mut self, range: Range<usize>) -> usize {
        let mut stored = Vec::new();
        self.engine.for_stored(range, |range, _| stored.push(range));
        let mut missing = 0;
        for range in stored {
            let mut at = range.start;
            while at < range.end {
                match self.fetch(at, Order::PMD) {
                    Ok(brought) => at = brought.end.max(at + PAGE),
                    Err(Outcome::Again(_)) => {
                        self.read_messages();
                        std::thread::yield_now();
                    }
                    // Dropped meanwhile.
                    Err(Outcome::Exists) => at += PAGE,
                    Err(_) => {
                        missing = 1;
                        at += PAGE;
                    }
                }
            }
        }
        missing
    }

    /// Writes the plan for a child, and lets children have the memory.
    fn prepare_fork(&mut self) -> usize {
        self.read_messages();
        let caught: Vec<AddressRange> = self.regions.all().collect();
        let mut away = Vec::new();
        let store = &self.store;
        self.engine.for_stored(0..USER_SPACE, |range, page| {
            let bytes = store.part(page.pfn, (range.len() / PAGE) as u64).expect("pages of the store");
            away.push((range, bytes.address()));
        });
        let caught = if away.is_empty() { &[][..] } else { &caught };
        let Ok(plan) = Plan::new(caught, &away) else { return 0 };
        self.share_with_children(true);
        self.gauges.see_fork();
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
            // A part that has just gone makes this an error; the rest is done all the same.
            let _: Result<(), _> = advise(self.memory.window(range_of(&(range.start()..range.end()))));
        }
    }
}
