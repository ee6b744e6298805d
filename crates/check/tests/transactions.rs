//! Worlds of shipped transactions: how many states there are, and that renaming loses none.

use std::collections::HashSet;

use bifolio_check::design::Design;
use bifolio_check::explore::{Limits, explore};
use bifolio_check::svm::{Memory, Others, Setup, Transactions};

const ALONE: Others = Others { holder: false, teardown: false, pins: false, fork: false };
const PAGES: Setup = Setup {
    memory: Memory::Shared,
    blocks: 1,
    block_pages: 2,
    device: 2,
    ram: 2,
    reserve: 0,
    actors: 1,
    others: ALONE,
};
const BLOCKS: Setup = Setup { blocks: 2, block_pages: 1, ram: 1, actors: 2, ..PAGES };

/// States and depth of a world in which no rule breaks.
fn size(setup: Setup) -> (u64, u32) {
    let explored = explore(&Transactions::new(setup), &Limits::default(), &mut |_| ());
    assert!(explored.broken.is_empty(), "{:?}", explored.broken);
    (explored.states, explored.depth)
}

#[test]
fn worlds_have_so_many_states() {
    let holder = Others { holder: true, ..ALONE };
    let fork = Others { fork: true, ..ALONE };
    assert_eq!(size(PAGES), (11_421, 36));
    assert_eq!(size(Setup { memory: Memory::Coherent, ..PAGES }), (27_497, 38));
    assert_eq!(size(Setup { memory: Memory::Anonymous, others: fork, ..PAGES }), (9_979, 32));
    assert_eq!(size(Setup { others: holder, ..PAGES }), (87_244, 48));
    assert_eq!(size(BLOCKS), (35_862, 36));
    assert_eq!(size(Setup { reserve: 1, ram: 2, ..BLOCKS }), (76_398, 44));
}

#[test]
fn number_of_threads_changes_nothing() {
    let limits = Limits { threads: 3, ..Limits::default() };
    let explored = explore(&Transactions::new(BLOCKS), &limits, &mut |_| ());
    assert_eq!((explored.states, explored.depth), size(BLOCKS));
}

#[test]
fn search_without_renaming_reaches_the_same_states_up_to_renaming() {
    let world = Transactions::new(Setup { device: 1, ..BLOCKS });
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
    let kept: HashSet<_> = seen.iter().map(|state| world.keep(state)).collect();
    assert_eq!((kept.len() as u64, seen.len()), (size(Setup { device: 1, ..BLOCKS }).0, 26_436));
}
