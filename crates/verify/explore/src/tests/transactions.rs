//! Worlds of shipped transactions: how many states there are, and that renaming loses none.

use crate::explore::{Limits, explore};
use crate::migrate::{Memory, Others, Setup, Transactions};
use crate::tests::unrenamed::{sizes_without_renaming, states_without_renaming};

const PAGES: Setup = Setup::ONE_BLOCK;
const BLOCKS: Setup = Setup { blocks: 2, block_pages: 1, ram: 1, actors: 2, ..PAGES };

/// States and depth of a world in which no rule breaks.
fn size(setup: Setup) -> (u64, u32) {
    let explored = explore(&Transactions::new(setup), &Limits::default(), &mut |_| ());
    assert!(explored.broken.is_empty(), "{:?}", explored.broken);
    (explored.states, explored.depth)
}

#[test]
fn worlds_have_so_many_states() {
    let holder = Others { holder: true, ..Others::NONE };
    let worlds = [
        PAGES,
        Setup { memory: Memory::Coherent, ..PAGES },
        Setup { memory: Memory::Anonymous, others: Others { fork: true, ..Others::NONE }, ..PAGES },
        Setup { others: Others { pins: true, teardown: true, ..Others::NONE }, ..PAGES },
        Setup { others: holder, ..PAGES },
        BLOCKS,
        Setup { reserve: 1, ram: 2, ..BLOCKS },
        Setup { blocks: 3, device: 1, actors: 3, ..BLOCKS },
    ];
    let sizes = [
        (15_702, 38),
        (39_482, 40),
        (13_552, 32),
        (43_672, 39),
        (112_832, 48),
        (46_641, 37),
        (91_625, 46),
        (178_660, 49),
    ];
    assert_eq!(worlds.map(size), sizes);
}

#[test]
fn number_of_threads_changes_nothing() {
    let limits = Limits { threads: 3, ..Limits::default() };
    let explored = explore(&Transactions::new(BLOCKS), &limits, &mut |_| ());
    assert_eq!((explored.states, explored.depth), size(BLOCKS));
}

#[test]
fn search_without_renaming_reaches_the_same_states_up_to_renaming() {
    let two = Setup { device: 1, ..BLOCKS };
    let three = Setup { blocks: 3, actors: 1, ..two };
    assert_eq!(
        [two, three].map(|setup| sizes_without_renaming(&Transactions::new(setup))),
        [(35_352, size(two).0), (10_340, size(three).0)]
    );
}

/// Copies are the only steps of a transaction that no other actor can see: the bytes are out of everything's view, while
/// any other step changes what can be looked up, mapped, had or reserved. A reduction could leave out a state at most for
/// each that is left by a copy.
#[test]
fn few_states_are_left_by_a_copy() {
    let pages_held = Setup { others: Others { holder: true, ..Others::NONE }, ..PAGES };
    let shares = [PAGES, pages_held, BLOCKS].map(|setup| {
        let world = Transactions::new(setup);
        let states = states_without_renaming(&world);
        let copies = states.iter().filter(|state| world.copies_next(state)).count();
        copies * 100 / states.len()
    });
    assert_eq!(shares, [8, 7, 11]);
}
