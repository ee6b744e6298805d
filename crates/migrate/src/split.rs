//! Splitting folios in place: into pieces of one order, or only around the pages that need small ones.
//!
//! ```text
//!  for each folio above the order that holds a page of the run:
//!    halve it and those halves that hold a page of the run, until none is above the order --Busy--> (the rest stays)
//!     |
//!    enter the pieces in the device's page table, in place of the whole --Failed--> unmap: the device faults
//! ```
//!
//! A run of all pages of a folio gives a uniform split, a run of one page the split around it. Nothing moves, and nobody
//! finds a page away meanwhile: the pieces stay where the folio was.

use bifolio_folio::Order;

use crate::step::{Failure, Finished, Moved, Outcome, Step};
use crate::{AlignedRun, Block, PageRun};

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
    Remap(AlignedRun),
    Unmap(AlignedRun),
}

impl Split {
    /// Plans to split all folios above order `to` that hold pages of `run`, as far as needed for those pages.
    #[must_use]
    pub fn new(run: PageRun, to: Order) -> Split {
        Split { run, to, whole: AlignedRun::block(), phase: Phase::Start, splits: 0 }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.next_folio(block),
            (Phase::Split(span), Outcome::Split { upper }) => {
                block.split_piece(span, upper);
                self.splits += 1;
                self.next_half(block)
            }
            (Phase::Split(_), _) => self.remap(block, self.whole.first()),
            (Phase::Remap(span), Outcome::Done) => self.remap(block, span.end()),
            (Phase::Remap(span), _) => self.enter(Phase::Unmap(span), Step::UnmapDevice { span }),
            (Phase::Unmap(span), _) => {
                block.set_mapped(span, false);
                self.remap(block, span.end())
            }
            (phase, outcome) => unreachable!("{outcome:?} in {phase:?}"),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn next_folio(&mut self, block: &Block) -> Step {
        match self.too_large(block, self.run) {
            Some(span) => {
                self.whole = span;
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
            Some(span) => {
                let piece = block.piece_of(span.first()).expect("it was just found");
                self.enter(Phase::Split(span), Step::SplitFolio { folio: piece.folio() })
            }
            None => self.remap(block, self.whole.first()),
        }
    }

    fn too_large(&self, block: &Block, run: PageRun) -> Option<AlignedRun> {
        let pieces = block.pieces_in(run);
        pieces.map(|piece| piece.span).find(|span| span.order() > self.to)
    }

    /// Enters the pieces from page `from` on in the device's page table, if the whole was there, and goes on.
    fn remap(&mut self, block: &Block, from: u16) -> Step {
        let is_whole = block.piece_of(self.whole.first()).is_some_and(|piece| piece.span == self.whole);
        let mut rest =
            block.pieces().iter().filter(|piece| (from..self.whole.end()).contains(&piece.span.first()));
        match rest.find(|piece| piece.mapped && !is_whole) {
            Some(piece) => {
                let step = Step::RemapDevice { span: piece.span, to: piece.pfn };
                self.enter(Phase::Remap(piece.span), step)
            }
            None if self.too_large(block, self.run).is_some_and(|span| self.whole.contains(span.first())) => {
                Step::Finish(Err(Failure::Busy))
            }
            None => self.next_folio(block),
        }
    }
}
