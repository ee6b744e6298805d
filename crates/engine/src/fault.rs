//! How a fault is served: of the CPU, for shared memory and for heaps alike, and of the device.
//!
//! ```text
//!   address -> block -> policy: which orders? -> transaction, again while something is in use
//!                                                   |
//!        no system memory, or still in use -------> one page beyond the limit
//!                                                   |
//!        still not ---------------------------------> the page is poisoned: its toucher gets SIGBUS
//! ```

use std::time::Instant;

use bifolio_folio::{Order, PAGE_SIZE};
use bifolio_migrate::{CpuFaultOrders, Failure, Finished, Moved, PageRun, Transaction};
use bifolio_policy::Policy;

use crate::blocks::{BlockRef, BlockState};
use crate::device::{DeviceFault, FaultHandler};
use crate::engine::{Engine, NODE, lock};
use crate::executor::Priority;
use crate::statistics::Counter;
use crate::view::CpuView;

/// The orders of a fault that takes memory beyond the limit: one page more than the limit is better than no program.
const ONE_PAGE: CpuFaultOrders = CpuFaultOrders { to_ram: Order::ZERO, populate: Order::ZERO };

impl<V: CpuView> Engine<V> {
    /// Answers a CPU fault at `address` by the engine's policy: see [`Engine::cpu_fault_by`].
    ///
    /// # Errors
    /// As [`Engine::cpu_fault_by`].
    pub fn cpu_fault(&self, address: usize) -> Result<Finished, Failure> {
        self.cpu_fault_by(address, self.policy.as_ref())
    }

    /// Answers a CPU fault at `address`: on return the page is in view, or poisoned so that its toucher gets SIGBUS,
    /// and all sleepers are awake.
    ///
    /// # Errors
    /// Why the page could not be brought.
    pub fn cpu_fault_by(&self, address: usize, policy: &dyn Policy) -> Result<Finished, Failure> {
        let start = Instant::now();
        let result = self.timed(start, || self.serve(address, policy));
        self.statistics.add(Counter::CpuFaults, 1);
        match &result {
            Ok(Finished { moved: Moved::AlreadyThere(_), .. }) => {
                self.statistics.add(Counter::RedundantFaults, 1);
            }
            Ok(Finished { moved: Moved::ToRam(_), .. }) => {
                self.statistics.add(Counter::BytesUseful, PAGE_SIZE);
            }
            Ok(_) => {}
            Err(why) => self.give_up(address, *why),
        }
        result
    }

    fn serve(&self, address: usize, policy: &dyn Policy) -> Result<Finished, Failure> {
        let found = self.blocks.find(address).ok_or(Failure::NotMapped)?;
        let page = found.page_of(address);
        let plan = |orders| move |cell: &BlockState| Transaction::cpu_fault(&cell.block, page, orders);
        if self.keeps_limit() {
            match self.run_retrying(Priority::Fault, found, plan(policy.cpu_fault_orders())) {
                Err(Failure::Busy | Failure::NoRam) => {}
                result => return result,
            }
        }
        self.run_retrying(Priority::MustSucceed, found, plan(ONE_PAGE))
    }

    /// Poisons the page of a fault that cannot be answered. A page that was allocated since is left alone: the fault
    /// is of its former life, and its toucher looks again.
    fn give_up(&self, address: usize, why: Failure) {
        let Some(found) = self.blocks.find(address) else {
            self.view.answer_unmapped(address);
            return;
        };
        let page = found.page_of(address);
        let cell = found.lock();
        let poisoned = match why {
            Failure::NotMapped if cell.block.live().contains(page) => {
                self.view.wake(address);
                false
            }
            Failure::NotMapped => self.view.answer_unmapped(address),
            _ => {
                self.view.poison(address);
                true
            }
        };
        if poisoned {
            self.statistics.add(Counter::Failures, 1);
            lock(&self.poisoned).insert((found.id, page));
        }
    }

    /// Takes the poison off pages that begin a new life; the kernel does so where zeros are shown.
    pub(crate) fn heal(&self, found: &BlockRef<'_>, cell: &mut BlockState, run: PageRun) {
        let within = (found.id, run.first())..(found.id, run.end());
        let poisoned: Vec<_> = lock(&self.poisoned).range(within).copied().collect();
        for (id, page) in poisoned {
            lock(&self.poisoned).remove(&(id, page));
            let zeros = Transaction::cpu_fault(&cell.block, page, self.policy.cpu_fault_orders());
            // Without memory for it the page stays poisoned, and its toucher learns that there is none.
            let _: Result<Finished, Failure> = self.run(found, cell, zeros, Priority::Fault);
        }
    }
}

impl<V: CpuView> FaultHandler for Engine<V> {
    fn device_fault(&self, address: usize) -> Result<(), DeviceFault> {
        let start = Instant::now();
        let found = self.blocks.find(address).ok_or(DeviceFault::NotMapped { address })?;
        let page = found.page_of(address);
        let orders = self.policy.to_device_orders();
        let plan = |_: &BlockState| Transaction::device_fault(NODE, page, orders);
        let result = self.timed(start, || self.run_retrying(Priority::Fault, found, plan));
        self.statistics.add(Counter::DeviceFaults, 1);
        match result {
            Ok(Finished { moved: Moved::AlreadyThere(_), .. }) => {
                self.statistics.add(Counter::RedundantFaults, 1);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(why) => {
                self.statistics.add(Counter::Failures, 1);
                match why {
                    Failure::NotMapped => Err(DeviceFault::NotMapped { address }),
                    Failure::Detached => Err(DeviceFault::Detached { address }),
                    why => Err(DeviceFault::Unanswered { address, why }),
                }
            }
        }
    }
}
