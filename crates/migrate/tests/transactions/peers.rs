//! Two devices: a page that is on one and wanted on the other goes through system memory.

use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::{AlignedRun, Failure, Moved, NodeId, OrderRange, PageRun, Piece, Rights, Transaction};

use crate::failures::each_single_failure;
use crate::world::World;
use crate::{NODE, OTHER, cpu_fault, device_fault, order, orders, written};

const PRIVATE: MemoryKind = MemoryKind::Private;
const COHERENT: MemoryKind = MemoryKind::Coherent;

fn to_other(page: u16, largest: u8) -> Transaction {
    Transaction::device_fault(OTHER, page, orders(largest), Rights::all())
}

/// A world of two devices of 512 pages, with the whole block, written, on the first one.
fn on_first(kinds: [MemoryKind; 2], ram_pages: u64) -> World {
    let mut world = written(&kinds.map(|kind| (kind, 512)), 512);
    world.run(device_fault(0, 9)).expect("the device is empty");
    world.ram_limit = ram_pages;
    world
}

fn places(world: &World) -> Vec<(NodeId, u8)> {
    world.block.pieces().iter().map(|piece: &Piece| (piece.node, piece.run.order().get())).collect()
}

#[test]
fn whole_folio_goes_from_device_to_device_in_one_transaction() {
    for kinds in [[PRIVATE, PRIVATE], [PRIVATE, COHERENT], [COHERENT, PRIVATE], [COHERENT, COHERENT]] {
        let mut world = on_first(kinds, 512);
        let moved = world.run(to_other(300, 9)).expect("the other device is empty").moved;
        assert_eq!((moved, places(&world)), (Moved::ToDevice(AlignedRun::block()), vec![(OTHER, 9)]));
        world.check();
        assert!(!world.device_write(NODE, 300, 7) && world.device_write(OTHER, 300, 8));
        world.check();
    }
}

#[test]
fn only_the_part_that_may_travel_leaves_the_other_device() {
    let mut world = on_first([PRIVATE, PRIVATE], 512);
    let finished = world.run(to_other(0, 7)).expect("the other device is empty");
    assert_eq!((finished.moved, finished.splits), (Moved::ToDevice(AlignedRun::around(0, order(7))), 2));
    assert_eq!(places(&world), [(OTHER, 7), (NODE, 7), (NODE, 8)]);
    world.check();
}

#[test]
fn short_system_memory_lets_a_smaller_part_through() {
    let mut world = on_first([PRIVATE, COHERENT], 8);
    let finished = world.run(to_other(0, 9)).expect("order 3 fits through system memory");
    assert_eq!(finished.moved, Moved::ToDevice(AlignedRun::around(0, order(3))));
    assert_eq!(finished.fallbacks, 6);
    world.check();
}

#[test]
fn smallest_folio_gathers_its_pages_from_several_folios_of_the_other_device() {
    let mut world = on_first([PRIVATE, PRIVATE], 512);
    world.run(Transaction::split(PageRun::BLOCK, Order::ZERO)).expect("no other reference");
    let of_16 = OrderRange { largest: order(4), smallest: order(4) };
    let moved = world.run(Transaction::to_device(OTHER, 20, of_16)).expect("both have room").moved;
    assert_eq!(moved, Moved::ToDevice(AlignedRun::around(20, order(4))));
    assert_eq!(world.block.pieces().iter().filter(|piece| piece.node == NODE).count(), 496);
    world.check();
}

#[test]
fn page_comes_home_and_stays_there_where_the_other_device_is_full() {
    let mut world = written(&[(PRIVATE, 512), (PRIVATE, 16)], 512);
    world.run(device_fault(0, 4)).expect("the device is empty");
    world.run(to_other(64, 4)).expect("the other device is empty");
    world.fail_reclaim = true;
    assert_eq!(world.run(to_other(0, 4)), Err(Failure::NoDeviceMemory));
    assert!(world.block.ram().contains(0), "half of the way was gone");
    assert!(world.cpu_write(0, 9));
    world.check();
}

#[test]
fn halves_on_different_devices_do_not_collapse() {
    let mut world = written(&[(PRIVATE, 512), (PRIVATE, 512)], 512);
    world.run(device_fault(0, 3)).expect("the device is empty");
    world.run(to_other(8, 3)).expect("the other device is empty");
    world.run(Transaction::collapse(PageRun::BLOCK)).expect("it is no failure");
    assert_eq!(places(&world), [(NODE, 3), (OTHER, 3)]);
    world.check();
}

#[test]
fn every_single_failure_between_devices_loses_nothing() {
    for kinds in [[PRIVATE, PRIVATE], [COHERENT, COHERENT]] {
        for (largest, ram_pages) in [(9, 512), (7, 512), (9, 8)] {
            let failures = each_single_failure(|| on_first(kinds, ram_pages), |_| to_other(300, largest));
            assert!(failures >= 7, "reserve, copy, install, form, isolate, copy, map: {failures}");
        }
    }
}

#[test]
fn block_on_both_devices_is_unmapped_and_brought_home_whole() {
    let on_both = || {
        let mut world = on_first([PRIVATE, COHERENT], 512);
        world.run(to_other(0, 8)).expect("the other device is empty");
        world
    };
    let mut world = on_both();
    world.run(cpu_fault(&world, 400, 9)).expect("there is system memory");
    world.check();
    let mut world = on_both();
    world.run(Transaction::unmap(PageRun::BLOCK)).expect("no other reference");
    assert!(world.block.live().is_empty());
    world.check();
}
