//! Two devices that want the same pages: folios go from one to the other through system memory, and each device evicts on
//! its own.

use std::time::Duration;

use bifolio_folio::MemoryKind::{self, Coherent, Private};
use bifolio_migrate::NodeId;
use bifolio_shuttle::engine::Side;
use bifolio_shuttle::simulation::machine::{Machine, PageOf, Setup};

use crate::scenario::{failing, plain, program, unit, word};

const SECOND: NodeId = NodeId(1);
/// Number of the second device's only unit, beside that of the first.
const SECOND_UNIT: usize = 1;

fn on_both(machine: &Machine, first: &[PageOf], second: &[PageOf]) {
    machine.launch(&|on, number| unit(on, first, number));
    machine.launch_on(SECOND, &|on, _| unit(on, second, SECOND_UNIT));
}

/// Units of both devices and a thread of the program use the same two folios.
pub fn two_devices_and_a_thread(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.run(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 5), (0, 1)], number)),
        &|machine| machine.launch_on(SECOND, &|on, _| unit(on, &[(0, 1), (0, 0), (0, 5)], SECOND_UNIT)),
        &|machine| program(machine, &[(0, 0), (0, 5), (0, 1)], word::FIRST),
    ]);
}

/// The same without the program: only the devices can find out about each other.
pub fn two_devices(setup: Setup) {
    let machine = Machine::new(Setup { second: Some(Private), ..setup });
    machine.map(0, 0..4);
    machine.run(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 1), (0, 0)], number)),
        &|machine| machine.launch_on(SECOND, &|on, _| unit(on, &[(0, 1), (0, 0), (0, 1)], SECOND_UNIT)),
    ]);
}

/// Memory of one folio on each device, and two blocks that both devices want in turn.
pub fn two_small_devices(setup: Setup) {
    let machine = Machine::new(Setup { blocks: 2, device_pages: 4, ..setup });
    machine.map(0, 0..4);
    machine.map(1, 0..4);
    machine.run(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (1, 0), (0, 2)], number)),
        &|machine| machine.launch_on(SECOND, &|on, _| unit(on, &[(1, 0), (0, 0), (1, 2)], SECOND_UNIT)),
        &|machine| {
            machine.prefetch(0, 0..4, Side::Device(SECOND));
            machine.prefetch(1, 0..4, Side::DEVICE);
        },
    ]);
}

/// The second device is taken away while folios travel to it and from it; the first one stays.
pub fn second_is_taken_away(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    on_both(&machine, &[(0, 0)], &[(0, 4)]);
    machine.run(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 4), (0, 0), (0, 5)], number)),
        &|machine| machine.launch_on(SECOND, &|on, _| unit(on, &[(0, 0), (0, 4)], SECOND_UNIT)),
        &|machine| {
            let gone = machine.detach_node(SECOND, Duration::from_secs(3600));
            assert!(gone.is_ok() || machine.may_fail(), "no folio is held for ever: {gone:?}");
        },
    ]);
}

/// Runs a scenario with devices of these kinds, and again with calls that fail.
fn on_kinds(kinds: (MemoryKind, MemoryKind), scenario: impl Fn(Setup) + Send + Sync + Copy + 'static) {
    let two = move |setup: Setup| scenario(Setup { second: Some(kinds.1), ..setup });
    plain(kinds.0, two);
    failing(kinds.0, two);
}

#[test]
fn private_devices_read_what_the_other_wrote() {
    on_kinds((Private, Private), two_devices_and_a_thread);
}

#[test]
fn coherent_and_private_device_read_what_the_other_wrote() {
    on_kinds((Coherent, Private), two_devices_and_a_thread);
}

#[test]
fn small_devices_evict_on_their_own_and_lose_nothing() {
    on_kinds((Private, Private), two_small_devices);
}

#[test]
fn small_devices_of_both_kinds_evict_on_their_own_and_lose_nothing() {
    on_kinds((Private, Coherent), two_small_devices);
}

#[test]
fn device_that_is_taken_away_leaves_its_bytes_to_the_other() {
    on_kinds((Private, Private), second_is_taken_away);
}
