//! Moving one folio to the device: form, take out, copy, commit; then map.
//!
//! ```text
//!  form --NoMemory--> reclaim --> form --NoMemory--> one order down, form ... --> fail
//!   |  +--Detached--> fail +--Busy--> fail, to be tried again
//!  take out --Busy--> release the folio, one order down, form ... --> fail
//!   |
//!  copy or clear, run by run --Failed--> restore, release the folio, fail
//!   |
//!  commit: from here on the bytes are the folio's
//!   |
//!  release system memory, map for the CPU (coherent), map for the device (after a device fault)
//! ```
//!
//! Mapping comes after the commit so that a mapping that fails needs no undoing: whoever misses it faults.

use bifolio_folio::{MemoryKind, Order, Pfn};

use crate::step::{Failure, Finished, Folio, Moved, Outcome, Step};
use crate::{AlignedRun, Block, Piece};

/// Moves the largest possible span around one page to the device.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ToDevice {
    page: u16,
    span: AlignedRun,
    smallest: Order,
    map: bool,
    folio: Option<Folio>,
    phase: Phase,
    fallbacks: u8,
    reclaimed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    MapOnly,
    Form,
    Reclaim,
    Isolate,
    ReleaseBusy,
    /// Pages before this one are copied once the running step is done.
    Copy(u16),
    Restore,
    ReleaseFailed,
    ReleaseRam,
    MapCoherent,
    MapDevice,
}

impl ToDevice {
    /// Plans to move `page`, with neighbours up to order `largest`, to the device, going down to `smallest`.
    /// With `map`, the device's page table gets it too, as the answer to a device fault.
    #[must_use]
    pub fn new(page: u16, largest: Order, smallest: Order, map: bool) -> ToDevice {
        let span = AlignedRun::around(page, largest.min(Order::PMD));
        let phase = Phase::Start;
        ToDevice { page, span, smallest, map, folio: None, phase, fallbacks: 0, reclaimed: false }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.start(block),
            (Phase::Form, Outcome::Formed(folio)) => self.formed(block, folio),
            (Phase::Form, Outcome::Detached) => fail(Failure::Detached),
            (Phase::Form, _) if !self.reclaimed => self.reclaim(),
            // Room was made, and somebody else took it.
            (Phase::Form, _) => self.smaller(Failure::Busy),
            (Phase::Reclaim, Outcome::Done) => self.form(),
            (Phase::Reclaim, Outcome::Busy) => fail(Failure::Busy),
            (Phase::Reclaim, _) => self.smaller(Failure::NoDeviceMemory),
            (Phase::Isolate, Outcome::Done) => self.copy(block, self.span.first()),
            (Phase::Isolate, _) => self.enter(Phase::ReleaseBusy, Step::ReleaseFolio { folio: self.folio() }),
            (Phase::ReleaseBusy, _) => self.smaller(Failure::Busy),
            (Phase::Copy(next), Outcome::Done) => self.copy(block, next),
            (Phase::Copy(_), _) => self.undo(block),
            (Phase::Restore, _) => self.release_failed(),
            (Phase::ReleaseFailed, _) => fail(Failure::CopyFailed),
            (Phase::ReleaseRam, _) => self.map_coherent(block),
            (Phase::MapCoherent, _) => self.map_device(),
            (Phase::MapDevice | Phase::MapOnly, Outcome::Done) => self.mapped(block),
            (Phase::MapDevice | Phase::MapOnly, _) => fail(Failure::MapFailed),
            (phase, outcome) => unreachable!("{outcome:?} in {phase:?}"),
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
        if let Some(piece) = block.piece_of(self.page) {
            return self.already_there(piece);
        }
        let mut spans = descending(self.page, self.span.order(), self.smallest);
        match spans.find(|span| block.is_off_device(*span) && !block.is_pinned(*span)) {
            Some(span) => {
                self.span = span;
                self.form()
            }
            // A pinned neighbour keeps the page as well where folios cannot be smaller.
            None if block.is_pinned(AlignedRun::around(self.page, self.smallest)) => fail(Failure::Pinned),
            None => fail(Failure::NoDeviceMemory),
        }
    }

