//! Bringing one folio to system memory: reserve, unmap everywhere, copy, install, and only then free the folio.
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

use bifolio_folio::Order;

use crate::step::{Failure, Finished, Moved, Outcome, Step, illegal};
use crate::{AlignedRun, Block, Piece, Rights};

/// Brings the folio that holds one page to system memory, or the part of it for which there is memory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ToRam {
    page: u16,
    run: AlignedRun,
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
    Remap,
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
    /// Plans to bring the folio that holds `page`; a folio above order `largest` is split first. With `waited`, a thread
    /// sleeps until `page` is there.
    #[must_use]
    pub fn new(page: u16, largest: Order, waited: bool) -> ToRam {
        let (run, phase) = (AlignedRun::around(page, Order::ZERO), Phase::Start);
        ToRam { page, run, largest, waited, phase, fallbacks: 0, splits: 0, reclaimed: false }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        use Outcome::{Busy, Done, Failed, NoMemory};
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.start(block),
            (Phase::Remap, Done) => self.finish(Moved::AlreadyThere(self.run)),
            (Phase::Split, Outcome::Split { upper }) => {
                block.split_piece(self.run, upper);
                self.splits += 1;
                self.next_piece(block)
            }
            (Phase::Split, Busy) => fail(Failure::Busy),
            (Phase::Reserve, Done) => self.unmap_device(block),
            (Phase::Reserve, NoMemory) if !self.reclaimed => {
                self.reclaimed = true;
                self.enter(Phase::Reclaim, Step::ReclaimRam { pages: self.run.pages() })
            }
            (Phase::Reclaim, Done) => self.reserve(),
            (Phase::Reclaim, Busy) => fail(Failure::Busy),
            // Room was made, and another transaction took it.
            (Phase::Reserve, NoMemory) => self.smaller(block, Failure::Busy),
            (Phase::Reclaim, NoMemory) => self.smaller(block, Failure::NoRam),
            (Phase::UnmapDevice, Done) => {
                block.set_rights(self.run, Rights::empty());
                self.unmap_coherent(&self.piece(block))
            }
            (Phase::UnmapCoherent, Done) => self.copy(&self.piece(block)),
            (Phase::UnmapCoherent, Failed) => self.release_reserved(Failure::Busy),
            (Phase::Copy, Done) => self.install(),
            (Phase::Copy, Failed) => self.undo(block, Failure::CopyFailed),
            (Phase::Install, Done) => self.commit(block),
            (Phase::Install, Failed) => self.undo(block, Failure::MapFailed),
            // Without a mapping the CPU faults.
            (Phase::MapAgain(why), Done | Failed) => self.release_reserved(why),
            (Phase::ReleaseReserved(why), Done) => fail(why),
            (Phase::ReleaseFolio, Done) => self.finish(Moved::ToRam(self.run)),
            (phase, outcome) => illegal(&phase, outcome),
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
            return self.enter(Phase::Remap, Step::Remap { run: self.run });
        }
        if block.piece_of(self.page).is_none() {
            return self.finish(Moved::AlreadyThere(self.run));
        }
        self.next_piece(block)
    }

    /// Goes on with the piece that holds the page now: splits it if it is too large, else reserves for it.
    fn next_piece(&mut self, block: &Block) -> Step {
        let piece = self.piece(block);
        self.run = piece.run;
        if piece.run.order() > self.largest {
            return self.enter(Phase::Split, Step::SplitFolio { folio: piece.folio() });
        }
        self.reclaimed = false;
        self.reserve()
    }

    fn reserve(&mut self) -> Step {
        self.enter(Phase::Reserve, Step::ReserveRam { run: self.run })
    }

    /// Goes one order down by splitting the folio (I19), or gives up with `why`.
    fn smaller(&mut self, block: &Block, why: Failure) -> Step {
        match self.run.order().smaller() {
            Some(order) => {
                self.largest = order;
                self.fallbacks += 1;
                self.next_piece(block)
            }
            None => fail(why),
        }
    }

    fn unmap_device(&mut self, block: &Block) -> Step {
        let piece = self.piece(block);
        if piece.is_mapped() {
            let step = Step::UnmapDevice { node: piece.node, run: self.run };
            return self.enter(Phase::UnmapDevice, step);
        }
        self.unmap_coherent(&piece)
    }

    fn unmap_coherent(&mut self, piece: &Piece) -> Step {
        if piece.is_coherent() {
            return self.enter(Phase::UnmapCoherent, Step::UnmapCoherent { run: self.run });
        }
        self.copy(piece)
    }

    fn copy(&mut self, piece: &Piece) -> Step {
        self.enter(Phase::Copy, Step::CopyToRam { run: self.run, from: piece.page() })
    }

    fn install(&mut self) -> Step {
        let wanted = self.waited.then_some(self.page);
        self.enter(Phase::Install, Step::Install { run: self.run, wanted })
    }

    fn undo(&mut self, block: &Block, why: Failure) -> Step {
        let piece = self.piece(block);
        if piece.is_coherent() {
            let step = Step::MapCoherent { run: self.run, to: piece.page() };
            return self.enter(Phase::MapAgain(why), step);
        }
        self.release_reserved(why)
    }

    fn release_reserved(&mut self, why: Failure) -> Step {
        let (run, pages) = (self.run, self.run.pages());
        self.enter(Phase::ReleaseReserved(why), Step::ReleaseRam { run, pages })
    }

    fn commit(&mut self, block: &mut Block) -> Step {
        let folio = self.piece(block).folio();
        block.commit_to_ram(self.run);
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
