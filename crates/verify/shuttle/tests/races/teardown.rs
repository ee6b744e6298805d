//! Taking the device away against faults of both sides, and against threads that hold a folio (I16).

use std::num::NonZeroUsize;
use std::time::Duration;

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_shuttle::detach::DetachError;
use bifolio_shuttle::simulation::machine::{Machine, Setup};

use crate::scenario::{failing, plain, program, unit, word};

const FOR_EVER: Duration = Duration::from_secs(3600);
const NOT_AT_ALL: Duration = Duration::ZERO;

/// A machine whose unit wrote two folios, which are on the device.
fn on_device(setup: Setup) -> Machine {
    let machine = Machine::new(setup);
    machine.map(0, 0..8);
    machine.launch(&|on, number| unit(on, &[(0, 0), (0, 2), (0, 5)], number));
    machine
}

/// The device goes while both sides use the memory.
pub fn in_use(setup: Setup) {
    let machine = on_device(setup);
    machine.run(&[
        &|machine| program(machine, &[(0, 0), (0, 5), (0, 2)], word::FIRST),
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 1), (0, 4), (0, 6)], number)),
        &|machine| {
            let gone = machine.detach(FOR_EVER);
            let stuck = matches!(gone, Err(DetachError::Stuck(_)));
            assert!(gone.is_ok() || (machine.may_fail() && stuck), "{gone:?}");
        },
    ]);
}

/// The device goes while units fault in folio after folio.
pub fn formed_meanwhile(setup: Setup) {
    let machine = Machine::new(Setup { units: NonZeroUsize::new(2).expect("two"), ..setup });
    machine.map(0, 0..16);
    machine.run(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 4 * number), (0, 8 + 4 * number)], number)),
        &|machine| machine.detach(FOR_EVER).expect("no folio is held for ever"),
    ]);
}

/// A folio is held for a while; the thread that takes the device away waits.
pub fn held_for_a_while(setup: Setup) {
    let machine = on_device(setup);
    machine.run(&[
        &|machine| machine.hold(2),
        &|machine| machine.detach(FOR_EVER).expect("the holder lets go"),
        &|machine| program(machine, &[(0, 3), (0, 0)], word::FIRST),
    ]);
}

/// A folio is held; the thread that takes the device away does not wait, is told, and succeeds later.
pub fn held_too_long(setup: Setup) {
    let machine = on_device(setup);
    machine.run(&[
        &|machine| {
            let holding = machine.holding(2, |order| (order, machine.detach(NOT_AT_ALL)));
            if let Some((order, told)) = holding {
                let Err(DetachError::StillHeld(told)) = told else { panic!("held, but {told:?}") };
                assert_eq!(told.pages, order.pages());
            }
            machine.detach(NOT_AT_ALL).expect("no folio is held");
        },
        &|machine| program(machine, &[(0, 3), (0, 0)], word::FIRST),
    ]);
}

#[test]
fn private_device_goes_and_all_bytes_stay() {
    plain(Private, in_use);
}

#[test]
fn coherent_device_goes_and_all_bytes_stay() {
    plain(Coherent, in_use);
}

#[test]
fn nothing_is_formed_after_the_kill_and_all_memory_comes_back() {
    plain(Private, formed_meanwhile);
}

#[test]
fn private_device_goes_or_says_why_not_when_calls_fail() {
    failing(Private, in_use);
}

#[test]
fn coherent_device_goes_or_says_why_not_when_calls_fail() {
    failing(Coherent, in_use);
}

#[test]
fn device_goes_once_a_holder_lets_go() {
    plain(Private, held_for_a_while);
}

#[test]
fn impatient_teardown_is_told_of_the_holder_and_succeeds_later() {
    plain(Private, held_too_long);
}
