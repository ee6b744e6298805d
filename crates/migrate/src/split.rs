//! Splitting folios in place: into pieces of one order, or only around the pages that need small ones.
//!
//! ```text
//!  for each folio above the order that holds a page of the run:
//!    halve it and those halves that hold a page of the run, until none is above the order --Busy--> (the rest stays)
//!     |
//!    enter the pieces in the device's page table, in place of the whole --Failed--> unmap: the device faults
//! ```
//!
//! A run of all pages of a folio gives a uniform split, a run of one page the split around it. Nothing moves, and no access
//! finds a page away meanwhile: the pieces stay where the folio was.

use bifolio_folio::Order;

use crate::step::{Failure, Finished, Moved, Outcome, Step, illegal};
use crate::{AlignedRun, Block, PageRun, Piece, Rights};

/// Splits the folios that hold pages of a run.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Split {
    run: PageRun,
    to: Order,
    /// The folio that is being split.
    whole: AlignedRun,
    phase: Phase,
    splits: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    /// Halving this piece.
    Split(AlignedRun),
    /// Entering this piece, and then those after it.
    Remap(Piece),
    Unmap(AlignedRun),
}

impl Split {
    /// Plans to split all folios above order `to` that hold pages of `run`, as far as needed for those pages.
    #[must_use]
    pub fn new(run: PageRun, to: Order) -> Split {
        Split { run, to, whole: AlignedRun::block(), phase: Phase::Start, splits: 0 }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        use Outcome::{Busy, Done, Failed};
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.next_folio(block),
            (Phase::Split(run), Outcome::Split { upper }) => {
                block.split_piece(run, upper);
                self.splits += 1;
                self.next_half(block)
            }
            (Phase::Split(_), Busy) => self.remap(block, self.whole.first()),
            (Phase::Remap(piece), Done) => self.remap(block, piece.run.end()),
            (Phase::Remap(piece), Failed) => {
                let step = Step::UnmapDevice { node: piece.node, run: piece.run };
                self.enter(Phase::Unmap(piece.run), step)
            }
            (Phase::Unmap(run), Done) => {
                block.set_rights(run, Rights::empty());
                self.remap(block, run.end())
            }
            (phase, outcome) => illegal(&phase, outcome),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn next_folio(&mut self, block: &Block) -> Step {
        match self.too_large(block, self.run) {
            Some(run) => {
                self.whole = run;
                self.next_half(block)
            }
            None => {
                let moved = Moved::Split(self.run);
                Step::Finish(Ok(Finished { moved, fallbacks: 0, splits: self.splits }))
            }
        }
    }

    fn next_half(&mut self, block: &Block) -> Step {
        let inside = self.run.intersection(self.whole).expect("a folio is split for its pages of the run");
        match self.too_large(block, inside) {
            Some(run) => {
                let piece = block.piece_of(run.first()).expect("it was just found");
                self.enter(Phase::Split(run), Step::SplitFolio { folio: piece.folio() })
            }
            None => self.remap(block, self.whole.first()),
        }
    }

    fn too_large(&self, block: &Block, run: PageRun) -> Option<AlignedRun> {
        let pieces = block.pieces_in(run);
        pieces.map(|piece| piece.run).find(|run| run.order() > self.to)
    }

    /// Enters the pieces from page `from` on in the device's page table, if the whole was there, and goes on.
    fn remap(&mut self, block: &Block, from: u16) -> Step {
        let is_whole = block.piece_of(self.whole.first()).is_some_and(|piece| piece.run == self.whole);
        let mut rest =
            block.pieces().iter().filter(|piece| (from..self.whole.end()).contains(&piece.run.first()));
        match rest.find(|piece| piece.is_mapped() && !is_whole) {
            Some(&piece) => {
                let step = Step::RemapDevice { run: piece.run, to: piece.page(), rights: piece.rights };
                self.enter(Phase::Remap(piece), step)
            }
            None if self.too_large(block, self.run).is_some_and(|run| self.whole.contains(run.first())) => {
                Step::Finish(Err(Failure::Busy))
            }
            None => self.next_folio(block),
        }
    }
}
