//! Transactions in a simulated world: each outcome, every injected failure, and random sequences.

#[expect(clippy::cast_possible_truncation, reason = "simulated memories are small")]
mod world;

use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::to_device::ToDevice;
use bifolio_migrate::{AlignedRun, Failure, Granularity, Moved, PageRun, Transaction};
use proptest::prelude::*;
use world::World;

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

/// The run of `pages` pages from page `first` on.
fn run(first: u16, pages: u16) -> PageRun {
    PageRun::new(first, pages).expect("runs in tests lie in the block")
}

fn policy(largest: u8) -> Granularity {
    Granularity { largest: order(largest), smallest: Order::ZERO, populate: order(largest) }
}

fn whole_block() -> PageRun {
    PageRun::BLOCK
}

/// A world whose whole block was written by the CPU.
fn written(kind: MemoryKind, device_pages: u64, ram_pages: u64) -> World {
    let mut world = World::new(kind, device_pages, ram_pages);
    world.map(whole_block());
    for page in 0..512 {
        if !world.cpu_write(page, 1) {
            let fault = Transaction::cpu_fault(&world.block, page, &policy(9));
            world.run(fault).expect("there is system memory");
        }
        assert!(world.cpu_write(page, 100 + u64::from(page)));
    }
    world.check();
    world
}

fn to_device(page: u16, largest: u8) -> Transaction {
    Transaction::ToDevice(ToDevice::new(page, order(largest), Order::ZERO, true))
}

#[test]
fn whole_block_travels_as_one_folio_in_both_directions() {
    let mut world = written(MemoryKind::Private, 512, 512);
    let out = world.run(to_device(7, 9)).expect("the device is empty");
    assert_eq!((out.moved, out.fallbacks), (Moved::ToDevice(AlignedRun::block()), 0));
    world.check();
    let back =
        world.run(Transaction::cpu_fault(&world.block, 511, &policy(9))).expect("system memory is free");
    assert_eq!(back.moved, Moved::ToRam(AlignedRun::block()));
    world.check();
}

#[test]
fn small_device_memory_goes_down_order_by_order() {
    let mut world = written(MemoryKind::Private, 32, 512);
    let out = world.run(to_device(100, 9)).expect("order 5 fits");
    assert_eq!(out.moved, Moved::ToDevice(AlignedRun::around(100, order(5))));
    assert_eq!(out.fallbacks, 4);
    world.check();
}

#[test]
fn short_system_memory_splits_the_folio_and_keeps_the_rest_on_the_device() {
    let mut world = World::new(MemoryKind::Private, 512, 8);
    world.map(whole_block());
    world.run(to_device(0, 9)).expect("the device is empty");
    let back = world.run(Transaction::cpu_fault(&world.block, 300, &policy(9))).expect("order 3 fits");
    assert_eq!(back.moved, Moved::ToRam(AlignedRun::around(300, order(3))));
    assert_eq!(world.block.device().count(), 504);
    assert_eq!(world.block.pieces().len(), 6);
    world.check();
}

#[test]
fn partial_unmap_splits_in_place_and_keeps_the_rest_resident() {
    let mut world = written(MemoryKind::Private, 512, 512);
    world.run(to_device(0, 9)).expect("the device is empty");
    let gone = run(100, 3);
    let result = world.run(Transaction::unmap(gone)).expect("nobody else holds the folio");
    assert_eq!(result.moved, Moved::Unmapped(gone));
    assert_eq!(world.block.device().count(), 509);
    world.check();
}

#[test]
fn unmapped_pages_are_refused_to_both_sides() {
    let mut world = World::new(MemoryKind::Private, 512, 512);
    assert_eq!(world.run(to_device(3, 9)), Err(Failure::NotMapped));
    assert_eq!(world.run(Transaction::cpu_fault(&world.block, 3, &policy(9))), Err(Failure::NotMapped));
}

#[test]
fn nothing_goes_to_a_device_that_is_taken_away_but_folios_come_home() {
    let mut world = written(MemoryKind::Private, 512, 512);
    world.run(to_device(0, 8)).expect("the device is empty");
    world.detached = true;
    assert_eq!(world.run(to_device(300, 8)), Err(Failure::Detached));
    let home = world.run(Transaction::to_ram(0)).expect("system memory is free");
    assert_eq!(home.moved, Moved::ToRam(AlignedRun::around(0, order(8))));
    world.check();
}

#[test]
fn pinned_pages_stay_and_their_neighbours_go_in_smaller_folios() {
    let mut world = written(MemoryKind::Private, 512, 512);
    let pinned = run(64, 2);
    world.block.pin(pinned);
    world.block.pin(PageRun::single(65));
    for page in [64, 65] {
        assert_eq!(world.run(to_device(page, 9)), Err(Failure::Pinned));
        assert_eq!(world.run(Transaction::unmap(PageRun::single(page))), Err(Failure::Pinned));
    }
    let beside = world.run(to_device(66, 9)).expect("the device is empty");
    assert_eq!(beside.moved, Moved::ToDevice(AlignedRun::around(66, order(1))));
    world.block.unpin(pinned);
    assert!(!world.block.is_pinned(run(0, 65)));
    assert_eq!(world.run(to_device(65, 9)), Err(Failure::Pinned), "it was pinned twice");
    assert!(world.run(to_device(64, 9)).is_ok());
    world.check();
}

