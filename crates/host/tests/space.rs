//! A program and the built-in device on the same memory, on real userfaultfd.

mod kernel;

use std::num::NonZeroUsize;

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order};
use bifolio_host::{Counter, Direction, PoolName, Side, Space, SpaceConfig};
use bifolio_migrate::Failure;
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

/// Adds 1 to every word of an array; units take pages in turn.
struct Increment {
    address: usize,
    bytes: usize,
}

impl Kernel for Increment {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        for page in (unit..self.bytes / PAGE).step_by(units) {
            for word in 0..PAGE / 8 {
                let at = self.address + page * PAGE + word * 8;
                let value = memory.load(at)?;
                memory.store(at, value + 1)?;
            }
        }
        Ok(())
    }
}

fn config(kind: MemoryKind, size: usize, vram: usize) -> SpaceConfig {
    SpaceConfig { kind, checked: true, ..SpaceConfig::new(size, vram) }
}

fn fixed(order: u8) -> Box<FixedOrders> {
    let order = Order::new(order).expect("small");
    Box::new(FixedOrders { largest: order, smallest: Order::ZERO, populate: order })
}

/// The CPU writes, the device increments, the CPU reads, twice over; all words must be right.
fn round_trips(space: &Space, bytes: usize) {
    let address = space.allocate(bytes).expect("the space is large enough");
    let span = AddressRange::new(address, bytes).expect("whole pages");
    let window = space.window(span);
    for offset in (0..bytes).step_by(8) {
        window.store_u64(offset, offset as u64).expect("inside");
    }
    for round in 1..3 {
        space.launch(&Increment { address, bytes }).expect("every fault is answered");
        for offset in (0..bytes).step_by(8) {
            assert_eq!(window.load_u64(offset), Ok(offset as u64 + round), "word at {offset:#x}");
        }
    }
    assert_eq!(space.audit(), []);
    assert_eq!(space.statistics().get(Counter::Violations), 0);
    space.free(address).expect("no folio is held elsewhere");
    assert_eq!(space.engine().nodes()[0].pagemap().live_pages(), 0);
}

#[test]
fn data_larger_than_device_memory_survives_round_trips() {
    if !kernel::grants("data_larger_than_device_memory_survives_round_trips", kernel::SHARED) {
        return;
    }
    let space = Space::new(config(MemoryKind::Private, 16 << 20, 1 << 20)).expect("a space");
    round_trips(&space, 4 << 20);
    let statistics = space.statistics();
    assert!(statistics.get(Counter::Evictions) > 0);
    assert!(statistics.get(Counter::DeviceFaults) > 0);
    space.close().expect("all folios are gone");
}

#[test]
fn huge_folios_travel_whole() {
    if !kernel::grants("huge_folios_travel_whole", kernel::SHARED) {
        return;
    }
    let mut config = config(MemoryKind::Private, 16 << 20, 8 << 20);
    config.policy = Some(fixed(9));
    let space = Space::new(config).expect("a space");
    round_trips(&space, 4 << 20);
    let statistics = space.statistics();
    assert_eq!(statistics.folios(Direction::ToDevice)[..9], [0; 9]);
    assert!(statistics.folios(Direction::ToDevice)[9] >= 2);
}

#[test]
fn coherent_memory_is_read_in_place() {
    if !kernel::grants("coherent_memory_is_read_in_place", kernel::SHARED) {
        return;
    }
    let space = Space::new(config(MemoryKind::Coherent, 16 << 20, 8 << 20)).expect("a space");
    round_trips(&space, 4 << 20);
    let statistics = space.statistics();
    assert_eq!(statistics.get(Counter::BytesToRam), 0, "the CPU maps coherent folios");
}

#[test]
fn coherent_memory_is_evicted_when_it_is_too_small() {
    if !kernel::grants("coherent_memory_is_evicted_when_it_is_too_small", kernel::SHARED) {
        return;
    }
    let space = Space::new(config(MemoryKind::Coherent, 16 << 20, 1 << 20)).expect("a space");
    round_trips(&space, 4 << 20);
    assert!(space.statistics().get(Counter::Evictions) > 0);
}

#[test]
fn every_pool_serves_private_and_coherent_memory() {
    if !kernel::grants("every_pool_serves_private_and_coherent_memory", kernel::SHARED) {
        return;
    }
    for pool in PoolName::ALL {
        for kind in [MemoryKind::Private, MemoryKind::Coherent] {
            let config = SpaceConfig { pool: *pool, ..config(kind, 16 << 20, (1 << 20) + 5 * PAGE) };
            let space = Space::new(config).expect("a space");
            round_trips(&space, 3 << 20);
            assert!(space.statistics().get(Counter::Evictions) > 0, "{pool}, {kind:?}");
            space.close().expect("all folios are gone");
            assert_eq!(space.engine().nodes()[0].pagemap().pool().free_pages(), 256 + 5, "{pool}, {kind:?}");
        }
    }
}

