//! What each kind of transaction moves, and what it refuses.

use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::{AlignedRun, Failure, Moved, OrderRange, PageRun, Rights, Step, Transaction};

use crate::world::World;
use crate::{NODE, cpu_fault, device_fault, order, orders, run, written};

#[test]
fn whole_block_travels_as_one_folio_in_both_directions() {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    let out = world.run(device_fault(7, 9)).expect("the device is empty");
    assert_eq!((out.moved, out.fallbacks), (Moved::ToDevice(AlignedRun::block()), 0));
    world.check();
    let back = world.run(cpu_fault(&world, 511, 9)).expect("system memory is free");
    assert_eq!(back.moved, Moved::ToRam(AlignedRun::block()));
    world.check();
}

#[test]
fn small_device_memory_goes_down_order_by_order() {
    let mut world = written(&[(MemoryKind::Private, 32)], 512);
    let out = world.run(device_fault(100, 9)).expect("order 5 fits");
    assert_eq!(out.moved, Moved::ToDevice(AlignedRun::around(100, order(5))));
    assert_eq!(out.fallbacks, 4);
    world.check();
}

#[test]
fn short_system_memory_splits_the_folio_and_keeps_the_rest_on_the_device() {
    let mut world = World::new(&[(MemoryKind::Private, 512)], 8);
    world.map(PageRun::BLOCK);
    world.run(device_fault(0, 9)).expect("the device is empty");
    let back = world.run(cpu_fault(&world, 300, 9)).expect("order 3 fits");
    assert_eq!(back.moved, Moved::ToRam(AlignedRun::around(300, order(3))));
    assert_eq!(world.block.device().count(), 504);
    assert_eq!(world.block.pieces().len(), 6);
    world.check();
}

#[test]
fn partial_unmap_splits_in_place_and_keeps_the_rest_resident() {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    world.run(device_fault(0, 9)).expect("the device is empty");
    let gone = run(100, 3);
    let result = world.run(Transaction::unmap(gone)).expect("no other reference");
    assert_eq!(result.moved, Moved::Unmapped(gone));
    assert_eq!(world.block.device().count(), 509);
    world.check();
}

#[test]
fn unmapped_pages_are_refused_to_both_sides() {
    let mut world = World::new(&[(MemoryKind::Private, 512)], 512);
    assert_eq!(world.run(device_fault(3, 9)), Err(Failure::NotMapped));
    assert_eq!(world.run(cpu_fault(&world, 3, 9)), Err(Failure::NotMapped));
}

#[test]
fn nothing_goes_to_a_device_that_is_taken_away_but_folios_come_home() {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    world.run(device_fault(0, 8)).expect("the device is empty");
    world.detached = true;
    assert_eq!(world.run(device_fault(300, 8)), Err(Failure::Detached));
    let home = world.run(Transaction::to_ram(0)).expect("system memory is free");
    assert_eq!(home.moved, Moved::ToRam(AlignedRun::around(0, order(8))));
    world.check();
}

#[test]
fn pinned_pages_stay_and_their_neighbours_go_in_smaller_folios() {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    let pinned = run(64, 2);
    world.block.pin(pinned);
    world.block.pin(PageRun::single(65));
    for page in [64, 65] {
        assert_eq!(world.run(device_fault(page, 9)), Err(Failure::Pinned));
        assert_eq!(world.run(Transaction::unmap(PageRun::single(page))), Err(Failure::Pinned));
    }
    let beside = world.run(device_fault(66, 9)).expect("the device is empty");
    assert_eq!(beside.moved, Moved::ToDevice(AlignedRun::around(66, order(1))));
    world.block.unpin(pinned);
    assert!(!world.block.is_pinned(run(0, 65)));
    assert_eq!(world.run(device_fault(65, 9)), Err(Failure::Pinned), "it was pinned twice");
    assert!(world.run(device_fault(64, 9)).is_ok());
    world.check();
}

#[test]
fn pinned_page_keeps_its_neighbours_where_folios_cannot_be_smaller() {
    let mut world = written(&[(MemoryKind::Coherent, 512)], 512);
    world.block.pin(PageRun::single(3));
    let coarse = OrderRange { largest: order(9), smallest: order(4) };
    assert_eq!(world.run(Transaction::device_fault(NODE, 4, coarse, Rights::all())), Err(Failure::Pinned));
    world.check();
}

#[test]
fn split_is_uniform_over_a_whole_folio_and_around_a_single_page() {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    world.run(device_fault(0, 9)).expect("the device is empty");
    let around = world.run(Transaction::split(PageRun::single(300), Order::ZERO)).expect("quiet");
    assert_eq!(around.splits, 9);
    assert_eq!(piece_orders(&world), [8, 5, 3, 2, 0, 0, 1, 4, 6, 7]);
    world.check();
    let uniform = world.run(Transaction::split(PageRun::BLOCK, Order::ZERO)).expect("quiet");
    assert_eq!((uniform.splits, world.block.pieces().len()), (511 - 9, 512));
    world.check();
    for page in [0, 300, 511] {
        assert!(world.device_write(NODE, page, 7), "page {page} stays in the device's page table");
    }
    world.check();
}

