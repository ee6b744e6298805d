//! Too little system memory: making room there against faults of the device.

use bifolio_folio::MemoryKind::Private;
use bifolio_shuttle::simulation::machine::{Machine, Setup};

use crate::scenario::{failing, plain, program, unit, word};

/// System memory for half of the pages in use, device memory for all; a thread audits meanwhile.
pub fn half_of_system_memory(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, device_pages: 16, ram_pages: (6, 2), ..setup });
    machine.map(0, 0..6);
    machine.map(1, 0..6);
    machine.run(&[
        &|machine| program(machine, &[(0, 0), (0, 4), (1, 2), (0, 1)], word::FIRST),
        &|machine| program(machine, &[(1, 0), (1, 5), (0, 2)], word::SECOND),
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (1, 0), (0, 4)], number)),
        &Machine::audit_meanwhile,
    ]);
}

/// Both memories together hold little more than what is in use.
pub fn both_nearly_full(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, device_pages: 8, ram_pages: (8, 2), ..setup });
    machine.map(0, 0..4);
    machine.map(1, 0..4);
    machine.run(&[
        &|machine| program(machine, &[(0, 0), (1, 2), (0, 2)], word::FIRST),
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (1, 0), (0, 2)], number)),
        &|machine| program(machine, &[(1, 0), (0, 3)], word::SECOND),
    ]);
}

/// Two blocks are touched for the first time, with system memory for one of them.
pub fn first_touches(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, device_pages: 8, ram_pages: (2, 0), ..setup });
    machine.map(0, 0..4);
    machine.map(1, 0..4);
    machine.run(&[&|machine| program(machine, &[(0, 0), (0, 1), (0, 0)], word::FIRST), &|machine| {
        program(machine, &[(1, 0), (1, 1), (1, 0)], word::SECOND);
    }]);
}

#[test]
fn first_touches_wait_for_memory_that_is_in_use_elsewhere() {
    plain(Private, first_touches);
}

#[test]
fn writes_are_read_back_with_half_of_the_system_memory() {
    plain(Private, half_of_system_memory);
}

#[test]
fn writes_are_read_back_with_half_of_the_system_memory_when_calls_fail() {
    failing(Private, half_of_system_memory);
}

#[test]
fn writes_are_read_back_with_both_memories_nearly_full() {
    plain(Private, both_nearly_full);
}
