//! What a heap asks of the engine beyond answering faults: moves of whole ranges, and letting go of memory.

use std::ops::Range;

use bifolio_folio::Order;
use bifolio_migrate::{Failure, Finished, Granularity, Moved, Outcome, Policy, Step, Transaction};
use bifolio_sys::PAGE;

use crate::blocks::{BlockId, BlockRef};
use crate::cpu::anonymous::AnonymousView;
use crate::cpu::{CpuView, address_of, span_of};
use crate::device::Copy;
use crate::engine::drive::{BEYOND, StepExecutor};
use crate::engine::{Engine, lock};

/// Blocks that are looked at when memory is to shrink.
const CANDIDATES: usize = 32;

impl Engine<AnonymousView> {
    /// Answers a fault as [`Engine::cpu_fault`] does, by `policy`, but leaves a page that cannot be brought for the
    /// caller to decide on.
    pub(super) fn answer(&self, address: usize, policy: &dyn Policy) -> Result<Finished, Failure> {
        let found = self.blocks.find(address).ok_or(Failure::NotMapped)?;
        let page = found.page_of(address);
        let mut cell = found.lock();
        let transaction = Transaction::cpu_fault(&cell.block, page, policy);
        self.run(&found, &mut cell, transaction, 0)
    }

    /// Answers a fault although both memories are full: one page more than the limit is better than no program.
    pub(super) fn answer_beyond(&self, address: usize) -> Result<Finished, Failure> {
        let found = self.blocks.find(address).ok_or(Failure::NotMapped)?;
        let page = Granularity { largest: Order::ZERO, smallest: Order::ZERO, populate: Order::ZERO };
        let mut cell = found.lock();
        let transaction = Transaction::cpu_fault(&cell.block, found.page_of(address), &page);
        self.run(&found, &mut cell, transaction, BEYOND)
    }

    /// Brings the pages of `addresses` that are on the device home, folio by folio, within the limit of system memory
    /// as far as possible.
    fn bring(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            let home = self.bring_run(found, run, 0).or_else(|_| self.bring_run(found, run, BEYOND));
            home.map_err(|(_, why)| why)
        })
    }

    /// Tells whether more pages are resident than should be.
    pub(super) fn is_over_limit(&self) -> bool {
        self.budget.used_pages() > self.budget.limit_pages()
    }

    /// Moves the least recently faulted blocks to the device until the limit is kept again; `false` if nothing more can
    /// go.
    pub(super) fn shrink(&self) -> bool {
        while self.is_over_limit() {
            let oldest: Vec<BlockId> =
                lock(&self.resident).oldest_first().map(|(_, id)| *id).take(CANDIDATES).collect();
            let blocks = oldest.into_iter().filter_map(|id| self.blocks.get(id));
            let moved: u64 = blocks.map(|found| self.move_some_out(&found)).sum();
            if moved == 0 {
                return false;
            }
        }
        true
    }

    /// Moves what is too much out of a block, if nobody else has it; returns how many pages went.
    fn move_some_out(&self, found: &BlockRef<'_>) -> u64 {
        let over = self.budget.used_pages().saturating_sub(self.budget.limit_pages());
        let cell = found.try_lock().filter(|_| over > 0);
        cell.map_or(0, |mut cell| self.move_out(found, &mut cell, over))
    }

    /// Answers a fault on a page that belongs to no block with zeros, to be taken away when it is allocated again.
    ///
    /// Such a fault is old as a rule: its toucher was woken by another's answer, went on and freed the block. Poison
    /// would be right for a toucher that uses freed memory, but the kernel has no way to take it off again.
    pub(super) fn answer_stray(&self, address: usize) {
        let Some(found) = self.blocks.find(address) else { return self.view.wake(address) };
        let cell = found.lock();
        if cell.block.live().contains(found.page_of(address)) {
            self.view.wake(address);
        } else {
            self.view.show_stray(address);
        }
    }

    /// Makes pages live and empty, whatever was thought of them before.
    pub(super) fn map_clean(&self, addresses: Range<usize>) {
        for (found, run) in self.blocks.parts(addresses) {
            let mut cell = found.lock();
            self.view.clear_strays(span_of(found.base, run));
            cell.block.map(run);
        }
    }

    /// Makes pages empty again: they read as zero, and nobody finds them unmapped in between.
    pub(super) fn reset(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            let mut cell = found.lock();
            self.run(&found, &mut cell, Transaction::unmap(run), 0)?;
            cell.block.map(run);
            Ok(())
        })
    }

    /// Lets go of pages without forgetting their bytes: on return they are in system memory, and the engine knows
    /// nothing of them any more.
    pub(super) fn let_go(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.bring(addresses.clone())?;
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            let mut cell = found.lock();
            if cell.block.device().intersects(run) {
                return Err(Failure::Busy);
            }
            let mut transaction = Transaction::unmap(run);
            let mut drive = StepExecutor::new(self, found, 0);
            let mut outcome = Outcome::Start;
            loop {
                outcome = match transaction.step(&mut cell.block, outcome) {
                    Step::Finish(result) => {
                        self.account(&found, &mut cell);
                        return result.map(drop);
                    }
                    Step::Discard { run } => {
                        self.budget.give_back(u64::from(cell.block.ram().count_in(run)));
                        Outcome::Done
                    }
                    step => drive.perform(step, &mut cell),
                };
            }
        })
    }

    /// Writes every byte that is on the device to where it belongs, for a child that inherited the engine but not the
    /// faults: its memory is plain from then on.
    pub(super) fn fill_holes(&self) {
        for found in self.blocks.made() {
            let cell = found.lock();
            for piece in cell.block.pieces() {
                let to = self.view.window(span_of(found.base, piece.span));
                let copied = self.device.copy(&[Copy::ToRam { from: piece.pfn, to }]);
                copied.and_then(|point| self.device.wait(point)).expect("the device is this process's own");
            }
        }
    }

    /// The addresses that a transaction brought.
    pub(super) fn brought(&self, address: usize, finished: &Finished) -> Option<Range<usize>> {
        let found = self.blocks.find(address)?;
        let (Moved::ToRam(span) | Moved::Populated(span)) = finished.moved else { return None };
        Some(
            address_of(found.base, span.first())
                ..address_of(found.base, span.first()) + usize::from(span.pages()) * PAGE,
        )
    }
}
