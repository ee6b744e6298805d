//! Pages that stay in system memory, since another device uses them by their physical addresses, against everything
//! that would move them.

use std::time::Duration;

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_migrate::Failure;
use bifolio_shuttle::engine::Side;
use bifolio_shuttle::simulation::machine::{Machine, Setup};

use crate::scenario::{failing, plain, program, unit, word};

/// Pins pages of the first block, and lets another device use them, which goes past all page tables.
fn transfer(machine: &Machine, first: usize, pages: usize) -> Result<(), Failure> {
    let pages = first..first + pages;
    machine.while_pinned(0, pages.clone(), || {
        pages.clone().for_each(|page| machine.write_physical((0, page), word::OUTSIDE));
        machine.let_others_go_on();
        pages.for_each(|page| {
            machine.read_physical((0, page), word::OUTSIDE);
            machine.read_physical((0, page), word::FIRST);
        });
    })
}

fn must_transfer(machine: &Machine, first: usize, pages: usize) {
    let done = transfer(machine, first, pages);
    assert!(done.is_ok() || machine.may_fail(), "pinning fails: {done:?}");
}

/// Two transfers overlap. The unit is refused pinned pages, and gets those beside them.
pub fn against_faults(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.run(&[
        &|machine| {
            must_transfer(machine, 1, 2);
            must_transfer(machine, 1, 1);
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 1), (0, 0), (0, 3), (0, 5), (0, 2)], number)),
        &|machine| {
            let _ = machine.while_pinned(0, 2..3, || program(machine, &[(0, 2), (0, 0)], word::FIRST));
            machine.prefetch(0, 0..8, Side::DEVICE);
        },
    ]);
}

/// Too little system memory for both blocks: others leave it than the pinned pages.
pub fn against_making_room(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, device_pages: 16, ram_pages: (6, 2), ..setup });
    machine.map(0, 0..4);
    machine.map(1, 0..6);
    machine.run(&[
        &|machine| {
            must_transfer(machine, 0, 2);
            must_transfer(machine, 1, 2);
        },
        &|machine| program(machine, &[(1, 0), (1, 4), (0, 3), (1, 2)], word::FIRST),
        &|machine| machine.launch(&|on, number| unit(on, &[(1, 0), (0, 3), (1, 5)], number)),
    ]);
}

/// Pinned pages are not unmapped, and unmapped pages not pinned.
pub fn against_unmapping(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..4);
    machine.run(&[
        &|machine| {
            for first in [0, 1] {
                let done = transfer(machine, first, 2);
                let gone = done == Err(Failure::NotMapped);
                assert!(done.is_ok() || gone || machine.may_fail(), "pinning fails: {done:?}");
            }
        },
        &|machine| {
            if machine.unmap(0, 1..3) {
                machine.map(0, 1..3);
            }
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 3), (0, 0)], number)),
    ]);
}

/// The device goes; pins neither stop it, nor move.
pub fn against_teardown(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.prefetch(0, 0..8, Side::DEVICE);
    machine.run(&[
        &|machine| must_transfer(machine, 3, 2),
        &|machine| {
            let gone = machine.detach(Duration::from_secs(3600));
            assert!(gone.is_ok() || machine.may_fail(), "{gone:?}");
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 3), (0, 6)], number)),
    ]);
}

#[test]
fn private_pinned_pages_stay_when_the_device_wants_them() {
    plain(Private, against_faults);
}

#[test]
fn coherent_pinned_pages_stay_when_the_device_wants_them() {
    plain(Coherent, against_faults);
}

#[test]
fn pinned_pages_stay_when_the_device_wants_them_and_calls_fail() {
    failing(Private, against_faults);
}

#[test]
fn pinned_pages_stay_when_system_memory_is_scarce() {
    plain(Private, against_making_room);
}

#[test]
fn pinned_pages_are_not_unmapped() {
    plain(Private, against_unmapping);
}

#[test]
fn pages_that_cannot_be_unmapped_stay_pinned_when_calls_fail() {
    failing(Private, against_unmapping);
}

#[test]
fn pinned_pages_stay_when_the_device_goes() {
    plain(Coherent, against_teardown);
}
