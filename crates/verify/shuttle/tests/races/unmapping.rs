//! Migration and faults against unmapping part of a folio, and mapping it again.

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_shuttle::engine::Side;
use bifolio_shuttle::simulation::machine::{Machine, Setup};

use crate::scenario::{failing, plain, program, unit, word};

/// The middle of a folio is unmapped, and one page of it mapped again, while both sides use the folio.
pub fn middle_of_a_folio(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..4);
    machine.run(&[
        &|machine| program(machine, &[(0, 0), (0, 1), (0, 2), (0, 0)], word::FIRST),
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 3), (0, 1), (0, 0)], number)),
        &|machine| {
            machine.write((0, 1), word::SECOND);
            if machine.unmap(0, 1..3) {
                machine.read((0, 1), word::SECOND);
                machine.map(0, 1..2);
            }
            machine.read((0, 1), word::SECOND);
            machine.write((0, 1), word::SECOND);
            machine.read((0, 1), word::SECOND);
        },
    ]);
}

/// A folio that is held cannot be split: unmapping part of it waits until the reference is dropped.
pub fn held_folio(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..4);
    machine.prefetch(0, 0..4, Side::DEVICE);
    machine.run(&[&|machine| assert!(machine.unmap(0, 0..1)), &|machine| machine.hold(1), &|machine| {
        program(machine, &[(0, 3), (0, 2), (0, 3)], word::SECOND);
    }]);
}

#[test]
fn private_rest_of_a_folio_keeps_its_bytes() {
    plain(Private, middle_of_a_folio);
}

#[test]
fn coherent_rest_of_a_folio_keeps_its_bytes() {
    plain(Coherent, middle_of_a_folio);
}

#[test]
fn private_rest_of_a_folio_keeps_its_bytes_when_calls_fail() {
    failing(Private, middle_of_a_folio);
}

#[test]
fn coherent_rest_of_a_folio_keeps_its_bytes_when_calls_fail() {
    failing(Coherent, middle_of_a_folio);
}

#[test]
fn unmapping_part_of_a_held_folio_waits() {
    plain(Private, held_folio);
}
