//! A heap with less system memory than data, on real userfaultfd: no byte is lost, by threads or by forks.

#![expect(clippy::print_stdout, reason = "a test tells how much it tried")]

mod kernel;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bifolio_folio::Reset;
use bifolio_host::{Counter, Direction, Heap, HeapConfig, SetupError, Side};
use bifolio_pool::PoolName;
use bifolio_sys::{AddressRange, PAGE, SharedBytes};

const MIB: usize = 1 << 20;

/// A heap, or `None` where the kernel grants no moves.
fn heap(ram: usize, vram: usize) -> Option<Heap> {
    let config = HeapConfig {
        space: 256 * MIB,
        vram,
        ram,
        pool: PoolName::Buddy,
        reset: Reset::OnFree,
        checked: true,
        statistics: None,
        in_handler: None,
    };
    match Heap::new(&config) {
        Ok(heap) => Some(heap),
        Err(SetupError::Uffd(refused)) => {
            kernel::skip(std::thread::current().name().unwrap_or("a test"), &refused);
            None
        }
        Err(other) => panic!("no heap: {other}"),
    }
}

fn block(heap: &Heap, bytes: usize) -> SharedBytes<'_> {
    let address = heap.allocate(bytes, 1, 0).expect("address space");
    heap.window(AddressRange::new(address, bytes).expect("whole pages"))
}

fn fill(bytes: SharedBytes<'_>) {
    for offset in (0..bytes.len()).step_by(64) {
        bytes.store_u64(offset, offset as u64).expect("inside");
    }
}

fn wrong(bytes: SharedBytes<'_>) -> usize {
    (0..bytes.len()).step_by(64).filter(|offset| bytes.load_u64(*offset) != Ok(*offset as u64)).count()
}

#[test]
fn data_of_four_times_the_memory_is_kept_and_the_limit_too() {
    let Some(heap) = heap(4 * MIB, 64 * MIB) else { return };
    let bytes = block(&heap, 16 * MIB);
    for _ in 0..2 {
        fill(bytes);
        assert_eq!(wrong(bytes), 0);
        assert!(heap.engine().budget().used_pages() <= (4 * MIB / PAGE) as u64);
    }
    let statistics = heap.statistics().snapshot();
    assert!(statistics.get(Counter::Reclaims) > 0);
    assert_eq!(statistics.get(Counter::BeyondRam), 0);
    assert_eq!(heap.audit(), []);
    assert!(heap.free(bytes.address()));
    assert_eq!(heap.engine().nodes()[0].pagemap().live_pages(), 0);
}

#[test]
fn data_beyond_both_memories_stays_resident_and_is_counted() {
    let Some(heap) = heap(2 * MIB, MIB) else { return };
    let bytes = block(&heap, 8 * MIB);
    fill(bytes);
    assert_eq!(wrong(bytes), 0);
    assert!(heap.statistics().snapshot().get(Counter::BeyondRam) > 0);
    assert_eq!(heap.audit(), []);
}

#[test]
fn reset_memory_reads_as_zero_wherever_it_was() {
    let Some(heap) = heap(4 * MIB, 64 * MIB) else { return };
    let bytes = block(&heap, 8 * MIB);
    fill(bytes);
    let start = bytes.address();
    heap.reset(start + MIB..start + 7 * MIB).expect("no folio is held elsewhere");
    assert!(bytes.part(MIB, 6 * MIB).expect("inside").is_zero());
    assert_eq!(bytes.load_u64(64), Ok(64));
    assert_eq!(bytes.load_u64(7 * MIB), Ok(7 * MIB as u64));
}

#[test]
fn blocks_change_their_length_in_place() {
    let Some(heap) = heap(4 * MIB, 64 * MIB) else { return };
    let address = heap.allocate(MIB, 1, 4 * MIB).expect("room");
    assert!(heap.resize(address, 3 * MIB));
    let window = |len| heap.window(AddressRange::new(address, len).expect("pages"));
    fill(window(3 * MIB));
    assert!(heap.resize(address, 2 * MIB));
    assert_eq!(wrong(window(2 * MIB)), 0);
    assert!(!heap.resize(address, 5 * MIB), "beyond its capacity");
    assert!(heap.resize(address, 4 * MIB));
    assert!(window(4 * MIB).part(2 * MIB, 2 * MIB).expect("inside").is_zero());
}

#[test]
fn memory_let_go_keeps_its_bytes_and_never_leaves() {
    let Some(heap) = heap(2 * MIB, 64 * MIB) else { return };
    let bytes = block(&heap, 8 * MIB);
    fill(bytes);
    let start = bytes.address();
    heap.let_go(start..start + MIB).expect("can be brought home");
    assert_eq!(wrong(bytes), 0);
    heap.engine()
        .prefetch(start..start + 8 * MIB, Side::DEVICE)
        .expect_err("the first part is not the engine's");
    assert_eq!(heap.audit(), []);
    assert!(heap.free(start));
    assert!(heap.is_taken(start), "addresses that were let go are not used again");
}