    fn already_there(&mut self, piece: &Piece) -> Step {
        self.span = piece.span;
        if self.map && !piece.mapped {
            return self.enter(Phase::MapOnly, Step::MapDevice { span: piece.span, to: piece.pfn });
        }
        self.finish(Moved::AlreadyThere(piece.span))
    }

    fn form(&mut self) -> Step {
        self.enter(Phase::Form, Step::FormFolio { span: self.span })
    }

    fn reclaim(&mut self) -> Step {
        self.reclaimed = true;
        self.enter(Phase::Reclaim, Step::ReclaimDevice { span: self.span })
    }

    /// Goes one order down around the page, or gives up with `why` (I19).
    fn smaller(&mut self, why: Failure) -> Step {
        match self.span.halves(self.page) {
            Some((span, _)) if span.order() >= self.smallest => {
                self.span = span;
                self.folio = None;
                self.fallbacks += 1;
                self.reclaimed = false;
                self.form()
            }
            _ => fail(why),
        }
    }

    fn formed(&mut self, block: &mut Block, folio: Folio) -> Step {
        self.folio = Some(folio);
        if block.ram().intersects(self.span) {
            return self.enter(Phase::Isolate, Step::Isolate { span: self.span });
        }
        self.copy(block, self.span.first())
    }

    /// Copies the next run of pages that are in system memory, or clears the next run of empty ones.
    fn copy(&mut self, block: &mut Block, next: u16) -> Step {
        let Some((run, in_ram)) = block.ram().run_at(next, self.span.end()) else {
            return self.commit(block);
        };
        let to = Pfn::new(self.folio().pfn.get() + u64::from(next - self.span.first()));
        let step = if in_ram { Step::CopyToDevice { run, to } } else { Step::ClearDevice { run, to } };
        self.enter(Phase::Copy(run.end()), step)
    }

    fn undo(&mut self, block: &Block) -> Step {
        if block.ram().intersects(self.span) {
            return self.enter(Phase::Restore, Step::Remap { span: self.span });
        }
        self.release_failed()
    }

    fn release_failed(&mut self) -> Step {
        self.enter(Phase::ReleaseFailed, Step::ReleaseFolio { folio: self.folio() })
    }

    fn commit(&mut self, block: &mut Block) -> Step {
        let Folio { pfn, id, .. } = self.folio();
        let pages = block.ram().count_in(self.span);
        block.commit_to_device(Piece { span: self.span, pfn, id, mapped: false });
        if pages > 0 {
            return self.enter(Phase::ReleaseRam, Step::ReleaseRam { span: self.span, pages });
        }
        self.map_coherent(block)
    }

    fn map_coherent(&mut self, block: &mut Block) -> Step {
        if block.kind() == MemoryKind::Coherent {
            let step = Step::MapCoherent { span: self.span, to: self.folio().pfn };
            return self.enter(Phase::MapCoherent, step);
        }
        self.map_device()
    }

    fn map_device(&mut self) -> Step {
        if self.map {
            let step = Step::MapDevice { span: self.span, to: self.folio().pfn };
            return self.enter(Phase::MapDevice, step);
        }
        self.finish(Moved::ToDevice(self.span))
    }

    fn mapped(&mut self, block: &mut Block) -> Step {
        block.set_mapped(self.span, true);
        match self.phase {
            Phase::MapOnly => self.finish(Moved::AlreadyThere(self.span)),
            _ => self.finish(Moved::ToDevice(self.span)),
        }
    }

    fn folio(&self) -> Folio {
        self.folio.expect("phases after forming have a folio")
    }

    fn finish(&self, moved: Moved) -> Step {
        Step::Finish(Ok(Finished { moved, fallbacks: self.fallbacks, splits: 0 }))
    }
}

fn fail(why: Failure) -> Step {
    Step::Finish(Err(why))
}

/// Spans around `page` from order `largest` down to `smallest`.
pub(crate) fn descending(page: u16, largest: Order, smallest: Order) -> impl Iterator<Item = AlignedRun> {
    largest.descending_to(smallest).map(move |order| AlignedRun::around(page, order))
}
