//! Transactions: what each step names and takes, and what is left at the end.

use std::cell::Cell;

use bifolio_engine::event::StepContext;
use bifolio_folio::{AlignedRun, PageRun, PageSet};
use bifolio_migrate::{Block, DevicePage, Failure, Finished, Folio, Formed, Moved, Outcome, Step};
use bifolio_rules::judge::Residency;
use bifolio_rules::{AuditEvent, DeviceEvent, Ending, Event, FolioEvent, Structure, TransactionEvent};

use super::checker::{Checker, of_folio, range_of};
use crate::sync::thread_local;

thread_local! {
    /// Transactions that this thread is in; it holds a block for each.
    static HOLDING: Cell<u32> = const { Cell::new(0) };
}

impl Checker {
    pub(crate) fn waiting(&self, block: usize) {
        let holding = HOLDING.get().into();
        self.tell_block(block, TransactionEvent::Waiting { holding });
    }

    pub(crate) fn begin(&self, context: &dyn StepContext) {
        HOLDING.set(HOLDING.get() + 1);
        self.tell_block(context.base(), TransactionEvent::Began { pages: residency(context.block()) });
    }

    /// Tells what a step names, and looks at the bytes that it is about to move.
    pub(crate) fn before(&self, step: &Step, context: &dyn StepContext) {
        match *step {
            Step::ReleaseFolio { folio } => {
                self.named(folio);
                let (node, head, order) = (folio.node.0, folio.pfn.get(), folio.order.get());
                self.tell_block(context.base(), TransactionEvent::FolioReleased { node, head, order });
            }
            Step::SplitFolio { folio } => self.named(folio),
            Step::ReclaimDevice { .. } | Step::ReclaimRam { .. } => {
                let pages = residency(context.block());
                self.tell_block(context.base(), TransactionEvent::Paused { pages });
            }
            Step::CollapseFolio { lower, upper } => {
                [lower, upper].into_iter().for_each(|half| self.named(half));
            }
            Step::CopyToDevice { to, .. } | Step::ClearDevice { to, .. } => {
                self.tell(&of_folio(to.node, FolioEvent::Named { page: to.pfn.get(), order: None }));
            }
            Step::CopyToRam { run, from: page }
            | Step::MapDevice { run, to: page, .. }
            | Step::RemapDevice { run, to: page, .. } => self.piece_named(run, page, context.block()),
            Step::MapCoherent { run, to } => {
                self.piece_named(run, to, context.block());
                let pages = range_of(to.pfn, run.order());
                self.tell(&Event::Device { node: to.node.0, event: DeviceEvent::Mapping { pages } });
            }
            _ => {}
        }
        self.look_before(step, context);
    }

    fn named(&self, folio: Folio) {
        let (page, order) = (folio.pfn.get(), Some(folio.order.get()));
        self.tell(&of_folio(folio.node, FolioEvent::Named { page, order }));
    }

    /// Tells that a step names the folio of some pages of the block, and which one the block has there.
    fn piece_named(&self, run: AlignedRun, page: DevicePage, block: &Block) {
        let (wanted, order) = (page.pfn.get(), Some(run.order().get()));
        self.tell(&of_folio(page.node, FolioEvent::Named { page: wanted, order }));
        let found = block.piece_of(run.first()).filter(|piece| piece.node == page.node);
        let found = found.map(|piece| piece.pfn.get());
        self.tell(&of_folio(page.node, FolioEvent::Rechecked { wanted, found }));
    }

