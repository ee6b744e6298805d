//! The engine on a device that takes its time.

use bifolio_engine::Side;
use bifolio_engine::clock::Clock;
use bifolio_folio::MemoryKind;
use bifolio_migrate::NodeId;

use crate::machine::{Machine, PAGES, Setup};

#[test]
fn copies_take_the_time_of_the_virtual_clock_and_nothing_else_does() {
    let machine = Machine::written(&Setup { copy_ns: 100, ..Setup::new(MemoryKind::Private, 1024) });
    let block_ns = PAGES as u64 * 100;
    assert_eq!(machine.clock.now_ns(), 0);
    machine.engine.prefetch(machine.all(), Side::DEVICE).expect("there is room");
    assert_eq!(machine.clock.now_ns(), block_ns);
    assert_eq!(machine.device_read(NodeId(0), 7), Some(8));
    assert_eq!(machine.clock.now_ns(), block_ns, "it only had to be mapped");
    machine.engine.prefetch(machine.all(), Side::Ram).expect("there is room");
    assert_eq!(machine.clock.now_ns(), 2 * block_ns);
    machine.check();
}
