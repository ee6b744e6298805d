//! The judge is judged: every mutation of a runner is found, by a rule that forbids it.

use bifolio_folio::Order;
use bifolio_migrate::{AlignedRun, DevicePage, Folio, Outcome, PageRun, Step};

use crate::explore::{Limits, explore};
use crate::migrate::folios::{self, Named};
use crate::migrate::mutate::{Mutate, Protocol};
use crate::migrate::perform::{low, upper_of};
use crate::migrate::performer::Performer;
use crate::migrate::state::{State, Teardown, View};
use crate::migrate::{Memory, Others, Setup, Transactions};
use crate::mutate::NoMutation;

/// One way to make a runner wrong: a step that is not done, done in part, done elsewhere, done too early, or whose
/// failure is not passed on; or a part of the protocol that is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mutation {
    // Steps that are said to be done.
    IsolateLeavesView,
    RemapForgotten,
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
    IsolateBusyIgnored,
    CopyToDeviceFailureIgnored,
    ClearFailureIgnored,
    CopyToRamFailureIgnored,
    InstallFailureIgnored,
    InstallZeroFailureIgnored,
    UnmapCoherentFailureIgnored,
    DiscardFailureIgnored,
    MapDeviceFailureIgnored,
    SplitBusyIgnored,
    RemapDeviceFailureIgnored,
    // Steps on the wrong pages.
    IsolateFirstPageOnly,
    RemapFirstPageOnly,
    CopyToDeviceFirstPageOnly,
    CopyToDeviceOnePageOn,
    ClearFirstPageOnly,
    CopyToRamFirstPageOnly,
    CopyToRamOnePageOn,
    MapDeviceFirstPageOnly,
    MapDeviceOnePageOn,
    RemapDeviceOnePageOn,
    UnmapDeviceFirstPageOnly,
    UnmapDeviceWholeBlock,
    DiscardFirstPageOnly,
    ReleaseRamCountsSlots,
    ReserveCountsSlots,
    ReleaseFolioAsOnePage,
    DiscardKeepsReservation,
    // Steps at the wrong time.
    CopyBeforeIsolate,
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
    RetiredVictimTaken,
    ForkAmidTransactions,
    ParentDoesNotWait,
    ChildMissesDevice,
    NoSmallerOrder,
    PinWithoutLock,
}

impl Mutate for Mutation {
    fn instead(&self, performer: &mut Performer<'_>, step: Step) -> Option<Step> {
        self.prepare(performer, step);
        (!self.skips(&step)).then(|| self.alter(step))
    }

    fn afterwards(
        &self,
        before: &State,
        performer: &mut Performer<'_>,
        step: &Step,
        outcome: Outcome,
    ) -> Outcome {
        performer.state.teardown = before.teardown;
        self.change(before, performer, *step);
        match step {
            _ if outcome != Outcome::Done && !self.ignores_failure(step) => outcome,
            Step::SplitFolio { folio } => Outcome::Split { upper: upper_of(folio) },
            _ => Outcome::Done,
        }
    }

    fn keeps(&self, protocol: Protocol) -> bool {
        let broken = match self {
            Mutation::ParentDoesNotWait => Protocol::ParentWaits,
            Mutation::ForkAmidTransactions => Protocol::ForkWaits,
            Mutation::ChildMissesDevice => Protocol::ChildFetches,
            Mutation::PinWithoutLock => Protocol::PinsUnderLock,
            Mutation::EvictorWaits => Protocol::TriesOnly,
            Mutation::VictimNotLookedAtAgain | Mutation::RetiredVictimTaken => Protocol::LooksAgain,
            Mutation::EndsWhileHeld => Protocol::EndsWhenDrained,
            Mutation::NoSmallerOrder => Protocol::SmallerOrders,
            _ => return true,
        };
        protocol != broken
    }
}

impl Mutation {
    /// Changes the state before a step is done.
    fn prepare(self, performer: &mut Performer<'_>, step: Step) {
        match (self, step) {
            (Mutation::FormAfterKill, Step::FormFolio { .. }) => performer.state.teardown = Teardown::Alive,
            (Mutation::SplitOfHeld, Step::SplitFolio { folio }) => take_from_holder(performer, folio),
            (Mutation::CollapseOfHeld, Step::CollapseFolio { lower, upper }) => {
                take_from_holder(performer, lower);
                take_from_holder(performer, upper);
            }
            (Mutation::CopyBeforeIsolate, Step::ReleaseRam { run, .. }) => {
                performer.each(run, |_, page| page.cpu = View::Fault);
            }
            _ => {}
        }
    }

