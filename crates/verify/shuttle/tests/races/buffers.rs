//! Buffer objects against whatever else wants device memory, and against their users.

use std::time::Duration;

use bifolio_folio::MemoryKind::{Coherent, Private};
use bifolio_shuttle::detach::{DetachError, StillPinned};
use bifolio_shuttle::simulation::buffer::KnownBuffer;
use bifolio_shuttle::simulation::machine::{Machine, Setup};
use bifolio_shuttle::space::BufferError;

use crate::scenario::{failing, plain, program, unit, word};

const FOR_EVER: Duration = Duration::from_secs(3600);

/// Writes, uses and reads a buffer.
fn use_buffer(buffer: &KnownBuffer<'_>, page: usize, word: usize) {
    buffer.write(page, word);
    buffer.validate();
    buffer.read(page, word);
}

/// Pins a buffer for which there is room; tells whether it could.
fn pin<R>(machine: &Machine, buffer: &KnownBuffer<'_>, work: impl FnOnce() -> R) {
    let done = buffer.while_pinned(|| {
        assert!(buffer.is_on_device(), "a pinned buffer was evicted");
        work();
        assert!(buffer.is_on_device(), "a pinned buffer was evicted");
    });
    assert!(done.is_ok() || machine.may_fail(), "pinning fails: {done:?}");
}

/// Drops buffers, which look at their bytes; then nothing is left.
fn finish<T>(machine: &Machine, buffers: T) {
    drop(buffers);
    machine.free_all();
}

/// One buffer is brought and evicted, written and read, pinned and used by a unit.
pub fn one_buffer(setup: Setup) {
    let machine = Machine::new(setup);
    let buffer = machine.buffer(3);
    machine.race(&[
        &|_| {
            use_buffer(&buffer, 0, word::FIRST);
            buffer.read(1, word::UNIT);
            use_buffer(&buffer, 0, word::FIRST);
        },
        &|_| (0..3).for_each(|_| buffer.evict()),
        &|machine| {
            pin(machine, &buffer, || machine.launch(&|on, number| unit(on, &[buffer.page(1)], number)));
            use_buffer(&buffer, 0, word::SECOND);
        },
    ]);
    finish(&machine, buffer);
}

/// Two buffers, one of which fits.
pub fn two_for_one_place(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 4, ..setup });
    let buffers = [machine.buffer(3), machine.buffer(2)];
    machine.race(&[
        &|machine| {
            use_buffer(&buffers[0], 2, word::FIRST);
            buffers[0].read(0, word::SECOND);
            pin(machine, &buffers[0], || {
                machine.launch(&|on, number| unit(on, &[buffers[0].page(1)], number));
            });
        },
        &|_| (0..3).for_each(|_| use_buffer(&buffers[1], 1, word::FIRST)),
        &|_| {
            use_buffer(&buffers[0], 0, word::SECOND);
            use_buffer(&buffers[1], 0, word::SECOND);
        },
    ]);
    finish(&machine, buffers);
}

/// Buffers and folios compete.
pub fn against_folios(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ..setup });
    machine.map(0, 0..8);
    let buffer = machine.buffer(5);
    machine.race(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 4), (0, 2), (0, 6)], number)),
        &|machine| program(machine, &[(0, 0), (0, 5)], word::FIRST),
        &|machine| {
            use_buffer(&buffer, 4, word::FIRST);
            pin(machine, &buffer, || buffer.write(3, word::FIRST));
            use_buffer(&buffer, 1, word::FIRST);
        },
    ]);
    finish(&machine, buffer);
}

/// As above, and system memory holds everything with one page to spare: what is pinned on the device counts there too, and
/// the folio that is left takes turns with the other.
pub fn against_folios_with_little_ram(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ram_pages: (14, 7), ..setup });
    machine.map(0, 0..8);
    let buffers = [machine.buffer(3), machine.buffer(1), machine.buffer(1)];
    machine.race(&[
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 4), (0, 2), (0, 6)], number)),
        &|machine| program(machine, &[(0, 0), (0, 5), (0, 1)], word::FIRST),
        &|machine| {
            use_buffer(&buffers[0], 2, word::FIRST);
            pin(machine, &buffers[0], || buffers[0].write(1, word::FIRST));
            use_buffer(&buffers[0], 1, word::FIRST);
        },
        &|machine| {
            pin(machine, &buffers[1], || buffers[1].write(0, word::SECOND));
            pin(machine, &buffers[2], || buffers[2].write(0, word::SECOND));
            use_buffer(&buffers[1], 0, word::SECOND);
        },
    ]);
    finish(&machine, buffers);
}

