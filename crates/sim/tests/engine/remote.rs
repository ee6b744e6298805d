//! System memory that a device uses where it is.

use bifolio_engine::clock::Clock;
use bifolio_engine::{Counter, Side};
use bifolio_folio::MemoryKind;
use bifolio_migrate::{NodeId, Rights};
use bifolio_policy::{Advice, Preferred};

use crate::machine::{Machine, Setup};

/// Memory that stays at home, where the device uses it, with every page written by the CPU.
fn machine_that_stays(copy_ns: u64) -> Machine {
    let machine = Machine::written(&Setup { remote: true, copy_ns, ..Setup::new(MemoryKind::Private, 1024) });
    let stays = Advice { prefer: Some(Preferred::Home), stay: true, ..Advice::default() };
    machine.engine.advise(machine.all(), stays).expect("it is mapped");
    machine
}

#[test]
fn device_reads_and_writes_system_memory_and_nothing_moves() {
    let machine = machine_that_stays(0);
    let before = machine.statistics.snapshot();
    assert_eq!(machine.device_read(NodeId(0), 7), Some(8));
    assert!(machine.device_write(NodeId(0), 7, 70));
    assert_eq!(machine.read(7), 70, "the CPU reads what the device wrote");
    let after = machine.statistics.snapshot();
    for counter in [Counter::BytesToDevice, Counter::BytesToRam] {
        assert_eq!(after.get(counter), before.get(counter));
    }
    assert_eq!(machine.devices[0].remote_accesses(), 2);
    machine.write(7, 8);
    machine.check();
}

#[test]
fn entry_is_good_for_its_uses_and_goes_when_the_page_moves() {
    let machine = machine_that_stays(0);
    assert_eq!(machine.device_read(NodeId(0), 3), Some(4));
    let device = &machine.devices[0];
    let done = device.try_accesses(machine.address(3), Rights::READ, u32::MAX);
    assert!(done > 0 && done < u32::MAX, "{done}");
    assert_eq!(device.try_accesses(machine.address(3), Rights::READ, 1), 0, "all uses were made");
    assert_eq!(device.try_accesses(machine.address(4), Rights::READ, 1), 1, "each page has its own");
    machine.engine.prefetch(machine.all(), Side::DEVICE).expect("there is room");
    let before = device.remote_accesses();
    assert_eq!(device.try_accesses(machine.address(4), Rights::READ, 1), 0, "it does not lead home any more");
    assert_eq!(device.remote_accesses(), before);
    machine.check();
}

#[test]
fn each_access_takes_the_time_of_its_bytes() {
    let machine = machine_that_stays(6400);
    assert_eq!(machine.device_read(NodeId(0), 0), Some(1));
    let begin = machine.clock.now_ns();
    assert_eq!(machine.devices[0].try_accesses(machine.address(0), Rights::READ, 10), 10);
    assert_eq!(machine.clock.now_ns() - begin, 10 * 6400 / 64);
}