fn piece_orders(world: &World) -> Vec<u8> {
    world.block.pieces().iter().map(|piece| piece.run.order().get()).collect()
}

#[test]
fn pieces_collapse_to_the_folio_they_were_split_from() {
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let mut world = written(&[(kind, 512)], 512);
        world.run(device_fault(0, 9)).expect("the device is empty");
        world.run(Transaction::split(PageRun::BLOCK, Order::ZERO)).expect("quiet");
        let collapsed = world.run(Transaction::collapse(PageRun::BLOCK)).expect("quiet");
        assert_eq!((collapsed.moved, piece_orders(&world)), (Moved::Collapsed(PageRun::BLOCK), vec![9]));
        world.check();
        assert!(world.device_write(NODE, 511, 7), "it stays in the device's page table");
    }
}

#[test]
fn collapse_keeps_to_its_run() {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    world.run(device_fault(0, 9)).expect("the device is empty");
    world.run(Transaction::split(PageRun::BLOCK, order(6))).expect("quiet");
    world.run(Transaction::collapse(run(32, 352))).expect("quiet");
    assert_eq!(piece_orders(&world), [6, 6, 7, 7, 6, 6], "64..128 and 320..384 have their halves outside");
    world.check();
}

#[test]
fn neighbours_of_different_backings_do_not_collapse() {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    for page in [0, 8] {
        world.run(device_fault(page, 3)).expect("the device is empty");
    }
    let collapsed = world.run(Transaction::collapse(PageRun::BLOCK)).expect("it is no failure");
    assert_eq!((collapsed.moved, piece_orders(&world)), (Moved::Collapsed(PageRun::BLOCK), vec![3, 3]));
    world.check();
}

#[test]
fn cleared_memory_is_not_cleared_again() {
    let mut world = World::new(&[(MemoryKind::Private, 512)], 512);
    world.clear();
    world.map(PageRun::BLOCK);
    world.run(cpu_fault(&world, 5, 2)).expect("there is system memory");
    world.run(device_fault(0, 9)).expect("the device is empty");
    let copies = |step: &&Step| matches!(step, Step::CopyToDevice { .. });
    assert_eq!(world.steps.iter().filter(copies).count(), 1);
    assert!(!world.steps.iter().any(|step| matches!(step, Step::ClearDevice { .. })));
    world.check();
}

#[test]
fn mapping_without_a_right_gets_it_when_it_is_asked_for() {
    for fails in [false, true] {
        let mut world = written(&[(MemoryKind::Private, 512)], 512);
        let to_read = Transaction::device_fault(NODE, 5, orders(2), Rights::READ);
        world.run(Transaction::protect(PageRun::BLOCK, Rights::READ)).expect("nothing is held");
        world.run(to_read.clone()).expect("the device is empty");
        assert!(!world.device_write(NODE, 5, 7), "it may only read");
        world.run(Transaction::protect(PageRun::BLOCK, Rights::all())).expect("nothing is held");
        world.run(to_read).expect("it is there");
        world.fail_in = fails.then_some(0);
        assert_eq!(world.run(device_fault(5, 2)).is_err(), fails);
        assert_eq!(world.device_write(NODE, 5, 7), !fails, "a mapping that fails is taken away");
        world.check();
    }
}

#[test]
fn full_device_evicts_within_the_same_block() {
    let mut world = written(&[(MemoryKind::Private, 16)], 512);
    for page in [0, 64, 128, 192] {
        let out = world.run(device_fault(page, 4)).expect("the older folio is evicted");
        assert_eq!((out.moved, out.fallbacks), (Moved::ToDevice(AlignedRun::around(page, order(4))), 0));
        world.check();
    }
}

#[test]
fn page_that_came_home_alone_goes_back_with_the_neighbours_it_may_travel_with() {
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let mut world = written(&[(kind, 512)], 512);
        world.run(device_fault(0, 9)).expect("the device is empty");
        world.run(Transaction::split(PageRun::BLOCK, Order::ZERO)).expect("no other reference");
        world.run(Transaction::to_ram(20)).expect("there is system memory");
        let of_16 = OrderRange { largest: order(9), smallest: order(4) };
        let moved =
            world.run(Transaction::device_fault(NODE, 20, of_16, Rights::all())).map(|done| done.moved);
        assert_eq!(moved, Ok(Moved::ToDevice(AlignedRun::around(20, order(4)))));
        assert_eq!(world.block.device().count(), 512);
        world.check();
    }
}
