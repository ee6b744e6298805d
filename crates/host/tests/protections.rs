//! Rights of shared memory, on both sides, on real userfaultfd.

mod kernel;

use std::fs;

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::MemoryKind;
use bifolio_host::{Counter, Side, Space, SpaceConfig};
use bifolio_migrate::{Failure, Rights};
use bifolio_sys::{AddressRange, PAGE};

const PAGES: usize = 64;

/// Loads the first word of a page, or stores to it.
struct Touch {
    address: usize,
    store: bool,
}

impl Kernel for Touch {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, _units: usize) -> Result<(), DeviceFault> {
        match (unit, self.store) {
            (0, true) => memory.store(self.address, 7),
            (0, false) => memory.load(self.address).map(drop),
            _ => Ok(()),
        }
    }
}

/// A checked space with an allocation whose pages hold their numbers.
fn space(kind: MemoryKind) -> (Space, AddressRange) {
    let config = SpaceConfig { kind, checked: true, ..SpaceConfig::new(4 << 20, 1 << 20) };
    let space = Space::new(config).expect("memory for a small space");
    let address = space.allocate(PAGES * PAGE).expect("the space is large enough");
    let span = AddressRange::new(address, PAGES * PAGE).expect("whole pages");
    for page in 0..PAGES {
        space.window(span).store_u64(page * PAGE, page as u64).expect("inside");
    }
    (space, span)
}

fn page(span: AddressRange, number: usize) -> AddressRange {
    span.part(number * PAGE, PAGE).expect("inside")
}

fn touch(space: &Space, span: AddressRange, number: usize, store: bool) -> Result<(), DeviceFault> {
    space.launch(&Touch { address: page(span, number).start(), store })
}

/// How the kernel lets the program access an address, such as `rw-s`.
fn access_of_the_cpu(address: usize) -> String {
    let maps = fs::read_to_string("/proc/self/maps").expect("procfs");
    let holds = |line: &&str| {
        let (start, end) =
            line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("hexadecimal");
        (number(start)..number(end)).contains(&address)
    };
    let line = maps.lines().find(holds).expect("a mapping of the space");
    line.split(' ').nth(1).expect("the access").to_owned()
}

#[test]
fn device_is_denied_what_pages_do_not_allow() {
    if !kernel::grants("device_is_denied_what_pages_do_not_allow", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let (space, span) = space(kind);
        // Coherent folios have 16 pages at least, and no two rights.
        let part = span.part(16 * PAGE, 16 * PAGE).expect("inside");
        space.prefetch(span, Side::DEVICE).expect("there is room");
        space.protect(part, Rights::READ).expect("no folio is held elsewhere");
        touch(&space, span, 17, false).expect("it may be read");
        let refused = touch(&space, span, 17, true).expect_err("it may not be written");
        let (address, access) = (page(span, 17).start(), Rights::all());
        assert_eq!(refused, DeviceFault::Denied { address, access }, "{kind:?}");
        touch(&space, span, 15, true).expect("its neighbour may");
        space.protect(part, Rights::empty()).expect("no folio is held elsewhere");
        assert!(matches!(touch(&space, span, 17, false), Err(DeviceFault::Denied { .. })));
        space.protect(part, Rights::all()).expect("no folio is held elsewhere");
        touch(&space, span, 17, true).expect("it may be written again");
        assert_eq!(space.window(span).load_u64(17 * PAGE), Ok(7));
        assert_eq!(space.audit(), []);
        assert_eq!(space.statistics().get(Counter::Violations), 0);
    }
}

#[test]
fn kernel_holds_the_program_to_its_rights_wherever_the_pages_are() {
    if !kernel::grants("kernel_holds_the_program_to_its_rights_wherever_the_pages_are", kernel::SHARED) {
        return;
    }
    for kind in [MemoryKind::Private, MemoryKind::Coherent] {
        let (space, span) = space(kind);
        let part = span.part(16 * PAGE, 16 * PAGE).expect("inside");
        space.protect(part, Rights::READ).expect("no folio is held elsewhere");
        for side in [Side::DEVICE, Side::Ram, Side::DEVICE] {
            space.prefetch(span, side).expect("there is room");
            assert_eq!(access_of_the_cpu(part.start()), "r--s", "{kind:?} {side:?}");
            assert_eq!(access_of_the_cpu(span.start()), "rw-s", "{kind:?} {side:?}");
            assert_eq!(space.window(span).load_u64(16 * PAGE), Ok(16));
        }
        space.unmap(part).expect("no folio is held elsewhere");
        assert_eq!(access_of_the_cpu(part.start()), "rw-s", "{kind:?}: for the next allocation");
        assert_eq!(space.audit(), []);
    }
}

#[test]
fn memory_of_no_allocation_cannot_be_protected() {
    if !kernel::grants("memory_of_no_allocation_cannot_be_protected", kernel::SHARED) {
        return;
    }
    let (space, span) = space(MemoryKind::Private);
    let after = AddressRange::new(span.end(), PAGE).expect("a page of the space");
    assert_eq!(space.protect(after, Rights::READ), Err(Failure::NotMapped));
    let outside = AddressRange::new(space.addresses().end(), PAGE).expect("a page");
    assert_eq!(space.protect(outside, Rights::READ), Err(Failure::NotMapped));
    assert_eq!(space.prefetch(outside, Side::DEVICE), Err(Failure::NotMapped));
    assert_eq!(space.unmap(outside), Err(Failure::NotMapped));
}
