//! Changing what accesses to pages may do, on both sides. Nothing moves.
//!
//! ```text
//!  split what reaches over the border --Busy--> fail: nothing has changed
//!   |
//!  protect in the CPU's view --Failed--> fail: nothing has changed
//!   |
//!  for each folio inside that the device may do more with: unmap it from the device, which faults again
//!   |
//!  commit: from here on mappings carry the new rights
//! ```

use crate::border::piece_over_border;
use crate::step::{Failure, Finished, Moved, Outcome, Step, illegal};
use crate::{AlignedRun, Block, PageRun, Rights};

/// Gives consecutive pages of one block other rights.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Protect {
    run: PageRun,
    rights: Rights,
    phase: Phase,
    splits: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    Split(AlignedRun),
    Protect,
    UnmapDevice(AlignedRun),
}

impl Protect {
    /// Plans to let accesses to `run` do what is in `rights` and nothing else.
    #[must_use]
    pub fn new(run: PageRun, rights: Rights) -> Protect {
        Protect { run, rights, phase: Phase::Start, splits: 0 }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        use Outcome::{Busy, Done, Failed};
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) if !block.live().contains_all(self.run) => {
                Step::Finish(Err(Failure::NotMapped))
            }
            (Phase::Start, Outcome::Start) => self.split(block),
            (Phase::Split(run), Outcome::Split { upper }) => {
                block.split_piece(run, upper);
                self.splits += 1;
                self.split(block)
            }
            (Phase::Split(_), Busy) => Step::Finish(Err(Failure::Busy)),
            (Phase::Protect, Done) => self.next_piece(block),
            (Phase::Protect, Failed) => Step::Finish(Err(Failure::MapFailed)),
            (Phase::UnmapDevice(run), Done) => {
                block.set_rights(run, Rights::empty());
                self.next_piece(block)
            }
            (phase, outcome) => illegal(&phase, outcome),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn split(&mut self, block: &Block) -> Step {
        match piece_over_border(block, self.run) {
            Some(piece) => self.enter(Phase::Split(piece.run), Step::SplitFolio { folio: piece.folio() }),
            None => self.enter(Phase::Protect, Step::Protect { run: self.run, rights: self.rights }),
        }
    }

    /// Unmaps the next folio with which the device may do too much.
    fn next_piece(&mut self, block: &mut Block) -> Step {
        let too_much = block.pieces_in(self.run).find(|piece| !self.rights.contains(piece.rights));
        if let Some(&piece) = too_much {
            let step = Step::UnmapDevice { node: piece.node, run: piece.run };
            return self.enter(Phase::UnmapDevice(piece.run), step);
        }
        block.commit_protected(self.run, self.rights);
        let moved = Moved::Protected(self.run);
        Step::Finish(Ok(Finished { moved, fallbacks: 0, splits: self.splits }))
    }
}
