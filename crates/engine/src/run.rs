//! How a transaction is run: step by step, and again while something in it is in use.

use std::time::Instant;

use bifolio_migrate::{Failure, Finished, Moved, Outcome, Step, Transaction};

use crate::blocks::{BlockRef, BlockState};
use crate::engine::{Engine, lock};
use crate::executor::{Priority, StepExecutor};
use crate::retry::{BUSY_TRIES, Retry};
use crate::statistics::{Counter, Direction};
use crate::view::CpuView;

impl<V: CpuView> Engine<V> {
    /// Runs a transaction on a block that is free, and again while something in it is in use.
    pub(crate) fn run_retrying(
        &self,
        priority: Priority,
        found: BlockRef<'_>,
        plan: impl Fn(&BlockState) -> Transaction,
    ) -> Result<Finished, Failure> {
        self.retrying(|| {
            let mut cell = found.lock();
            let transaction = plan(&cell);
            self.run(&found, &mut cell, transaction, priority)
        })
    }

    /// Tries `attempt` again while what it needs is in use. It holds no lock when it returns.
    pub(crate) fn retrying<R>(&self, mut attempt: impl FnMut() -> Result<R, Failure>) -> Result<R, Failure> {
        let mut retry = Retry::new(BUSY_TRIES);
        loop {
            match attempt() {
                Err(Failure::Busy) => {
                    self.statistics.add(Counter::Busy, 1);
                    self.buffers.wait_for_memory();
                    if !retry.again() {
                        return Err(Failure::Busy);
                    }
                }
                result => return result,
            }
        }
    }

    /// Runs a transaction to its end on a block that the caller holds.
    pub(crate) fn run(
        &self,
        found: &BlockRef<'_>,
        cell: &mut BlockState,
        mut transaction: Transaction,
        priority: Priority,
    ) -> Result<Finished, Failure> {
        let mut executor = StepExecutor::new(self, *found, priority);
        let mut outcome = Outcome::Start;
        let result = loop {
            match transaction.step(&mut cell.block, outcome) {
                Step::Finish(result) => break result,
                step => outcome = executor.perform(step, cell),
            }
        };
        executor.end(&result, cell);
        self.account(found, cell);
        if let Ok(finished) = &result {
            self.count(finished);
        }
        if priority != Priority::Reclaim {
            // No put releases (I15): what died in this transaction, or in one within it, is released here.
            self.pagemap.pool().release();
        }
        result
    }

    fn count(&self, finished: &Finished) {
        self.statistics.add(Counter::Fallbacks, u64::from(finished.fallbacks));
        match finished.moved {
            Moved::ToDevice(span) => self.statistics.add_folio(Direction::ToDevice, span.order()),
            Moved::ToRam(span) => self.statistics.add_folio(Direction::ToRam, span.order()),
            Moved::AlreadyThere(_)
            | Moved::Populated(_)
            | Moved::Unmapped(_)
            | Moved::Split(_)
            | Moved::Collapsed(_) => {}
        }
    }

    /// Keeps the order of blocks that have pages in system memory.
    pub(crate) fn account(&self, found: &BlockRef<'_>, cell: &mut BlockState) {
        let mut resident = lock(&self.resident);
        match (cell.block.ram().is_empty(), cell.resident) {
            (false, None) => cell.resident = Some(resident.push(found.id)),
            (true, Some(handle)) => {
                resident.remove(handle);
                cell.resident = None;
            }
            (false, Some(handle)) => resident.touch(handle),
            (true, None) => {}
        }
    }

    /// Runs `work`, and counts the time since `start` as waiting.
    pub(crate) fn timed<R>(&self, start: Instant, work: impl FnOnce() -> R) -> R {
        let result = work();
        self.statistics.add_time(Counter::WaitNs, start.elapsed());
        result
    }
}
