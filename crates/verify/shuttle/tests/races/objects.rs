//! Buffer objects against whatever else wants device memory, and against those who use them.

use std::time::Duration;

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_shuttle::detach::{DetachError, StillPinned};
use bifolio_shuttle::simulation::machine::{Machine, Setup};
use bifolio_shuttle::simulation::object::KnownObject;
use bifolio_shuttle::space::BufferError;
use bifolio_shuttle::space::object::ObjectError;

use crate::scenario::{failing, plain, program, unit, word};

const FOR_EVER: Duration = Duration::from_secs(3600);

/// Writes, uses and reads an object.
fn use_object(object: &KnownObject<'_>, page: usize, word: usize) {
    object.write(page, word);
    object.validate();
    object.read(page, word);
}

/// Pins an object for which there is room; tells whether it could.
fn pin<R>(machine: &Machine, object: &KnownObject<'_>, work: impl FnOnce() -> R) {
    let done = object.while_pinned(|| {
        assert!(object.is_on_device(), "a pinned object was evicted");
        work();
        assert!(object.is_on_device(), "a pinned object was evicted");
    });
    assert!(done.is_ok() || machine.may_fail(), "pinning fails: {done:?}");
}

/// Drops objects, which look at their bytes; then nothing is left.
fn finish<T>(machine: &Machine, objects: T) {
    drop(objects);
    machine.free_all();
}

/// One object is brought and evicted, written and read, pinned and used by a unit.
pub fn one_object(setup: Setup) {
    let machine = Machine::new(setup);
    let object = machine.object(3);
    machine.race(&[
        &|_| {
            use_object(&object, 0, word::FIRST);
            object.read(1, word::UNIT);
            use_object(&object, 0, word::FIRST);
        },
        &|_| (0..3).for_each(|_| object.evict()),
        &|machine| {
            pin(machine, &object, || machine.launch(&|on, number| unit(on, &[object.page(1)], number)));
            use_object(&object, 0, word::SECOND);
        },
    ]);
    finish(&machine, object);
}

/// Two objects, one of which fits.
pub fn two_for_one_place(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 4, ..setup });
    let objects = [machine.object(3), machine.object(2)];
    machine.race(&[
        &|machine| {
            use_object(&objects[0], 2, word::FIRST);
            objects[0].read(0, word::SECOND);
            pin(machine, &objects[0], || {
                machine.launch(&|on, number| unit(on, &[objects[0].page(1)], number));
            });
        },
        &|_| (0..3).for_each(|_| use_object(&objects[1], 1, word::FIRST)),
        &|_| {
            use_object(&objects[0], 0, word::SECOND);
            use_object(&objects[1], 0, word::SECOND);
        },
    ]);
    finish(&machine, objects);
}

/// Objects and folios compete.
pub fn against_folios(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ..setup });
    machine.map(0, 0..8);
    let object = machine.object(5);
    machine.race(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 4), (0, 2), (0, 6)], number)),
        &|machine| program(machine, &[(0, 0), (0, 5)], word::FIRST),
        &|machine| {
            use_object(&object, 4, word::FIRST);
            pin(machine, &object, || object.write(3, word::FIRST));
            use_object(&object, 1, word::FIRST);
        },
    ]);
    finish(&machine, object);
}

/// As above, and system memory holds everything with one page to spare: what is pinned on the device counts there too, and
/// the folio that is left takes turns with the other.
pub fn against_folios_with_little_ram(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ram_pages: (14, 7), ..setup });
    machine.map(0, 0..8);
    let objects = [machine.object(3), machine.object(1), machine.object(1)];
    machine.race(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 4), (0, 2), (0, 6)], number)),
        &|machine| program(machine, &[(0, 0), (0, 5), (0, 1)], word::FIRST),
        &|machine| {
            use_object(&objects[0], 2, word::FIRST);
            pin(machine, &objects[0], || objects[0].write(1, word::FIRST));
            use_object(&objects[0], 1, word::FIRST);
        },
        &|machine| {
            pin(machine, &objects[1], || objects[1].write(0, word::SECOND));
            pin(machine, &objects[2], || objects[2].write(0, word::SECOND));
            use_object(&objects[1], 0, word::SECOND);
        },
    ]);
    finish(&machine, objects);
}

