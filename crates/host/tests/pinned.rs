//! Pinned pages: they come home first, stay in system memory against every other request, and go on as before
//! afterwards.

mod kernel;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order};
use bifolio_host::space::FreeError;
use bifolio_host::{Counter, Residence, Side, Space, SpaceConfig};
use bifolio_migrate::Failure;
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

const BYTES: usize = 4 << 20;
const PAGES: usize = BYTES / PAGE;

fn space(kind: MemoryKind, ram: Option<usize>) -> (Space, AddressRange) {
    let config = SpaceConfig { kind, ram, checked: true, ..SpaceConfig::new(4 * BYTES, 2 * BYTES) };
    let space = Space::new(config).expect("a space");
    let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
    (space, span)
}

fn page(span: AddressRange, number: usize) -> AddressRange {
    pages(span, number, 1)
}

fn pages(span: AddressRange, first: usize, count: usize) -> AddressRange {
    span.part(first * PAGE, count * PAGE).expect("inside")
}

/// Which pages of `span` are on the device.
fn on_device(space: &Space, span: AddressRange) -> Vec<bool> {
    let is_there = |at: usize| matches!(space.engine().residence(at), Residence::Device { .. });
    (span.start()..span.end()).step_by(PAGE).map(is_there).collect()
}

fn write_numbers(space: &Space, span: AddressRange) {
    let window = space.window(span);
    (0..PAGES).for_each(|page| window.store_u64(page * PAGE, page as u64 + 1).expect("inside"));
}

fn check_numbers(space: &Space, span: AddressRange) {
    let window = space.window(span);
    (0..PAGES).for_each(|page| assert_eq!(window.load_u64(page * PAGE), Ok(page as u64 + 1), "page {page}"));
    assert_eq!(space.audit(), []);
    assert_eq!(space.statistics().get(Counter::Violations), 0);
}

/// Loads one word of the page at an address.
struct Touch(usize);

impl Kernel for Touch {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        memory.load(self.0).map(drop)
    }
}

#[test]
fn pinned_pages_come_home_and_stay() {
    if !kernel::grants("pinned_pages_come_home_and_stay", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let (space, span) = space(kind, None);
        write_numbers(&space, span);
        space.prefetch(span, Side::DEVICE).expect("room on the device");
        let wanted = pages(span, 100, 3);
        let outer = space.pin(wanted).expect("system memory is free");
        let inner = space.pin(page(span, 101)).expect("pins nest");
        assert_eq!(outer.addresses(), wanted.start()..wanted.end());
        assert_eq!(on_device(&space, wanted), [false; 3]);
        let address = wanted.start() + PAGE;
        let retries = || space.statistics().get(Counter::Busy);
        let before = retries();
        assert_eq!(space.launch(&Touch(address)), Ok(()), "it is used where it is");
        assert_eq!(on_device(&space, wanted), [false; 3]);
        assert_eq!(space.statistics().get(Counter::BytesRemote), 2 * 64, "one access of each unit");
        assert!(retries() - before < 100, "a pinned page is not waited for");
        assert_eq!(space.prefetch(wanted, Side::DEVICE), Err(Failure::Pinned));
        assert_eq!(space.unmap(page(span, 102)), Err(Failure::Pinned));
        let why = Failure::Pinned;
        assert_eq!(space.free(span.start()), Err(FreeError::InUse { address: span.start(), why }));
        drop(outer);
        assert_eq!(
            space.prefetch(wanted, Side::DEVICE),
            Err(Failure::Pinned),
            "the inner pin is still there"
        );
        drop(inner);
        space.prefetch(wanted, Side::DEVICE).expect("nothing is pinned");
        assert_eq!(space.launch(&Touch(address)), Ok(()));
        assert!(on_device(&space, wanted)[1]);
        check_numbers(&space, span);
    }
}

#[test]
fn pages_never_touched_are_zeros_in_system_memory_once_pinned() {
    if !kernel::grants("pages_never_touched_are_zeros_in_system_memory_once_pinned", kernel::SHARED) {
        return;
    }
    let (space, span) = space(MemoryKind::Private, None);
    let _pinned = space.pin(pages(span, 7, 2)).expect("system memory is free");
    assert!(space.engine().budget().used_pages() >= 2);
    let faults = space.statistics().get(Counter::CpuFaults);
    assert_eq!(space.window(span).load_u64(7 * PAGE), Ok(0));
    assert_eq!(space.statistics().get(Counter::CpuFaults), faults, "it was in view already");
}

