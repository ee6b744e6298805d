//! Collapsing folios in place: pieces of one backing that nobody else holds become one again, the inverse of a split.
//!
//! ```text
//!  for each order from the smallest: for each two halves of a span inside the run, adjacent on the device too:
//!    collapse them, if the device's page table has both or neither --Busy, Failed--> leave them
//!   |
//!  for each folio that came of it:
//!    map it for the CPU (coherent) and enter it in the device's page table, if it was there, in place of its
//!    pieces --Failed--> unmap: the device faults
//! ```
//!
//! Nothing moves and nothing is copied.

use bifolio_folio::{MemoryKind, Order};

use crate::step::{Failure, Finished, Moved, Outcome, Step};
use crate::{AlignedRun, Block, PageRun, PageSet, Piece};

/// Collapses the folios inside a run, as far as they go together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Collapse {
    run: PageRun,
    /// Order of the halves that are looked for.
    order: Order,
    /// Where to look.
    at: u16,
    phase: Phase,
    /// Pages of folios that came of it.
    joined: PageSet,
    /// Whether somebody holds a folio that could have been a half.
    busy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    /// Joining the halves of this span.
    Join(AlignedRun),
    MapCoherent(AlignedRun),
    Remap(AlignedRun),
    Unmap(AlignedRun),
}

impl Collapse {
    /// Plans to collapse the folios that lie in `run` as a whole.
    #[must_use]
    pub fn new(run: PageRun) -> Collapse {
        let (order, joined) = (Order::ZERO, PageSet::EMPTY);
        Collapse { run, order, at: run.first(), phase: Phase::Start, joined, busy: false }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.next_halves(block),
            (Phase::Join(span), outcome) => {
                self.at = span.end();
                if outcome == Outcome::Done {
                    block.join_pieces(span);
                    self.joined.insert(span);
                }
                self.busy |= outcome == Outcome::Busy;
                self.next_halves(block)
            }
            (Phase::MapCoherent(span), _) => self.remap(block, span),
            (Phase::Remap(span), Outcome::Done) => {
                block.set_mapped(span, true);
                self.next_folio(block, span.end())
            }
            (Phase::Remap(span), _) => self.enter(Phase::Unmap(span), Step::UnmapDevice { span }),
            (Phase::Unmap(span), _) => {
                block.set_mapped(span, false);
                self.next_folio(block, span.end())
            }
            (phase, outcome) => unreachable!("{outcome:?} in {phase:?}"),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn next_halves(&mut self, block: &Block) -> Step {
        while self.order < Order::PMD {
            let rest = self.run.from_page(self.at);
            if let Some((lower, upper)) = rest.and_then(|rest| self.halves_in(block, rest)) {
                let whole = AlignedRun::around(lower.span.first(), larger(self.order));
                let step = Step::CollapseFolio { lower: lower.folio(), upper: upper.folio() };
                return self.enter(Phase::Join(whole), step);
            }
            (self.order, self.at) = (larger(self.order), self.run.first());
        }
        self.next_folio(block, self.run.first())
    }

    /// The first two pieces in `run` that can be the halves of one folio.
    fn halves_in(&self, block: &Block, run: PageRun) -> Option<(Piece, Piece)> {
        let inside = |piece: &&Piece| run.covers(piece.span);
        let pieces = block.pieces_in(run).filter(inside);
        let next = block.pieces_in(run).filter(inside).skip(1);
        let is_pair = |pair: &(&Piece, &Piece)| {
            let (lower, upper, whole) = (pair.0, pair.1, larger(self.order));
            let halves = AlignedRun::around(lower.span.first(), whole).halves(lower.span.first());
            let apart = upper.pfn.offset_from(lower.pfn);
            halves == Some((lower.span, upper.span))
                && lower.mapped == upper.mapped
                && apart == Some(self.order.pages())
                && lower.pfn.is_aligned(whole)
        };
        pieces.zip(next).find(is_pair).map(|(lower, upper)| (*lower, *upper))
    }

    fn next_folio(&mut self, block: &Block, from: u16) -> Step {
        let mut rest = self.run.from_page(from).into_iter().flat_map(|rest| block.pieces_in(rest));
        match rest.find(|piece| self.joined.contains(piece.span.first())) {
            Some(piece) if block.kind() == MemoryKind::Coherent => {
                let step = Step::MapCoherent { span: piece.span, to: piece.pfn };
                self.enter(Phase::MapCoherent(piece.span), step)
            }
            Some(piece) => self.remap(block, piece.span),
            None => self.finish(),
        }
    }

    fn remap(&mut self, block: &Block, span: AlignedRun) -> Step {
        let piece = block.piece_of(span.first()).expect("a folio that was joined stays where it is");
        if piece.mapped {
            return self.enter(Phase::Remap(span), Step::RemapDevice { span, to: piece.pfn });
        }
        self.next_folio(block, span.end())
    }

    fn finish(&self) -> Step {
        Step::Finish(match self.busy {
            true => Err(Failure::Busy),
            false => Ok(Finished { moved: Moved::Collapsed(self.run), fallbacks: 0, splits: 0 }),
        })
    }
}

fn larger(order: Order) -> Order {
    order.larger().expect("halves are smaller than a block")
}
