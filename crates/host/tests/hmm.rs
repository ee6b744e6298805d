//! What the tests of HMM in Linux ask of a kernel, asked of a space: `docs/hmm-scenarios.md` has the whole list.
#![allow(unsafe_code, reason = "calls madvise and fork, as a program would")]

mod kernel;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order};
use bifolio_host::{Counter, Extent, Residence, Side, Space, SpaceConfig};
use bifolio_migrate::{Failure, NodeId, Rights};
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

const PAGES: usize = 64;
const NODE: NodeId = NodeId(0);
const KINDS: [MemoryKind; 2] = [MemoryKind::Private, MemoryKind::Coherent];

/// A checked space with an allocation whose pages hold their numbers, on folios of up to 64 KiB.
fn space(kind: MemoryKind, device_bytes: usize) -> (Space, AddressRange) {
    let smallest = if kind == MemoryKind::Coherent { Order::K64 } else { Order::ZERO };
    let policy = FixedOrders { largest: Order::K64, smallest, populate: Order::K64 };
    let config = SpaceConfig {
        kind,
        checked: true,
        units: NonZeroUsize::MIN,
        policy: Some(Box::new(policy)),
        ..SpaceConfig::new(4 << 20, device_bytes)
    };
    let space = Space::new(config).expect("memory for a small space");
    let span = AddressRange::new(space.allocate(PAGES * PAGE).expect("room"), PAGES * PAGE).expect("pages");
    for page in 0..PAGES {
        space.window(span).store_u64(page * PAGE, page as u64).expect("inside");
    }
    (space, span)
}

fn pages(span: AddressRange, first: usize, count: usize) -> AddressRange {
    span.part(first * PAGE, count * PAGE).expect("inside")
}

fn check(space: &Space) {
    assert_eq!(space.audit(), []);
    assert_eq!(space.statistics().get(Counter::Violations), 0);
}

/// First page and number of pages of an extent, and where it is: the order of its folio, or a word.
fn summary(span: AddressRange, extent: &Extent) -> (usize, usize, String) {
    let place = match extent.residence {
        Residence::Device { order, .. } => format!("order {order}"),
        other => format!("{other:?}"),
    };
    let first = (extent.addresses.start - span.start()) / PAGE;
    (first, extent.addresses.len() / PAGE, format!("{place} {:?} {:?}", extent.rights, extent.mapped))
}

#[test]
fn snapshot_tells_place_order_and_rights_of_every_page_without_a_fault() {
    if !kernel::grants("snapshot_tells_place_order_and_rights_of_every_page_without_a_fault", kernel::SHARED)
    {
        return;
    }
    let (space, span) = space(MemoryKind::Private, 1 << 20);
    space.prefetch(pages(span, 0, 32), Side::DEVICE).expect("there is room");
    space.split(pages(span, 0, 1), Order::new(3).expect("small")).expect("no folio is held elsewhere");
    space.discard(pages(span, 40, 8)).expect("no folio is held elsewhere");
    space.unmap(pages(span, 48, 16)).expect("no folio is held elsewhere");
    space.protect(pages(span, 32, 4), Rights::READ).expect("no folio is held elsewhere");
    let before = space.statistics();
    let found: Vec<_> = space.snapshot(span).expect("inside").iter().map(|it| summary(span, it)).collect();
    let (all, none) = (Rights::all(), Rights::empty());
    let expected = [
        (0, 8, format!("order 3 {all:?} {none:?}")),
        (8, 8, format!("order 3 {all:?} {none:?}")),
        (16, 16, format!("order 4 {all:?} {none:?}")),
        (32, 4, format!("Ram {:?} {none:?}", Rights::READ)),
        (36, 4, format!("Ram {all:?} {none:?}")),
        (40, 8, format!("Empty {all:?} {none:?}")),
        (48, 16, format!("NotMapped {none:?} {none:?}")),
    ];
    assert_eq!(found, expected);
    let faults = |it: &bifolio_host::Snapshot| it.get(Counter::CpuFaults) + it.get(Counter::DeviceFaults);
    assert_eq!(faults(&space.statistics()), faults(&before));
    let outside = AddressRange::new(space.addresses().end(), PAGE).expect("a page");
    assert_eq!(space.snapshot(outside), Err(Failure::NotMapped));
    check(&space);
}