#[test]
fn pinned_page_keeps_its_neighbours_where_folios_cannot_be_smaller() {
    let mut world = written(MemoryKind::Coherent, 512, 512);
    world.block.pin(PageRun::single(3));
    let coarse = Transaction::ToDevice(ToDevice::new(4, order(9), order(4), true));
    assert_eq!(world.run(coarse), Err(Failure::Pinned));
    world.check();
}

#[test]
fn split_is_uniform_over_a_whole_folio_and_around_a_single_page() {
    let mut world = written(MemoryKind::Private, 512, 512);
    world.run(to_device(0, 9)).expect("the device is empty");
    let around = world.run(Transaction::split(PageRun::single(300), Order::ZERO)).expect("quiet");
    assert_eq!(around.splits, 9);
    assert_eq!(orders(&world), [8, 5, 3, 2, 0, 0, 1, 4, 6, 7]);
    world.check();
    let uniform = world.run(Transaction::split(whole_block(), Order::ZERO)).expect("quiet");
    assert_eq!((uniform.splits, world.block.pieces().len()), (511 - 9, 512));
    world.check();
    for page in [0, 300, 511] {
        assert!(world.device_write(page, 7), "page {page} stays in the device's page table");
    }
    world.check();
}

fn orders(world: &World) -> Vec<u8> {
    world.block.pieces().iter().map(|piece| piece.span.order().get()).collect()
}

#[test]
fn pieces_collapse_to_the_folio_they_were_split_from() {
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let mut world = written(kind, 512, 512);
        world.run(to_device(0, 9)).expect("the device is empty");
        world.run(Transaction::split(whole_block(), Order::ZERO)).expect("quiet");
        let collapsed = world.run(Transaction::collapse(whole_block())).expect("quiet");
        assert_eq!((collapsed.moved, orders(&world)), (Moved::Collapsed(whole_block()), vec![9]));
        world.check();
        assert!(world.device_write(511, 7), "it stays in the device's page table");
    }
}

#[test]
fn collapse_keeps_to_its_run() {
    let mut world = written(MemoryKind::Private, 512, 512);
    world.run(to_device(0, 9)).expect("the device is empty");
    world.run(Transaction::split(whole_block(), order(6))).expect("quiet");
    world.run(Transaction::collapse(run(32, 352))).expect("quiet");
    assert_eq!(orders(&world), [6, 6, 7, 7, 6, 6], "64..128 and 320..384 have their halves outside");
    world.check();
}

#[test]
fn neighbours_of_different_backings_do_not_collapse() {
    let mut world = written(MemoryKind::Private, 512, 512);
    for page in [0, 8] {
        world.run(to_device(page, 3)).expect("the device is empty");
    }
    let collapsed = world.run(Transaction::collapse(whole_block())).expect("it is no failure");
    assert_eq!((collapsed.moved, orders(&world)), (Moved::Collapsed(whole_block()), vec![3, 3]));
    world.check();
}

#[test]
fn full_device_evicts_within_the_same_block() {
    let mut world = written(MemoryKind::Private, 16, 512);
    for page in [0, 64, 128, 192] {
        let out = world.run(to_device(page, 4)).expect("the older folio is evicted");
        assert_eq!((out.moved, out.fallbacks), (Moved::ToDevice(AlignedRun::around(page, order(4))), 0));
        world.check();
    }
}

/// The requests that the injected failures go through, with how the page is reached.
fn every_kind_of_transaction(world: &World) -> Vec<Transaction> {
    vec![
        to_device(5, 9),
        to_device(300, 3),
        Transaction::to_device(17, order(6), &policy(9)),
        Transaction::cpu_fault(&world.block, 5, &policy(9)),
        Transaction::cpu_fault(&world.block, 300, &policy(2)),
        Transaction::to_ram(300),
        Transaction::unmap(run(3, 250)),
        Transaction::split(run(3, 30), Order::ZERO),
        Transaction::split(PageRun::single(300), order(1)),
        Transaction::collapse(whole_block()),
        Transaction::collapse(run(3, 301)),
    ]
}

fn survives_every_single_failure(kind: MemoryKind, prepare: impl Fn(&mut World)) {
    let fresh = || {
        let mut world = written(kind, 600, 600);
        prepare(&mut world);
        world.check();
        world
    };
    let kinds = every_kind_of_transaction(&fresh()).len();
    for at in 0..kinds {
        for fail_in in 0.. {
            let mut world = fresh();
            world.fail_in = Some(fail_in);
            let transaction = every_kind_of_transaction(&world).remove(at);
            // Success is as good as failure here: a step that failed may have a fallback.
            let _: Result<_, Failure> = world.run(transaction);
            world.check();
            if world.failed == 0 {
                break;
            }
        }
    }
}

