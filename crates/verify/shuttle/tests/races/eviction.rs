//! Eviction on behalf of another block, against faults and unmapping of the victim; and two blocks that evict from each
//! other.

use std::num::NonZeroUsize;

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_shuttle::engine::Side;
use bifolio_shuttle::simulation::machine::{Machine, Setup};

use crate::scenario::{failing, plain, program, unit, word};

/// Device memory of one folio, which the unit wants for two blocks in turn.
pub fn victim_in_use(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, device_pages: 4, ..setup });
    machine.map(0, 0..4);
    machine.map(1, 0..4);
    machine.run(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (1, 0), (0, 2), (1, 3)], number)),
        &|machine| program(machine, &[(0, 0), (1, 0), (0, 2)], word::FIRST),
        &|machine| {
            machine.write((1, 2), word::SECOND);
            if machine.unmap(1, 2..4) {
                machine.map(1, 2..4);
            }
            machine.read((1, 2), word::SECOND);
        },
    ]);
}

/// Two units, a block of two folios each, and device memory for two: each evicts what the other has just brought.
pub fn two_blocks_from_each_other(setup: Setup) {
    let units = NonZeroUsize::new(2).expect("two");
    let machine = Machine::new(Setup { blocks: 2, device_pages: 8, units, ..setup });
    machine.map(0, 0..8);
    machine.map(1, 0..8);
    machine.run(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(number, 0), (number, 4), (number, 2)], number)),
        &|machine| program(machine, &[(0, 0), (1, 4)], word::FIRST),
    ]);
}

/// Prefetches of three blocks to device memory for one of them.
pub fn three_prefetches(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 3, device_pages: 4, ..setup });
    (0..3).for_each(|block| machine.map(block, 0..4));
    let fetch = |machine: &Machine, block| {
        machine.write((block, 1), block);
        machine.prefetch(block, 0..4, Side::DEVICE);
        machine.read((block, 1), block);
    };
    machine.run(&[&|machine| fetch(machine, 0), &|machine| fetch(machine, 1), &|machine| fetch(machine, 2)]);
}

/// Audits while faults and prefetches move two blocks through device memory for one of them.
pub fn audits_in_between(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, device_pages: 4, ..setup });
    machine.map(0, 0..4);
    machine.map(1, 0..4);
    machine.run(&[
        &|machine| program(machine, &[(0, 0), (1, 0), (0, 2), (1, 3)], word::FIRST),
        &|machine| [0, 1, 0].into_iter().for_each(|block| machine.prefetch(block, 0..4, Side::DEVICE)),
        &|machine| (0..4).for_each(|_| machine.audit_meanwhile()),
    ]);
}

#[test]
fn audits_find_nothing_while_private_folios_travel() {
    plain(Private, audits_in_between);
}

#[test]
fn audits_find_nothing_while_coherent_folios_travel() {
    plain(Coherent, audits_in_between);
}

#[test]
fn audits_find_nothing_where_calls_fail() {
    failing(Private, audits_in_between);
}

#[test]
fn private_victims_keep_their_bytes() {
    plain(Private, victim_in_use);
}

#[test]
fn coherent_victims_keep_their_bytes() {
    plain(Coherent, victim_in_use);
}

#[test]
fn private_victims_keep_their_bytes_when_calls_fail() {
    failing(Private, victim_in_use);
}

#[test]
fn coherent_victims_keep_their_bytes_when_calls_fail() {
    failing(Coherent, victim_in_use);
}

#[test]
fn blocks_that_evict_from_each_other_go_on() {
    plain(Private, two_blocks_from_each_other);
}

#[test]
fn blocks_that_evict_from_each_other_go_on_when_calls_fail() {
    failing(Private, two_blocks_from_each_other);
}

#[test]
fn prefetches_that_evict_each_other_go_on() {
    plain(Private, three_prefetches);
}
