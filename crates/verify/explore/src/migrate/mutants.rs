//! The checker is checked: every deliberate fault of a runner is found, by a rule that forbids it.

use crate::explore::{Limits, explore};
use crate::migrate::slip::Slip;
use crate::migrate::{Memory, Others, Setup, Transactions};

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
/// Somebody pins pages.
const PINNED: Setup = Setup { others: Others { pins: true, ..Others::NONE }, ..PAGES };
/// A program that forks.
const FORKING: Setup =
    Setup { memory: Memory::Anonymous, others: Others { fork: true, ..Others::NONE }, ..PAGES };

/// The rules by which a fault is found in a world, in the order of finding.
fn found(setup: Setup, slip: Slip) -> Vec<u8> {
    let world = Transactions::with_slip(setup, slip);
    let broken = explore(&world, &Limits::default(), &mut |_| ()).broken;
    broken.iter().map(|broken| broken.rule.number()).collect()
}

macro_rules! slips {
    ($($slip:ident in $setup:ident by $rule:literal,)*) => {
        #[test]
        fn every_fault_of_a_runner_breaks_a_rule_that_forbids_it() {
            let mut missed = Vec::new();
            $(
                let rules = found($setup, Slip::$slip);
                if !rules.contains(&$rule) {
                    missed.push(format!("{}: {rules:?} without I{}", stringify!($slip), $rule));
                }
            )*
            assert!(missed.is_empty(), "{}", missed.join("\n"));
        }
    };
}

slips! {
    TakeOutLeavesView in PAGES by 27,
    RestoreForgotten in PAGES by 12,
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
    TakeOutBusyIgnored in PAGES by 27,
    CopyToDeviceFailureIgnored in PAGES by 27,
    ClearFailureIgnored in PAGES by 22,
    CopyToRamFailureIgnored in PAGES by 27,
    InstallFailureIgnored in PAGES by 12,
    InstallZeroFailureIgnored in PAGES by 12,
    UnmapCoherentFailureIgnored in COHERENT by 27,
    DiscardFailureIgnored in PAGES by 18,
    MapDeviceFailureIgnored in PAGES by 12,
    SplitBusyIgnored in HELD by 14,
    TakeOutFirstPageOnly in PAGES by 27,
    RestoreFirstPageOnly in PAGES by 12,
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
    ReleaseRamCountsSpans in PAGES by 13,
    ReserveCountsSpans in PAGES by 13,
    ReleaseFolioAsOnePage in PAGES by 17,
    DiscardKeepsReservation in PAGES by 13,
    CopyBeforeTakeOut in PAGES by 27,
    ShownBeforeCopy in PAGES by 27,
    FolioGoesBeforeInstall in PAGES by 17,
    SplitOfHeld in HELD by 17,
    CollapseOfHeld in HELD by 17,
    ReleaseTakesAllReferences in HELD by 17,
    FormAfterKill in ENDING by 16,
    EndsWhileHeld in ENDING by 16,
    EvictorWaits in TIGHT by 24,
    VictimNotLookedAtAgain in BLOCKS by 26,
    ForkAmidTransactions in FORKING by 27,
    ParentDoesNotWait in FORKING by 27,
    ChildMissesDevice in FORKING by 27,
    NoSmallerOrder in PAGES by 19,
    PinWithoutLock in PINNED by 27,
    RemapFailureIgnored in PAGES by 20,
    RemapOnePageOn in PAGES by 20,
}

#[test]
fn shipped_transactions_keep_every_rule() {
    for setup in [PAGES, COHERENT, HELD, ENDING, BLOCKS, TIGHT, PINNED, FORKING] {
        assert_eq!(found(setup, Slip::None), Vec::<u8>::new(), "{setup:?}");
    }
}
