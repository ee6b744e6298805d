//! Leaving out interleavings that make no difference changes no verdict and no shortest sequence.

use bifolio_check::bifolio::Folios;
use bifolio_check::design::Bounds;
use bifolio_check::designs::linux_mainline;
use bifolio_check::explore::{Limits, explore};
use bifolio_check::linux::World;
use bifolio_check::{Options, Report, designs};

const FULL: Limits =
    Limits { bytes: 2 << 30, states: u64::MAX, threads: 1, full: true, stop: None, journal: None };

fn run(name: &str, bounds: Bounds, limits: Limits) -> Report {
    let options = Options { bounds: Some(bounds), limits, ..Options::default() };
    bifolio_check::find(name).expect("a design").run(&options, &mut |_| ()).expect("good bounds")
}

#[test]
fn verdicts_and_stories_of_all_designs_are_those_of_the_full_exploration() {
    for design in designs() {
        // Worlds of transactions need no more, as none of their steps is left out.
        let ours = design.name.starts_with("bifolio");
        let bounds = if ours { Bounds::of(1, 0, 2) } else { Bounds::of(4, 2, 2) };
        let (some, all) = (run(design.name, bounds, Limits::default()), run(design.name, bounds, FULL));
        assert_eq!(some.verdicts, all.verdicts, "{}", design.name);
        assert!(some.states() <= all.states(), "{}", design.name);
    }
}

#[test]
fn threads_that_publish_and_drop_need_fewer_states() {
    let world = World::new(linux_mainline::CONTRACT, Bounds::of(4, 2, 2));
    let states = |limits| explore(&world, &limits, &mut |_| ()).states;
    let (some, all) = (states(Limits::default()), states(FULL));
    assert!(some * 10 < all * 9, "{some} of {all}");
}

#[test]
fn ranges_that_can_only_be_given_back_need_no_interleaving() {
    let world = Folios::new(Bounds::of(4, 2, 3));
    let explored = |limits| explore(&world, &limits, &mut |_| ());
    let (some, all) = (explored(Limits::default()), explored(FULL));
    assert!(some.states < all.states && some.steps < all.steps, "{} of {}", some.states, all.states);
    assert!(some.broken.is_empty() && all.broken.is_empty());
}