/// Objects are made and freed again and again, while their system memory is on the move.
pub fn made_under_a_tight_budget(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ram_pages: (8, 4), ..setup });
    machine.map(0, 0..6);
    machine.run(&[
        &|machine| {
            for _ in 0..3 {
                let object = machine.object(2);
                object.write(1, word::FIRST);
            }
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 4), (0, 2)], number)),
        &|machine| program(machine, &[(0, 1), (0, 5), (0, 0)], word::FIRST),
    ]);
}

/// Objects are freed while others look for victims.
pub fn freed_while_victims(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 4, ..setup });
    machine.map(0, 0..4);
    machine.run(&[
        &|machine| {
            for _ in 0..3 {
                let object = machine.object(2);
                object.write(0, word::FIRST);
                object.validate();
            }
        },
        &|machine| {
            let object = machine.object(3);
            (0..2).for_each(|_| use_object(&object, 2, word::FIRST));
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 3)], number)),
    ]);
}

/// The device goes while a unit uses an object: it waits for the pin, and what comes later is refused.
pub fn device_goes(setup: Setup) {
    let machine = Machine::new(setup);
    let object = machine.object(3);
    machine.race(&[
        &|machine| {
            let used = object.while_pinned(|| {
                object.write(1, word::FIRST);
                machine.let_others_go_on();
                assert!(object.is_on_device(), "a pinned object was evicted");
            });
            let detached = used == Err(ObjectError::Memory(BufferError::Detached));
            assert!(used.is_ok() || detached || machine.may_fail(), "{used:?}");
        },
        &|machine| {
            machine.detach(FOR_EVER).expect("the pin ends");
            assert!(!object.is_on_device());
        },
        &|_| {
            object.write(2, word::SECOND);
            object.read(1, word::FIRST);
            object.read(2, word::SECOND);
        },
    ]);
    finish(&machine, object);
}

/// The device goes without waiting: it is told of the pages that are pinned, and succeeds later.
pub fn device_goes_impatiently(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ..setup });
    machine.map(0, 0..4);
    let objects = [machine.object(3), machine.object(2)];
    machine.race(&[
        &|machine| {
            let told = objects[0].while_pinned(|| machine.detach(Duration::ZERO));
            let told = told.expect("nobody else takes the device away");
            let Err(DetachError::StillPinned(StillPinned { pages })) = told else { panic!("{told:?}") };
            // The other object stays too, if it is just being used.
            assert!([3, 5].contains(&pages), "told of {pages} pages");
            machine.detach(FOR_EVER).expect("nothing is pinned");
        },
        &|_| {
            objects[1].write(1, word::FIRST);
            objects[1].read(1, word::FIRST);
        },
        &|machine| program(machine, &[(0, 3), (0, 0)], word::FIRST),
    ]);
    finish(&machine, objects);
}

#[test]
fn object_holds_what_was_written_wherever_it_is() {
    plain(Private, one_object);
}

#[test]
fn object_holds_what_was_written_when_calls_fail() {
    failing(Private, one_object);
}

#[test]
fn objects_that_evict_each_other_go_on() {
    plain(Private, two_for_one_place);
}

#[test]
fn objects_and_private_folios_make_room_for_each_other() {
    plain(Private, against_folios);
}

#[test]
fn objects_and_coherent_folios_make_room_for_each_other() {
    plain(Coherent, against_folios);
}

#[test]
fn objects_and_folios_make_room_for_each_other_when_calls_fail() {
    failing(Private, against_folios);
}

#[test]
fn objects_and_folios_make_room_for_each_other_with_little_ram() {
    plain(Private, against_folios_with_little_ram);
}

#[test]
fn object_is_made_while_system_memory_is_on_the_move() {
    plain(Private, made_under_a_tight_budget);
}

#[test]
fn objects_are_freed_while_others_would_evict_them() {
    plain(Private, freed_while_victims);
}

#[test]
fn device_goes_once_its_objects_are_unpinned() {
    plain(Private, device_goes);
}

#[test]
fn impatient_teardown_is_told_of_pinned_objects_and_succeeds_later() {
    plain(Private, device_goes_impatiently);
}
