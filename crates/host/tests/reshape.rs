//! Folios that change their size where they are, while the device writes to them.

mod kernel;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_engine::reshape::Collapsed;
use bifolio_folio::{MemoryKind, Order, Pfn};
use bifolio_host::{Counter, PoolName, Residence, Side, Space, SpaceConfig};
use bifolio_migrate::Failure;
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

const BYTES: usize = 2 << 20;
const PAGES: usize = BYTES / PAGE;

const KINDS: [MemoryKind; 2] = [MemoryKind::Private, MemoryKind::Coherent];

/// A space with one folio of 2 MiB on the device.
fn one_folio(kind: MemoryKind) -> (Space, AddressRange) {
    one_folio_of(kind, PoolName::Buddy)
}

fn one_folio_of(kind: MemoryKind, pool: PoolName) -> (Space, AddressRange) {
    let smallest = if kind == MemoryKind::Coherent { Order::K64 } else { Order::ZERO };
    let config = SpaceConfig {
        kind,
        pool,
        checked: true,
        policy: Some(Box::new(FixedOrders { largest: Order::PMD, smallest, populate: Order::PMD })),
        ..SpaceConfig::new(2 * BYTES, 4 * BYTES)
    };
    let space = Space::new(config).expect("a space");
    let span = AddressRange::new(space.allocate(BYTES).expect("room"), BYTES).expect("pages");
    let window = space.window(span);
    (0..PAGES).for_each(|page| window.store_u64(page * PAGE, page as u64 + 1).expect("inside"));
    space.prefetch(span, Side::DEVICE).expect("room on the device");
    assert_eq!(orders(&space, span), [9]);
    (space, span)
}

/// The orders of the folios on the device, by address.
fn orders(space: &Space, span: AddressRange) -> Vec<u8> {
    let (mut orders, mut at) = (Vec::new(), span.start());
    while at < span.end() {
        at += match space.engine().residence(at) {
            Residence::Device { order, .. } => {
                orders.push(order.get());
                PAGE << order.get()
            }
            _ => PAGE,
        };
    }
    orders
}

fn references(space: &Space) -> u64 {
    space.engine().nodes()[0].pagemap().pool().usage().references
}

/// Adds 1 to a word of every page, over and over.
struct Hammer<'h> {
    address: usize,
    stop: &'h AtomicBool,
    done: &'h AtomicU64,
    /// Units that have not written yet; `u64::MAX` before the first begins.
    idle: &'h AtomicU64,
}

impl Kernel for Hammer<'_> {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        let _: Result<u64, u64> =
            self.idle.compare_exchange(u64::MAX, units as u64, Ordering::Relaxed, Ordering::Relaxed);
        memory.fetch_add(self.address + unit * PAGE + 8, 1)?;
        self.done.fetch_add(1, Ordering::Relaxed);
        self.idle.fetch_sub(1, Ordering::Relaxed);
        for page in (unit..PAGES).step_by(units).cycle() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            memory.fetch_add(self.address + page * PAGE + 8, 1)?;
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Ends the job also where a check fails, so that the test fails and does not wait for ever.
struct StopAtTheEnd<'s>(&'s AtomicBool);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `reshape` while the device writes, and checks that nothing moved and no write was lost.
fn while_the_device_writes(space: &Space, span: AddressRange, reshape: impl FnOnce()) {
    let (stop, done, idle) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let bytes_moved =
        || space.statistics().get(Counter::BytesToRam) + space.statistics().get(Counter::BytesToDevice);
    let before = bytes_moved();
    std::thread::scope(|scope| {
        let hammer = Hammer { address: span.start(), stop: &stop, done: &done, idle: &idle };
        let running = StopAtTheEnd(&stop);
        let job = scope.spawn(move || space.launch(&hammer));
        // A unit may fault at its first write.
        while idle.load(Ordering::Relaxed) > 0 || done.load(Ordering::Relaxed) < 2 * PAGES as u64 {
            std::thread::yield_now();
        }
        let faults = space.statistics().get(Counter::DeviceFaults);
        reshape();
        let later = done.load(Ordering::Relaxed) + 2 * PAGES as u64;
        while done.load(Ordering::Relaxed) < later {
            std::thread::yield_now();
        }
        assert_eq!(space.statistics().get(Counter::DeviceFaults), faults, "no page was ever missing");
        drop(running);
        job.join().expect("no panic").expect("every page is there");
    });
    assert_eq!(bytes_moved(), before, "nothing moved");
    let window = space.window(span);
    let sum: u64 = (0..PAGES).map(|page| window.load_u64(page * PAGE + 8).expect("inside")).sum();
    assert_eq!(sum, done.into_inner(), "lost or doubled writes");
    (0..PAGES).for_each(|page| assert_eq!(window.load_u64(page * PAGE), Ok(page as u64 + 1), "page {page}"));
    assert_eq!(space.audit(), []);
    assert_eq!(space.statistics().get(Counter::Violations), 0);
}