    /// Changes the state after a step was done.
    fn change(self, before: &State, performer: &mut Performer<'_>, step: Step) {
        let state = &mut performer.state;
        match (self, step) {
            (Mutation::ReserveCountsSlots, Step::ReserveRam { .. }) if state.ram_used > before.ram_used => {
                state.ram_used = before.ram_used + 1;
            }
            (Mutation::DiscardKeepsReservation, Step::Discard { .. }) => state.ram_used = before.ram_used,
            (Mutation::ReleaseTakesAllReferences, Step::ReleaseFolio { folio })
                if folios::covering(state, low(folio.pfn)).is_some() =>
            {
                folios::put(performer.map, state, named(folio));
            }
            (Mutation::ShownBeforeCopy, Step::CopyToRam { run, .. }) => {
                performer.each(run, |_, page| page.cpu = View::Ram);
            }
            (Mutation::FolioGoesBeforeInstall, Step::CopyToRam { run, from }) => {
                folios::put(performer.map, state, (low(from.pfn), run.order().get()));
            }
            _ => {}
        }
    }

    /// Whether the runner reports that it did the step, and did not.
    fn skips(self, step: &Step) -> bool {
        matches!(
            (self, step),
            (Mutation::IsolateLeavesView | Mutation::CopyBeforeIsolate, Step::Isolate { .. })
                | (Mutation::RemapForgotten, Step::Remap { .. })
                | (Mutation::CopyToDeviceForgotten, Step::CopyToDevice { .. })
                | (Mutation::ClearForgotten, Step::ClearDevice { .. })
                | (Mutation::CopyToRamForgotten, Step::CopyToRam { .. })
                | (Mutation::UnmapDeviceForgotten, Step::UnmapDevice { .. })
                | (Mutation::UnmapCoherentForgotten, Step::UnmapCoherent { .. })
                | (Mutation::ReleaseFolioForgotten, Step::ReleaseFolio { .. })
                | (Mutation::ReleaseRamForgotten, Step::ReleaseRam { .. })
                | (Mutation::DiscardForgotten, Step::Discard { .. })
                | (Mutation::SplitForgotten, Step::SplitFolio { .. })
                | (Mutation::MapDeviceForgotten, Step::MapDevice { .. })
                | (Mutation::InstallForgotten, Step::Install { .. })
                | (Mutation::InstallZeroForgotten, Step::InstallZero { .. })
                | (Mutation::ReserveForgotten, Step::ReserveRam { .. })
        )
    }

    /// Whether a failure of the step is taken for success.
    fn ignores_failure(self, step: &Step) -> bool {
        matches!(
            (self, step),
            (Mutation::IsolateBusyIgnored, Step::Isolate { .. })
                | (Mutation::CopyToDeviceFailureIgnored, Step::CopyToDevice { .. })
                | (Mutation::ClearFailureIgnored, Step::ClearDevice { .. })
                | (Mutation::CopyToRamFailureIgnored, Step::CopyToRam { .. })
                | (Mutation::InstallFailureIgnored, Step::Install { .. })
                | (Mutation::InstallZeroFailureIgnored, Step::InstallZero { .. })
                | (Mutation::UnmapCoherentFailureIgnored, Step::UnmapCoherent { .. })
                | (Mutation::DiscardFailureIgnored, Step::Discard { .. })
                | (Mutation::MapDeviceFailureIgnored, Step::MapDevice { .. })
                | (Mutation::SplitBusyIgnored, Step::SplitFolio { .. })
                | (Mutation::RemapDeviceFailureIgnored, Step::RemapDevice { .. })
        )
    }