#[test]
fn pin_that_reaches_outside_of_what_is_allocated_pins_nothing() {
    if !kernel::grants("pin_that_reaches_outside_of_what_is_allocated_pins_nothing", kernel::SHARED) {
        return;
    }
    let (space, span) = space(MemoryKind::Private, None);
    let beyond = AddressRange::new(span.start() + BYTES - PAGE, 2 * PAGE).expect("pages");
    assert!(matches!(space.pin(beyond), Err(Failure::NotMapped)));
    let outside = space.addresses().end()..space.addresses().end() + PAGE;
    assert!(matches!(space.engine().pin(outside), Err(Failure::NotMapped)));
    space.free(span.start()).expect("nothing is pinned");
}

#[test]
fn pinned_pages_are_not_moved_out_to_make_room() {
    if !kernel::grants("pinned_pages_are_not_moved_out_to_make_room", kernel::SHARED) {
        return;
    }
    let (space, span) = space(MemoryKind::Private, Some(BYTES / 2));
    let pinned_span = pages(span, 0, 64);
    write_numbers(&space, span);
    let pinned = space.pin(pinned_span).expect("64 pages fit");
    // Goes through all of the memory, twice as much as fits.
    check_numbers(&space, span);
    check_numbers(&space, span);
    assert_eq!(on_device(&space, pinned_span), [false; 64]);
    assert!(space.statistics().get(Counter::Reclaims) > 0);
    assert!(matches!(space.pin(span), Err(Failure::NoRam)), "more than there is cannot be pinned");
    drop(pinned);
    check_numbers(&space, span);
    space.free(span.start()).expect("the pin that failed left nothing pinned");
}

/// Adds to a word of random pages until stopped.
struct Hammer<'h> {
    address: usize,
    stop: &'h AtomicBool,
    done: &'h AtomicU64,
}

impl Kernel for Hammer<'_> {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, _units: usize) -> Result<(), DeviceFault> {
        for step in (unit..).step_by(7) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            memory.fetch_add(self.address + step * 31 % PAGES * PAGE + 8, 1)?;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn device_that_faults_on_pinned_pages_meanwhile_neither_moves_them_nor_loses_a_write() {
    let name = "device_that_faults_on_pinned_pages_meanwhile_neither_moves_them_nor_loses_a_write";
    if !kernel::grants(name, kernel::SHARED) {
        return;
    }
    for (kind, order) in [(MemoryKind::Private, 0), (MemoryKind::Private, 9), (MemoryKind::Coherent, 4)] {
        let largest = Order::new(order).expect("small");
        let smallest = if kind == MemoryKind::Coherent { Order::K64 } else { Order::ZERO };
        let mut config = SpaceConfig::new(4 * BYTES, BYTES);
        (config.kind, config.checked) = (kind, true);
        config.policy = Some(Box::new(FixedOrders { largest, smallest, populate: largest }));
        let space = Space::new(config).expect("a space");
        let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
        write_numbers(&space, span);
        let (stop, done) = <(AtomicBool, AtomicU64)>::default();
        std::thread::scope(|scope| {
            let hammer = Hammer { address: span.start(), stop: &stop, done: &done };
            let job = scope.spawn(|| space.launch(&{ hammer }));
            for round in 0..60 {
                let wanted = pages(span, round * 37 % (PAGES - 40), 1 + round % 40);
                let _pinned = space.pin(wanted).expect("system memory is free");
                let before: Vec<_> = on_device(&space, wanted);
                std::thread::yield_now();
                assert_eq!(before, on_device(&space, wanted));
                assert!(!before.contains(&true), "a pinned page is on the device");
            }
            let pinned = space.pin(span).expect("system memory is free");
            let before = done.load(Ordering::Relaxed);
            while done.load(Ordering::Relaxed) < before + 100 {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(pinned);
            stop.store(true, Ordering::Relaxed);
            job.join().expect("no panic").expect("pinned pages are used where they are");
        });
        assert!(space.statistics().get(Counter::BytesRemote) > 0);
        let window = space.window(span);
        let sum: u64 = (0..PAGES).map(|page| window.load_u64(page * PAGE + 8).expect("inside")).sum();
        assert_eq!(sum, done.into_inner(), "lost or doubled writes");
        check_numbers(&space, span);
    }
}
