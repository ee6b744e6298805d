//! Ports on a device whose page table the tests change themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bifolio_engine::device::{
    Capabilities, Copy, Device, DeviceError, DeviceFault, DeviceRequest, FaultHandler, Served, TableUpdate,
};
use bifolio_folio::{Order, Pfn};
use bifolio_hosted::{AtomicOp, AtomicWidth, Hosted, Memory, Port, Refused};
use bifolio_migrate::Rights;
use bifolio_sys::{Mapping, PAGE, Placement, Protection};

const BASE: usize = 0x1000_0000;
const PAGES: u64 = 64;
const READ: Rights = Rights::READ;
const ALL: Rights = Rights::READ.union(Rights::WRITE);

fn device() -> Arc<Hosted> {
    let memory = Memory::new(Pfn::new(100), PAGES).expect("memory");
    Arc::new(Hosted::new(memory, BASE..BASE + 64 * PAGE))
}

fn page(number: usize) -> usize {
    BASE + number * PAGE
}

/// Enters a page; page `n` of the table leads to page `100 + 2 * n` of the device, so that neighbours are apart.
fn map(device: &Hosted, number: usize, rights: Rights) {
    map_to(device, number, 2 * number as u64, rights);
}

fn map_to(device: &Hosted, number: usize, index: u64, rights: Rights) {
    let to = Pfn::new(100 + index);
    let update = TableUpdate::Map { address: page(number), to, order: Order::ZERO, rights };
    device.update(&[update]).expect("a page of the table");
}

fn unmap(device: &Hosted, number: usize) -> Result<(), DeviceError> {
    device.update(&[TableUpdate::Unmap { address: page(number), order: Order::ZERO }]).map(drop)
}

fn two_pages() -> (Arc<Hosted>, Port) {
    let device = device();
    map(&device, 0, ALL);
    map(&device, 1, ALL);
    let port = device.open_port(3);
    (device, port)
}