    /// The step that is done in place of another.
    fn alter(self, step: Step) -> Step {
        match (self, step) {
            (Mutation::IsolateFirstPageOnly, Step::Isolate { run }) => Step::Isolate { run: first(run) },
            (Mutation::RemapFirstPageOnly, Step::Remap { run }) => Step::Remap { run: first(run) },
            (Mutation::CopyToDeviceFirstPageOnly, Step::CopyToDevice { run, to }) => {
                Step::CopyToDevice { run: one(run), to }
            }
            (Mutation::CopyToDeviceOnePageOn, Step::CopyToDevice { run, to }) => {
                Step::CopyToDevice { run, to: next(to) }
            }
            (Mutation::ClearFirstPageOnly, Step::ClearDevice { run, to }) => {
                Step::ClearDevice { run: one(run), to }
            }
            (Mutation::CopyToRamFirstPageOnly, Step::CopyToRam { run, from }) => {
                Step::CopyToRam { run: first(run), from }
            }
            (Mutation::CopyToRamOnePageOn, Step::CopyToRam { run, from }) => {
                Step::CopyToRam { run, from: next(from) }
            }
            (mutation, step) => mutation.alter_more(step),
        }
    }

    fn alter_more(self, step: Step) -> Step {
        match (self, step) {
            (Mutation::MapDeviceFirstPageOnly, Step::MapDevice { run, to, rights }) => {
                Step::MapDevice { run: first(run), to, rights }
            }
            (Mutation::RemapDeviceOnePageOn, Step::RemapDevice { run, to, rights }) => {
                Step::RemapDevice { run, to: next(to), rights }
            }
            (Mutation::MapDeviceOnePageOn, Step::MapDevice { run, to, rights }) => {
                Step::MapDevice { run, to: next(to), rights }
            }
            (Mutation::UnmapDeviceFirstPageOnly, Step::UnmapDevice { node, run }) => {
                Step::UnmapDevice { node, run: first(run) }
            }
            (Mutation::UnmapDeviceWholeBlock, Step::UnmapDevice { node, .. }) => {
                let run = AlignedRun::around(0, Order::new(1).unwrap_or_default());
                Step::UnmapDevice { node, run }
            }
            (Mutation::DiscardFirstPageOnly, Step::Discard { run }) => Step::Discard { run: one(run) },
            (Mutation::ReleaseRamCountsSlots, Step::ReleaseRam { run, .. }) => {
                Step::ReleaseRam { run, pages: 1 }
            }
            (Mutation::ReleaseFolioAsOnePage, Step::ReleaseFolio { folio }) => {
                Step::ReleaseFolio { folio: Folio { order: Order::ZERO, ..folio } }
            }
            (_, step) => step,
        }
    }
}

fn named(folio: Folio) -> Named {
    (low(folio.pfn), folio.order.get())
}