#[test]
fn single_failures_with_all_bytes_in_ram_lose_nothing() {
    survives_every_single_failure(MemoryKind::Private, |_| ());
    survives_every_single_failure(MemoryKind::Coherent, |_| ());
}

#[test]
fn single_failures_with_all_bytes_on_the_device_lose_nothing() {
    let send = |world: &mut World| {
        world.run(to_device(0, 9)).expect("the device is empty");
    };
    survives_every_single_failure(MemoryKind::Private, send);
    survives_every_single_failure(MemoryKind::Coherent, send);
}

#[test]
fn single_failures_with_folios_in_pieces_lose_nothing() {
    let send = |world: &mut World| {
        world.run(to_device(0, 9)).expect("the device is empty");
        world.run(Transaction::split(run(8, 5), Order::ZERO)).expect("nobody holds it");
        // Some pieces are in the device's page table, some are not.
        world.fail_in = Some(2);
        world.run(Transaction::to_ram(9)).expect_err("installing fails");
        (world.fail_in, world.failed) = (None, 0);
        world.run(Transaction::split(PageRun::single(300), order(1))).expect("nobody holds it");
    };
    survives_every_single_failure(MemoryKind::Private, send);
    survives_every_single_failure(MemoryKind::Coherent, send);
}

#[test]
fn single_failures_with_bytes_on_both_sides_lose_nothing() {
    let send = |world: &mut World| {
        for page in [0, 5, 64, 300, 303, 400] {
            world.run(to_device(page, 2)).expect("the device is empty");
        }
    };
    survives_every_single_failure(MemoryKind::Private, send);
    survives_every_single_failure(MemoryKind::Coherent, send);
}

#[derive(Clone, Debug)]
enum Request {
    CpuWrite(u16),
    DeviceWrite(u16),
    ToRam(u16),
    ToDevice(u16, u8),
    Unmap(u16, u16),
    Map(u16, u16),
    Split(u16, u16, u8),
    Collapse(u16, u16),
    Pin(u16),
    Unpin(u16),
}

fn request() -> impl Strategy<Value = Request> {
    let page = 0u16..512;
    prop_oneof![
        4 => page.clone().prop_map(Request::CpuWrite),
        4 => page.clone().prop_map(Request::DeviceWrite),
        1 => page.clone().prop_map(Request::ToRam),
        1 => (page.clone(), 0u8..10).prop_map(|(page, k)| Request::ToDevice(page, k)),
        1 => (page.clone(), 1u16..300).prop_map(|(first, n)| Request::Unmap(first, n.min(512 - first))),
        1 => (page.clone(), 1u16..300, 0u8..9)
            .prop_map(|(first, n, k)| Request::Split(first, n.min(512 - first), k)),
        1 => (page.clone(), 1u16..513)
            .prop_map(|(first, n)| Request::Collapse(first, n.min(512 - first))),
        1 => page.clone().prop_map(Request::Pin),
        1 => page.clone().prop_map(Request::Unpin),
        1 => (page, 1u16..300).prop_map(|(first, n)| Request::Map(first, n.min(512 - first))),
    ]
}

fn apply(world: &mut World, request: &Request, value: u64, policy: &Granularity) {
    let outcome = match *request {
        Request::CpuWrite(page) if world.cpu_write(page, value) => return,
        Request::DeviceWrite(page) if world.device_write(page, value) => return,
        Request::Map(first, pages) => return world.map(run(first, pages)),
        Request::Pin(page) => return world.pin(page),
        Request::Unpin(page) => return world.unpin(page),
        Request::CpuWrite(page) => {
            let fault = Transaction::cpu_fault(&world.block, page, policy);
            world.run(fault).map(|_| world.cpu_write(page, value))
        }
        Request::DeviceWrite(page) => {
            world.run(Transaction::device_fault(page, policy)).map(|_| world.device_write(page, value))
        }
        Request::ToRam(page) => world.run(Transaction::to_ram(page)).map(|_| true),
        Request::ToDevice(page, k) => world.run(to_device(page, k)).map(|_| true),
        Request::Split(first, pages, k) => {
            world.run(Transaction::split(run(first, pages), order(k))).map(|_| true)
        }
        Request::Collapse(first, pages) => world.run(Transaction::collapse(run(first, pages))).map(|_| true),
        Request::Unmap(first, pages) => world.run(Transaction::unmap(run(first, pages))).map(|_| true),
    };
    if let Ok(reached) = outcome {
        assert!(reached, "after a fault was answered the access goes through");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_requests_with_random_failures_lose_nothing(
        coherent in any::<bool>(),
        device_pages in 1u64..600,
        ram_pages in 1u64..600,
        largest in 0u8..10,
        requests in proptest::collection::vec((request(), proptest::option::weighted(0.3, 0u32..12)), 1..60),
    ) {
        let kind = if coherent { MemoryKind::Coherent } else { MemoryKind::Private };
        let mut world = World::new(kind, device_pages, ram_pages);
        world.map(run(0, 400));
        for (number, (request, fail_in)) in requests.into_iter().enumerate() {
            world.fail_in = fail_in;
            apply(&mut world, &request, number as u64 + 1, &policy(largest));
            world.check();
        }
    }
}