#[test]
fn blocks_come_and_go_on_many_threads() {
    let Some(heap) = heap(2 * MIB, 64 * MIB) else { return };
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let heap = &heap;
            scope.spawn(move || {
                for round in 0..40 {
                    let bytes = block(heap, (1 + (thread + round) % 7) * 64 * 1024);
                    assert!(bytes.is_zero());
                    fill(bytes);
                    assert_eq!(wrong(bytes), 0);
                    assert!(heap.free(bytes.address()));
                }
            });
        }
    });
    assert_eq!(heap.audit(), []);
    assert_eq!(
        (heap.engine().nodes()[0].pagemap().live_pages(), heap.engine().budget().used_pages()),
        (0, 0)
    );
}

fn folios_out(heap: &Heap) -> u64 {
    heap.statistics().snapshot().folios(Direction::ToDevice).iter().sum()
}

/// How long a stress goes on at most until enough was moved, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two threads add 1 to a word of every page, one moves everything out, one moves everything back.
fn stress(ram: usize, len: usize, time: Duration) -> Option<(u64, u64)> {
    let heap = heap(ram, 4 * len)?;
    let bytes = block(&heap, len);
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let addresses = bytes.address()..bytes.address() + len;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    for page in 0..len / PAGE {
                        for word in 0..32 {
                            bytes.fetch_add_u64(page * PAGE + word * 128, 1).expect("inside");
                        }
                    }
                    done.fetch_add((len / PAGE * 32) as u64, Relaxed);
                }
            });
        }
        for side in [Side::DEVICE, Side::Ram] {
            let (heap, stop, addresses) = (&heap, &stop, addresses.clone());
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    // Where there is no room, there is nothing to move.
                    let _: Result<_, _> = heap.engine().prefetch(addresses.clone(), side);
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < time || (start.elapsed() < PATIENCE && folios_out(&heap) <= 20) {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Relaxed);
    });
    let words = (0..len / PAGE).flat_map(|page| (0..32).map(move |word| page * PAGE + word * 128));
    let found: u64 = words.map(|offset| bytes.load_u64(offset).expect("inside")).sum();
    assert_eq!(heap.audit(), []);
    let out = folios_out(&heap);
    println!("{out} folios out, {} increments", done.load(Relaxed));
    assert!(out > 20, "memory was moved meanwhile");
    Some((done.load(Relaxed), found))
}

#[test]
fn no_write_is_lost_while_small_folios_move() {
    let Some((done, found)) = stress(MIB, 2 * MIB, Duration::from_secs(2)) else { return };
    assert_eq!(found, done, "{} of {done} increments are lost", done.wrapping_sub(found));
}

#[test]
fn no_write_is_lost_while_huge_folios_move() {
    let Some((done, found)) = stress(64 * MIB, 16 * MIB, Duration::from_secs(3)) else { return };
    assert_eq!(found, done, "{} of {done} increments are lost", done.wrapping_sub(found));
}

/// Forks with the heap stopped; the child fetches what is on the device and counts wrong words.
fn fork_and_check(heap: &Heap, bytes: SharedBytes<'_>) -> i32 {
    let stopped = heap.stop();
    stopped.share();
    // SAFETY: the child calls nothing but this crate's copying and comparing, and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        stopped.fill_in_child();
        // SAFETY: ends the child without running destructors of the parent's objects.
        unsafe { libc::_exit(i32::from(wrong(bytes) != 0)) };
    }
    let mut status = -1;
    // SAFETY: `status` is a valid place for the answer; the child is ours.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child, "the child was started and ended");
    stopped.seal();
    status
}

#[test]
fn child_and_parent_have_right_bytes_after_forks_under_stress() {
    let Some(heap) = heap(4 * MIB, 64 * MIB) else { return };
    let bytes = block(&heap, 12 * MIB);
    let busy = block(&heap, 4 * MIB);
    fill(bytes);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                fill(busy);
            }
        });
        for _ in 0..5 {
            assert_eq!(fork_and_check(&heap, bytes), 0, "the child found other bytes");
            assert_eq!(wrong(bytes), 0, "the parent kept its bytes");
            fill(bytes);
        }
        stop.store(true, Relaxed);
    });
    assert_eq!(heap.audit(), []);
}

#[test]
fn memory_touched_after_it_was_freed_is_zero_when_it_is_allocated_again() {
    let Some(heap) = heap(4 * MIB, 64 * MIB) else { return };
    let bytes = block(&heap, MIB);
    fill(bytes);
    heap.free(bytes.address());
    // As the answer to a fault that was read before the block was freed.
    heap.touch(bytes.address()..bytes.address() + MIB);
    let again = block(&heap, MIB);
    assert_eq!(again.address(), bytes.address(), "the test wants the same addresses");
    assert!(again.is_zero());
}

#[test]
fn recycled_block_is_the_next_of_its_length_and_freed_once_only() {
    let Some(heap) = heap(16 * MIB, 64 * MIB) else { return };
    let first = heap.allocate_dirty(100_000).expect("room");
    let other = heap.allocate_dirty(200_000).expect("room");
    assert!(heap.recycle(first) && !heap.recycle(first), "it is freed already");
    assert_eq!(heap.allocate_dirty(100_000), Some(first));
    assert!(heap.recycle(first) && heap.recycle(other) && !heap.recycle(other + PAGE));
    assert_ne!(heap.allocate(100_000, 1, 0), Some(first), "blocks of zeros are fresh");
}