/// Runs one unit's work on the device.
struct OnDevice<F>(F);

impl<F: Fn(&mut Unit<'_>) -> Result<(), DeviceFault> + Sync> Kernel for OnDevice<F> {
    fn run(&self, memory: &mut Unit<'_>, _unit: usize, _units: usize) -> Result<(), DeviceFault> {
        (self.0)(memory)
    }
}

#[test]
fn touch_of_the_cpu_ends_a_region_of_exclusive_access_and_finds_what_the_device_wrote() {
    let name = "touch_of_the_cpu_ends_a_region_of_exclusive_access_and_finds_what_the_device_wrote";
    if !kernel::grants(name, kernel::SHARED) {
        return;
    }
    for kind in KINDS {
        let (space, span) = space(kind, 1 << 20);
        let region = space.make_device_exclusive(NODE, pages(span, 3, 30)).expect("there is room");
        let add = OnDevice(|unit: &mut Unit<'_>| unit.fetch_add(span.start() + 20 * PAGE, 5).map(drop));
        space.launch(&add).expect("the page is there");
        assert!(region.is_held(), "{kind:?}: the device's own accesses end nothing");
        assert_eq!(space.window(span).load_u64(60 * PAGE), Ok(60));
        assert!(region.is_held(), "{kind:?}: the page is of another folio");
        assert_eq!(space.window(span).load_u64(20 * PAGE), Ok(25));
        assert!(!region.is_held(), "{kind:?}");
        space.launch(&add).expect("it faults and comes again");
        assert!(!region.is_held(), "{kind:?}: for good");
        check(&space);
    }
}

#[test]
fn nothing_comes_between_two_loads_of_the_device_in_a_region_that_is_still_held() {
    if !kernel::grants(
        "nothing_comes_between_two_loads_of_the_device_in_a_region_that_is_still_held",
        kernel::SHARED,
    ) {
        return;
    }
    for kind in KINDS {
        let (space, span) = space(kind, 1 << 20);
        let (stop, held, ended) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let twice = OnDevice(|unit: &mut Unit<'_>| {
            while held.load(Ordering::Relaxed) < 50 || ended.load(Ordering::Relaxed) < 50 {
                let Ok(region) = space.make_device_exclusive(NODE, pages(span, 0, 16)) else { continue };
                let first = unit.load(span.start())?;
                // Time for the CPU, every other time.
                if first % 2 == 0 {
                    std::thread::yield_now();
                }
                let second = unit.load(span.start())?;
                if region.is_held() {
                    assert_eq!(first, second, "the CPU came between");
                    held.fetch_add(1, Ordering::Relaxed);
                } else {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    space.window(span).fetch_add_u64(0, 1).expect("inside");
                    std::thread::yield_now();
                }
            });
            let job = space.launch(&twice);
            stop.store(true, Ordering::Relaxed);
            job.expect("every fault is answered");
        });
        check(&space);
    }
}

#[test]
fn region_that_is_dropped_leaves_coherent_pages_where_both_sides_reach_them() {
    if !kernel::grants(
        "region_that_is_dropped_leaves_coherent_pages_where_both_sides_reach_them",
        kernel::SHARED,
    ) {
        return;
    }
    let (space, span) = space(MemoryKind::Coherent, 1 << 20);
    drop(space.make_device_exclusive(NODE, span).expect("there is room"));
    assert_eq!(space.window(span).load_u64(7 * PAGE), Ok(7));
    assert_eq!(space.statistics().get(Counter::BytesToRam), 0, "nothing came home");
    check(&space);
}

#[test]
fn region_of_exclusive_access_is_refused_where_it_cannot_be() {
    if !kernel::grants("region_of_exclusive_access_is_refused_where_it_cannot_be", kernel::SHARED) {
        return;
    }
    let (space, span) = space(MemoryKind::Private, 32 * PAGE);
    let refused = |span| space.make_device_exclusive(NODE, span).err();
    assert_eq!(refused(span), Some(Failure::NoDeviceMemory), "64 pages, and 32 on the device");
    let pinned = space.pin(pages(span, 9, 1)).expect("there is system memory");
    assert_eq!(refused(pages(span, 8, 4)), Some(Failure::Pinned));
    drop(pinned);
    space.protect(pages(span, 9, 1), Rights::READ).expect("no folio is held elsewhere");
    assert_eq!(refused(pages(span, 8, 4)), Some(Failure::Denied));
    space.unmap(pages(span, 9, 1)).expect("no folio is held elsewhere");
    assert_eq!(refused(pages(span, 8, 4)), Some(Failure::NotMapped));
    check(&space);
}

