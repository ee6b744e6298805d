//! Lost writes: threads and the device increment every page while folios are sent back and forth below them.
//! What is counted in the end must be what was counted while writing.
#![expect(clippy::print_stdout, reason = "a test tells how much it tried")]

mod kernel;
mod random;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order};
use bifolio_host::{Counter, Direction, PoolName, Side, Space, SpaceConfig};
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

use random::random;

/// How long each combination runs, on a machine that is not busy.
const TIME: Duration = Duration::from_millis(700);
/// How long it waits for what it is to show, on one that is.
const PATIENCE: Duration = Duration::from_secs(120);
const BYTES: usize = 8 << 20;

/// One word of every page is incremented, a different one for each writer, and all share the page.
const CPU_WORD: usize = 8;
const DEVICE_WORD: usize = 2048;

struct DeviceWriter<'t> {
    address: usize,
    stop: &'t AtomicBool,
    done: &'t AtomicU64,
}

impl Kernel for DeviceWriter<'_> {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, _units: usize) -> Result<(), DeviceFault> {
        let mut random = random(unit as u64 + 77);
        while !self.stop.load(Ordering::Relaxed) {
            let page = random() % (BYTES / PAGE);
            for _ in 0..64 {
                memory.fetch_add(self.address + page * PAGE + DEVICE_WORD, 1)?;
            }
            self.done.fetch_add(64, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn write_from_cpu(space: &Space, span: AddressRange, seed: u64, stop: &AtomicBool, done: &AtomicU64) {
    let (window, mut random) = (space.window(span), random(seed));
    while !stop.load(Ordering::Relaxed) {
        let page = random() % (BYTES / PAGE);
        for _ in 0..64 {
            window.fetch_add_u64(page * PAGE + CPU_WORD, 1).expect("inside");
        }
        done.fetch_add(64, Ordering::Relaxed);
    }
}

/// Sends random parts of the memory to one side, again and again. A part in use is left.
fn push(space: &Space, span: AddressRange, side: Side, seed: u64, stop: &AtomicBool) {
    let mut random = random(seed);
    while !stop.load(Ordering::Relaxed) {
        let pages = 1 << (random() % 10);
        let first = random() % (BYTES / PAGE) / pages * pages;
        let part = span.part(first * PAGE, pages * PAGE).expect("inside");
        let _: Result<(), _> = space.prefetch(part, side);
    }
}

/// Tells whether there was enough of everything to lose.
fn did_happen(space: &Space, (by_cpu, by_device): (&AtomicU64, &AtomicU64)) -> bool {
    let moved: u64 = space.statistics().folios(Direction::ToDevice).iter().sum();
    by_cpu.load(Ordering::Relaxed) > 10_000 && by_device.load(Ordering::Relaxed) > 0 && moved > 10
}

/// Splits folios of random parts of the memory into pages, again and again. A part in use is left.
fn split(space: &Space, span: AddressRange, stop: &AtomicBool) {
    let mut random = random(5);
    while !stop.load(Ordering::Relaxed) {
        let part = span.part(random() % (BYTES / PAGE / 64) * 64 * PAGE, 64 * PAGE).expect("inside");
        let _: Result<u64, _> = space.split(part, Order::ZERO);
    }
}

fn nothing_is_lost(kind: MemoryKind, order: u8, vram: usize, ram: Option<usize>) {
    nothing_is_lost_with(PoolName::default(), kind, order, vram, ram);
}

fn nothing_is_lost_with(pool: PoolName, kind: MemoryKind, order: u8, vram: usize, ram: Option<usize>) {
    nothing_is_lost_beside(None, pool, kind, order, vram, ram);
}

fn nothing_is_lost_beside(
    other: Option<fn(&Space, AddressRange, &AtomicBool)>,
    pool: PoolName,
    kind: MemoryKind,
    order: u8,
    vram: usize,
    ram: Option<usize>,
) {
    let mut config = SpaceConfig::new(2 * BYTES, vram);
    config.kind = kind;
    config.pool = pool;
    config.ram = ram;
    config.checked = true;
    config.units = NonZeroUsize::MIN;
    let largest = Order::new(order).expect("small");
    let smallest = if kind == MemoryKind::Coherent { Order::K64 } else { Order::ZERO };
    config.policy = Some(Box::new(FixedOrders { largest, smallest, populate: largest }));
    let space = Space::new(config).expect("a space");
    let address = space.allocate(BYTES).expect("room");
    let span = AddressRange::new(address, BYTES).expect("pages");
    let (stop, by_cpu, by_device) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (space, stop) = (&space, &stop);
        for seed in [1, 2] {
            scope.spawn({
                let by_cpu = &by_cpu;
                move || write_from_cpu(space, span, seed, stop, by_cpu)
            });
        }
        scope.spawn(|| push(space, span, Side::DEVICE, 3, stop));
        scope.spawn(|| push(space, span, Side::Ram, 4, stop));
        other.map(|other| scope.spawn(move || other(space, span, stop)));
        let writer = DeviceWriter { address, stop, done: &by_device };
        let job = scope.spawn(move || space.launch(&writer));
        let start = Instant::now();
        let happened = || did_happen(space, (&by_cpu, &by_device));
        let mut broken = Vec::new();
        while broken.is_empty() && (start.elapsed() < TIME || (start.elapsed() < PATIENCE && !happened())) {
            std::thread::sleep(Duration::from_millis(10));
            // Everybody waits meanwhile.
            broken = space.audit();
        }
        stop.store(true, Ordering::Relaxed);
        job.join().expect("no panic").expect("every device fault is answered");
        assert_eq!(broken, []);
    });
    let window = space.window(span);
    let sum = |word: usize| -> u64 {
        (0..BYTES / PAGE).map(|page| window.load_u64(page * PAGE + word).expect("inside")).sum()
    };
    let counted = (sum(CPU_WORD), sum(DEVICE_WORD));
    let happened = did_happen(&space, (&by_cpu, &by_device));
    let done = (by_cpu.into_inner(), by_device.into_inner());
    let statistics = space.statistics();
    let moved: u64 = statistics.folios(Direction::ToDevice).iter().sum();
    println!(
        "{pool}, {kind:?} order {order}: {done:?} increments by CPU and device, {moved} folios to the device"
    );
    assert_eq!(counted, done, "lost or doubled writes");
    assert!(happened, "the stress did happen");
    assert_eq!(space.audit(), []);
    assert_eq!(statistics.get(Counter::Violations), 0);
    assert_eq!(statistics.get(Counter::Failures), 0);
    space.close().expect("all folios are gone");
}

