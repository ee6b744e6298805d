//! Answering a fault: the page comes home, or begins as zeros.

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use bifolio_folio::Order;
use bifolio_migrate::{AlignedRun, CpuFaultOrders, Failure, Finished, Moved};
use bifolio_policy::streams::Step;
use bifolio_policy::{self as policy, Decision, Prefetch, Side};
use bifolio_sys::{AddressRange, CopyMode, HUGE_PAGE, Outcome, PAGE, Wake, resident_pages};

use bifolio_engine::event::Cause;
use bifolio_engine::view::{CpuView, page_at};

use crate::in_place::same_cpu::PlacedThread;
use crate::in_place::service::{Fault, Service};

/// A first touch fills at least so much where there is room: zeros cost little.
const ZEROS: Order = Order::K64;
/// A fault that cannot be answered is tried again so often, with a pause in between, before its page is poisoned.
pub(super) const TRIES: u32 = 2000;
pub(super) const PAUSE: Duration = Duration::from_micros(100);
/// Faults that are remembered as the last.
const TOUCHED: usize = 32;
/// One without room waits so often for threads that are beginning, before it takes more than there is.
const PATIENCE: u32 = 20;
/// A page is tried so often together with those around it, which may be what cannot come, and then alone.
const TOGETHER: u32 = 20;
/// One that waits so often for an event waits for one that may not come.
const UNTOLD: u32 = 1000;

