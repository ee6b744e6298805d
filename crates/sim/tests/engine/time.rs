//! The engine on a device that takes its time.

use bifolio_engine::Side;
use bifolio_engine::clock::Clock;
use bifolio_folio::MemoryKind;
use bifolio_pool::PoolName;
use bifolio_sim::{SimDevice, VirtualClock};

use crate::machine::Machine;

#[test]
fn copies_take_the_time_of_the_virtual_clock_and_nothing_else_does() {
    let clock = VirtualClock::default();
    let pool = PoolName::Buddy.make(1024).expect("a pool");
    let device = SimDevice::new(MemoryKind::Private, 1024).timed(clock.clone(), 100);
    let machine = Machine::new(MemoryKind::Private, device, pool, 1024);
    (0..512).for_each(|page| machine.write(page));
    assert_eq!(clock.now_ns(), 0);
    machine.engine.prefetch(machine.all(), Side::DEVICE).expect("there is room");
    assert_eq!(clock.now_ns(), 512 * 100);
    assert_eq!(machine.device_read(7), 8);
    assert_eq!(clock.now_ns(), 512 * 100, "it only had to be mapped");
    machine.engine.prefetch(machine.all(), Side::Ram).expect("there is room");
    assert_eq!(clock.now_ns(), 2 * 512 * 100);
    machine.check();
}
