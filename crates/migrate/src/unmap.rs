//! Unmapping pages: folios inside go, folios on the border are split in place and the rest stays resident.
//!
//! ```text
//!  a page is pinned --> fail
//!   |
//!  split what reaches over the border --Busy--> fail: nothing is gone yet
//!   |
//!  discard: system memory and the CPU's view --Failed--> fail: nothing is gone yet
//!   |
//!  commit; then for each folio inside: unmap from the device, release
//! ```

use crate::border::piece_over_border;
use crate::step::{Failure, Finished, Moved, Outcome, Step, illegal};
use crate::{AlignedRun, Block, PageRun, Rights};

/// Unmaps consecutive pages of one block.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Unmap {
    run: PageRun,
    phase: Phase,
    splits: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    Split(AlignedRun),
    Discard,
    UnmapDevice(AlignedRun),
    ReleaseFolio,
}

impl Unmap {
    /// Plans to unmap `run`. Pages of it that are not live are passed over.
    #[must_use]
    pub fn new(run: PageRun) -> Unmap {
        Unmap { run, phase: Phase::Start, splits: 0 }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        use Outcome::{Busy, Done, Failed};
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) if block.is_pinned(self.run) => Step::Finish(Err(Failure::Pinned)),
            (Phase::Start, Outcome::Start) => self.split(block),
            (Phase::Split(run), Outcome::Split { upper }) => {
                block.split_piece(run, upper);
                self.splits += 1;
                self.split(block)
            }
            (Phase::Discard, Done) => {
                block.commit_discarded(self.run);
                self.next_piece(block)
            }
            (Phase::Split(_), Busy) | (Phase::Discard, Failed) => Step::Finish(Err(Failure::Busy)),
            (Phase::UnmapDevice(run), Done) => {
                block.set_rights(run, Rights::empty());
                self.next_piece(block)
            }
            (Phase::ReleaseFolio, Done) => self.next_piece(block),
            (phase, outcome) => illegal(&phase, outcome),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    /// Halves a folio that reaches over a border of the run, until none does.
    fn split(&mut self, block: &Block) -> Step {
        match piece_over_border(block, self.run) {
            Some(piece) => self.enter(Phase::Split(piece.run), Step::SplitFolio { folio: piece.folio() }),
            None => self.enter(Phase::Discard, Step::Discard { run: self.run }),
        }
    }

    fn next_piece(&mut self, block: &mut Block) -> Step {
        let Some(&piece) = block.first_piece_in(self.run) else {
            block.commit_unmapped(self.run);
            let moved = Moved::Unmapped(self.run);
            return Step::Finish(Ok(Finished { moved, fallbacks: 0, splits: self.splits }));
        };
        if piece.is_mapped() {
            let step = Step::UnmapDevice { node: piece.node, run: piece.run };
            return self.enter(Phase::UnmapDevice(piece.run), step);
        }
        block.remove_piece(piece.run);
        self.enter(Phase::ReleaseFolio, Step::ReleaseFolio { folio: piece.folio() })
    }
}
