//! Migration to the device against faults of the CPU, of the same block and of pages of one folio.

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_shuttle::engine::Side;
use bifolio_shuttle::simulation::machine::{Machine, Setup};

use crate::scenario::{failing, plain, program, unit, word};

/// Two folios of four pages; both threads and the unit want all of it.
pub fn two_threads_and_a_unit(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    let pages = [(0, 0), (0, 1), (0, 5), (0, 0)];
    machine.run(&[
        &|machine| program(machine, &pages, word::FIRST),
        &|machine| program(machine, &[(0, 1), (0, 0), (0, 4)], word::SECOND),
        &|machine| machine.launch(&|on, number| unit(on, &pages, number)),
    ]);
}

/// A block is prefetched to and fro while it is used, and device memory is scanned.
pub fn prefetches_and_a_looker(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.run(&[
        &|machine| program(machine, &[(0, 0), (0, 3), (0, 6), (0, 3)], word::FIRST),
        &|machine| {
            machine.prefetch(0, 0..8, Side::DEVICE);
            machine.prefetch(0, 2..7, Side::Ram);
        },
        &|machine| (0..8).for_each(|pfn| machine.hold(pfn)),
    ]);
}

#[test]
fn private_writes_are_read_back_while_folios_travel() {
    plain(Private, two_threads_and_a_unit);
}

#[test]
fn coherent_writes_are_read_back_while_folios_travel() {
    plain(Coherent, two_threads_and_a_unit);
}

#[test]
fn private_writes_are_read_back_when_calls_fail() {
    failing(Private, two_threads_and_a_unit);
}

#[test]
fn coherent_writes_are_read_back_when_calls_fail() {
    failing(Coherent, two_threads_and_a_unit);
}

#[test]
fn prefetched_pages_keep_their_bytes_though_folios_are_held() {
    plain(Private, prefetches_and_a_looker);
}

#[test]
fn prefetched_pages_keep_their_bytes_when_calls_fail() {
    failing(Private, prefetches_and_a_looker);
}
