//! How a fault is served: of the CPU, for shared memory and for heaps alike, and of a device.
//!
//! ```text
//!   address -> block -> policy: how much, and what else? -> transaction, again while something is in use
//!                                                   |
//!        no system memory, or still in use -------> one page beyond the limit
//!                                                   |
//!        still not ---------------------------------> the page is poisoned: its toucher gets SIGBUS
//! ```

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_migrate::{
    CpuFaultOrders, Failure, Finished, Moved, NodeId, OrderRange, PageRun, Rights, Transaction,
};
use bifolio_policy::{Decision, Placement};
use bifolio_sys::PAGE;

use crate::blocks::{BlockRef, BlockState};
use crate::device::{DeviceFault, DeviceRequest, Served};
use crate::engine::{Engine, lock};
use crate::event::{Cause, EventKind};
use crate::remote::Remote;
use crate::request::{Request, Tally};
use crate::retry::FEW_TRIES;
use crate::sleep::{Seen, Sleeper};
use crate::view::CpuView;

/// The orders of a fault that takes memory beyond the limit: one page more than the limit is better than no program.
const ONE_PAGE: CpuFaultOrders = CpuFaultOrders { to_ram: Order::ZERO, populate: Order::ZERO };

/// How often a page is tried to be brought or else used where it is.
const LAST_TRIES: u32 = 64;
/// Without device memory a page stays where it is for a while.
const LAST_RESORT: Remote = Remote { order: Order::ZERO, uses: 1 << 10 };

impl<V: CpuView> Engine<V> {
    /// Answers a CPU fault at `address` as the policy of system memory decides: on return the page is in view, or poisoned
    /// so that its toucher gets SIGBUS, and all sleepers are awake.
    ///
    /// # Errors
    /// Why the page could not be brought.
    pub fn cpu_fault(&self, address: usize) -> Result<Finished, Failure> {
        let start = self.now_ns();
        let decision = self.decide_for_cpu(address);
        self.wait_for(&decision);
        let result = self.answer_cpu(address, start, decision.cpu_orders());
        self.prefetch_to_ram(decision.prefetch);
        result
    }

    fn answer_cpu(&self, address: usize, start: u64, orders: CpuFaultOrders) -> Result<Finished, Failure> {
        let result = self.serve(address, orders);
        if let Err(why) = result {
            self.give_up(address, why);
        }
        let wait_ns = self.now_ns().saturating_sub(start);
        self.observers.tell(None, || EventKind::CpuFault { address, result: &result, wait_ns });
        result
    }

    /// Tells all devices that a thread sleeps in a fault of the CPU. To be called before the fault is answered, and before
    /// anything is waited for.
    pub fn thread_sleeps(&self, sleeper: Sleeper) -> Seen {
        self.nodes.iter().map(|node| node.device().thread_sleeps(sleeper)).fold(Seen::Known, Seen::and)
    }

    fn serve(&self, address: usize, orders: CpuFaultOrders) -> Result<Finished, Failure> {
        let found = self.blocks.find(address).ok_or(Failure::NotMapped)?;
        let page = found.page_of(address);
        let plan = |orders| move |cell: &BlockState| Transaction::cpu_fault(&cell.block, page, orders);
        if self.keeps_limit() {
            match self.run_retrying(Request::new(Cause::CpuFault), found, plan(orders)) {
                Err(Failure::Busy | Failure::NoRam) => {}
                result => return result,
            }
        }
        self.run_retrying(Request::must_succeed(Cause::CpuFault), found, plan(ONE_PAGE))
    }

    /// Poisons the page of a fault that cannot be answered. A page that was allocated since is left alone: the fault
    /// is of its former life, and its toucher looks again.
    fn give_up(&self, address: usize, why: Failure) {
        let Some(found) = self.blocks.find(address) else {
            self.view.answer_unmapped(address);
            return;
        };
        let page = found.page_of(address);
        let cell = self.lock(&found);
        let poisoned = match why {
            Failure::NotMapped if cell.block.live().contains(page) => {
                self.view.wake(address);
                false
            }
            Failure::NotMapped => {
                let poisoned = self.view.answer_unmapped(address);
                if poisoned {
                    self.observers.tell(None, || EventKind::Poisoned { address, why });
                }
                poisoned
            }
            _ => {
                // Before: the toucher gets a signal that may end the process.
                self.observers.tell(None, || EventKind::Poisoned { address, why });
                self.view.poison(address);
                true
            }
        };
        if poisoned {
            lock(&self.poisoned).insert((found.id, page));
        }
    }

    /// Whether the page at `address` is poisoned: a touch of it raises SIGBUS.
    #[must_use]
    pub fn is_poisoned(&self, address: usize) -> bool {
        let found = self.blocks.find(address);
        found.is_some_and(|found| lock(&self.poisoned).contains(&(found.id, found.page_of(address))))
    }