#[test]
fn discarded_pages_are_zeros_on_both_sides_and_their_device_memory_is_free() {
    if !kernel::grants(
        "discarded_pages_are_zeros_on_both_sides_and_their_device_memory_is_free",
        kernel::SHARED,
    ) {
        return;
    }
    for kind in KINDS {
        let (space, span) = space(kind, 1 << 20);
        space.prefetch(span, Side::DEVICE).expect("there is room");
        let on_device = || space.engine().nodes()[0].pagemap().live_pages();
        assert_eq!(on_device(), 64);
        let part = pages(span, 16, 16);
        space.protect(pages(span, 20, 1), Rights::READ).expect("no folio is held elsewhere");
        space.discard(part).expect("no folio is held elsewhere");
        assert_eq!(on_device(), 48, "{kind:?}");
        assert_eq!(space.engine().rights_at(span.start() + 20 * PAGE), Rights::READ, "{kind:?}: they stay");
        space.protect(pages(span, 20, 1), Rights::all()).expect("no folio is held elsewhere");
        let load = OnDevice(|unit: &mut Unit<'_>| {
            assert_eq!(unit.load(span.start() + 17 * PAGE)?, 0);
            unit.store(span.start() + 18 * PAGE, 9)
        });
        space.launch(&load).expect("there is room");
        let words: Vec<_> = [15, 16, 18, 32].map(|page| space.window(span).load_u64(page * PAGE)).to_vec();
        assert_eq!(words, [Ok(15), Ok(0), Ok(9), Ok(32)], "{kind:?}");
        check(&space);
    }
}

#[test]
fn advice_that_forgets_private_memory_forgets_nothing_of_a_space() {
    if !kernel::grants("advice_that_forgets_private_memory_forgets_nothing_of_a_space", kernel::SHARED) {
        return;
    }
    for kind in KINDS {
        let (space, span) = space(kind, 1 << 20);
        space.prefetch(pages(span, 0, 32), Side::DEVICE).expect("there is room");
        // Linux: no byte of shared memory is forgotten by the one, and the other is for private memory only.
        for (advice, answer) in [(libc::MADV_DONTNEED, 0), (libc::MADV_FREE, libc::EINVAL)] {
            // SAFETY: the range is mapped by the space, and this advice on shared memory changes no byte.
            let result = unsafe { libc::madvise(span.start() as *mut libc::c_void, span.len(), advice) };
            let errno = std::io::Error::last_os_error().raw_os_error().expect("an error of the system");
            assert_eq!(if result == 0 { 0 } else { errno }, answer, "{kind:?}, advice {advice}");
        }
        for page in 0..PAGES {
            assert_eq!(space.window(span).load_u64(page * PAGE), Ok(page as u64), "{kind:?}");
        }
        check(&space);
    }
}

#[test]
fn child_has_no_memory_of_a_space_and_the_parent_keeps_all_of_it() {
    if !kernel::grants("child_has_no_memory_of_a_space_and_the_parent_keeps_all_of_it", kernel::SHARED) {
        return;
    }
    for kind in KINDS {
        let (space, span) = space(kind, 1 << 20);
        space.prefetch(pages(span, 0, 32), Side::DEVICE).expect("there is room");
        // SAFETY: the child calls nothing but `msync` and `_exit`, which need no lock of another thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let at = |page: usize| (span.start() + page * PAGE) as *mut libc::c_void;
            // SAFETY: msync touches no byte; it only says whether something is mapped there.
            let mapped = [0, 40].map(|page| unsafe { libc::msync(at(page), PAGE, libc::MS_ASYNC) });
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(mapped != [-1, -1])) };
        }
        let mut status = 0;
        // SAFETY: `status` outlives the call, and the child is ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "{kind:?}: something of the space is mapped in the child");
        for page in 0..PAGES {
            assert_eq!(space.window(span).load_u64(page * PAGE), Ok(page as u64), "{kind:?}");
        }
        check(&space);
    }
}
