//! The first touch of a page by the CPU: zeros, for as large a span as was never touched.

use bifolio_folio::Order;

use crate::step::{Failure, Finished, Moved, Outcome, Step};
use crate::to_device::descending;
use crate::{AlignedRun, Block};

/// Installs zeros around one empty page.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Populate {
    page: u16,
    span: AlignedRun,
    phase: Phase,
    fallbacks: u8,
    reclaimed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Start,
    Reserve,
    Reclaim,
    Install,
    ReleaseReserved,
}

impl Populate {
    /// Plans to install zeros at `page` and at its empty neighbours up to order `largest`.
    #[must_use]
    pub fn new(page: u16, largest: Order) -> Populate {
        let span = AlignedRun::around(page, largest.min(Order::PMD));
        Populate { page, span, phase: Phase::Start, fallbacks: 0, reclaimed: false }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.start(block),
            (Phase::Reserve, Outcome::Done) => {
                self.enter(Phase::Install, Step::InstallZero { span: self.span })
            }
            (Phase::Reserve, _) if !self.reclaimed => {
                self.reclaimed = true;
                self.enter(Phase::Reclaim, Step::ReclaimRam { pages: self.span.pages() })
            }
            (Phase::Reclaim, Outcome::Done) => self.reserve(),
            (Phase::Reclaim, Outcome::Busy) => Step::Finish(Err(Failure::Busy)),
            // Room was made, and somebody else took it.
            (Phase::Reserve, _) => self.smaller(Failure::Busy),
            (Phase::Reclaim, _) => self.smaller(Failure::NoRam),
            (Phase::Install, Outcome::Done) => {
                block.commit_populated(self.span);
                let moved = Moved::Populated(self.span);
                Step::Finish(Ok(Finished { moved, fallbacks: self.fallbacks, splits: 0 }))
            }
            (Phase::Install, _) => {
                let (span, pages) = (self.span, self.span.pages());
                self.enter(Phase::ReleaseReserved, Step::ReleaseRam { span, pages })
            }
            (Phase::ReleaseReserved, _) => Step::Finish(Err(Failure::MapFailed)),
            (phase, outcome) => unreachable!("{outcome:?} in {phase:?}"),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn start(&mut self, block: &Block) -> Step {
        match descending(self.page, self.span.order(), Order::ZERO).find(|span| block.is_empty(*span)) {
            Some(span) => {
                self.span = span;
                self.reserve()
            }
            None => Step::Finish(Err(Failure::NotMapped)),
        }
    }

    fn reserve(&mut self) -> Step {
        self.enter(Phase::Reserve, Step::ReserveRam { span: self.span })
    }

    fn smaller(&mut self, why: Failure) -> Step {
        match self.span.halves(self.page) {
            Some((span, _)) => {
                self.span = span;
                self.fallbacks += 1;
                self.reclaimed = false;
                self.reserve()
            }
            None => Step::Finish(Err(why)),
        }
    }
}