#[test]
fn part_of_a_folio_is_freed_and_the_rest_stays_on_the_device_with_every_pool() {
    if !kernel::grants(
        "part_of_a_folio_is_freed_and_the_rest_stays_on_the_device_with_every_pool",
        kernel::SHARED,
    ) {
        return;
    }
    for pool in PoolName::ALL {
        let mut config = SpaceConfig { pool: *pool, ..config(MemoryKind::Private, 16 << 20, 64 << 20) };
        config.policy = Some(fixed(9));
        let space = Space::new(config).expect("a space");
        let span = AddressRange::new(space.allocate(2 << 20).expect("room"), 2 << 20).expect("pages");
        space.prefetch(span, Side::DEVICE).expect("room on the device");
        let hole = span.start() + 100 * PAGE..span.start() + 108 * PAGE;
        space.engine().unmap(hole.clone()).expect("it is not in use");

        assert_eq!(space.engine().nodes()[0].pagemap().live_pages(), 512 - 8, "{pool}");
        assert_eq!(space.audit(), [], "{pool}");
        let held = space.engine().nodes()[0].pagemap().pool().usage().pages;
        let frees_pieces = [PoolName::FreeList, PoolName::Mirror].contains(pool);
        assert_eq!(held, if frees_pieces { 512 - 8 } else { 512 }, "{pool}");
        space.engine().map(hole.clone()).expect("addresses of the space");
        space.prefetch(AddressRange::new(hole.start, 8 * PAGE).expect("pages"), Side::DEVICE).expect("room");
        let serves_again = *pool == PoolName::Coherent || frees_pieces;
        let held = space.engine().nodes()[0].pagemap().pool().usage().pages;
        assert_eq!(held, if serves_again { 512 } else { 512 + 8 }, "{pool}: what the hole takes");
        assert_eq!(space.audit(), [], "{pool}");
    }
}

#[test]
fn coherent_allocations_of_odd_sizes_reach_the_device_whole() {
    if !kernel::grants("coherent_allocations_of_odd_sizes_reach_the_device_whole", kernel::SHARED) {
        return;
    }
    let space = Space::new(config(MemoryKind::Coherent, 16 << 20, 1 << 20)).expect("a space");
    round_trips(&space, 300 * PAGE);
    round_trips(&space, PAGE);
}

#[test]
fn limited_system_memory_is_respected() {
    if !kernel::grants("limited_system_memory_is_respected", kernel::SHARED) {
        return;
    }
    let mut config = config(MemoryKind::Private, 32 << 20, 12 << 20);
    config.ram = Some(2 << 20);
    let space = Space::new(config).expect("a space");
    round_trips(&space, 8 << 20);
    assert!(space.statistics().get(Counter::Reclaims) > 0);
    assert!(space.engine().budget().used_pages() <= 512);
}

#[test]
fn one_page_of_device_memory_is_enough_for_one_unit() {
    if !kernel::grants("one_page_of_device_memory_is_enough_for_one_unit", kernel::SHARED) {
        return;
    }
    let mut config = config(MemoryKind::Private, 4 << 20, PAGE);
    config.units = NonZeroUsize::MIN;
    let space = Space::new(config).expect("a space");
    round_trips(&space, 8 * PAGE);
}

#[test]
fn prefetched_pages_raise_no_device_fault() {
    if !kernel::grants("prefetched_pages_raise_no_device_fault", kernel::SHARED) {
        return;
    }
    let space = Space::new(config(MemoryKind::Private, 16 << 20, 8 << 20)).expect("a space");
    let address = space.allocate(1 << 20).expect("room");
    let span = AddressRange::new(address, 1 << 20).expect("pages");
    space.prefetch(span, Side::DEVICE).expect("room on the device");
    let before = space.statistics();
    assert_eq!(before.get(Counter::BytesToDevice), 0, "untouched pages are cleared there, not copied");
    space.launch(&Increment { address, bytes: 1 << 20 }).expect("answered");
    space.prefetch(span, Side::Ram).expect("room here");
    assert_eq!(space.window(span).load_u64(8), Ok(1));
    assert_eq!(space.statistics().get(Counter::CpuFaults), before.get(Counter::CpuFaults));
}