    /// Takes the poison off pages that begin a new life; the kernel does so where zeros are mapped.
    pub(crate) fn heal(&self, found: &BlockRef<'_>, cell: &mut BlockState, run: PageRun) {
        let within = (found.id, run.first())..(found.id, run.end());
        let poisoned: Vec<_> = lock(&self.poisoned).range(within).copied().collect();
        for (id, page) in poisoned {
            lock(&self.poisoned).remove(&(id, page));
            let zeros = Transaction::cpu_fault(&cell.block, page, self.cpu_orders(found.base));
            // Without memory for it the page stays poisoned, and its toucher learns that there is none.
            if self.run(found, cell, zeros, Request::new(Cause::CpuFault)).is_err() {
                lock(&self.poisoned).insert((id, page));
            }
        }
    }

    /// Answers a page request of a device: on return the page is there and in its page table, and of the pages after it
    /// that are asked for as many as could be brought.
    ///
    /// # Errors
    /// If the page cannot be brought; it is where it was.
    pub fn device_fault(&self, node: NodeId, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        if self.observers.listen() {
            self.serve_device_observed(node, request)
        } else {
            self.serve_device(node, request)
        }
    }

    #[inline(never)]
    fn serve_device_observed(&self, node: NodeId, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        let start = self.now_ns();
        let result = self.serve_device(node, request);
        let wait_ns = self.now_ns().saturating_sub(start);
        self.observers.tell(None, || EventKind::DeviceFault { node, request, result: &result, wait_ns });
        result
    }

    fn serve_device(&self, node: NodeId, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        let DeviceRequest { address, access, tag, .. } = *request;
        if !self.node(node).rights().contains(access) {
            return Err(DeviceFault::Denied { address, access });
        }
        let tally = Tally::default();
        let decision = self.decide_for_device(node, request);
        self.wait_for(&decision);
        let remote = match decision.placement {
            Placement::Remote { order, notify_after: uses } => Some(Remote { order, uses }),
            Placement::Move => None,
        };
        let bring = |address| self.bring_or_map(node, address, &decision, remote, access, &tally);
        let (run, was_there) = bring(address)?;
        let end = request.end();
        let mut next = run.end;
        while next < end {
            // What comes after the page is a hint: what cannot be brought will fault.
            let Ok((run, _)) = bring(next) else { break };
            next = run.end;
        }
        self.prefetch_to_device(node, decision.prefetch, &tally);
        let order = Order::largest_fitting((run.len() / PAGE) as u64).unwrap_or(Order::ZERO);
        let (moved_in, moved_out) = (tally.moved_in.get(), tally.moved_out.get());
        Ok(Served { tag, moved_in, moved_out, evicted: tally.evicted.get(), order, was_there })
    }

    /// Brings a page to a device, or lets the device use it where it is: if that is wanted, or as the last resort.
    fn bring_or_map(
        &self,
        id: NodeId,
        address: usize,
        decision: &Decision,
        remote: Option<Remote>,
        access: Rights,
        tally: &Tally,
    ) -> Result<(Range<usize>, bool), DeviceFault> {
        let node = self.node(id);
        if let Some(run) = remote.and_then(|remote| self.map_remote(node, address, remote, access)) {
            return Ok((run, false));
        }
        let (orders, request) =
            (node.possible(decision.orders), Request::new(Cause::DeviceFault).counted(tally));
        if node.capabilities().remote {
            // What kept the page from coming may have gone before it can be used where it is.
            for _ in 0..LAST_TRIES {
                match self.bring_to(id, address, orders, access, request.trying(FEW_TRIES)) {
                    Err(DeviceFault::Unanswered { .. }) => {
                        if let Some(run) = self.map_remote(node, address, LAST_RESORT, access) {
                            return Ok((run, false));
                        }
                    }
                    result => return result,
                }
            }
        }
        self.bring_to(id, address, orders, access, request)
    }

    /// Brings the page at `address` to a device and into its page table. Returns the addresses of its folio, and whether
    /// it was there already.
    pub(crate) fn bring_to(
        &self,
        node: NodeId,
        address: usize,
        orders: OrderRange,
        access: Rights,
        request: Request<'_>,
    ) -> Result<(Range<usize>, bool), DeviceFault> {
        let found = self.blocks.find(address).ok_or(DeviceFault::NotMapped { address })?;
        let page = found.page_of(address);
        let plan = |_: &BlockState| Transaction::device_fault(node, page, orders, access);
        match self.run_retrying(request, found, plan).map(|finished| finished.moved) {
            Ok(Moved::AlreadyThere(run)) => Ok((found.addresses_of(run.into()), true)),
            Ok(Moved::ToDevice(run)) => Ok((found.addresses_of(run.into()), false)),
            Ok(moved) => unreachable!("{moved:?} answers no fault of a device"),
            Err(Failure::NotMapped) => Err(DeviceFault::NotMapped { address }),
            Err(Failure::Denied) => Err(DeviceFault::Denied { address, access }),
            Err(Failure::Detached) => Err(DeviceFault::Detached { address }),
            Err(why) => Err(DeviceFault::Unanswered { address, why }),
        }
    }
}
