//! Memory of a space that the program moves by `mremap`: every byte is there afterwards, or a touch raises a signal.
#![allow(unsafe_code, reason = "calls mremap, as a program would, and reads memory by address")]

mod kernel;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bifolio_builtin::{Kernel, Unit};
use bifolio_engine::device::DeviceFault;
use bifolio_folio::{MemoryKind, Order};
use bifolio_host::fault_loop::Readers;
use bifolio_host::{Counter, Residence, Side, Space, SpaceConfig};
use bifolio_policy::FixedOrders;
use bifolio_sys::{AddressRange, PAGE};

const PAGES: usize = 64;

/// Who answers faults: by default, or the threads that touch.
const READERS: [Option<Readers>; 2] = [None, Some(Readers::Toucher)];

/// A checked space with an allocation whose pages hold their numbers and one.
fn space(kind: MemoryKind, readers: Option<Readers>, ram: Option<usize>) -> (Space, AddressRange) {
    let smallest = if kind == MemoryKind::Coherent { Order::K64 } else { Order::ZERO };
    let policy = FixedOrders { largest: Order::K64, smallest, populate: Order::K64 };
    let config = SpaceConfig {
        kind,
        readers,
        ram,
        checked: true,
        policy: Some(Box::new(policy)),
        ..SpaceConfig::new(4 << 20, 1 << 20)
    };
    let space = Space::new(config).expect("memory for a small space");
    let span = AddressRange::new(space.allocate(PAGES * PAGE).expect("room"), PAGES * PAGE).expect("pages");
    for page in 0..PAGES {
        space.window(span).store_u64(page * PAGE, page as u64 + 1).expect("inside");
    }
    (space, span)
}

/// Moves `old` bytes to addresses that the kernel chooses, where there are `new` bytes.
fn mremap(from: usize, old: usize, new: usize, flags: i32) -> usize {
    // SAFETY: the memory is the space's own, which no Rust reference points to.
    let to = unsafe { libc::mremap(from as *mut libc::c_void, old, new, libc::MREMAP_MAYMOVE | flags, 0) };
    assert_ne!(to, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    to as usize
}

/// Moves memory to addresses of a reservation, so that it does move.
fn moved(from: AddressRange) -> usize {
    let (none, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new mapping, which replaces none.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), from.len(), none, flags, -1, 0) };
    assert_ne!(place, libc::MAP_FAILED);
    let fixed = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the memory is the space's own, and the reservation this function's.
    let to = unsafe { libc::mremap(from.start() as *mut libc::c_void, from.len(), from.len(), fixed, place) };
    assert_eq!(to, place, "{}", std::io::Error::last_os_error());
    to as usize
}

fn at(start: usize, page: usize) -> &'static AtomicU64 {
    // SAFETY: aligned, mapped until the process ends, and accessed by atomics only.
    unsafe { AtomicU64::from_ptr((start + page * PAGE) as *mut u64) }
}

fn pages(span: AddressRange, first: usize, count: usize) -> AddressRange {
    span.part(first * PAGE, count * PAGE).expect("inside")
}

#[test]
fn moved_memory_has_every_byte_wherever_its_pages_were() {
    if !kernel::grants("moved_memory_has_every_byte_wherever_its_pages_were", kernel::SHARED) {
        return;
    }
    let limits = [None, Some(1 << 20)];
    for (readers, ram) in READERS.iter().flat_map(|readers| limits.map(|ram| (*readers, ram))) {
        let (space, span) = space(MemoryKind::Private, readers, ram);
        space.prefetch(pages(span, 0, 32), Side::DEVICE).expect("there is room");
        space.discard(pages(span, 48, 8)).expect("no folio is held elsewhere");
        let to = moved(span);
        for page in 0..PAGES {
            let expected = if (48..56).contains(&page) { 0 } else { page as u64 + 1 };
            assert_eq!(at(to, page).load(Ordering::Relaxed), expected, "page {page}, limit {ram:?}");
            at(to, page).store(1000 + page as u64, Ordering::Relaxed);
        }
        // The old addresses show the same bytes, and no device takes them away.
        assert_eq!(space.window(span).load_u64(5 * PAGE), Ok(1005));
        assert!(space.prefetch(pages(span, 0, 16), Side::DEVICE).is_err());
        assert!(space.snapshot(span).expect("inside").iter().all(|it| it.residence == Residence::Ram));
        assert_eq!(at(to, 7).load(Ordering::Relaxed), 1007);
        assert!(space.free(span.start()).is_err(), "the program has it elsewhere");
        assert_eq!(space.audit(), []);
        assert_eq!(space.statistics().get(Counter::Violations), 0);
        drop(space);
        assert_eq!(at(to, 9).load(Ordering::Relaxed), 1009, "what was moved outlives the space");
    }
}