fn fault(refused: Refused) -> DeviceRequest {
    match refused {
        Refused::Fault(request) => request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_of_every_width_come_back_across_pages_too() {
    let (_, mut port) = two_pages();
    for address in page(1) - 9..page(1) + 2 {
        port.try_store(address, 0x0123_4567_89ab_cdef_u64).expect("mapped");
        assert_eq!(port.try_load::<u64>(address), Ok(0x0123_4567_89ab_cdef));
        assert_eq!(port.try_load::<u32>(address), Ok(0x89ab_cdef));
        assert_eq!(port.try_load::<u16>(address + 1), Ok(0xabcd));
        assert_eq!(port.try_load::<u8>(address + 7), Ok(0x01));
        port.try_store(address, 1.5_f32).expect("mapped");
        assert_eq!(port.try_load::<f32>(address), Ok(1.5));
    }
}

#[test]
fn bytes_of_every_length_come_back() {
    let (_, mut port) = two_pages();
    let pattern: Vec<u8> = (0..=250).cycle().take(2 * PAGE).collect();
    for len in [0, 1, 3, 8, 16, 63, 64, 65, 100, 1000, PAGE, PAGE + 100] {
        let at = page(1) - len / 2;
        port.try_write(at, &pattern[..len]).expect("mapped");
        let mut seen = vec![0; len];
        port.try_read(at, &mut seen).expect("mapped");
        assert_eq!(seen, pattern[..len], "{len} bytes");
    }
}

#[test]
fn strobe_leaves_the_other_bytes_alone() {
    let (_, mut port) = two_pages();
    port.try_write(page(1) - 64, &[7; 128]).expect("mapped");
    let strobe = [0b0101_0101; 12];
    port.try_write_strobed(page(1) - 48, &[9; 96], &strobe).expect("mapped");
    let mut seen = [0; 128];
    port.try_read(page(1) - 64, &mut seen).expect("mapped");
    let expected = |at: usize| if (16..112).contains(&at) && at.is_multiple_of(2) { 9 } else { 7 };
    assert!(seen.iter().enumerate().all(|(at, byte)| *byte == expected(at)), "{seen:?}");
}

#[test]
fn atomics_tell_what_was_there_and_want_alignment() {
    let (_, mut port) = two_pages();
    port.try_store(page(0), 5_u64).expect("mapped");
    assert_eq!(port.try_atomic(page(0), AtomicOp::Add, AtomicWidth::Four, 3), Ok(5));
    assert_eq!(port.try_atomic(page(0), AtomicOp::CompareExchange(8), AtomicWidth::Eight, 1), Ok(8));
    assert_eq!(port.try_load::<u64>(page(0)), Ok(1));
    let unaligned = port.try_atomic(page(0) + 2, AtomicOp::Add, AtomicWidth::Four, 3);
    assert_eq!(unaligned, Err(Refused::Unaligned { address: page(0) + 2 }));
    let float = port.try_atomic(page(0), AtomicOp::AddFloat, AtomicWidth::Two, 3);
    assert_eq!(float, Err(Refused::NoSuchAtomic));
}

#[test]
fn refused_access_moves_no_byte_and_names_the_first_missing_page() {
    let (device, mut port) = two_pages();
    port.try_write(page(0), &[1; 2 * PAGE]).expect("mapped");
    unmap(&device, 1).expect("nothing holds it");
    let mut seen = [9; 200];
    let request = fault(port.try_read(page(1) - 100, &mut seen).expect_err("page 1 is missing"));
    assert_eq!((request.address, request.pages, request.access, request.unit), (page(1), 1, READ, 3));
    assert_eq!(seen, [9; 200]);
    let request = fault(port.try_write(page(1) - 4, &[2; 5000]).expect_err("page 1 is missing"));
    assert_eq!((request.address, request.pages, request.access), (page(1), 2, ALL));
    let request = fault(port.try_write_strobed(page(1) - 8, &[2; 16], &[0xff, 0xff]).expect_err("missing"));
    assert_eq!(request.address, page(1));
    assert_eq!(port.try_load::<u32>(page(1) - 4), Ok(0x0101_0101), "nothing was written");
    fault(port.try_load::<u64>(page(1) - 4).expect_err("page 1 is missing"));
}

#[test]
fn writing_what_may_only_be_read_is_a_fault() {
    let device = device();
    map(&device, 0, READ);
    let mut port = device.open_port(0);
    assert_eq!(port.try_load::<u64>(page(0)), Ok(0));
    let request = fault(port.try_store(page(0), 1_u64).expect_err("read-only"));
    assert_eq!((request.address, request.access), (page(0), ALL));
    let remap = TableUpdate::Remap { address: page(0), to: Pfn::new(100), order: Order::ZERO, rights: ALL };
    device.update(&[remap]).expect("a page of the table");
    assert_eq!(port.try_store(page(0), 1_u64), Ok(()));
}

#[test]
fn addresses_that_nothing_covers_are_faults_wherever_they_are() {
    let (_, mut port) = two_pages();
    for address in [0, BASE - 1, page(64), usize::MAX - 7, usize::MAX] {
        fault(port.try_load::<u64>(address).expect_err("not there"));
        fault(port.try_write(address, &[1; 100]).expect_err("not there"));
        fault(port.translate(address, READ).expect_err("not there"));
    }
}

#[test]
fn buffers_in_managed_memory_are_copied_outside_of_the_access() {
    // A table of all addresses: every buffer may be memory that is away.
    let memory = Memory::new(Pfn::ZERO, PAGES).expect("memory");
    let device = Arc::new(Hosted::new(memory, 0..1 << 47));
    let map = TableUpdate::Map { address: BASE, to: Pfn::ZERO, order: Order::K64, rights: ALL };
    device.update(&[map]).expect("a page of the table");
    let mut port = device.open_port(0);
    let pattern: Vec<u8> = (0..=250).cycle().take(3 * PAGE).collect();
    port.try_write(BASE + 100, &pattern).expect("mapped");
    let mut seen = vec![0; 3 * PAGE];
    port.try_read(BASE + 100, &mut seen).expect("mapped");
    assert_eq!(seen, pattern);
}

#[test]
fn use_is_told_after_an_unmapping_too() {
    let (device, mut port) = two_pages();
    port.try_load::<u64>(page(0)).expect("mapped");
    port.try_store(page(1), 1_u64).expect("mapped");
    let counts = |address| {
        let used = device.used_pages(address, Order::ZERO);
        (used.accessed.count(), used.written.count())
    };
    assert_eq!((counts(page(0)), counts(page(1))), ((1, 0), (1, 1)));
    unmap(&device, 1).expect("nothing holds it");
    assert_eq!(counts(page(1)), (1, 1));
}

#[test]
fn cleared_use_is_marked_again_by_a_port_that_had_the_page_cached() {
    let (device, mut port) = two_pages();
    for _ in 0..2 {
        port.try_load::<u64>(page(0)).expect("mapped");
        assert!(device.test_and_clear_accessed(page(0), Order::ZERO));
        assert!(!device.test_and_clear_accessed(page(0), Order::ZERO));
    }
}

/// Each page of the device holds its own number. Two ports read one address while it leads here and there: once an unmapping
/// is done, its page gets another number, which no port may see.
#[test]
fn no_port_sees_a_page_after_its_unmapping() {
    let device = device();
    let write = |index: u64, value: u64| {
        let bytes = device.inspect(Pfn::new(100 + index), 1).expect("a page");
        bytes.store_u64(0, value).expect("inside");
    };
    let (done, hits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut port = device.open_port(0);
            let (done, hits) = (&done, &hits);
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    if let Ok(value) = port.try_load::<u64>(page(5)) {
                        assert_eq!(value, 1, "a page that left");
                        hits.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        // On a busy machine the ports may get their turn late.
        let until = Instant::now() + Duration::from_secs(30);
        for turn in 0.. {
            if turn >= 4000 && (hits.load(Relaxed) > 0 || Instant::now() > until) {
                break;
            }
            let index = turn % PAGES;
            write(index, 1);
            map_to(&device, 5, index, ALL);
            unmap(&device, 5).expect("accesses are short");
            write(index, 2);
        }
        done.store(true, Relaxed);
    });
    assert!(hits.load(Relaxed) > 0);
}

#[test]
fn translation_holds_until_the_next_call() {
    let (device, mut port) = two_pages();
    let found = port.translate(page(1) + 77, READ).expect("mapped");
    assert_eq!((found.address, found.bytes, found.pfn, found.rights), (page(1), PAGE, Pfn::new(102), READ));
    assert_eq!(found.host, device.inspect(found.pfn, 1).expect("a page").address());
    let gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            unmap(&device, 1).expect("released in time");
            gone.store(true, Relaxed);
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!gone.load(Relaxed), "the page left while it was held");
        port.release();
    });
    assert!(gone.load(Relaxed));
}

