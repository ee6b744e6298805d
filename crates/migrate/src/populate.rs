//! The first touch of a page by the CPU: zeros, for as large a run as was never touched.

use bifolio_folio::Order;

use crate::step::{Failure, Finished, Moved, Outcome, Step, illegal};
use crate::to_device::descending;
use crate::{AlignedRun, Block};

/// Installs zeros around one empty page.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Populate {
    page: u16,
    run: AlignedRun,
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
        let run = AlignedRun::around(page, largest.min(Order::PMD));
        Populate { page, run, phase: Phase::Start, fallbacks: 0, reclaimed: false }
    }

    pub(crate) fn step(&mut self, block: &mut Block, outcome: Outcome) -> Step {
        use Outcome::{Busy, Done, Failed, NoMemory};
        match (self.phase, outcome) {
            (Phase::Start, Outcome::Start) => self.start(block),
            (Phase::Reserve, Done) => self.enter(Phase::Install, Step::InstallZero { run: self.run }),
            (Phase::Reserve, NoMemory) if !self.reclaimed => {
                self.reclaimed = true;
                self.enter(Phase::Reclaim, Step::ReclaimRam { pages: self.run.pages() })
            }
            (Phase::Reclaim, Done) => self.reserve(),
            (Phase::Reclaim, Busy) => Step::Finish(Err(Failure::Busy)),
            // Room was made, and another transaction took it.
            (Phase::Reserve, NoMemory) => self.smaller(Failure::Busy),
            (Phase::Reclaim, NoMemory) => self.smaller(Failure::NoRam),
            (Phase::Install, Done) => {
                block.commit_populated(self.run);
                let moved = Moved::Populated(self.run);
                Step::Finish(Ok(Finished { moved, fallbacks: self.fallbacks, splits: 0 }))
            }
            (Phase::Install, Failed) => {
                let (run, pages) = (self.run, self.run.pages());
                self.enter(Phase::ReleaseReserved, Step::ReleaseRam { run, pages })
            }
            (Phase::ReleaseReserved, Done) => Step::Finish(Err(Failure::MapFailed)),
            (phase, outcome) => illegal(&phase, outcome),
        }
    }

    fn enter(&mut self, phase: Phase, step: Step) -> Step {
        self.phase = phase;
        step
    }

    fn start(&mut self, block: &Block) -> Step {
        match descending(self.page, self.run.order(), Order::ZERO).find(|run| block.is_empty(*run)) {
            Some(run) => {
                self.run = run;
                self.reserve()
            }
            None => Step::Finish(Err(Failure::NotMapped)),
        }
    }

    fn reserve(&mut self) -> Step {
        self.enter(Phase::Reserve, Step::ReserveRam { run: self.run })
    }

    fn smaller(&mut self, why: Failure) -> Step {
        match self.run.halves(self.page) {
            Some((run, _)) => {
                self.run = run;
                self.fallbacks += 1;
                self.reclaimed = false;
                self.reserve()
            }
            None => Step::Finish(Err(why)),
        }
    }
}