#[test]
fn untouched_pages_are_zeros_on_fresh_device_memory_and_on_memory_that_was_used() {
    if !kernel::grants(
        "untouched_pages_are_zeros_on_fresh_device_memory_and_on_memory_that_was_used",
        kernel::SHARED,
    ) {
        return;
    }
    let space = Space::new(config(MemoryKind::Private, 16 << 20, 4 << 20)).expect("a space");
    for life in ["fresh", "used"] {
        let address = space.allocate(4 << 20).expect("room");
        let span = AddressRange::new(address, 4 << 20).expect("pages");
        space.prefetch(span, Side::DEVICE).expect("room on the device");
        assert_eq!(space.statistics().get(Counter::BytesToDevice), 0, "nothing to copy: {life}");
        space.launch(&Increment { address, bytes: 4 << 20 }).expect("answered");
        assert_eq!(space.window(span).load_u64(3 << 20), Ok(1), "{life}");
        space.free(address).expect("free");
    }
    assert_eq!(space.audit(), []);
}

#[test]
fn device_access_to_freed_memory_is_an_error_and_ends_the_job() {
    if !kernel::grants("device_access_to_freed_memory_is_an_error_and_ends_the_job", kernel::SHARED) {
        return;
    }
    let space = Space::new(config(MemoryKind::Private, 16 << 20, 8 << 20)).expect("a space");
    let address = space.allocate(PAGE).expect("room");
    space.free(address).expect("free");
    let fault = space.launch(&Increment { address, bytes: PAGE });
    assert_eq!(fault, Err(DeviceFault::NotMapped { address }));
    assert_eq!(space.free(address), Err(bifolio_host::space::FreeError::Unknown(address)));
}

#[test]
fn fault_of_a_former_life_does_not_poison_the_next() {
    if !kernel::grants("fault_of_a_former_life_does_not_poison_the_next", kernel::SHARED) {
        return;
    }
    let space = Space::new(config(MemoryKind::Private, 16 << 20, 8 << 20)).expect("a space");
    let address = space.allocate(PAGE).expect("room");
    space.free(address).expect("free");
    assert_eq!(space.engine().cpu_fault(address), Err(Failure::NotMapped));
    assert_eq!(space.allocate(PAGE), Ok(address), "the same page is allocated again");
    let window = space.window(AddressRange::new(address, PAGE).expect("a page"));
    assert_eq!(window.load_u64(0), Ok(0));
    assert_eq!(space.audit(), []);
}

/// Reads a word of each page, and writes one page.
struct ReadAllWriteOne {
    address: usize,
    bytes: usize,
    written: usize,
}

impl Kernel for ReadAllWriteOne {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        for page in (unit..self.bytes / PAGE).step_by(units) {
            let at = self.address + page * PAGE;
            let value = memory.load(at)?;
            if page == self.written {
                memory.store(at + 8, value + 1)?;
            }
        }
        Ok(())
    }
}

#[test]
fn pages_that_a_device_only_read_are_not_copied_back() {
    if !kernel::grants("pages_that_a_device_only_read_are_not_copied_back", kernel::SHARED) {
        return;
    }
    let bytes = 4 << 20;
    let mut config = config(MemoryKind::Private, 16 << 20, 1 << 20);
    config.policy = Some(fixed(4));
    let space = Space::new(config).expect("a space");
    let address = space.allocate(bytes).expect("the space is large enough");
    let window = space.window(AddressRange::new(address, bytes).expect("whole pages"));
    (0..bytes).step_by(8).for_each(|offset| window.store_u64(offset, offset as u64).expect("inside"));
    for written in [700, 701, 20] {
        space.launch(&ReadAllWriteOne { address, bytes, written }).expect("every fault is answered");
        window.load_u64(written * PAGE + 8).expect("inside");
    }
    let statistics = space.statistics();
    assert_eq!(statistics.get(Counter::BytesToRam), 3 * PAGE as u64);
    assert!(statistics.folios(Direction::ToRam)[4] > 64, "folios came home all the same");
    for page in 0..bytes / PAGE {
        let first = page * PAGE;
        let added = if [700, 701, 20].contains(&page) { first as u64 + 1 } else { first as u64 + 8 };
        assert_eq!(window.load_u64(first), Ok(first as u64));
        assert_eq!(window.load_u64(first + 8), Ok(added), "page {page}");
    }
    assert_eq!(space.audit(), []);
    // What an earlier life of the addresses left in system memory is not taken for the bytes of the next one.
    space.free(address).expect("no folio is held elsewhere");
    let again = space.allocate(bytes).expect("the space is large enough");
    space.launch(&ReadAllWriteOne { address: again, bytes, written: 3 }).expect("every fault is answered");
    let window = space.window(AddressRange::new(again, bytes).expect("whole pages"));
    assert!((0..bytes).step_by(PAGE).all(|offset| window.load_u64(offset) == Ok(0)));
    assert_eq!(window.load_u64(3 * PAGE + 8), Ok(1));
    assert_eq!(space.statistics().get(Counter::Violations), 0);
}