#[test]
fn translation_does_not_hold_up_a_change_by_the_same_thread() {
    let (device, mut port) = two_pages();
    port.translate(page(1), ALL).expect("mapped");
    unmap(&device, 1).expect("this thread uses nothing while it changes the table");
}

#[test]
fn translation_held_for_too_long_is_the_end_of_the_device_but_not_of_its_bytes() {
    let memory = Memory::new(Pfn::new(100), PAGES).expect("memory");
    let (capabilities, patience) = (Capabilities::new(PAGES), Duration::from_millis(20));
    let device = Arc::new(Hosted::with_capabilities(memory, BASE..BASE + 64 * PAGE, capabilities, patience));
    map(&device, 0, ALL);
    let (mut port, mut other) = (device.open_port(0), device.open_port(1));
    port.try_store(page(0), 42_u64).expect("mapped");
    port.translate(page(0), ALL).expect("mapped");
    std::thread::scope(|scope| {
        let unmapped = scope.spawn(|| unmap(&device, 0)).join().expect("no panic");
        assert_eq!(unmapped, Err(DeviceError::Lost));
    });
    assert!(device.is_lost());
    assert_eq!(other.try_load::<u64>(page(0)), Err(Refused::Lost { address: page(0) }));
    let home = Mapping::anonymous(PAGE, Protection::ReadWrite, Placement::Anywhere).expect("a page");
    device.copy(&[Copy::ToRam { from: Pfn::new(100), to: home.all() }]).expect("memory is still here");
    assert_eq!(home.all().load_u64(0), Ok(42));
    let to_device = Copy::ToDevice { from: home.all(), to: Pfn::new(100) };
    assert_eq!(device.copy(&[to_device]), Err(DeviceError::Lost));
    let map = TableUpdate::Map { address: page(0), to: Pfn::new(100), order: Order::ZERO, rights: ALL };
    assert_eq!(device.update(&[map]), Err(DeviceError::Lost));
}

/// Maps what is asked for.
struct Mapper(Arc<Hosted>);

impl FaultHandler for Mapper {
    fn device_fault(&self, request: &DeviceRequest) -> Result<Served, DeviceFault> {
        let number = request.address.checked_sub(BASE).map(|offset| offset / PAGE);
        let Some(number) = number.filter(|number| *number < 8) else {
            return Err(DeviceFault::NotMapped { address: request.address });
        };
        map(&self.0, number, request.access);
        Ok(Served::default())
    }
}

#[test]
fn resolving_goes_on_until_the_access_is_done() {
    let device = device();
    device.attach(Arc::new(Mapper(Arc::clone(&device))));
    let mut port = device.open_port(0);
    let all = port.resolving(|port| port.try_write(page(0) + 8, &[5; 3 * PAGE]));
    assert_eq!(all, Ok(()));
    assert_eq!(port.try_load::<u8>(page(3)), Ok(5));
    let outside = port.resolving(|port| port.try_load::<u8>(page(9)));
    assert_eq!(outside, Err(DeviceFault::NotMapped { address: page(9) }));
}
