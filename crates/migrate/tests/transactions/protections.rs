//! Rights of pages: nothing moves when they change, and mappings of the device carry them.

use bifolio_folio::MemoryKind;
use bifolio_migrate::{AlignedRun, Failure, Moved, PageRun, Rights, Transaction};

use crate::world::World;
use crate::{NODE, device_fault, order, orders, written};

fn run(first: u16, pages: u16) -> PageRun {
    PageRun::new(first, pages).expect("inside of the block")
}

fn reads(page: u16) -> Transaction {
    Transaction::device_fault(NODE, page, orders(9), Rights::READ)
}

fn on_device() -> World {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    world.run(device_fault(0, 9)).expect("the device is empty");
    world
}

#[test]
fn folio_over_a_border_is_split_where_it_is_and_only_the_inside_is_unmapped() {
    let mut world = on_device();
    let done = world.run(Transaction::protect(run(64, 64), Rights::READ)).expect("nothing is held");
    assert_eq!(done.moved, Moved::Protected(run(64, 64)));
    assert_eq!(done.splits, 3);
    assert!(!world.device_write(NODE, 70, 1), "it may only read there");
    assert!(world.device_write(NODE, 63, 2) && world.device_write(NODE, 128, 2), "the rest is as before");
    world.run(reads(70)).expect("it may be read");
    assert_eq!(world.run(device_fault(70, 9)), Err(Failure::Denied));
    world.check();
}

#[test]
fn pages_of_different_rights_never_share_a_folio() {
    let mut world = written(&[(MemoryKind::Private, 512)], 512);
    world.run(Transaction::protect(run(8, 8), Rights::READ)).expect("nothing is held");
    let moved = world.run(device_fault(0, 9)).expect("the device is empty").moved;
    assert_eq!(moved, Moved::ToDevice(AlignedRun::around(0, order(3))));
    let moved = world.run(reads(9)).expect("it may be read").moved;
    assert_eq!(moved, Moved::ToDevice(AlignedRun::around(9, order(3))));
    world.run(Transaction::collapse(PageRun::BLOCK)).expect("nothing is held");
    assert_eq!(world.block.piece_of(0).map(|piece| piece.run.order()), Some(order(3)));
    world.check();
}

#[test]
fn pages_without_rights_are_denied_until_they_have_them_again() {
    let mut world = on_device();
    world.run(Transaction::protect(PageRun::BLOCK, Rights::empty())).expect("nothing is held");
    assert_eq!(world.run(reads(5)), Err(Failure::Denied));
    world.run(Transaction::protect(PageRun::BLOCK, Rights::all())).expect("nothing is held");
    world.run(device_fault(5, 9)).expect("it may be written");
    assert!(world.device_write(NODE, 5, 7));
    world.check();
}

#[test]
fn allocation_that_begins_anew_has_all_rights() {
    let mut world = on_device();
    world.run(Transaction::protect(run(0, 16), Rights::empty())).expect("nothing is held");
    world.run(Transaction::unmap(run(0, 16))).expect("nothing is held");
    world.map(run(0, 16));
    assert_eq!(world.block.rights_in(run(0, 16)), Rights::all());
    world.check();
}

#[test]
fn pages_of_no_allocation_are_not_protected() {
    let mut world = on_device();
    world.run(Transaction::unmap(run(5, 1))).expect("nothing is held");
    assert_eq!(world.run(Transaction::protect(run(0, 16), Rights::READ)), Err(Failure::NotMapped));
    assert_eq!(world.block.rights_in(run(0, 16)), Rights::all());
    world.check();
}
