//! Every failure of every kind of request.

use std::time::Duration;

use bifolio_engine::Side;
use bifolio_engine::device::DeviceRequest;
use bifolio_folio::{MemoryKind, Order};
use bifolio_migrate::{NodeId, Rights};
use bifolio_pool::PoolName;

use crate::machine::Machine;

#[derive(Clone, Copy, Debug)]
enum Request {
    DeviceFault,
    ToDevice,
    ToRam,
    Unmap,
    Detach,
    Reshape,
}

const REQUESTS: [Request; 6] = [
    Request::DeviceFault,
    Request::ToDevice,
    Request::ToRam,
    Request::Unmap,
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
        Request::Unmap => engine.unmap(machine.addresses(5..300)).is_ok(),
        Request::Reshape => {
            let split = engine.split(machine.addresses(100..103), Order::ZERO).is_ok();
            split && engine.collapse(machine.all()).is_ok()
        }
        Request::Detach => engine.detach(Duration::ZERO).is_ok(),
    };
}

fn survives_every_failure(name: PoolName, kind: MemoryKind, device_pages: u64, ram_pages: u64) {
    for request in REQUESTS {
        for first in [None, Some(Request::ToDevice), Some(Request::DeviceFault)] {
            for calls in 0.. {
                let pool = name.make(device_pages).expect("a pool");
                let machine = Machine::written(kind, device_pages, pool, ram_pages);
                first.into_iter().for_each(|first| perform(&machine, first));
                machine.failures.fail_after(calls);
                perform(&machine, request);
                let failed = machine.failures.failed();
                machine.check();
                if failed == 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn private_memory_survives_every_failure() {
    survives_every_failure(PoolName::Buddy, MemoryKind::Private, 1024, 1024);
}

#[test]
fn private_memory_survives_every_failure_when_the_device_is_small() {
    survives_every_failure(PoolName::Buddy, MemoryKind::Private, 64, 1024);
}

#[test]
fn private_memory_survives_every_failure_when_system_memory_is_small() {
    survives_every_failure(PoolName::Buddy, MemoryKind::Private, 1024, 128);
}

#[test]
fn coherent_memory_survives_every_failure() {
    survives_every_failure(PoolName::Buddy, MemoryKind::Coherent, 1024, 1024);
}

#[test]
fn memory_of_every_other_pool_survives_every_failure_on_a_small_device() {
    for name in [PoolName::FreeList, PoolName::Coherent, PoolName::Mirror] {
        survives_every_failure(name, MemoryKind::Private, 64, 1024);
        survives_every_failure(name, MemoryKind::Coherent, 128, 1024);
    }
    survives_every_failure(PoolName::Coherent, MemoryKind::Coherent, 1024, 1024);
}
