//! How a transaction is run: step by step, and again while something in it is in use.

use bifolio_migrate::{Failure, Finished, Outcome, Step, Transaction};

use crate::blocks::{BlockRef, BlockState};
use crate::engine::{Engine, lock};
use crate::event::EventKind;
use crate::executor::StepExecutor;
use crate::request::{Priority, Request};
use crate::retry::{BUSY_TRIES, Retry};
use crate::view::CpuView;

impl<V: CpuView> Engine<V> {
    /// Runs a transaction on a block that is free, and again while something in it is in use.
    pub(crate) fn run_retrying(
        &self,
        request: Request<'_>,
        found: BlockRef<'_>,
        plan: impl Fn(&BlockState) -> Transaction,
    ) -> Result<Finished, Failure> {
        self.retrying_up_to(request.tries, || {
            let mut cell = self.lock(&found);
            let transaction = plan(&cell);
            self.run(&found, &mut cell, transaction, request)
        })
    }

    /// Tries `attempt` again while what it needs is in use. It holds no lock when it returns.
    pub(crate) fn retrying<R>(&self, attempt: impl FnMut() -> Result<R, Failure>) -> Result<R, Failure> {
        self.retrying_up_to(BUSY_TRIES, attempt)
    }

    fn retrying_up_to<R>(
        &self,
        tries: u32,
        mut attempt: impl FnMut() -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let mut retry = Retry::new(tries);
        loop {
            match attempt() {
                Err(Failure::Busy) => {
                    self.observers.tell(None, || EventKind::Busy);
                    self.nodes.iter().for_each(|node| node.buffers.wait_for_memory());
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
        transaction: Transaction,
        request: Request<'_>,
    ) -> Result<Finished, Failure> {
        let result = self.run_unaccounted(found, cell, transaction, request);
        self.account(found, cell);
        result
    }

    /// The same where the caller keeps account of the block afterwards.
    pub(crate) fn run_unaccounted(
        &self,
        found: &BlockRef<'_>,
        cell: &mut BlockState,
        mut transaction: Transaction,
        request: Request<'_>,
    ) -> Result<Finished, Failure> {
        let mut executor = StepExecutor::new(self, *found, request);
        executor.begin(cell);
        let mut outcome = Outcome::Start;
        let result = loop {
            let step = transaction.step(&mut cell.block, outcome);
            if let Step::Finish(result) = step {
                break result;
            }
            outcome = executor.perform(&step, cell);
        };
        executor.end(&result, cell);
        if request.priority != Priority::Reclaim {
            self.release_dead();
        }
        result
    }

    /// Releases what died in transactions: no put does (I15).
    pub(crate) fn release_dead(&self) {
        for node in self.nodes.iter() {
            let _: u64 = node.pool().release();
        }
    }

    /// Keeps account of the blocks that have pages in system memory.
    pub(crate) fn account(&self, found: &BlockRef<'_>, cell: &mut BlockState) {
        if cell.resident.is_none() && cell.block.ram().is_empty() {
            return;
        }
        let mut ram = lock(&self.ram);
        match (cell.block.ram().is_empty(), cell.resident) {
            (false, None) => cell.resident = Some(ram.push(found.id, found.base)),
            (true, Some(id)) => {
                ram.remove(id);
                cell.resident = None;
            }
            (false, Some(id)) => ram.touch(id),
            (true, None) => {}
        }
    }

    /// The time, if an observer wants it.
    pub(crate) fn now_ns(&self) -> u64 {
        if self.observers.listen() { self.clock.now_ns() } else { 0 }
    }
}