/// Lets a folio be changed as if no holder had a reference.
fn take_from_holder(performer: &mut Performer<'_>, folio: Folio) {
    if performer.state.held == Some(low(folio.pfn)) {
        folios::put(performer.map, &mut performer.state, named(folio));
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

/// Folios of order 1 that are split, and pages that move one by one.
const PAGES: Setup = Setup::ONE_BLOCK;
const COHERENT: Setup = Setup { memory: Memory::Coherent, ..PAGES };
/// A third party holds folios; system memory for one page only keeps the world small.
const HELD: Setup = Setup { ram: 1, others: Others { holder: true, ..Others::NONE }, ..PAGES };
/// It holds one while the pagemap is torn down.
const ENDING: Setup = Setup {
    block_pages: 1,
    device: 1,
    others: Others { holder: true, teardown: true, ..Others::NONE },
    ..PAGES
};
/// Two blocks of one page whose transactions compete for one page of each memory.
const BLOCKS: Setup = Setup { blocks: 2, block_pages: 1, device: 2, ram: 1, actors: 2, ..PAGES };
const TIGHT: Setup = Setup { device: 1, ..BLOCKS };
/// Pages are pinned.
const PINNED: Setup = Setup { others: Others { pins: true, ..Others::NONE }, ..PAGES };
/// A program that forks.
const FORKING: Setup =
    Setup { memory: Memory::Anonymous, others: Others { fork: true, ..Others::NONE }, ..PAGES };

/// The rules by which a mutation is found in a world, in the order of finding.
fn found<M: Mutate>(setup: Setup, mutation: M) -> Vec<u8> {
    let world = Transactions::mutated(setup, mutation);
    let broken = explore(&world, &Limits::default(), &mut |_| ()).broken;
    broken.iter().map(|broken| broken.rule.number()).collect()
}

macro_rules! mutations {
    ($($mutation:ident in $setup:ident by $rule:literal,)*) => {
        #[test]
        fn every_mutation_of_a_runner_breaks_a_rule_that_forbids_it() {
            let mut missed = Vec::new();
            $(
                let rules = found($setup, Mutation::$mutation);
                if !rules.contains(&$rule) {
                    missed.push(format!("{}: {rules:?} without I{}", stringify!($mutation), $rule));
                }
            )*
            assert!(missed.is_empty(), "{}", missed.join("\n"));
        }
    };
}

mutations! {
    IsolateLeavesView in PAGES by 27,
    RemapForgotten in PAGES by 12,
    CopyToDeviceForgotten in PAGES by 27,
    ClearForgotten in PAGES by 22,
    CopyToRamForgotten in PAGES by 27,
    UnmapDeviceForgotten in PAGES by 27,
    UnmapCoherentForgotten in COHERENT by 27,
    ReleaseFolioForgotten in PAGES by 23,
    ReleaseRamForgotten in PAGES by 18,
    DiscardForgotten in PAGES by 18,
    SplitForgotten in PAGES by 14,
    MapDeviceForgotten in PAGES by 12,
    InstallForgotten in PAGES by 12,
    InstallZeroForgotten in PAGES by 12,
    ReserveForgotten in PAGES by 13,
    IsolateBusyIgnored in PAGES by 27,
    CopyToDeviceFailureIgnored in PAGES by 27,
    ClearFailureIgnored in PAGES by 22,
    CopyToRamFailureIgnored in PAGES by 27,
    InstallFailureIgnored in PAGES by 12,
    InstallZeroFailureIgnored in PAGES by 12,
    UnmapCoherentFailureIgnored in COHERENT by 27,
    DiscardFailureIgnored in PAGES by 18,
    MapDeviceFailureIgnored in PAGES by 12,
    SplitBusyIgnored in HELD by 14,
    IsolateFirstPageOnly in PAGES by 27,
    RemapFirstPageOnly in PAGES by 12,
    CopyToDeviceFirstPageOnly in PAGES by 27,
    CopyToDeviceOnePageOn in PAGES by 21,
    ClearFirstPageOnly in PAGES by 22,
    CopyToRamFirstPageOnly in PAGES by 14,
    CopyToRamOnePageOn in PAGES by 21,
    MapDeviceFirstPageOnly in PAGES by 20,
    MapDeviceOnePageOn in PAGES by 21,
    UnmapDeviceFirstPageOnly in PAGES by 20,
    UnmapDeviceWholeBlock in PAGES by 20,
    DiscardFirstPageOnly in PAGES by 18,
    ReleaseRamCountsSlots in PAGES by 13,
    ReserveCountsSlots in PAGES by 13,
    ReleaseFolioAsOnePage in PAGES by 17,
    DiscardKeepsReservation in PAGES by 13,
    CopyBeforeIsolate in PAGES by 27,
    ShownBeforeCopy in PAGES by 27,
    FolioGoesBeforeInstall in PAGES by 17,
    SplitOfHeld in HELD by 17,
    CollapseOfHeld in HELD by 17,
    ReleaseTakesAllReferences in HELD by 17,
    FormAfterKill in ENDING by 16,
    EndsWhileHeld in ENDING by 16,
    EvictorWaits in TIGHT by 24,
    VictimNotLookedAtAgain in BLOCKS by 26,
    RetiredVictimTaken in HELD by 28,
    ForkAmidTransactions in FORKING by 27,
    ParentDoesNotWait in FORKING by 27,
    ChildMissesDevice in FORKING by 27,
    NoSmallerOrder in PAGES by 19,
    PinWithoutLock in PINNED by 27,
    RemapDeviceFailureIgnored in PAGES by 20,
    RemapDeviceOnePageOn in PAGES by 20,
}

#[test]
fn shipped_transactions_keep_every_rule() {
    for setup in [PAGES, COHERENT, HELD, ENDING, BLOCKS, TIGHT, PINNED, FORKING] {
        assert_eq!(found(setup, NoMutation), Vec::<u8>::new(), "{setup:?}");
    }
}
