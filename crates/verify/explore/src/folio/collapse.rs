//! The operation that collapses: an actor takes over the parked references of a block and makes one folio of all.

use bifolio_folio::{Folio, Live, Locked, RawFolio};

use crate::folio::model_pool::ModelPool;
use crate::folio::operations::{Step, place};
use crate::folio::outcome::Answer;
use crate::folio::state::{Handle, HandleKind, State, block, ones};

type Piece<'w> = Folio<'w, ModelPool, Locked>;

impl<'w> Step<'w> {
    /// Collapses the folio at hand with the parked ones of the block at `first`. If that is refused, all of them are as they
    /// were.
    pub(super) fn collapse(&mut self, handle: Handle, first: u8, to: u8) {
        self.out.own = block(first, to);
        let others = parked_in(&self.out.state, self.out.own & !block(handle.page, handle.order));
        let Some(pieces) = self.lock_all(handle, &others) else { return };
        let result = match <[Piece<'w>; 2]>::try_from(pieces) {
            Ok([one, other]) => one.collapse(other).map_err(|error| Vec::from(error.pieces)),
            Err(pieces) => Folio::collapse_all(pieces).map_err(|error| error.pieces),
        };
        match result {
            Ok(whole) => {
                let (page, order) = place(&whole.into_raw());
                *self.handle() = Handle { kind: HandleKind::Locked, page, order };
                others.iter().for_each(|&(page, _)| self.out.state.parked.set(page, 0));
            }
            Err(pieces) => {
                self.out.answer = Answer::Refused;
                put_back(handle, pieces);
            }
        }
    }

    /// Locks the folio at hand and the others; all or none.
    fn lock_all(&mut self, handle: Handle, others: &[(u8, u8)]) -> Option<Vec<Piece<'w>>> {
        let mut pieces = vec![self.resume::<Locked>(handle.page, handle.order)?];
        for &(page, order) in others {
            match self.resume::<Live>(page, order).map(Folio::try_lock) {
                Some(Ok(piece)) => pieces.push(piece),
                Some(Err(busy)) => {
                    let _: RawFolio<Live> = busy.into_raw();
                    self.out.answer = Answer::Busy;
                    put_back(handle, pieces);
                    return None;
                }
                None => {
                    put_back(handle, pieces);
                    return None;
                }
            }
        }
        Some(pieces)
    }
}

/// Folios of which a reference is parked, among some pages.
pub(super) fn parked_in(state: &State, pages: u8) -> Vec<(u8, u8)> {
    ones(pages).filter_map(|page| Some((page, state.parked_order(page)?))).collect()
}

/// Leaves locked what was at hand, and unlocks the rest.
fn put_back(handle: Handle, pieces: Vec<Piece<'_>>) {
    for piece in pieces {
        if piece.head().get() == u64::from(handle.page) {
            let _: RawFolio<Locked> = piece.into_raw();
        } else {
            let _: RawFolio<Live> = piece.unlock().into_raw();
        }
    }
}
