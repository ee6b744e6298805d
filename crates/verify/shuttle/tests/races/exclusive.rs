//! Pages that the device has for itself, until a touch of the CPU or anything else ends that.

use std::ops::Range;
use std::time::Duration;

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_migrate::{Failure, NodeId};
use bifolio_shuttle::engine::Side;
use bifolio_shuttle::simulation::machine::{Machine, OnUnit, Setup};

use crate::scenario::{failing, plain, program, word};

/// A unit works on pages that its device has for itself: what it reads of the CPU's word does not change as long as the region
/// is held.
fn work(machine: &Machine, on: &mut OnUnit<'_, '_>, pages: Range<usize>, number: usize) {
    for _ in 0..2 {
        let made = machine.engine().make_device_exclusive(NodeId(0), machine.addresses(0, pages.clone()));
        let region = match made {
            Ok(region) => region,
            Err(Failure::NotMapped | Failure::NoDeviceMemory | Failure::Detached) => continue,
            Err(why) => {
                assert!(machine.may_fail(), "no exclusive access: {why:?}");
                continue;
            }
        };
        for page in pages.clone() {
            let first = on.load((0, page), word::FIRST);
            on.write((0, page), word::UNIT + number);
            machine.let_others_go_on();
            let second = on.load((0, page), word::FIRST);
            assert!(first == second || !region.is_held(), "the CPU came between: {first:?}, {second:?}");
        }
    }
}

/// A touch of the CPU ends the region while the device works.
pub fn touched(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.run(&[
        &|machine| machine.launch(&|on, number| work(machine, on, 0..2, number)),
        &|machine| program(machine, &[(0, 0), (0, 1), (0, 0)], word::FIRST),
        &|machine| program(machine, &[(0, 1), (0, 3)], word::SECOND),
    ]);
}

/// Pages of the region are prefetched away, evicted for others, and unmapped.
pub fn taken_away(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ..setup });
    machine.map(0, 0..16);
    machine.run(&[
        &|machine| machine.launch(&|on, number| work(machine, on, 1..4, number)),
        &|machine| {
            machine.write((0, 2), word::FIRST);
            machine.prefetch(0, 2..4, Side::Ram);
            machine.prefetch(0, 4..16, Side::DEVICE);
        },
        &|machine| {
            if machine.unmap(0, 1..2) {
                machine.map(0, 1..2);
            }
        },
    ]);
}

/// The device goes while it has pages for itself.
pub fn device_goes(setup: Setup) {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.run(&[
        &|machine| machine.launch(&|on, number| work(machine, on, 0..2, number)),
        &|machine| program(machine, &[(0, 1), (0, 0)], word::FIRST),
        &|machine| {
            let gone = machine.detach(Duration::from_secs(3600));
            assert!(gone.is_ok() || machine.may_fail(), "{gone:?}");
        },
    ]);
}

#[test]
fn touch_of_the_cpu_ends_exclusive_access_to_private_pages() {
    plain(Private, touched);
}

#[test]
fn touch_of_the_cpu_ends_exclusive_access_to_coherent_pages() {
    plain(Coherent, touched);
}

#[test]
fn touch_of_the_cpu_ends_exclusive_access_when_calls_fail() {
    failing(Private, touched);
    failing(Coherent, touched);
}

#[test]
fn exclusive_access_ends_when_pages_are_taken_away() {
    plain(Private, taken_away);
    plain(Coherent, taken_away);
}

#[test]
fn exclusive_access_ends_with_the_device() {
    plain(Private, device_goes);
    plain(Coherent, device_goes);
}
