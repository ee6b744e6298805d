//! Every failure of every kind of request.

use std::time::Duration;

use bifolio_engine::Side;
use bifolio_engine::device::DeviceRequest;
use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::{NodeId, Rights};
use bifolio_pool::PoolName;

use crate::machine::{Machine, Setup};

#[derive(Clone, Copy, Debug)]
enum Request {
    DeviceFault,
    ToDevice,
    ToRam,
    Unmap,
    Protect,
    Detach,
    Reshape,
}

const REQUESTS: [Request; 7] = [
    Request::DeviceFault,
    Request::ToDevice,
    Request::ToRam,
    Request::Unmap,
    Request::Protect,
    Request::Detach,
    Request::Reshape,
];

fn perform(machine: &Machine, request: Request) {
    let engine = &machine.engine;
    // Failing is what is tested; what counts is what is left afterwards.
    let _: bool = match request {
        Request::DeviceFault => engine
            .device_fault(NodeId(0), &DeviceRequest::new(machine.addresses(77..78).start, Rights::READ))
            .is_ok(),
        Request::ToDevice => engine.prefetch(machine.all(), Side::DEVICE).is_ok(),
        Request::ToRam => engine.prefetch(machine.all(), Side::Ram).is_ok(),
        Request::Protect => engine.protect(machine.addresses(5..300), Rights::READ).is_ok(),
        Request::Unmap => engine.unmap(machine.addresses(5..300)).is_ok(),
        Request::Reshape => {
            let split = engine.split(machine.addresses(100..103), Order::ZERO).is_ok();
            split && engine.collapse(machine.all()).is_ok()
        }
        Request::Detach => engine.detach(Duration::ZERO).is_ok(),
    };
}

fn survives_every_failure(setup: &Setup) {
    let mut failures = 0;
    for request in REQUESTS {
        for first in [None, Some(Request::ToDevice), Some(Request::DeviceFault)] {
            failures += for_each_failure(|calls| {
                let machine = Machine::written(setup);
                first.into_iter().for_each(|first| perform(&machine, first));
                machine.failures.fail_after(calls);
                perform(&machine, request);
                let failed = machine.failures.failed();
                machine.check();
                failed
            });
        }
    }
    assert!(failures > REQUESTS.len(), "only {failures} calls could fail");
}

/// Calls `with` for the first call that may fail, for the second, and so on, until it says that none failed; returns how
/// many there were.
fn for_each_failure(with: impl FnMut(u64) -> u64) -> usize {
    (0..).map(with).take_while(|failed| *failed > 0).count()
}

#[test]
fn private_memory_survives_every_failure() {
    survives_every_failure(&Setup::new(MemoryKind::Private, 1024));
}

#[test]
fn private_memory_survives_every_failure_when_the_device_is_small() {
    survives_every_failure(&Setup::new(MemoryKind::Private, 64));
}

#[test]
fn private_memory_survives_every_failure_when_system_memory_is_small() {
    survives_every_failure(&Setup { ram_pages: 128, ..Setup::new(MemoryKind::Private, 1024) });
}

#[test]
fn coherent_memory_survives_every_failure() {
    survives_every_failure(&Setup::new(MemoryKind::Coherent, 1024));
}

#[test]
fn memory_of_two_devices_survives_every_failure_on_its_way_between_them() {
    const OTHER: NodeId = NodeId(1);
    for kinds in [[MemoryKind::Private, MemoryKind::Coherent], [MemoryKind::Coherent, MemoryKind::Private]] {
        for ram_pages in [1024, 128] {
            let setup = Setup { ram_pages, ..Setup::new(kinds[0], 1024) };
            let setup = Setup { devices: kinds.map(|kind| (kind, 1024)).to_vec(), ..setup };
            let failures = for_each_failure(|calls| {
                let machine = Machine::written(&setup);
                perform(&machine, Request::ToDevice);
                machine.failures.fail_after(calls);
                let _: Option<u64> = machine.device_read(OTHER, 300);
                let _: Result<_, _> = machine.engine.prefetch(machine.all(), Side::Device(OTHER));
                let failed = machine.failures.failed();
                machine.check();
                failed
            });
            assert!(failures >= 7, "reserve, copy, install, isolate, copy, map, map: {failures}");
        }
    }
}

#[test]
fn memory_of_every_other_pool_survives_every_failure_on_a_small_device() {
    for pool in [PoolName::FreeList, PoolName::Coherent, PoolName::Mirror] {
        survives_every_failure(&Setup { pool, ..Setup::new(MemoryKind::Private, 64) });
        survives_every_failure(&Setup { pool, ..Setup::new(MemoryKind::Coherent, 128) });
    }
    let pool = PoolName::Coherent;
    survives_every_failure(&Setup { pool, ..Setup::new(MemoryKind::Coherent, 1024) });
}
