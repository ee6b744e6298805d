//! Deliberate faults, chosen by tests only, to see that the checker finds them: a step that is not done, done
//! in part, done elsewhere, done too early, or whose failure is not passed on; and a protocol that is not kept.

use bifolio_folio::Order;
use bifolio_migrate::{AlignedRun, DevicePage, Folio, Outcome, PageRun, Step};

use crate::migrate::perform::upper_of;

/// One deliberate fault.
#[cfg_attr(not(test), expect(dead_code, reason = "only tests choose a fault"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Slip {
    #[default]
    None,
    // Steps that are said to be done.
    TakeOutLeavesView,
    RestoreForgotten,
    CopyToDeviceForgotten,
    ClearForgotten,
    CopyToRamForgotten,
    UnmapDeviceForgotten,
    UnmapCoherentForgotten,
    ReleaseFolioForgotten,
    ReleaseRamForgotten,
    DiscardForgotten,
    SplitForgotten,
    MapDeviceForgotten,
    InstallForgotten,
    InstallZeroForgotten,
    ReserveForgotten,
    // Failures that are not passed on.
    TakeOutBusyIgnored,
    CopyToDeviceFailureIgnored,
    ClearFailureIgnored,
    CopyToRamFailureIgnored,
    InstallFailureIgnored,
    InstallZeroFailureIgnored,
    UnmapCoherentFailureIgnored,
    DiscardFailureIgnored,
    MapDeviceFailureIgnored,
    SplitBusyIgnored,
    RemapFailureIgnored,
    // Steps on the wrong pages.
    TakeOutFirstPageOnly,
    RestoreFirstPageOnly,
    CopyToDeviceFirstPageOnly,
    CopyToDeviceOnePageOn,
    ClearFirstPageOnly,
    CopyToRamFirstPageOnly,
    CopyToRamOnePageOn,
    MapDeviceFirstPageOnly,
    MapDeviceOnePageOn,
    RemapOnePageOn,
    UnmapDeviceFirstPageOnly,
    UnmapDeviceWholeBlock,
    DiscardFirstPageOnly,
    ReleaseRamCountsSpans,
    ReserveCountsSpans,
    ReleaseFolioAsOnePage,
    DiscardKeepsReservation,
    // Steps at the wrong time.
    CopyBeforeTakeOut,
    ShownBeforeCopy,
    FolioGoesBeforeInstall,
    // Protocols that are not kept.
    SplitOfHeld,
    CollapseOfHeld,
    ReleaseTakesAllReferences,
    FormAfterKill,
    EndsWhileHeld,
    EvictorWaits,
    VictimNotLookedAtAgain,
    ForkAmidTransactions,
    ParentDoesNotWait,
    ChildMissesDevice,
    NoSmallerOrder,
    PinWithoutLock,
}

impl Slip {
    /// Whether the runner says that it did the step, and did not.
    pub(super) fn skips(self, step: &Step) -> bool {
        matches!(
            (self, step),
            (Slip::TakeOutLeavesView, Step::Isolate { .. })
                | (Slip::RestoreForgotten, Step::Remap { .. })
                | (Slip::CopyToDeviceForgotten, Step::CopyToDevice { .. })
                | (Slip::ClearForgotten, Step::ClearDevice { .. })
                | (Slip::CopyToRamForgotten, Step::CopyToRam { .. })
                | (Slip::UnmapDeviceForgotten, Step::UnmapDevice { .. })
                | (Slip::UnmapCoherentForgotten, Step::UnmapCoherent { .. })
                | (Slip::ReleaseFolioForgotten, Step::ReleaseFolio { .. })
                | (Slip::ReleaseRamForgotten, Step::ReleaseRam { .. })
                | (Slip::DiscardForgotten, Step::Discard { .. })
                | (Slip::SplitForgotten, Step::SplitFolio { .. })
                | (Slip::MapDeviceForgotten, Step::MapDevice { .. })
                | (Slip::InstallForgotten, Step::Install { .. })
                | (Slip::InstallZeroForgotten, Step::InstallZero { .. })
                | (Slip::ReserveForgotten, Step::ReserveRam { .. })
        )
    }

