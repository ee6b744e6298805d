//! Random sequences of requests on two devices, with failures, against a naive model: a word for each page.

use std::time::Duration;

use bifolio_engine::Side;
use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::NodeId;
use bifolio_policy::{EvictionName, Granularity, PolicyName};
use bifolio_pool::PoolName;
use proptest::prelude::*;

use crate::machine::{Machine, PAGES, Setup};

#[derive(Clone, Debug)]
enum Request {
    CpuWrite(usize),
    CpuRead(usize),
    DeviceWrite(NodeId, usize),
    DeviceRead(NodeId, usize),
    Prefetch(usize, usize, Side),
    Unmap(usize, usize),
    Map(usize, usize),
    Split(usize, usize, Order),
    Collapse(usize, usize),
    Pin(usize, usize),
    Detach(NodeId),
}

fn order(orders: std::ops::Range<u8>) -> impl Strategy<Value = Order> {
    orders.prop_map(|k| Order::new(k).expect("a small order"))
}

fn request() -> impl Strategy<Value = Request> {
    let (page, len) = (0..PAGES, 1..300usize);
    let node = prop_oneof![Just(NodeId(0)), Just(NodeId(1))];
    let side = prop_oneof![Just(Side::Ram), Just(Side::Device(NodeId(0))), Just(Side::Device(NodeId(1))),];
    prop_oneof![
        24 => page.clone().prop_map(Request::CpuWrite),
        12 => page.clone().prop_map(Request::CpuRead),
        24 => (node.clone(), page.clone()).prop_map(|(node, page)| Request::DeviceWrite(node, page)),
        12 => (node.clone(), page.clone()).prop_map(|(node, page)| Request::DeviceRead(node, page)),
        16 => (page.clone(), len.clone(), side).prop_map(|(page, len, side)| Request::Prefetch(page, len, side)),
        4 => (page.clone(), len.clone()).prop_map(|(page, len)| Request::Unmap(page, len)),
        4 => (page.clone(), len.clone()).prop_map(|(page, len)| Request::Map(page, len)),
        4 => (page.clone(), len.clone(), order(0..9))
            .prop_map(|(page, len, order)| Request::Split(page, len, order)),
        4 => (page.clone(), len.clone()).prop_map(|(page, len)| Request::Collapse(page, len)),
        4 => (page, len).prop_map(|(page, len)| Request::Pin(page, len)),
        1 => node.prop_map(Request::Detach),
    ]
}

/// What each live page must read as; `None` where none is live.
type Model = Vec<Option<u64>>;

fn all_live(model: &Model, pages: std::ops::Range<usize>) -> bool {
    model[pages].iter().all(Option::is_some)
}

fn apply(machine: &Machine, model: &mut Model, request: &Request, next: u64) {
    let within = |page: usize, len: usize| page..PAGES.min(page + len);
    match *request {
        // A fault of the CPU that fails is SIGBUS, and its page poisoned: that is tested elsewhere.
        Request::CpuWrite(page) if model[page].is_some() => {
            machine.failures.stop();
            machine.write(page, next);
            model[page] = Some(next);
        }
        Request::CpuRead(page) if model[page].is_some() => {
            machine.failures.stop();
            assert_eq!(Some(machine.read(page)), model[page], "page {page}");
        }
        Request::CpuWrite(_) | Request::CpuRead(_) => {}
        Request::DeviceWrite(node, page) => {
            if machine.device_write(node, page, next) {
                assert!(model[page].is_some(), "page {page} is not live, and was written");
                model[page] = Some(next);
            }
        }
        Request::DeviceRead(node, page) => {
            let read = machine.device_read(node, page);
            assert!(read.is_none() || read == model[page], "page {page} reads as {read:?} on {node:?}");
        }
        Request::Prefetch(page, len, side) => {
            // It may fail: for want of memory, at an injected failure, where a page is not live.
            let _: Result<_, _> = machine.engine.prefetch(machine.addresses(within(page, len)), side);
        }
        Request::Unmap(page, len) => {
            let pages = within(page, len);
            if machine.engine.unmap(machine.addresses(pages.clone())).is_ok() {
                model[pages].fill(None);
            }
        }
        Request::Map(page, len) => {
            for page in within(page, len).filter(|page| !machine.is_live(*page)) {
                machine.engine.map(machine.addresses(page..page + 1)).expect("an address of the block");
                model[page] = Some(0);
            }
        }
        Request::Split(page, len, order) => {
            let _: Result<_, _> = machine.engine.split(machine.addresses(within(page, len)), order);
        }
        Request::Collapse(page, len) => {
            let _: Result<_, _> = machine.engine.collapse(machine.addresses(within(page, len)));
        }
        Request::Pin(page, len) => {
            let pages = within(page, len);
            let pinned = machine.engine.pin(machine.addresses(pages.clone()));
            assert!(pinned.is_err() || all_live(model, pages), "pages that are not live are pinned");
        }
        Request::Detach(node) => {
            let _: Result<_, _> = machine.engine.detach_node(node, Duration::ZERO);
        }
    }
}

fn kind() -> impl Strategy<Value = MemoryKind> {
    prop_oneof![Just(MemoryKind::Private), Just(MemoryKind::Coherent)]
}

fn setup() -> impl Strategy<Value = Setup> {
    let pool = prop_oneof![
        Just(PoolName::Buddy),
        Just(PoolName::FreeList),
        Just(PoolName::Coherent),
        Just(PoolName::Mirror),
    ];
    let device = || (kind(), 16..700u64);
    let parts =
        ([device(), device()], pool, 64..700u64, proptest::option::of(policy()), order(0..10), any::<bool>());
    parts.prop_map(|(devices, pool, ram_pages, policy, largest, remote)| Setup {
        devices: devices.to_vec(),
        pool,
        ram_pages,
        policy,
        largest,
        copy_ns: 1,
        remote,
    })
}

/// Any policy that has a name.
fn policy() -> impl Strategy<Value = PolicyName> {
    let eviction = proptest::option::of(proptest::sample::select(EvictionName::ALL.to_vec()));
    let parts = (proptest::sample::select(Granularity::ALL.to_vec()), eviction, any::<bool>());
    parts.prop_map(|(granularity, eviction, throttle)| PolicyName { granularity, eviction, throttle })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn every_word_is_the_last_written_under_every_policy_whatever_fails_on_two_devices(
        setup in setup(),
        requests in proptest::collection::vec((request(), proptest::option::weighted(0.3, 0u64..12)), 1..80),
    ) {
        let machine = Machine::new(&setup);
        let mut model: Model = vec![Some(0); PAGES];
        for ((request, failure), next) in requests.iter().zip(1..) {
            failure.iter().for_each(|calls| machine.failures.fail_after(*calls));
            apply(&machine, &mut model, request, next);
            machine.check_counts();
        }
        for (page, word) in model.iter().enumerate() {
            prop_assert_eq!(machine.is_live(page).then(|| machine.read(page)), *word, "page {}", page);
        }
        machine.check_counts();
    }
}