/// Buffers are made and freed again and again, while their system memory is on the move.
pub fn made_under_a_tight_budget(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ram_pages: (8, 4), ..setup });
    machine.map(0, 0..6);
    machine.run(&[
        &|machine| {
            for _ in 0..3 {
                let buffer = machine.buffer(2);
                buffer.write(1, word::FIRST);
            }
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 4), (0, 2)], number)),
        &|machine| program(machine, &[(0, 1), (0, 5), (0, 0)], word::FIRST),
    ]);
}

/// Buffers are freed while others look for victims.
pub fn freed_while_victims(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 4, ..setup });
    machine.map(0, 0..4);
    machine.run(&[
        &|machine| {
            for _ in 0..3 {
                let buffer = machine.buffer(2);
                buffer.write(0, word::FIRST);
                buffer.validate();
            }
        },
        &|machine| {
            let buffer = machine.buffer(3);
            (0..2).for_each(|_| use_buffer(&buffer, 2, word::FIRST));
        },
        &|machine| machine.launch(&|on, number| unit(on, &[(0, 0), (0, 3)], number)),
    ]);
}

/// The device goes while a unit uses a buffer: it waits for the pin, and what comes later is refused.
pub fn device_goes(setup: Setup) {
    let machine = Machine::new(setup);
    let buffer = machine.buffer(3);
    machine.race(&[
        &|machine| {
            let used = buffer.while_pinned(|| {
                buffer.write(1, word::FIRST);
                machine.let_others_go_on();
                assert!(buffer.is_on_device(), "a pinned buffer was evicted");
            });
            let detached = used == Err(BufferError::Detached);
            assert!(used.is_ok() || detached || machine.may_fail(), "{used:?}");
        },
        &|machine| {
            machine.detach(FOR_EVER).expect("the pin ends");
            assert!(!buffer.is_on_device());
        },
        &|_| {
            buffer.write(2, word::SECOND);
            buffer.read(1, word::FIRST);
            buffer.read(2, word::SECOND);
        },
    ]);
    finish(&machine, buffer);
}

/// The device goes without waiting: it is told of the pages that are pinned, and succeeds later.
pub fn device_goes_impatiently(setup: Setup) {
    let machine = Machine::new(Setup { device_pages: 8, ..setup });
    machine.map(0, 0..4);
    let buffers = [machine.buffer(3), machine.buffer(2)];
    machine.race(&[
        &|machine| {
            let told = buffers[0].while_pinned(|| machine.detach(Duration::ZERO));
            let told = told.expect("no other thread takes the device away");
            let Err(DetachError::StillPinned(StillPinned { pages })) = told else { panic!("{told:?}") };
            // The other buffer stays too, if it is just being used.
            assert!([3, 5].contains(&pages), "told of {pages} pages");
            machine.detach(FOR_EVER).expect("nothing is pinned");
        },
        &|_| {
            buffers[1].write(1, word::FIRST);
            buffers[1].read(1, word::FIRST);
        },
        &|machine| program(machine, &[(0, 3), (0, 0)], word::FIRST),
    ]);
    finish(&machine, buffers);
}

#[test]
fn buffer_holds_what_was_written_wherever_it_is() {
    plain(Private, one_buffer);
}

#[test]
fn buffer_holds_what_was_written_when_calls_fail() {
    failing(Private, one_buffer);
}

#[test]
fn buffers_that_evict_each_other_go_on() {
    plain(Private, two_for_one_place);
}

#[test]
fn buffers_and_private_folios_make_room_for_each_other() {
    plain(Private, against_folios);
}

#[test]
fn buffers_and_coherent_folios_make_room_for_each_other() {
    plain(Coherent, against_folios);
}

#[test]
fn buffers_and_folios_make_room_for_each_other_when_calls_fail() {
    failing(Private, against_folios);
}

#[test]
fn buffers_and_folios_make_room_for_each_other_with_little_ram() {
    plain(Private, against_folios_with_little_ram);
}

#[test]
fn buffer_is_made_while_system_memory_is_on_the_move() {
    plain(Private, made_under_a_tight_budget);
}

#[test]
fn buffers_are_freed_while_others_would_evict_them() {
    plain(Private, freed_while_victims);
}

#[test]
fn device_goes_once_its_buffers_are_unpinned() {
    plain(Private, device_goes);
}

#[test]
fn impatient_teardown_is_told_of_pinned_buffers_and_succeeds_later() {
    plain(Private, device_goes_impatiently);
}
