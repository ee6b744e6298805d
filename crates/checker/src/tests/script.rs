//! Steps of transactions that no engine would run, told to a checker.

use std::cell::Cell;

use bifolio_engine::event::{Cause, Event, EventKind, Observer, StepContext};
use bifolio_folio::{Order, PageRun, Pfn};
use bifolio_migrate::{Block, Failure, Finished, NodeId, Outcome, Step};
use bifolio_sys::SharedBytes;

use super::harness::Harness;

/// A transaction on a block of its own, of which only the checker hears.
pub(super) struct Script<'h> {
    harness: &'h Harness,
    pub(super) block: Block,
    /// Whether pages are out of view.
    pub(super) staged: Cell<bool>,
}

impl<'h> Script<'h> {
    /// Begins a transaction.
    pub(super) fn begin(harness: &'h Harness, block: Block) -> Script<'h> {
        let script = Script { harness, block, staged: Cell::new(false) };
        script.tell(EventKind::Begin { cause: Cause::Prefetch, context: &script });
        script
    }

    /// Tells of a step that was done with an outcome.
    pub(super) fn step(&self, step: Step, outcome: Outcome) {
        self.tell(EventKind::Step { step: &step, context: self });
        self.tell(EventKind::Done { step: &step, outcome, context: self });
    }

    /// Tells that the thread waits for a block.
    pub(super) fn wait_for(&self, block: usize) {
        self.tell(EventKind::Waiting { block });
    }

    /// Tells of the end.
    pub(super) fn end(self, result: Result<Finished, Failure>) {
        self.tell(EventKind::End { cause: Cause::Prefetch, result: &result, context: &self });
    }

    fn tell(&self, kind: EventKind<'_>) {
        self.harness.checker.observe(&Event { sequence: 0, transaction: None, kind });
    }
}

impl StepContext for Script<'_> {
    fn base(&self) -> usize {
        self.harness.base
    }

    fn block(&self) -> &Block {
        &self.block
    }

    fn is_staged(&self) -> bool {
        self.staged.get()
    }

    fn smallest_order(&self) -> Order {
        Order::ZERO
    }

    fn ram_bytes(&self, _: PageRun) -> Option<SharedBytes<'_>> {
        None
    }

    fn device_bytes(&self, _: NodeId, _: Pfn, _: u64) -> Option<SharedBytes<'_>> {
        None
    }
}
