//! Folios that reach over a border of a run: they are split before the run alone changes.

use crate::{Block, PageRun, Piece};

/// A folio that holds pages inside of `run` and outside of it.
pub(crate) fn piece_over_border(block: &Block, run: PageRun) -> Option<Piece> {
    let over_border = |page: u16| {
        let piece = block.piece_of(page)?;
        (!run.covers(piece.run)).then_some(*piece)
    };
    over_border(run.first()).or_else(|| over_border(run.end() - 1))
}