impl Service {
    /// Answers a fault at this time. One that must wait for an event to be read goes back to the queue.
    pub(super) fn serve(&mut self, fault: Fault, now: Instant) {
        if fault.tries == 0 {
            self.record_place(fault);
        }
        let page = page_at(fault.address).start();
        let outcome = if self.must_wait_for_thread(fault) { Outcome::Busy } else { self.answer(fault, now) };
        let result = match outcome {
            Outcome::Done(_) | Outcome::Exists => {
                self.note_touched(page);
                Ok(self.last_moved)
            }
            // Nothing is mapped there any more: the toucher dies of it, or finds what was mapped since.
            Outcome::Missing | Outcome::Gone => {
                self.engine.view().wake(page);
                Err(Failure::NotMapped)
            }
            Outcome::Again(_) if fault.tries == UNTOLD && self.leave_untold(page) => Ok(self.last_moved),
            _ if fault.tries < TRIES => {
                self.same_cpu.release();
                self.faults.push_back(Fault { tries: fault.tries + 1, ..fault });
                if !matches!(outcome, Outcome::Again(_)) {
                    std::thread::sleep(PAUSE);
                }
                self.read_messages();
                std::thread::yield_now();
                return;
            }
            _ => {
                self.poison(page);
                Err(Failure::MapFailed)
            }
        };
        let wait_ns = u64::try_from(now.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let finished = result.map(|moved| Finished { moved, fallbacks: 0, splits: 0 });
        self.engine.tell_cpu_fault(page, &finished, wait_ns);
    }

    fn note_touched(&mut self, page: usize) {
        if self.touched.len() == TOUCHED {
            self.touched.pop_front();
        }
        self.touched.push_back(page);
    }

    /// As a locked mapping moves and grows (`mremap`), the kernel touches what is new before it tells of the move, and copies
    /// nothing until that is read. Leaves a mapping to the kernel from a page on, if nothing of that is stored.
    fn leave_untold(&mut self, page: usize) -> bool {
        let Ok(Some(mapping)) = self.maps.next_from(page) else { return false };
        let rest = page..mapping.range.end();
        let mut is_stored = false;
        self.engine.for_stored(rest.clone(), |_, _| is_stored = true);
        if is_stored || !mapping.range.contains(page) {
            return false;
        }
        self.leave(range_of(&rest));
        self.regions.remove(rest);
        true
    }

    /// Lets a touch of a page raise SIGBUS: its bytes cannot be shown, and zeros in their place would be wrong.
    pub(super) fn poison(&self, address: usize) {
        // Before: the toucher gets a signal that may end the process.
        self.engine.tell_poisoned(address, Failure::MapFailed);
        self.engine.view().poison(address);
    }

    /// Tells whether nothing may go just now, and nothing more may come. A thread that is beginning may wait for this very
    /// fault, so not for ever.
    fn must_wait_for_thread(&self, fault: Fault) -> bool {
        fault.tries < PATIENCE && self.limits.room() == 0 && self.spawning.load(SeqCst) != 0
    }

    fn answer(&mut self, fault: Fault, now: Instant) -> Outcome {
        let address = page_at(fault.address).start();
        self.last_moved = Moved::AlreadyThere(AlignedRun::around(0, Order::ZERO));
        if self.engine.is_stored(address) {
            return self.bring(fault, now);
        }
        let step = self.first_touches.step(0, address as u64);
        let order = step.order().min(self.largest).max(ZEROS);
        self.make_room(order.pages());
        // Making room may have taken the page itself, where the fault of another thread had brought it home.
        if self.engine.is_stored(address) {
            return self.bring(fault, now);
        }
        self.fill_zeros(address, order, step)
    }

    /// Brings a page that is away, and what the policy wants with it.
    fn bring(&mut self, Fault { address: touched, thread, tries }: Fault, now: Instant) -> Outcome {
        let Decision { orders, prefetch, .. } = self.decide(touched);
        let address = page_at(touched).start();
        let (order, prefetch) =
            if tries < TOGETHER { (orders.largest, prefetch) } else { (Order::ZERO, None) };
        self.make_room(order.pages());
        if !self.engine.is_stored(address) {
            // It was dropped meanwhile: this is a first touch.
            return Outcome::Again(0);
        }
        let window = aligned_window(address, order);
        let pages = order.pages() + prefetch.map_or(0, |ahead| ahead.pages());
        let placed = self.place(thread, pages, now);
        let fetched = self.fetch(address, order, Cause::CpuFault, Some(address));
        placed.iter().for_each(|thread| self.same_cpu.let_go(thread));
        match fetched {
            Err(outcome) => outcome,
            Ok(brought) => {
                // The folio may be smaller than what is to come: its neighbours come as well.
                if brought.len() < window.len() {
                    self.fetch_stored(&window, Order::PMD, Some(address));
                }
                self.prefetch(prefetch);
                Outcome::Done(PAGE)
            }
        }
    }

    /// Lets the thread that waits for so many pages wake on this processor, if that pays.
    fn place(&mut self, thread: u32, pages: u64, now: Instant) -> Option<PlacedThread> {
        if !self.same_cpu.is_wanted(thread, pages, now) {
            return None;
        }
        self.start_helper();
        self.same_cpu.begin(thread)
    }

    /// What the policy decides about a fault.
    fn decide(&mut self, address: usize) -> Decision {
        // What the program gave back is for what it touches next: nothing counts as free.
        let fault = policy::Fault::new(address, Side::Ram, 0);
        self.residents.decide(&policy::Fault { now_ns: self.engine.clock().now_ns(), ..fault })
    }

    /// Brings the page at `address` and its folio, up to `order`, home, because of a touch of an address, if any.
    pub(super) fn fetch(
        &mut self,
        address: usize,
        order: Order,
        cause: Cause,
        touched: Option<usize>,
    ) -> Result<Range<usize>, Outcome> {
        let orders = CpuFaultOrders { to_ram: order, populate: Order::ZERO };
        let fetched = self.engine.fetch(address, orders, cause);
        let view = self.engine.view();
        let (stopped, unshown) = (view.take_stopped(), view.take_unshown());
        match fetched {
            Ok(Some((finished, brought))) => {
                self.last_moved = finished.moved;
                self.limits.resident += (brought.len() / PAGE) as u64;
                self.residents.came_back(&brought, touched);
                let Some(unshown) = unshown else { return Ok(brought) };
                self.store_again(unshown);
                let home = brought.start..unshown.start().min(brought.end);
                if home.contains(&address) { Ok(home) } else { Err(stopped.unwrap_or(Outcome::Busy)) }
            }
            Ok(None) => Err(Outcome::Exists),
            Err(_) => Err(stopped.unwrap_or(Outcome::Busy)),
        }
    }

    /// Brings what is stored of a range, in folios up to `order`, as far as there is room, because of a touch of an address, if any.
    /// Returns whether all of it came.
    fn fetch_stored(&mut self, range: &Range<usize>, order: Order, touched: Option<usize>) -> bool {
        let mut stored = Vec::new();
        self.engine.for_stored(range.clone(), |range, _| stored.push(range));
        for Range { start: mut at, end } in stored {
            while at < end {
                match self.fetch(at, order, Cause::Ahead, touched) {
                    Ok(brought) if self.limits.room() > 0 => at = brought.end,
                    _ => return false,
                }
            }
        }
        true
    }

    /// Brings what the policy wants before it is touched.
    fn prefetch(&mut self, prefetch: Option<Prefetch>) {
        let Some(prefetch) = prefetch else { return };
        for range in prefetch.parts() {
            let pages = (range.len() / PAGE) as u64;
            let fitting = Order::largest_fitting(pages).unwrap_or(Order::ZERO).min(Order::PMD);
            // The folios around pages that are not aligned reach beyond them.
            let is_aligned = ((range.start / PAGE) as u64).is_multiple_of(fitting.pages());
            let order = if is_aligned { fitting } else { Order::ZERO };
            self.make_room(pages);
            if !self.fetch_stored(&range, order, None) {
                return;
            }
        }
    }

    /// Stores bytes that are in the scratch memory still: a copy into the program stopped half-way.
    fn store_again(&mut self, range: AddressRange) {
        self.limits.resident = self.limits.resident.saturating_sub(range.pages() as u64);
        self.store_scratch(range);
    }

    /// Shows zeros at a first touch, where nothing is stored: `2^order` pages of a walk, within the room and what is untouched around.
    fn fill_zeros(&mut self, address: usize, order: Order, step: Step) -> Outcome {
        let page = page_at(address);
        let fits = Order::largest_fitting(self.limits.room().max(1)).unwrap_or(Order::ZERO).min(order);
        let range = if fits == Order::ZERO { page } else { self.untouched_around(page, fits) };
        if self.advised.may_have_guards(&(page.start()..page.end())) {
            let outcome = self.fill_zeros_at(page);
            self.last_moved = Moved::Populated(AlignedRun::around(0, Order::ZERO));
            return self.wake_if_there(outcome, address);
        }
        let outcome = self.uffd.copy(range, self.own.zeros(range.len()), CopyMode::empty());
        let filled = outcome.bytes();
        self.began_as_zeros(range, filled);
        match outcome {
            Outcome::Done(_) => {
                self.last_moved = Moved::Populated(AlignedRun::around(0, Order::ZERO));
                self.first_touches.brings(step, (range.start() / PAGE) as u64..(range.end() / PAGE) as u64);
                outcome
            }
            _ if filled > 0 && address < range.start() + filled => Outcome::Done(filled),
            // Something was there already, before the page or at it.
            _ if range != page => {
                let one = self.uffd.copy(page, self.own.zeros(PAGE), CopyMode::empty());
                self.began_as_zeros(page, one.bytes());
                self.wake_if_there(one, address)
            }
            outcome => self.wake_if_there(outcome, address),
        }
    }

    /// Shows zeros from the start of a range on, up to 2 MiB or what is there already.
    pub(super) fn fill_zeros_at(&mut self, range: AddressRange) -> Outcome {
        let first = range.part(0, range.len().min(HUGE_PAGE)).expect("not empty");
        if self.advised.may_have_guards(&(first.start()..first.end())) {
            // The zero page spares guards, and is one page at a time.
            let page = first.part(0, PAGE).expect("not empty");
            let outcome = self.uffd.zeropage(page, Wake::Now);
            self.began_as_zeros(page, outcome.bytes());
            return outcome;
        }
        let mut outcome = self.uffd.copy(first, self.own.zeros(first.len()), CopyMode::empty());
        if outcome == Outcome::Missing {
            // More than one mapping, perhaps: a copy is within one.
            let page = first.part(0, PAGE).expect("not empty");
            outcome = self.uffd.copy(page, self.own.zeros(PAGE), CopyMode::empty());
        }
        self.began_as_zeros(first, outcome.bytes());
        outcome
    }

    /// The first `bytes` of a range were missing, and are zeros now.
    fn began_as_zeros(&mut self, range: AddressRange, bytes: usize) {
        self.limits.resident += (bytes / PAGE) as u64;
        let came = range.start()..range.start() + bytes;
        self.residents.began(&came);
        self.dropping.end(&came);
        self.record_zeros(range, bytes);
    }

    fn wake_if_there(&self, outcome: Outcome, address: usize) -> Outcome {
        if outcome == Outcome::Exists {
            self.engine.view().wake(address);
        }
        outcome
    }

    /// The pages around a page, up to an aligned `2^order`, that are registered, not there and not stored.
    fn untouched_around(&self, page: AddressRange, order: Order) -> AddressRange {
        let Some(region) = self.regions.around(page.start()) else { return page };
        let window = aligned_window(page.start(), order);
        if self.advised.may_have_guards(&window) {
            return page;
        }
        let (start, end) = (window.start.max(region.start), window.end.min(region.end));
        let window = range_of(&(start..end));
        let mut there = [0; HUGE_PAGE / PAGE];
        let there = &mut there[..window.pages()];
        if resident_pages(window, there).is_err() {
            return page;
        }
        self.engine.for_stored(start..end, |stored, _| {
            there[(stored.start - start) / PAGE..(stored.end - start) / PAGE].fill(1);
        });
        let here = (page.start() - start) / PAGE;
        let first = there[..here].iter().rposition(|byte| byte & 1 == 1).map_or(0, |at| at + 1);
        let end = there[here..].iter().position(|byte| byte & 1 == 1).map_or(there.len(), |at| here + at);
        window.part(first * PAGE, end.saturating_sub(first).max(1) * PAGE).unwrap_or(page)
    }
}

/// The aligned `2^order` pages around an address.
pub(super) fn aligned_window(address: usize, order: Order) -> Range<usize> {
    let len = PAGE << order.get();
    let start = address & !(len - 1);
    start..start + len
}

/// A range that is known to be whole pages and not empty.
pub(super) fn range_of(range: &Range<usize>) -> AddressRange {
    AddressRange::new(range.start, range.len()).expect("whole pages, at least one")
}
