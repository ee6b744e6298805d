//! The step that collapses: an actor takes the references that were laid aside and makes one folio of all.

use bifolio_folio::{Folio, Live, Locked, Order, Pfn, RawFolio};

use crate::folio::fault::Fault;
use crate::folio::ledger::Ledger;
use crate::folio::operations::Step;
use crate::folio::state::{Hand, Held, block, ones};

type Piece<'w> = Folio<'w, Ledger, Locked>;

impl<'w> Step<'w> {
    /// Collapses the folio in hand with those in the same block whose references were laid aside, or with none of
    /// them: all are then as they were.
    pub(super) fn collapse(&mut self) {
        let (held, first, to) = (*self.held(), self.action.page, self.action.order);
        self.own = block(first, to);
        let others = self.aside_in(self.own & !block(held.page, held.order));
        let may = self.may_collapse(held, &others);
        if self.world.fault == Fault::CollapseOfShared {
            self.forget_other_references(held.page);
        }
        let Some(pieces) = self.lock_all(held, &others) else {
            self.broken.require(!may, 11);
            return;
        };
        let result = match <[Piece<'w>; 2]>::try_from(pieces) {
            Ok([one, other]) => one.collapse(other).map_err(|error| Vec::from(error.pieces)),
            Err(pieces) => Folio::collapse_all(pieces).map_err(|error| error.pieces),
        };
        self.broken.require(result.is_ok() == may, 17);
        match result {
            Ok(whole) => {
                let (page, order) = ((whole.head().get() & 7) as u8, whole.order().get());
                let _: RawFolio<Locked> = whole.into_raw();
                *self.held() = Held { hand: Hand::Locked, page, order };
                others.iter().for_each(|&(page, _)| self.state.shelf.set(page, 0));
            }
            Err(pieces) => put_back(held, pieces),
        }
    }

    /// Folios of which a reference was laid aside, among some pages.
    fn aside_in(&self, pages: u8) -> Vec<(u8, u8)> {
        ones(pages).filter_map(|page| Some((page, self.state.aside(page)?))).collect()
    }

    /// Whether a collapse must be granted: the pieces are all of the block, of one backing, and quiet.
    fn may_collapse(&self, held: Held, others: &[(u8, u8)]) -> bool {
        let all = || others.iter().copied().chain([(held.page, held.order)]);
        let pages = all().fold(0, |pages, (page, order)| pages | block(page, order));
        let owner = self.state.owners.at(held.page);
        let quiet = |(page, _)| self.count(page) == 1 && self.state.owners.at(page) == owner;
        pages == self.own && all().all(quiet) && !others.iter().any(|&(page, _)| self.is_locked(page))
    }

    /// Locks the folios whose references were laid aside; all or none.
    fn lock_all(&mut self, held: Held, others: &[(u8, u8)]) -> Option<Vec<Piece<'w>>> {
        let mut pieces = vec![self.resumed::<Locked>(held.page, held.order)?];
        for &(page, order) in others {
            match self.resumed::<Live>(page, order).map(Folio::try_lock) {
                Some(Ok(piece)) => pieces.push(piece),
                other => {
                    let _ = other.map(|busy| busy.map_err(Folio::into_raw));
                    put_back(held, pieces);
                    return None;
                }
            }
        }
        Some(pieces)
    }

    /// The handle of a reference; a rule is broken if the pagemap knows nothing of it.
    fn resumed<S: bifolio_folio::State>(&mut self, page: u8, order: u8) -> Option<Folio<'w, Ledger, S>> {
        let folio = self.map.resume(Pfn::new(u64::from(page)), Order::new(order)?);
        self.broken.require(folio.is_some(), 17);
        folio
    }
}

/// Leaves locked what was in the hand, and unlocks the rest.
fn put_back(held: Held, pieces: Vec<Piece<'_>>) {
    for piece in pieces {
        if piece.head().get() == u64::from(held.page) {
            let _: RawFolio<Locked> = piece.into_raw();
        } else {
            let _: RawFolio<Live> = piece.unlock().into_raw();
        }
    }
}
