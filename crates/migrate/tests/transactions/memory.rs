//! Memory that is short: folios of every order for which there is some travel, in both directions (I19).

use bifolio_folio::MemoryKind;
use bifolio_migrate::{AlignedRun, Failure, Moved};

use crate::{cpu_fault, device_fault, order, written};

const KINDS: [MemoryKind; 2] = [MemoryKind::Private, MemoryKind::Coherent];

#[test]
fn device_memory_of_one_order_takes_a_folio_of_that_order() {
    for (kind, k) in KINDS.iter().flat_map(|kind| (0..=9).map(|k| (*kind, k))) {
        let mut world = written(&[(kind, 1 << k)], 512);
        world.fail_reclaim = true;
        let done = world.run(device_fault(77, 9)).expect("there is memory of that order");
        let expected = Moved::ToDevice(AlignedRun::around(77, order(k)));
        assert_eq!((done.moved, done.fallbacks), (expected, 9 - k), "{kind:?}");
        world.check();
        let full = world.run(device_fault(if k == 9 { 77 } else { 400 }, 9));
        assert_eq!(full.is_ok(), k == 9, "{kind:?}, order {k}: {full:?}");
        world.check();
    }
}

#[test]
fn system_memory_of_one_order_takes_a_folio_of_that_order() {
    for (kind, k) in KINDS.iter().flat_map(|kind| (0..=9).map(|k| (*kind, k))) {
        let mut world = written(&[(kind, 512)], 512);
        world.run(device_fault(0, 9)).expect("the device is empty");
        (world.ram_limit, world.fail_reclaim) = (1 << k, true);
        let done = world.run(cpu_fault(&world, 77, 9)).expect("there is memory of that order");
        let expected = Moved::ToRam(AlignedRun::around(77, order(k)));
        assert_eq!((done.moved, done.fallbacks), (expected, 9 - k), "{kind:?}");
        assert_eq!(u16::from(done.fallbacks), done.splits, "the folio is halved where it is");
        world.check();
    }
}

#[test]
fn without_any_memory_the_page_stays_where_it_is_and_keeps_its_bytes() {
    for kind in KINDS {
        let mut world = written(&[(kind, 512)], 512);
        world.run(device_fault(0, 9)).expect("the device is empty");
        (world.ram_limit, world.fail_reclaim) = (0, true);
        assert_eq!(world.run(cpu_fault(&world, 77, 9)), Err(Failure::NoRam), "{kind:?}");
        assert!(world.block.device().contains(77));
        world.check();
    }
}
