//! Every single injected failure, and random sequences of requests with failures: nothing is lost.

use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::{Failure, NodeId, PageRun, Rights, Transaction};
use proptest::prelude::*;

use crate::world::World;
use crate::{NODE, OTHER, cpu_fault, device_fault, order, orders, run, written};

/// The requests that the injected failures go through, with how the page is reached.
pub fn every_kind_of_transaction(world: &World) -> Vec<Transaction> {
    vec![
        device_fault(5, 9),
        device_fault(300, 3),
        Transaction::to_device(NODE, 17, orders(6)),
        cpu_fault(world, 5, 9),
        cpu_fault(world, 300, 2),
        Transaction::to_ram(300),
        Transaction::unmap(run(3, 250)),
        Transaction::protect(run(3, 250), Rights::READ),
        Transaction::split(run(3, 30), Order::ZERO),
        Transaction::split(PageRun::single(300), order(1)),
        Transaction::collapse(PageRun::BLOCK),
        Transaction::collapse(run(3, 301)),
    ]
}

fn survives_every_single_failure(kind: MemoryKind, prepare: impl Fn(&mut World)) {
    let fresh = || {
        let mut world = written(&[(kind, 600)], 600);
        prepare(&mut world);
        world.check();
        world
    };
    let kinds = every_kind_of_transaction(&fresh()).len();
    (0..kinds).for_each(|at| {
        each_single_failure(fresh, |world| every_kind_of_transaction(world).remove(at));
    });
}

/// Runs a transaction in a fresh world, failing its first fallible step, then its second, until none is left to fail.
/// Returns how many there were.
pub fn each_single_failure(fresh: impl Fn() -> World, transaction: impl Fn(&World) -> Transaction) -> u32 {
    for fail_in in 0.. {
        let mut world = fresh();
        world.fail_in = Some(fail_in);
        let transaction = transaction(&world);
        // Success is as good as failure here: a step that failed may have a fallback.
        let _: Result<_, Failure> = world.run(transaction);
        world.check();
        if world.failed == 0 {
            return fail_in;
        }
    }
    unreachable!("transactions end")
}

#[test]
fn single_failures_with_all_bytes_in_ram_lose_nothing() {
    survives_every_single_failure(MemoryKind::Private, |_| ());
    survives_every_single_failure(MemoryKind::Coherent, |_| ());
}

#[test]
fn single_failures_with_all_bytes_on_the_device_lose_nothing() {
    let send = |world: &mut World| {
        world.run(device_fault(0, 9)).expect("the device is empty");
    };
    survives_every_single_failure(MemoryKind::Private, send);
    survives_every_single_failure(MemoryKind::Coherent, send);
}

#[test]
fn single_failures_with_folios_in_pieces_lose_nothing() {
    let send = |world: &mut World| {
        world.run(device_fault(0, 9)).expect("the device is empty");
        world.run(Transaction::split(run(8, 5), Order::ZERO)).expect("no other reference");
        // Some pieces are in the device's page table, some are not.
        world.fail_in = Some(2);
        world.run(Transaction::to_ram(9)).expect_err("installing fails");
        (world.fail_in, world.failed) = (None, 0);
        world.run(Transaction::split(PageRun::single(300), order(1))).expect("no other reference");
    };
    survives_every_single_failure(MemoryKind::Private, send);
    survives_every_single_failure(MemoryKind::Coherent, send);
}

#[test]
fn single_failures_with_bytes_on_both_sides_lose_nothing() {
    let send = |world: &mut World| {
        for page in [0, 5, 64, 300, 303, 400] {
            world.run(device_fault(page, 2)).expect("the device is empty");
        }
    };
    survives_every_single_failure(MemoryKind::Private, send);
    survives_every_single_failure(MemoryKind::Coherent, send);
}

#[derive(Clone, Debug)]
enum Request {
    CpuWrite(u16),
    DeviceWrite(NodeId, u16),
    ToRam(u16),
    ToDevice(NodeId, u16, u8),
    Unmap(u16, u16),
    Map(u16, u16),
    Split(u16, u16, u8),
    Collapse(u16, u16),
    Pin(u16),
    Unpin(u16),
}

fn request() -> impl Strategy<Value = Request> {
    let page = 0u16..512;
    let node = prop_oneof![Just(NODE), Just(OTHER)];
    prop_oneof![
        4 => page.clone().prop_map(Request::CpuWrite),
        4 => (node.clone(), page.clone()).prop_map(|(node, page)| Request::DeviceWrite(node, page)),
        1 => page.clone().prop_map(Request::ToRam),
        1 => (node, page.clone(), 0u8..10).prop_map(|(node, page, k)| Request::ToDevice(node, page, k)),
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

fn apply(world: &mut World, request: &Request, value: u64, largest: u8) {
    let outcome = match *request {
        Request::CpuWrite(page) if world.cpu_write(page, value) => return,
        Request::DeviceWrite(node, page) if world.device_write(node, page, value) => return,
        Request::Map(first, pages) => return world.map(run(first, pages)),
        Request::Pin(page) => return world.pin(page),
        Request::Unpin(page) => return world.unpin(page),
        Request::CpuWrite(page) => {
            let fault = cpu_fault(world, page, largest);
            world.run(fault).map(|_| world.cpu_write(page, value))
        }
        Request::DeviceWrite(node, page) => {
            let fault = Transaction::device_fault(node, page, orders(largest), Rights::all());
            world.run(fault).map(|_| world.device_write(node, page, value))
        }
        Request::ToRam(page) => world.run(Transaction::to_ram(page)).map(|_| true),
        Request::ToDevice(node, page, k) => {
            world.run(Transaction::to_device(node, page, orders(k))).map(|_| true)
        }
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

fn kind(coherent: bool) -> MemoryKind {
    if coherent { MemoryKind::Coherent } else { MemoryKind::Private }
}

fn loses_nothing(mut world: World, largest: u8, requests: &[(Request, Option<u32>)]) {
    world.map(run(0, 400));
    for ((request, fail_in), value) in requests.iter().zip(1..) {
        world.fail_in = *fail_in;
        apply(&mut world, request, value, largest);
        world.check();
    }
}

#[test]
fn unmapping_that_fails_after_a_split_keeps_the_pieces() {
    let writes = [112, 128, 144, 0].map(|page| (Request::CpuWrite(page), None));
    let rest = [
        (Request::DeviceWrite(NODE, 272), None),
        (Request::DeviceWrite(NODE, 124), None),
        (Request::Unmap(124, 149), Some(2)),
    ];
    loses_nothing(World::new(&[(MemoryKind::Private, 160)], 48), 4, &[&writes[..], &rest[..]].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_requests_with_random_failures_lose_nothing(
        coherent in any::<[bool; 2]>(),
        device_pages in [1u64..600, 1u64..600],
        cleared in any::<bool>(),
        ram_pages in 1u64..600,
        largest in 0u8..10,
        requests in proptest::collection::vec((request(), proptest::option::weighted(0.3, 0u32..12)), 1..60),
    ) {
        let [one, other] = [0, 1].map(|at| (kind(coherent[at]), device_pages[at]));
        let mut world = World::new(&[one, other], ram_pages);
        if cleared {
            world.clear();
        }
        loses_nothing(world, largest, &requests);
    }
}