    /// Whether a failure of the step is taken for success.
    fn ignores_failure(self, step: &Step) -> bool {
        matches!(
            (self, step),
            (Slip::TakeOutBusyIgnored, Step::Isolate { .. })
                | (Slip::CopyToDeviceFailureIgnored, Step::CopyToDevice { .. })
                | (Slip::ClearFailureIgnored, Step::ClearDevice { .. })
                | (Slip::CopyToRamFailureIgnored, Step::CopyToRam { .. })
                | (Slip::InstallFailureIgnored, Step::Install { .. })
                | (Slip::InstallZeroFailureIgnored, Step::InstallZero { .. })
                | (Slip::UnmapCoherentFailureIgnored, Step::UnmapCoherent { .. })
                | (Slip::DiscardFailureIgnored, Step::Discard { .. })
                | (Slip::MapDeviceFailureIgnored, Step::MapDevice { .. })
                | (Slip::SplitBusyIgnored, Step::SplitFolio { .. })
                | (Slip::RemapFailureIgnored, Step::RemapDevice { .. })
        )
    }

    /// What the machine is told of a step that was not done.
    pub(super) fn report(self, step: &Step, outcome: Outcome) -> Outcome {
        match step {
            _ if outcome != Outcome::Done && !self.ignores_failure(step) => outcome,
            Step::SplitFolio { folio } => Outcome::Split { upper: upper_of(folio) },
            _ => Outcome::Done,
        }
    }

    /// The step that is done in place of another.
    pub(super) fn alter(self, step: Step) -> Step {
        match (self, step) {
            (Slip::TakeOutFirstPageOnly, Step::Isolate { run }) => Step::Isolate { run: first(run) },
            (Slip::RestoreFirstPageOnly, Step::Remap { run }) => Step::Remap { run: first(run) },
            (Slip::CopyToDeviceFirstPageOnly, Step::CopyToDevice { run, to }) => {
                Step::CopyToDevice { run: one(run), to }
            }
            (Slip::CopyToDeviceOnePageOn, Step::CopyToDevice { run, to }) => {
                Step::CopyToDevice { run, to: next(to) }
            }
            (Slip::ClearFirstPageOnly, Step::ClearDevice { run, to }) => {
                Step::ClearDevice { run: one(run), to }
            }
            (Slip::CopyToRamFirstPageOnly, Step::CopyToRam { run, from }) => {
                Step::CopyToRam { run: first(run), from }
            }
            (Slip::CopyToRamOnePageOn, Step::CopyToRam { run, from }) => {
                Step::CopyToRam { run, from: next(from) }
            }
            (slip, step) => slip.alter_more(step),
        }
    }

    fn alter_more(self, step: Step) -> Step {
        match (self, step) {
            (Slip::MapDeviceFirstPageOnly, Step::MapDevice { run, to, rights }) => {
                Step::MapDevice { run: first(run), to, rights }
            }
            (Slip::RemapOnePageOn, Step::RemapDevice { run, to, rights }) => {
                Step::RemapDevice { run, to: next(to), rights }
            }
            (Slip::MapDeviceOnePageOn, Step::MapDevice { run, to, rights }) => {
                Step::MapDevice { run, to: next(to), rights }
            }
            (Slip::UnmapDeviceFirstPageOnly, Step::UnmapDevice { node, run }) => {
                Step::UnmapDevice { node, run: first(run) }
            }
            (Slip::UnmapDeviceWholeBlock, Step::UnmapDevice { node, .. }) => {
                let run = AlignedRun::around(0, Order::new(1).unwrap_or_default());
                Step::UnmapDevice { node, run }
            }
            (Slip::DiscardFirstPageOnly, Step::Discard { run }) => Step::Discard { run: one(run) },
            (Slip::ReleaseRamCountsSpans, Step::ReleaseRam { run, .. }) => Step::ReleaseRam { run, pages: 1 },
            (Slip::ReleaseFolioAsOnePage, Step::ReleaseFolio { folio }) => {
                Step::ReleaseFolio { folio: Folio { order: Order::ZERO, ..folio } }
            }
            (_, step) => step,
        }
    }

    /// Pages that are counted where `pages` are reserved.
    pub(super) fn counted(self, pages: u8) -> u8 {
        if self == Slip::ReserveCountsSpans { 1 } else { pages }
    }
}

fn first(span: AlignedRun) -> AlignedRun {
    AlignedRun::around(span.first(), Order::ZERO)
}

fn one(run: PageRun) -> PageRun {
    PageRun::single(run.first())
}

fn next(page: DevicePage) -> DevicePage {
    page.plus(1)
}