    /// Tells what a step took or gave back, and looks at the bytes that it moved.
    pub(crate) fn after(&self, step: &Step, outcome: Outcome, context: &dyn StepContext) {
        let base = context.base();
        match (*step, outcome) {
            (Step::FormFolio { run, .. }, _) => {
                self.memory_asked(run, context);
                if let Outcome::Formed(Formed { folio, .. }) = outcome {
                    let (node, head) = (folio.node.0, folio.pfn.get());
                    self.tell_block(base, TransactionEvent::FolioTaken { node, head });
                }
            }
            (Step::ReserveRam { run }, _) => {
                self.memory_asked(run, context);
                if outcome == Outcome::Done {
                    self.reserved(base, run.pages().into());
                }
            }
            (Step::ReleaseRam { pages, .. }, _) => self.reserved(base, -i64::from(pages)),
            (Step::Discard { run }, Outcome::Done) => {
                self.reserved(base, -i64::from(context.block().ram().count_in(run)));
            }
            (Step::MapCoherent { run, to }, Outcome::Done) => {
                let pages = range_of(to.pfn, run.order());
                self.tell(&Event::Device { node: to.node.0, event: DeviceEvent::Shown { pages } });
            }
            (Step::ReclaimDevice { .. } | Step::ReclaimRam { .. }, _) => {
                self.tell_block(base, TransactionEvent::Resumed { pages: residency(context.block()) });
            }
            _ => {}
        }
        if outcome == Outcome::Done {
            self.look_after(step, context);
        }
    }

    fn memory_asked(&self, run: AlignedRun, context: &dyn StepContext) {
        let (order, smallest) = (run.order().get(), context.smallest_order().get());
        self.tell_block(context.base(), TransactionEvent::MemoryAsked { order, smallest });
    }

    fn reserved(&self, base: usize, pages: i64) {
        self.tell_block(base, TransactionEvent::Reserved { pages });
    }

    /// Tells what a transaction left behind.
    pub(crate) fn end(&self, result: &Result<Finished, Failure>, context: &dyn StepContext) {
        HOLDING.set(HOLDING.get().saturating_sub(1));
        let (base, block) = (context.base(), context.block());
        for piece in block.pieces_in(concerned(result)) {
            let (head, order) = (piece.pfn.get(), piece.run.order().get());
            self.tell(&of_folio(piece.node, FolioEvent::InBlock { head, order }));
        }
        let fault = block.check_consistency().err();
        let fault = fault.as_ref().map(|fault| format!("block at {base:#x}: {fault}"));
        let walked = AuditEvent::Walked { structure: Structure::Block, fault: fault.as_deref() };
        self.tell(&Event::Audit(walked));
        let formed = self.shadow().folio_of_transaction(base as u64);
        let on_it = |piece: &&bifolio_migrate::Piece| Some((piece.node.0, piece.pfn.get())) == formed;
        let mut committed = PageSet::EMPTY;
        block.pieces().iter().filter(on_it).for_each(|piece| committed.insert(piece.run));
        let ended = TransactionEvent::Ended {
            ending: ending(result),
            pages: residency(block),
            committed: *committed.words(),
            staged: context.is_staged(),
        };
        self.tell_block(base, ended);
    }

    fn tell_block(&self, base: usize, event: TransactionEvent) {
        self.tell(&Event::Transaction { block: base as u64, event });
    }
}

fn residency(block: &Block) -> Residency {
    Residency { ram: *block.ram().words(), device: *block.device().words() }
}

fn ending(result: &Result<Finished, Failure>) -> Ending {
    match result {
        Ok(_) => Ending::Done,
        Err(Failure::NoDeviceMemory | Failure::NoRam) => Ending::NoMemory,
        Err(_) => Ending::Failed,
    }
}

/// The pages that a transaction was about, in the end.
fn concerned(result: &Result<Finished, Failure>) -> PageRun {
    match result.map(|finished| finished.moved) {
        Ok(Moved::Unmapped(run) | Moved::Protected(run) | Moved::Split(run) | Moved::Collapsed(run)) => run,
        Ok(Moved::AlreadyThere(run) | Moved::ToDevice(run) | Moved::ToRam(run) | Moved::Populated(run)) => {
            run.into()
        }
        // It may have been about any.
        Err(_) => PageRun::BLOCK,
    }
}