#[test]
fn folio_of_2_mib_becomes_512_folios_while_the_device_writes() {
    if !kernel::grants("folio_of_2_mib_becomes_512_folios_while_the_device_writes", kernel::SHARED) {
        return;
    }
    for kind in KINDS {
        let (space, span) = one_folio(kind);
        while_the_device_writes(&space, span, || {
            assert_eq!(references(&space), 1);
            assert_eq!(space.split(span, Order::ZERO), Ok(511));
            assert_eq!((orders(&space, span), references(&space)), (vec![0; 512], 512));
        });
        assert_eq!(space.statistics().get(Counter::Splits), 511);
    }
}

#[test]
fn folios_of_one_backing_become_one_folio_again_while_the_device_writes() {
    let name = "folios_of_one_backing_become_one_folio_again_while_the_device_writes";
    if !kernel::grants(name, kernel::SHARED) {
        return;
    }
    for kind in KINDS {
        let (space, span) = one_folio(kind);
        while_the_device_writes(&space, span, || {
            for order in [0, 4, 8] {
                let order = Order::new(order).expect("small");
                let pieces = space.split(span, order).expect("no folio is held elsewhere") + 1;
                assert_eq!(references(&space), pieces);
                assert_eq!(space.collapse(span), Ok(Collapsed { before: pieces, after: 1 }));
                assert_eq!((orders(&space, span), references(&space)), (vec![9], 1));
            }
        });
        let statistics = space.statistics();
        assert_eq!(statistics.get(Counter::Collapses), statistics.get(Counter::Splits));
    }
}

#[test]
fn folios_around_a_held_one_collapse_without_it() {
    if !kernel::grants("folios_around_a_held_one_collapse_without_it", kernel::SHARED) {
        return;
    }
    let (space, span) = one_folio(MemoryKind::Private);
    space.split(span, Order::ZERO).expect("no folio is held elsewhere");
    let page = space.engine().nodes()[0].pagemap().folios().nth(300).expect("512 folios").head;
    let held = space.engine().nodes()[0].pagemap().try_get(page).expect("it is in use");
    assert_eq!(space.collapse(span), Err(Failure::Busy));
    assert_eq!(orders(&space, span), [8, 5, 3, 2, 0, 0, 1, 4, 6, 7]);
    drop(held);
    assert_eq!(space.collapse(span), Ok(Collapsed { before: 10, after: 1 }));
    assert_eq!(space.audit(), []);
}

#[test]
fn folio_without_a_page_that_was_unmapped_stays_in_pieces() {
    if !kernel::grants("folio_without_a_page_that_was_unmapped_stays_in_pieces", kernel::SHARED) {
        return;
    }
    let (space, span) = one_folio(MemoryKind::Private);
    space.unmap(span.part(300 * PAGE, PAGE).expect("inside")).expect("no folio is held elsewhere");
    assert_eq!(space.collapse(span), Ok(Collapsed { before: 9, after: 9 }));
    assert_eq!(orders(&space, span), [8, 5, 3, 2, 0, 1, 4, 6, 7]);
    assert_eq!(space.audit(), []);
}

#[test]
fn every_pool_collapses_what_it_split() {
    if !kernel::grants("every_pool_collapses_what_it_split", kernel::SHARED) {
        return;
    }
    for (pool, kind) in PoolName::ALL.iter().flat_map(|pool| KINDS.map(|kind| (*pool, kind))) {
        let (space, span) = one_folio_of(kind, pool);
        space.split(span, Order::ZERO).expect("no folio is held elsewhere");
        assert_eq!(space.collapse(span), Ok(Collapsed { before: 512, after: 1 }), "{pool:?}");
        assert_eq!(space.audit(), []);
    }
}

#[test]
fn split_around_a_page_keeps_the_rest_in_large_folios() {
    if !kernel::grants("split_around_a_page_keeps_the_rest_in_large_folios", kernel::SHARED) {
        return;
    }
    let (space, span) = one_folio(MemoryKind::Private);
    let page = span.part(300 * PAGE, PAGE).expect("inside");
    while_the_device_writes(&space, span, || {
        assert_eq!(space.split(page, Order::ZERO), Ok(9));
        assert_eq!(orders(&space, span), [8, 5, 3, 2, 0, 0, 1, 4, 6, 7]);
        assert_eq!(references(&space), 10);
    });
}

#[test]
fn folio_that_is_held_is_not_split() {
    if !kernel::grants("folio_that_is_held_is_not_split", kernel::SHARED) {
        return;
    }
    let (space, span) = one_folio(MemoryKind::Private);
    let held = space.engine().nodes()[0].pagemap().try_get(Pfn::new(77)).expect("it is in use");
    assert_eq!(space.split(span, Order::ZERO), Err(Failure::Busy));
    assert_eq!(orders(&space, span), [9]);
    drop(held);
    assert_eq!(space.split(span, Order::K64), Ok(31));
    assert_eq!(orders(&space, span), [4; 32]);
}
