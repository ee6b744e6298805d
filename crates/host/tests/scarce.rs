//! Memory that is short, or was never touched: every order is tried, the last resort is system memory, and no byte is lost.

mod kernel;

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order, Pfn};
use bifolio_host::{Counter, Residence, Side, Space, SpaceConfig};
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

const PAGES: usize = 512;
const KINDS: [MemoryKind; 2] = [MemoryKind::Private, MemoryKind::Coherent];

/// A checked space with an allocation of a block, and so many pages of device memory.
fn space(kind: MemoryKind, device_pages: usize, largest: Order) -> (Space, AddressRange) {
    let smallest = if kind == MemoryKind::Coherent { Order::K64 } else { Order::ZERO };
    let policy = FixedOrders { largest, smallest, populate: largest };
    let config = SpaceConfig {
        kind,
        checked: true,
        policy: Some(Box::new(policy)),
        ..SpaceConfig::new(4 << 20, device_pages * PAGE)
    };
    let space = Space::new(config).expect("memory for a small space");
    let bytes = PAGES * PAGE;
    let span = AddressRange::new(space.allocate(bytes).expect("room"), bytes).expect("pages");
    (space, span)
}

fn write_numbers(space: &Space, span: AddressRange) {
    (0..PAGES).for_each(|page| space.window(span).store_u64(page * PAGE, page as u64 + 1).expect("inside"));
}

fn check(space: &Space) {
    assert_eq!(space.audit(), []);
    assert_eq!(space.statistics().get(Counter::Violations), 0);
}

/// Adds 1000 to the first word of some pages, and returns no error only if each had the word that it should.
struct Add<'a> {
    span: AddressRange,
    pages: std::ops::Range<usize>,
    expected: &'a (dyn Fn(usize) -> u64 + Sync),
}

impl Kernel for Add<'_> {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        for page in self.pages.clone().skip(unit).step_by(units) {
            let before = memory.fetch_add(self.span.start() + page * PAGE, 1000)?;
            assert_eq!(before, (self.expected)(page), "page {page}");
        }
        Ok(())
    }
}

#[test]
fn untouched_memory_is_zeros_for_the_device_whether_the_program_read_it_before_or_not() {
    let name = "untouched_memory_is_zeros_for_the_device_whether_the_program_read_it_before_or_not";
    if !kernel::grants(name, kernel::SHARED) {
        return;
    }
    for kind in KINDS {
        let (space, span) = space(kind, 1024, Order::K64);
        // Device memory that had other bytes before is what zeros are to replace.
        write_numbers(&space, span);
        space.prefetch(span, Side::DEVICE).expect("there is room");
        space.discard(span).expect("no folio is held elsewhere");
        for page in (0..PAGES).step_by(3) {
            assert_eq!(space.window(span).load_u64(page * PAGE), Ok(0), "{kind:?}, page {page}");
        }
        space.launch(&Add { span, pages: 0..PAGES, expected: &|_| 0 }).expect("there is room");
        for page in 0..PAGES {
            assert_eq!(space.window(span).load_u64(page * PAGE), Ok(1000), "{kind:?}, page {page}");
            assert_eq!(space.window(span).load_u64(page * PAGE + 8), Ok(0), "{kind:?}, page {page}");
        }
        check(&space);
    }
}

#[test]
fn device_uses_system_memory_when_all_of_its_own_is_held_and_its_own_again_afterwards() {
    let name = "device_uses_system_memory_when_all_of_its_own_is_held_and_its_own_again_afterwards";
    if !kernel::grants(name, kernel::SHARED) {
        return;
    }
    for kind in KINDS {
        let (space, span) = space(kind, 64, Order::K64);
        write_numbers(&space, span);
        space.prefetch(span.part(0, 64 * PAGE).expect("inside"), Side::DEVICE).expect("there is room");
        // Other holders of all device memory: it is not free when its bytes are gone.
        let pagemap = space.engine().nodes()[0].pagemap();
        let first = pagemap.first().get();
        let held: Vec<_> = (first..first + 64)
            .map(|pfn| pagemap.try_get(Pfn::new(pfn)).expect("a folio is there"))
            .collect();
        space
            .launch(&Add { span, pages: 100..110, expected: &|page| page as u64 + 1 })
            .expect("the last resort");
        let remote = space.statistics().get(Counter::BytesRemote);
        assert!(remote > 0, "{kind:?}");
        let tries = space.statistics().get(Counter::Busy);
        assert!(tries < 10 * 100, "{kind:?}: ten pages were tried {tries} times before the last resort");
        let on_device = |page: usize| {
            matches!(space.engine().residence(span.start() + page * PAGE), Residence::Device { .. })
        };
        assert!(!(0..PAGES).any(on_device), "{kind:?}: no device memory is free");
        drop(held);
        space
            .launch(&Add { span, pages: 100..110, expected: &|page| page as u64 + 1001 })
            .expect("there is room");
        space
            .prefetch(span.part(400 * PAGE, 16 * PAGE).expect("inside"), Side::DEVICE)
            .expect("there is room");
        assert!(on_device(400), "{kind:?}: device memory is free again");
        for page in 0..PAGES {
            let added = match page {
                100..110 => 2000,
                _ => 0,
            };
            assert_eq!(space.window(span).load_u64(page * PAGE), Ok(page as u64 + 1 + added), "page {page}");
        }
        check(&space);
    }
}

#[test]
fn folio_is_as_large_as_the_memory_that_is_left_at_every_order() {
    if !kernel::grants("folio_is_as_large_as_the_memory_that_is_left_at_every_order", kernel::SHARED) {
        return;
    }
    for (kind, k) in KINDS.iter().flat_map(|kind| (0..=9_u8).map(|k| (*kind, k))) {
        if kind == MemoryKind::Coherent && k < Order::K64.get() {
            continue;
        }
        let (space, span) = space(kind, 1 << k, Order::MAX.min(Order::new(9).expect("small")));
        write_numbers(&space, span);
        space.launch(&Add { span, pages: 77..78, expected: &|page| page as u64 + 1 }).expect("there is room");
        match space.engine().residence(span.start() + 77 * PAGE) {
            Residence::Device { order, .. } => assert_eq!(order.get(), k, "{kind:?}"),
            other => panic!("{kind:?}, order {k}: {other:?}"),
        }
        space.launch(&Add { span, pages: 0..77, expected: &|page| page as u64 + 1 }).expect("others leave");
        for page in 0..PAGES {
            let added = if page < 78 { 1000 } else { 0 };
            assert_eq!(space.window(span).load_u64(page * PAGE), Ok(page as u64 + 1 + added), "page {page}");
        }
        check(&space);
    }
}