#[test]
fn no_write_is_lost_at_4_kib() {
    if !kernel::grants("no_write_is_lost_at_4_kib", kernel::SHARED) {
        return;
    }
    nothing_is_lost(MemoryKind::Private, 0, BYTES / 4, None);
}

#[test]
fn no_write_is_lost_at_64_kib() {
    if !kernel::grants("no_write_is_lost_at_64_kib", kernel::SHARED) {
        return;
    }
    nothing_is_lost(MemoryKind::Private, 4, BYTES / 4, None);
}

#[test]
fn no_write_is_lost_at_2_mib() {
    if !kernel::grants("no_write_is_lost_at_2_mib", kernel::SHARED) {
        return;
    }
    nothing_is_lost(MemoryKind::Private, 9, BYTES / 2, None);
}

#[test]
fn no_write_is_lost_on_coherent_memory() {
    if !kernel::grants("no_write_is_lost_on_coherent_memory", kernel::SHARED) {
        return;
    }
    nothing_is_lost(MemoryKind::Coherent, 6, BYTES / 2, None);
}

#[test]
fn no_write_is_lost_when_system_memory_is_short_too() {
    if !kernel::grants("no_write_is_lost_when_system_memory_is_short_too", kernel::SHARED) {
        return;
    }
    nothing_is_lost(MemoryKind::Private, 4, BYTES, Some(BYTES / 2));
}

#[test]
fn no_write_is_lost_over_free_lists() {
    if !kernel::grants("no_write_is_lost_over_free_lists", kernel::SHARED) {
        return;
    }
    nothing_is_lost_with(PoolName::FreeList, MemoryKind::Private, 4, BYTES / 4, None);
    nothing_is_lost_with(PoolName::FreeList, MemoryKind::Coherent, 5, BYTES / 2, None);
}

#[test]
fn no_write_is_lost_on_shared_objects() {
    if !kernel::grants("no_write_is_lost_on_shared_objects", kernel::SHARED) {
        return;
    }
    // Objects hold 128 KiB and 256 KiB on devices of this size: several folios each.
    nothing_is_lost_with(PoolName::Coherent, MemoryKind::Private, 2, BYTES / 4, None);
    nothing_is_lost_with(PoolName::Coherent, MemoryKind::Coherent, 4, BYTES / 2, None);
}

#[test]
fn no_write_is_lost_on_a_mirror() {
    if !kernel::grants("no_write_is_lost_on_a_mirror", kernel::SHARED) {
        return;
    }
    nothing_is_lost_with(PoolName::Mirror, MemoryKind::Private, 9, BYTES / 2, None);
    nothing_is_lost_with(PoolName::Mirror, MemoryKind::Coherent, 6, BYTES / 4, None);
}

#[test]
fn no_write_is_lost_while_folios_are_split_below_the_smallest_that_may_travel() {
    if !kernel::grants(
        "no_write_is_lost_while_folios_are_split_below_the_smallest_that_may_travel",
        kernel::SHARED,
    ) {
        return;
    }
    for pool in [PoolName::Buddy, PoolName::FreeList, PoolName::Coherent] {
        nothing_is_lost_beside(Some(split), pool, MemoryKind::Coherent, 5, BYTES / 2, None);
    }
}
