//! Renaming pages and actors loses no state: a search that knows nothing of it reaches the same ones.

use std::collections::HashSet;

use bifolio_check::bifolio::Folios;
use bifolio_check::design::{Bounds, Design};
use bifolio_check::explore::{Limits, explore};

#[test]
fn search_without_renaming_reaches_the_same_states_up_to_renaming() {
    let world = Folios::with_twins(Bounds::of(4, 2, 2));
    let mut scratch = world.scratch();
    let mut seen = HashSet::from([world.initial()]);
    let mut left = vec![world.initial()];
    while let Some(state) = left.pop() {
        let mut actions = Vec::new();
        world.actions(&state, &mut actions);
        for action in actions {
            let applied = world.apply(&mut scratch, &state, action);
            assert!(applied.broken.is_empty(), "{action:?} of {state:?} breaks {}", applied.broken);
            if seen.insert(applied.state) {
                left.push(applied.state);
            }
        }
    }
    let canonical: HashSet<_> = seen.iter().map(|state| world.keep(state)).collect();
    let explored =
        explore(&Folios::new(Bounds::of(4, 2, 2)), &Limits { full: true, ..Limits::default() }, &mut |_| ());
    assert_eq!((canonical.len() as u64, seen.len()), (explored.states, 17_468));
}
