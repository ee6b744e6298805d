//! The checker is checked: a runner that says it did a step and did not is found.

use bifolio_folio::MemoryKind;

use crate::explore::{Limits, explore};
use crate::svm::perform::Slip;
use crate::svm::{Size, Transactions};

const SIZE: Size = Size { blocks: 1, block_pages: 2, device: 2, ram: 2, actors: 1 };

/// The rules by which a fault is found, in private and in coherent memory together.
fn found(slip: Slip) -> Vec<String> {
    let kinds = [MemoryKind::Private, MemoryKind::Coherent];
    let worlds = kinds.map(|kind| Transactions::with_slip(SIZE, kind, slip));
    let broken = worlds.iter().flat_map(|world| explore(world, &Limits::default(), &mut |_| ()).broken);
    broken.map(|broken| broken.rule.to_string()).collect()
}

macro_rules! slips {
    ($($slip:ident by $rule:literal,)*) => {
        #[test]
        fn every_step_that_a_runner_skips_breaks_a_rule() {
            let mut missed = Vec::new();
            $(
                let rules = found(Slip::$slip);
                if !rules.iter().any(|rule| rule == $rule) {
                    missed.push(format!("{}: {rules:?} without {}", stringify!($slip), $rule));
                }
            )*
            assert!(missed.is_empty(), "{}", missed.join("\n"));
        }
    };
}

slips! {
    TakeOutLeavesView by "I27",
    RestoreForgotten by "I12",
    CopyToDeviceForgotten by "I27",
    ClearForgotten by "I22",
    CopyToRamForgotten by "I27",
    UnmapDeviceForgotten by "I27",
    UnmapCoherentForgotten by "I27",
    ReleaseFolioForgotten by "I23",
    ReleaseRamForgotten by "I12",
    DiscardForgotten by "I12",
    SplitForgotten by "I17",
    MapDeviceForgotten by "I18",
    InstallForgotten by "I12",
}

#[test]
fn shipped_transactions_keep_every_rule() {
    assert_eq!(found(Slip::None), Vec::<String>::new());
}
