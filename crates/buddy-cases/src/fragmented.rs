//! The two fragmentation cases of the Linux buddy allocator's tests (`gpu_test_buddy_fragmentation_performance` in
//! `drivers/gpu/tests/gpu_buddy_test.c`), at the same sizes, and the alignment case.
//!
//! [`alloc`]: 4 GiB are filled with 8 KiB blocks, one at each multiple of 64 KiB; half of the blocks are freed as
//! cleared and half as dirty, in a pattern of two and two; then as many blocks of 64 KiB as fit are allocated and
//! freed.
//! [`reverse_free`]: filled likewise; every second block is freed as cleared, then the rest in reverse order.
//! The floors flip a bit for each of the same calls, in the same order.

use bifolio_buddy::Buddy;
use std::time::{Duration, Instant};

use crate::marks::Marks;

/// Calls that [`alloc`] makes.
pub const ALLOC_CALLS: u64 = 4 * SLOTS as u64;
/// Calls that [`reverse_free`] makes.
pub const REVERSE_FREE_CALLS: u64 = 2 * SLOTS as u64;

/// 4 GiB of 4 KiB pages.
const PAGES: u64 = 1 << 20;
/// Order of 8 KiB.
const SMALL: u32 = 1;
/// Order of 64 KiB.
const SLOT: u32 = 4;
const SLOTS: usize = 1 << 16;
const _: () = assert!((SLOTS as u64) << SLOT == PAGES, "the slots are the pool");

/// Slots to free as cleared, or as dirty, by two and two.
fn by_two(clear: bool) -> impl Iterator<Item = usize> {
    (0..SLOTS).filter(move |at| (at % 4 == 0 || at % 4 == 3) == clear)
}

/// Every second slot, then the others in reverse.
fn every_second_then_back() -> impl Iterator<Item = usize> {
    (0..SLOTS).step_by(2).chain((1..SLOTS).step_by(2).rev())
}

fn filled() -> (Buddy, Vec<u64>) {
    let mut buddy = Buddy::new(PAGES).expect("valid size");
    let blocks = (0..SLOTS).map(|_| buddy.allocate_aligned(SMALL, SLOT).expect("a slot is left")).collect();
    (buddy, blocks)
}

/// What the floors do for a call: flips the bit of the slot's first page.
fn flip(marks: &mut Marks, slot: usize) {
    marks.flip((slot as u64) << SLOT);
}

/// Returns the time of the first case, with the filling, as the kernel counts it, and the making of the pool.
///
/// # Panics
/// If the allocator is wrong.
#[must_use]
pub fn alloc() -> Duration {
    let begun = Instant::now();
    let (mut buddy, blocks) = filled();
    for slot in by_two(true) {
        buddy.free_cleared(blocks[slot], SMALL).expect("allocated above");
    }
    for slot in by_two(false) {
        buddy.free(blocks[slot], SMALL).expect("allocated above");
    }
    let slots: Vec<u64> = (0..SLOTS).map(|_| buddy.allocate(SLOT).expect("all is free")).collect();
    for page in slots {
        buddy.free(page, SLOT).expect("allocated above");
    }
    let elapsed = begun.elapsed();
    assert_eq!(buddy.largest_free_order(), Some(20), "all has merged");
    elapsed
}

/// Returns the time of the floor of the first case.
///
/// # Panics
/// If a bit was not flipped back.
#[must_use]
pub fn alloc_floor() -> Duration {
    let begun = Instant::now();
    let mut marks = Marks::new(PAGES);
    let freed = by_two(true).chain(by_two(false));
    (0..SLOTS).chain(freed).for_each(|slot| flip(&mut marks, slot));
    (0..SLOTS).chain(0..SLOTS).for_each(|slot| flip(&mut marks, slot));
    let elapsed = begun.elapsed();
    assert_eq!(marks.set(), 0);
    elapsed
}

/// Returns the time of the second case, with the filling and the making of the pool.
///
/// # Panics
/// If the allocator is wrong.
#[must_use]
pub fn reverse_free() -> Duration {
    let begun = Instant::now();
    let (mut buddy, blocks) = filled();
    for slot in every_second_then_back() {
        buddy.free_cleared(blocks[slot], SMALL).expect("allocated above");
    }
    let elapsed = begun.elapsed();
    assert_eq!(buddy.largest_free_order(), Some(20), "all has merged");
    elapsed
}

/// Returns the time of the floor of the second case.
///
/// # Panics
/// If a bit was not flipped back.
#[must_use]
pub fn reverse_free_floor() -> Duration {
    let begun = Instant::now();
    let mut marks = Marks::new(PAGES);
    (0..SLOTS).chain(every_second_then_back()).for_each(|slot| flip(&mut marks, slot));
    let elapsed = begun.elapsed();
    assert_eq!(marks.set(), 0);
    elapsed
}

/// Returns the MiB of free blocks of order 5 after 4000 blocks of 8 KiB at multiples of 256 KiB.
///
/// # Panics
/// If the allocator is wrong.
#[must_use]
pub fn order_5_free_mib() -> f64 {
    let mut buddy = Buddy::new(PAGES).expect("valid size");
    for _ in 0..4000 {
        buddy.allocate_aligned(SMALL, 6).expect("a slot is left");
    }
    (buddy.free_by_order()[5] << 5) as f64 * 4096.0 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_free_every_slot_once() {
        let sorted = |slots: &mut dyn Iterator<Item = usize>| {
            let mut slots: Vec<usize> = slots.collect();
            slots.sort_unstable();
            slots
        };
        let all: Vec<usize> = (0..SLOTS).collect();
        assert_eq!(sorted(&mut by_two(true).chain(by_two(false))), all);
        assert_eq!(sorted(&mut every_second_then_back()), all);
    }

    #[test]
    fn aligned_requests_leave_half_of_each_slot_whole() {
        // 4000 slots of 256 KiB keep 128 KiB each: 500 MiB.
        assert!(order_5_free_mib() >= 500.0);
    }
}
