//! Leaving out interleavings that make no difference changes no verdict and no shortest sequence.

use crate::design::Bounds;
use crate::designs::kernels::MAINLINE;
use crate::explore::{Limits, explore};
use crate::folio::Folios;
use crate::linux::contract::{CompoundInfo, Contract};
use crate::linux::{MemoryOrder, World};
use crate::{Entry, Options, designs, find};
use bifolio_folio::Reset;

const FULL: Limits = Limits {
    bytes: 2 << 30,
    states: u64::MAX,
    threads: 1,
    full: true,
    stop: None,
    journal: None,
    follow: None,
};

/// Explores a design with and without reduction, and compares.
fn same_with_fewer_states(design: &Entry, bounds: Bounds, memory_order: MemoryOrder) {
    let run = |limits| {
        let options = Options { bounds: Some(bounds), limits, memory_order, ..Options::default() };
        design.run(&options, &mut |_| ()).expect("good bounds")
    };
    let (some, all) = (run(Limits::default()), run(FULL));
    assert_eq!(some.verdicts, all.verdicts, "{}", design.name);
    assert!(some.states() <= all.states(), "{}", design.name);
}

#[test]
fn verdicts_and_stories_of_linux_designs_are_those_of_the_full_exploration() {
    // Those of the shipped code are below.
    for design in designs().iter().filter(|design| !design.name.starts_with("bifolio")) {
        same_with_fewer_states(design, Bounds::of(2, 1, 2), MemoryOrder::Sequential);
        if design.takes_memory_order() {
            same_with_fewer_states(design, Bounds::of(2, 1, 2), MemoryOrder::Weak);
        }
    }
    for name in ["linux-v2", "linux-v3", "reset-after-free", "split-on-free"] {
        same_with_fewer_states(find(name).expect("a design"), Bounds::of(4, 2, 2), MemoryOrder::Sequential);
    }
}

#[test]
fn threads_that_publish_and_drop_need_fewer_states() {
    let world = World::new(MAINLINE, Bounds::of(4, 2, 2));
    let states = |limits| explore(&world, &limits, &mut |_| ()).states;
    let (some, all) = (states(Limits::default()), states(FULL));
    assert!(some * 10 < all * 9, "{some} of {all}");
}

#[test]
fn ranges_that_can_only_be_given_back_need_no_interleaving() {
    for reset in Reset::ALL {
        let world = Folios::with_reset(Bounds::of(4, 2, 2), reset);
        let explored = |limits| explore(&world, &limits, &mut |_| ());
        let (some, all) = (explored(Limits::default()), explored(FULL));
        assert!(some.states < all.states && some.steps < all.steps, "{} of {}", some.states, all.states);
        assert!(some.broken.is_empty() && all.broken.is_empty());
    }
}

#[test]
fn link_and_mask_of_a_tail_lead_to_the_same_verdicts_and_states() {
    let explored = |compound_info| {
        let world = World::new(Contract { compound_info, ..MAINLINE }, Bounds::of(4, 2, 2));
        let found = explore(&world, &Limits::default(), &mut |_| ());
        let broken: Vec<_> = found.broken.iter().map(|broken| (broken.rule, broken.steps.len())).collect();
        (found.states, found.depth, broken)
    };
    assert_eq!(explored(CompoundInfo::Link), explored(CompoundInfo::Mask));
}
