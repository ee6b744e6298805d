//! The checker is checked: every deliberate fault of a pool is found, by a rule that fits it.

use bifolio_folio::Reset;
use bifolio_pool::PoolName;

use crate::design::Bounds;
use crate::explore::{Limits, explore};
use crate::folio::Pooled;
use crate::folio::pooled::slip::Slip;

/// The rules by which a fault is found, in the order of finding; empty if it is not found.
fn found(pool: PoolName, slip: Slip) -> Vec<String> {
    // Addresses make many more states of the same pages.
    let pages = if pool == PoolName::Coherent { 2 } else { 4 };
    let world = Pooled::with_slip(pool, Bounds::of(pages, 1, 2), Reset::OnFree, slip);
    let broken = explore(&world, &Limits::default(), &mut |_| ()).broken;
    broken.iter().map(|broken| broken.rule.to_string()).collect()
}

macro_rules! mutants {
    ($name:ident, $pool:ident: $($slip:ident by $rule:literal,)*) => {
        #[test]
        fn $name() {
            let mut missed = Vec::new();
            $(
                let rules = found(PoolName::$pool, Slip::$slip);
                if !rules.iter().any(|rule| rule == $rule) {
                    missed.push(format!("{}: {rules:?} without {}", stringify!($slip), $rule));
                }
            )*
            assert!(missed.is_empty(), "{}", missed.join("\n"));
            // Here pools of equal views are compared, too.
            assert_eq!(found(PoolName::$pool, Slip::None), Vec::<String>::new());
        }
    };
}

mutants! {
    every_fault_of_free_lists_breaks_the_rule_that_forbids_it, FreeList:
    FreeOneOrderLess by "I9",
    FreeForgotten by "I7",
    NotJoined by "I9",
    ChunkGone by "I7",
    FolioForgotten by "I9",
    SplitTakesNothing by "I7",
    CollapseDropsNothing by "I7",
}

mutants! {
    every_fault_of_the_mirror_breaks_the_rule_that_forbids_it, Mirror:
    FailsForEver by "I9",
    CloseForgotten by "I18",
    NotJoined by "I9",
    ChunkGone by "I7",
}

mutants! {
    every_fault_of_the_buddy_pool_breaks_the_rule_that_forbids_it, Buddy:
    FreeOneOrderLess by "I9",
    FreeForgotten by "I7",
    SplitTakesNothing by "I7",
    CollapseDropsNothing by "I7",
    ReleasedInPut by "I15",
    DeadNotNoted by "I9",
    TakenForCleared by "I22",
}

mutants! {
    every_fault_of_the_coherent_pool_breaks_the_rule_that_forbids_it, Coherent:
    FreeOneOrderLess by "I9",
    FreeForgotten by "I7",
    SplitTakesNothing by "I7",
    ReleasedInPut by "I15",
    TakenForCleared by "I22",
    UseForgotten by "I7",
    Misplaced by "I27",
}
