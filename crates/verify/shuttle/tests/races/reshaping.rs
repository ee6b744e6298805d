//! Splits and collapses of folios where they are, against everything that moves or frees them, and each other.

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_folio::Order;
use bifolio_shuttle::engine::Side;
use bifolio_shuttle::simulation::machine::{Machine, Setup};

use crate::scenario::{failing, plain, program, unit, word};

/// Both sides use the folios.
pub fn in_use(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.run(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 1), (0, 6), (0, 3), (0, 1)], number)),
        &|machine| program(machine, &[(0, 2), (0, 5)], word::FIRST),
        &|machine| {
            machine.prefetch(0, 0..8, Side::DEVICE);
            machine.split(0, 0..8, Order::ZERO);
            machine.collapse(0, 0..8);
            machine.split(0, 1..2, Order::ZERO);
            machine.collapse(0, 0..4);
        },
    ]);
}

/// What one thread splits, another collapses, and a third holds.
pub fn each_other(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.run(&[
        &|machine| {
            machine.prefetch(0, 0..8, Side::DEVICE);
            machine.split(0, 0..8, Order::ZERO);
            machine.split(0, 4..8, Order::ZERO);
        },
        &|machine| {
            machine.collapse(0, 0..8);
            machine.split(0, 3..5, Order::ZERO);
            machine.collapse(0, 0..8);
        },
        &|machine| [0, 5, 2].into_iter().for_each(|pfn| machine.hold(pfn)),
        &|machine| program(machine, &[(0, 6), (0, 1)], word::FIRST),
    ]);
}

/// Parts of the folios are unmapped: the backing goes with the last piece, and not before.
pub fn unmapping(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, ..setup });
    machine.map(0, 0..4);
    machine.map(1, 0..4);
    machine.prefetch(0, 0..4, Side::DEVICE);
    machine.run(&[
        &|machine| {
            machine.split(0, 0..4, Order::ZERO);
            machine.collapse(0, 0..4);
        },
        &|machine| {
            machine.unmap(0, 0..2);
            machine.unmap(0, 2..3);
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 3), (1, 0), (1, 2), (0, 3)], number)),
    ]);
}

/// Device memory of one folio, which two blocks want in turn: pieces are evicted, and the backing goes to the other.
pub fn eviction(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, device_pages: 4, ..setup });
    machine.map(0, 0..4);
    machine.map(1, 0..4);
    machine.run(&[
        &|machine| {
            for _ in 0..2 {
                machine.prefetch(0, 0..4, Side::DEVICE);
                machine.split(0, 0..4, Order::ZERO);
                machine.collapse(0, 0..4);
            }
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(1, 0), (0, 1), (1, 3)], number)),
        &|machine| program(machine, &[(0, 1), (1, 0)], word::FIRST),
    ]);
}

#[test]
fn private_folios_are_split_and_collapsed_in_use() {
    plain(Private, in_use);
}

#[test]
fn coherent_folios_are_split_and_collapsed_in_use() {
    plain(Coherent, in_use);
}

#[test]
fn folios_are_split_and_collapsed_when_calls_fail() {
    failing(Private, in_use);
}

#[test]
fn coherent_folios_are_split_and_collapsed_when_calls_fail() {
    failing(Coherent, in_use);
}

#[test]
fn splits_and_collapses_of_the_same_folios_go_on() {
    plain(Private, each_other);
}

#[test]
fn backing_goes_with_the_last_piece_that_is_unmapped() {
    plain(Private, unmapping);
}

#[test]
fn backing_goes_with_the_last_piece_that_is_evicted() {
    plain(Private, eviction);
}
