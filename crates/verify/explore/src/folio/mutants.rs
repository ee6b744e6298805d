//! The checker is checked: every deliberate fault is found, by a rule that fits it.

use bifolio_folio::Reset;

use crate::design::Bounds;
use crate::explore::{Limits, explore};
use crate::folio::Folios;
use crate::folio::fault::Fault;

/// The rules by which a fault is found, in the order of finding; empty if it is not found.
fn found(fault: Fault, reset: Reset) -> Vec<String> {
    let world = Folios::with_fault(Bounds::of(4, 2, 2), fault, reset);
    let broken = explore(&world, &Limits::default(), &mut |_| ()).broken;
    broken.iter().map(|broken| broken.rule.to_string()).collect()
}

macro_rules! mutants {
    ($name:ident, $reset:ident: $($fault:ident by $rule:literal,)*) => {
        #[test]
        fn $name() {
            let mut missed = Vec::new();
            $(
                let rules = found(Fault::$fault, Reset::$reset);
                if !rules.iter().any(|rule| rule == $rule) {
                    missed.push(format!("{}: {rules:?} without {}", stringify!($fault), $rule));
                }
            )*
            assert!(missed.is_empty(), "{}", missed.join("\n"));
        }
    };
}

mutants! {
    every_fault_breaks_the_rule_that_forbids_it, OnFree:
    AllocateKeepsPagesFree by "I7",
    FormUnlocked by "I11",
    FormTwoReferences by "I11",
    FormOrderOneLess by "I2",
    FormWritesTail by "I2",
    FormWritesNeighbour by "I6",
    FormForgetsData by "I2",
    FormNotCounted by "I8",
    FormCountsOnePage by "I8",
    FormAfterKill by "I16",
    FormRefused by "I9",
    GetTakesNoReference by "I17",
    GetTakesTwo by "I17",
    GetFindsNoTail by "I17",
    GetFindsFreePage by "I17",
    LockTwice by "I11",
    UnlockLeavesLock by "I11",
    UnlockPuts by "I17",
    PutTwice by "I17",
    PutNothing by "I17",
    PutLeavesOrder by "I11",
    PutLeavesLock by "I11",
    PutWritesAfterFree by "I5",
    FreeNotTold by "I4",
    FreeTellsOrderZero by "I4",
    FreeTellsTwice by "I4",
    FreeKeepsReference by "I7",
    FreeDropsTwo by "I7",
    FreeKeepsCount by "I8",
    FreeUncountsOnePage by "I8",
    SplitTakesNoReferences by "I7",
    SplitTakesOneForEachPiece by "I7",
    SplitChangesCount by "I8",
    SplitForgetsLastPiece by "I2",
    SplitForgetsData by "I2",
    SplitUnlocksFirst by "I2",
    SplitWritesNeighbour by "I6",
    SplitLeavesFrozen by "I10",
    SplitOfShared by "I17",
    CollapseForgetsReferences by "I7",
    CollapseDropsOneForEachPiece by "I7",
    CollapseLeavesTail by "I2",
    CollapseChangesCount by "I8",
    CollapseLeavesFrozen by "I10",
    CollapseKeepsOrder by "I2",
    CollapseUnlocks by "I2",
    CollapseForgetsData by "I2",
    CollapseAddsReferences by "I2",
    CollapseWritesNeighbour by "I6",
    CollapseOfShared by "I17",
    BackingDiesOneEarly by "I7",
    BackingNeverDies by "I9",
    KillIgnored by "I16",
    DrainedTooEarly by "I16",
    NeverDrained by "I16",
}

mutants! {
    every_fault_of_words_that_outlive_folios_breaks_the_rule_that_forbids_it, OnForm:
    FormKeepsStaleOrder by "I2",
    FormKeepsStaleData by "I2",
    FormKeepsStaleReference by "I11",
    FormUnlocked by "I11",
    FormWritesNeighbour by "I6",
    FormForgetsData by "I2",
    GetFindsStale by "I17",
    PutLeavesReference by "I11",
    PutLeavesLive by "I11",
    PutLeavesLock by "I11",
    PutForgetsLeftOver by "I11",
    PutWritesTail by "I11",
    PutWritesAfterFree by "I5",
    FreeTellsOrderZero by "I4",
    SplitForgetsLastPiece by "I2",
    CollapseLeavesTail by "I2",
    CollapseForgetsReferences by "I7",
}

#[test]
fn shipped_code_keeps_every_rule() {
    for reset in Reset::ALL {
        assert_eq!(found(Fault::None, reset), Vec::<String>::new());
    }
}
