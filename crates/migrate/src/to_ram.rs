//! Bringing one folio home: reserve, unmap everywhere, copy, install, and only then free the folio.
//!
//! ```text
//!  reserve --NoMemory--> reclaim --> reserve --NoMemory--> split the folio, keep the half with the page ... --> fail
//!   |
//!  unmap device, unmap coherent --Failed--> release the reservation, fail
//!   |
//!  copy, install --Failed--> release the reservation (coherent: map again), fail
//!   |
//!  commit, release the folio
//! ```
//!
//! After a failure the folio still holds the bytes; the device finds it unmapped and faults.

use bifolio_folio::{MemoryKind, Order};

use crate::step::{Failure, Finished, Moved, Outcome, Step};
use crate::{AlignedRun, Block, Piece};

/// Brings the folio that holds one page home, or the part of it for which there is system memory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ToRam {
    page: u16,
    span: AlignedRun,
    largest: Order,
    waited: bool,
    phase: Phase,
    fallbacks: u8,
    splits: u16,
    reclaimed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    Reinstall,
    Split,
    Reserve,
    Reclaim,
    UnmapDevice,
    UnmapCoherent,
    Copy,
    Install,
    MapAgain(Failure),
    ReleaseReserved(Failure),
    ReleaseFolio,
}

impl ToRam {
    /// Plans to bring home the folio that holds `page`; a folio above order `largest` is split first. With
    /// `waited`, somebody sleeps until `page` is there.
    #[must_use]
    pub fn new(page: u16, largest: Order, waited: bool) -> ToRam {
        let (span, phase) = (AlignedRun::around(page, Order::ZERO), Phase::Start);
        ToRam { page, span, largest, waited, phase, fallbacks: 0, splits: 0, reclaimed: false }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.start(block),
            (Phase::Reinstall, Outcome::Done) => self.finish(Moved::AlreadyThere(self.span)),
            (Phase::Reinstall, _) => fail(Failure::MapFailed),
            (Phase::Split, Outcome::Split { upper }) => {
                block.split_piece(self.span, upper);
                self.splits += 1;
                self.next_piece(block)
            }
            (Phase::Split, _) => fail(Failure::Busy),
            (Phase::Reserve, Outcome::Done) => self.unmap_device(block),
            (Phase::Reserve, _) if !self.reclaimed => {
                self.reclaimed = true;
                self.enter(Phase::Reclaim, Step::ReclaimRam { pages: self.span.pages() })
            }
            (Phase::Reclaim, Outcome::Done) => self.reserve(),
            (Phase::Reclaim, Outcome::Busy) => fail(Failure::Busy),
            // Room was made, and somebody else took it.
            (Phase::Reserve, _) => self.smaller(block, Failure::Busy),
            (Phase::Reclaim, _) => self.smaller(block, Failure::NoRam),
            (Phase::UnmapDevice, _) => {
                block.set_mapped(self.span, false);
                self.unmap_coherent(block)
            }
            (Phase::UnmapCoherent, Outcome::Done) => self.copy(block),
            (Phase::UnmapCoherent, _) => self.release_reserved(Failure::Busy),
            (Phase::Copy, Outcome::Done) => self.install(),
            (Phase::Copy, _) => self.undo(block, Failure::CopyFailed),
            (Phase::Install, Outcome::Done) => self.commit(block),
            (Phase::Install, _) => self.undo(block, Failure::MapFailed),
            (Phase::MapAgain(why), _) => self.release_reserved(why),
            (Phase::ReleaseReserved(why), _) => fail(why),
            (Phase::ReleaseFolio, _) => self.finish(Moved::ToRam(self.span)),
            (phase, outcome) => unreachable!("{outcome:?} in {phase:?}"),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn start(&mut self, block: &Block) -> Step {
        if !block.live().contains(self.page) {
            return fail(Failure::NotMapped);
        }
        if block.ram().contains(self.page) {
            return self.enter(Phase::Reinstall, Step::Remap { span: self.span });
        }
        if block.piece_of(self.page).is_none() {
            return self.finish(Moved::AlreadyThere(self.span));
        }
        self.next_piece(block)
    }

    /// Goes on with the piece that holds the page now: splits it if it is too large, else reserves for it.
    fn next_piece(&mut self, block: &Block) -> Step {
        let piece = self.piece(block);
        self.span = piece.span;
        if piece.span.order() > self.largest {
            return self.enter(Phase::Split, Step::SplitFolio { folio: piece.folio() });
        }
        self.reclaimed = false;
        self.reserve()
    }

    fn reserve(&mut self) -> Step {
        self.enter(Phase::Reserve, Step::ReserveRam { span: self.span })
    }

    /// Goes one order down by splitting the folio (I19), or gives up with `why`.
    fn smaller(&mut self, block: &Block, why: Failure) -> Step {
        match self.span.order().smaller() {
            Some(order) => {
                self.largest = order;
                self.fallbacks += 1;
                self.next_piece(block)
            }
            None => fail(why),
        }
    }

    fn unmap_device(&mut self, block: &mut Block) -> Step {
        if self.piece(block).mapped {
            return self.enter(Phase::UnmapDevice, Step::UnmapDevice { span: self.span });
        }
        self.unmap_coherent(block)
    }

    fn unmap_coherent(&mut self, block: &Block) -> Step {
        if block.kind() == MemoryKind::Coherent {
            return self.enter(Phase::UnmapCoherent, Step::UnmapCoherent { span: self.span });
        }
        self.copy(block)
    }

    fn copy(&mut self, block: &Block) -> Step {
        let from = self.piece(block).pfn;
        self.enter(Phase::Copy, Step::CopyToRam { span: self.span, from })
    }

    fn install(&mut self) -> Step {
        let wanted = self.waited.then_some(self.page);
        self.enter(Phase::Install, Step::Install { span: self.span, wanted })
    }

    fn undo(&mut self, block: &Block, why: Failure) -> Step {
        if block.kind() == MemoryKind::Coherent {
            let to = self.piece(block).pfn;
            return self.enter(Phase::MapAgain(why), Step::MapCoherent { span: self.span, to });
        }
        self.release_reserved(why)
    }

    fn release_reserved(&mut self, why: Failure) -> Step {
        let (span, pages) = (self.span, self.span.pages());
        self.enter(Phase::ReleaseReserved(why), Step::ReleaseRam { span, pages })
    }

    fn commit(&mut self, block: &mut Block) -> Step {
        let folio = self.piece(block).folio();
        block.commit_to_ram(self.span);
        self.enter(Phase::ReleaseFolio, Step::ReleaseFolio { folio })
    }

    fn piece(&self, block: &Block) -> Piece {
        *block.piece_of(self.page).expect("the page stays on the device until the commit")
    }

    fn finish(&self, moved: Moved) -> Step {
        Step::Finish(Ok(Finished { moved, fallbacks: self.fallbacks, splits: self.splits }))
    }
}

fn fail(why: Failure) -> Step {
    Step::Finish(Err(why))
}