#[test]
fn coherent_memory_moves_while_it_is_in_system_memory() {
    if !kernel::grants("coherent_memory_moves_while_it_is_in_system_memory", kernel::SHARED) {
        return;
    }
    for readers in READERS {
        let (space, span) = space(MemoryKind::Coherent, readers, None);
        space.prefetch(pages(span, 0, 16), Side::DEVICE).expect("there is room");
        let to = moved(pages(span, 32, 32));
        for page in 0..32 {
            assert_eq!(at(to, page).load(Ordering::Relaxed), page as u64 + 33);
        }
        assert_eq!(space.window(span).load_u64(5 * PAGE), Ok(6), "the rest is where it was");
        assert_eq!(space.audit(), []);
    }
}

/// Adds one to a word of each page, until told to stop.
struct Add<'a>(AddressRange, &'a AtomicU64, &'a AtomicBool);

impl Kernel for Add<'_> {
    fn run(&self, memory: &mut Unit<'_>, unit: usize, units: usize) -> Result<(), DeviceFault> {
        while !self.2.load(Ordering::Relaxed) {
            for page in (unit..PAGES).step_by(units) {
                if memory.fetch_add(self.0.start() + page * PAGE + 8, 1).is_err() {
                    return Ok(());
                }
                self.1.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

#[test]
fn no_write_of_either_side_is_lost_while_memory_moves() {
    if !kernel::grants("no_write_of_either_side_is_lost_while_memory_moves", kernel::SHARED) {
        return;
    }
    for round in 0..20 {
        let (space, span) = space(MemoryKind::Private, READERS[round % 2], None);
        let (added, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let (to, written) = std::thread::scope(|scope| {
            let device = scope.spawn(|| space.launch(&Add(span, &added, &stop)));
            while added.load(Ordering::Relaxed) < 100 {
                std::thread::yield_now();
            }
            let to = moved(span);
            for turn in 0..50 {
                for page in 0..PAGES {
                    at(to, page).store(turn, Ordering::Relaxed);
                    assert_eq!(at(to, page).load(Ordering::Relaxed), turn, "page {page} of round {round}");
                }
            }
            stop.store(true, Ordering::Relaxed);
            let _ended: Result<_, _> = device.join().expect("it does not panic");
            (to, added.load(Ordering::Relaxed))
        });
        let words = (0..PAGES).map(|page| {
            // SAFETY: as in `at`.
            let word = unsafe { AtomicU64::from_ptr((to + page * PAGE + 8) as *mut u64) };
            assert_eq!(at(to, page).load(Ordering::Relaxed), 49, "page {page} of round {round}");
            word.load(Ordering::Relaxed)
        });
        assert_eq!(words.sum::<u64>(), written, "round {round}");
        assert_eq!(space.audit(), []);
    }
}

/// Set in the child that is to die, to the case that it does.
const CASE: &str = "BIFOLIO_TEST_MOVED";

#[test]
fn what_cannot_be_followed_ends_in_a_signal() {
    let name = "what_cannot_be_followed_ends_in_a_signal";
    if !kernel::grants(name, kernel::SHARED) {
        return;
    }
    if let Ok(case) = std::env::var(CASE) {
        let (case, readers) = case.split_once(',').expect("two parts");
        die(case, READERS[usize::from(readers == "Toucher")]);
    }
    let cases = [
        ("longer", libc::SIGBUS, ""),
        ("copy", libc::SIGBUS, ""),
        ("freed", libc::SIGBUS, ""),
        ("coherent", libc::SIGABRT, "the program moved memory that the CPU reaches on a device"),
        ("kept", libc::SIGABRT, "by MREMAP_DONTUNMAP"),
    ];
    for ((case, signal, said), readers) in
        cases.iter().flat_map(|case| ["Handlers", "Toucher"].map(|readers| (*case, readers)))
    {
        let case = format!("{case},{readers}");
        let test = std::env::current_exe().expect("this test");
        let child = Command::new(test).args(["--exact", name, "--nocapture"]).env(CASE, &case).output();
        let child = child.expect("the child runs");
        let told = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(signal), "{case}: {:?} {told}", child.status);
        assert!(told.contains(said), "{case}: {told}");
    }
}

/// Does what must raise a signal, and panics if none comes.
fn die(case: &str, readers: Option<Readers>) -> ! {
    let kind = if case == "coherent" { MemoryKind::Coherent } else { MemoryKind::Private };
    let (space, span) = space(kind, readers, None);
    space.prefetch(span, Side::DEVICE).expect("there is room");
    let (start, len) = (span.start(), span.len());
    let (to, page) = match case {
        "longer" => (mremap(start, len, 2 * len, 0), PAGES + 1),
        "copy" => (mremap(start, 0, len, 0), 3),
        "freed" => {
            space.unmap(pages(span, 8, 8)).expect("no folio is held elsewhere");
            (moved(span), 9)
        }
        "coherent" => (moved(pages(span, 0, 16)), 3),
        "kept" => (mremap(start, len, len, libc::MREMAP_DONTUNMAP), 3),
        other => panic!("no case {other}"),
    };
    let found = at(to, page).load(Ordering::Relaxed);
    // The message may be followed after this thread went on.
    std::thread::sleep(std::time::Duration::from_secs(2));
    panic!("{case}: no signal, found {found}");
}
