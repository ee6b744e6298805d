//! Collapsing folios in place: pieces of one backing without other references become one again, the inverse of a split.
//!
//! ```text
//!  for each order from the smallest: for each two halves of an aligned run inside the run, adjacent on the device too:
//!    collapse them, if the device's page table has both or neither --Busy, Failed--> leave them
//!   |
//!  for each folio that came of it:
//!    map it for the CPU (coherent) and enter it in the device's page table, if it was there, in place of its
//!    pieces --Failed--> unmap: the device faults
//! ```
//!
//! Nothing moves and nothing is copied.

use bifolio_folio::Order;

use crate::step::{Failure, Finished, Moved, Outcome, Step, illegal};
use crate::{AlignedRun, Block, PageRun, PageSet, Piece, Rights};

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
    /// Whether a folio that could have been a half is in use.
    busy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    /// Joining the halves of this run.
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
        use Outcome::{Busy, Done, Failed};
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.next_halves(block),
            (Phase::Join(run), Done | Busy | Failed) => {
                self.at = run.end();
                if outcome == Done {
                    block.join_pieces(run);
                    self.joined.insert(run);
                }
                self.busy |= outcome == Busy;
                self.next_halves(block)
            }
            // Without a mapping the CPU faults.
            (Phase::MapCoherent(run), Done | Failed) => self.remap(block, piece_at(block, run)),
            (Phase::Remap(run), Done) => self.next_folio(block, run.end()),
            (Phase::Remap(run), Failed) => {
                let node = piece_at(block, run).node;
                self.enter(Phase::Unmap(run), Step::UnmapDevice { node, run })
            }
            (Phase::Unmap(run), Done) => {
                block.set_rights(run, Rights::empty());
                self.next_folio(block, run.end())
            }
            (phase, outcome) => illegal(&phase, outcome),
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
                let whole = AlignedRun::around(lower.run.first(), larger(self.order));
                let step = Step::CollapseFolio { lower: lower.folio(), upper: upper.folio() };
                return self.enter(Phase::Join(whole), step);
            }
            (self.order, self.at) = (larger(self.order), self.run.first());
        }
        self.next_folio(block, self.run.first())
    }

    /// The first two pieces in `run` that can be the halves of one folio.
    fn halves_in(&self, block: &Block, run: PageRun) -> Option<(Piece, Piece)> {
        let inside = |piece: &&Piece| run.covers(piece.run);
        let pieces = block.pieces_in(run).filter(inside);
        let next = block.pieces_in(run).filter(inside).skip(1);
        let is_pair = |pair: &(&Piece, &Piece)| {
            let (lower, upper, whole) = (pair.0, pair.1, larger(self.order));
            let halves = AlignedRun::around(lower.run.first(), whole).halves(lower.run.first());
            let apart = upper.pfn.offset_from(lower.pfn);
            halves == Some((lower.run, upper.run))
                && (lower.node, lower.rights) == (upper.node, upper.rights)
                && apart == Some(self.order.pages())
                && lower.pfn.is_aligned(whole)
                && block.has_one_protection(AlignedRun::around(lower.run.first(), whole))
        };
        pieces.zip(next).find(is_pair).map(|(lower, upper)| (*lower, *upper))
    }

    fn next_folio(&mut self, block: &Block, from: u16) -> Step {
        let mut rest = self.run.from_page(from).into_iter().flat_map(|rest| block.pieces_in(rest));
        match rest.find(|piece| self.joined.contains(piece.run.first())) {
            Some(&piece) if piece.is_coherent() => {
                let step = Step::MapCoherent { run: piece.run, to: piece.page() };
                self.enter(Phase::MapCoherent(piece.run), step)
            }
            Some(&piece) => self.remap(block, piece),
            None => self.finish(),
        }
    }

    fn remap(&mut self, block: &Block, piece: Piece) -> Step {
        let Piece { run, rights, .. } = piece;
        if piece.is_mapped() {
            return self.enter(Phase::Remap(run), Step::RemapDevice { run, to: piece.page(), rights });
        }
        self.next_folio(block, run.end())
    }

    fn finish(&self) -> Step {
        Step::Finish(match self.busy {
            true => Err(Failure::Busy),
            false => Ok(Finished { moved: Moved::Collapsed(self.run), fallbacks: 0, splits: 0 }),
        })
    }
}

fn piece_at(block: &Block, run: AlignedRun) -> Piece {
    *block.piece_of(run.first()).expect("a folio that was joined stays where it is")
}

fn larger(order: Order) -> Order {
    order.larger().expect("halves are smaller than a block")
}
