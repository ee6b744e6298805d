//! The kernel's two fragmentation cases for its buddy allocator, at the same sizes, and the alignment case.
//!
//! Alloc: 4 GiB are filled with 8 KiB blocks, one at each multiple of 64 KiB; half of the blocks are freed as cleared
//! and half as dirty, in a pattern of two and two; then as many blocks of 64 KiB as fit are allocated and freed.
//! Reverse free: filled likewise; every second block is freed as cleared, then the rest in reverse order.

use bifolio_buddy::Buddy;
use std::time::Instant;

/// 4 GiB of 4 KiB pages.
const PAGES: u64 = 1 << 20;
/// Order of 8 KiB.
const SMALL: u32 = 1;
/// Order of 64 KiB.
const SLOT: u32 = 4;

fn filled() -> (Buddy, Vec<u64>) {
    let mut buddy = Buddy::new(PAGES).expect("valid size");
    let blocks =
        (0..PAGES >> SLOT).map(|_| buddy.allocate_aligned(SMALL, SLOT).expect("a slot is left")).collect();
    (buddy, blocks)
}

/// Milliseconds for the first case, filling included, as the kernel counts it.
pub fn alloc() -> f64 {
    let begun = Instant::now();
    let (mut buddy, blocks) = filled();
    for clear in [true, false] {
        let chosen = blocks.iter().enumerate().filter(|(at, _)| (at % 4 == 0 || at % 4 == 3) == clear);
        for (_, &page) in chosen {
            let freed = if clear { buddy.free_cleared(page, SMALL) } else { buddy.free(page, SMALL) };
            freed.expect("allocated above");
        }
    }
    let slots: Vec<u64> = (0..PAGES >> SLOT).map(|_| buddy.allocate(SLOT).expect("all is free")).collect();
    for page in slots {
        buddy.free(page, SLOT).expect("allocated above");
    }
    let elapsed = begun.elapsed();
    assert_eq!(buddy.largest_free_order(), Some(20), "all has merged");
    elapsed.as_secs_f64() * 1e3
}

/// Milliseconds for the second case.
pub fn reverse_free() -> f64 {
    let begun = Instant::now();
    let (mut buddy, blocks) = filled();
    for page in blocks.iter().step_by(2) {
        buddy.free_cleared(*page, SMALL).expect("allocated above");
    }
    for page in blocks.iter().skip(1).step_by(2).rev() {
        buddy.free_cleared(*page, SMALL).expect("allocated above");
    }
    let elapsed = begun.elapsed();
    assert_eq!(buddy.largest_free_order(), Some(20), "all has merged");
    elapsed.as_secs_f64() * 1e3
}

/// MiB of free blocks of order 5 after 4000 blocks of 8 KiB at multiples of 256 KiB.
pub fn order_5_free_mib() -> f64 {
    let mut buddy = Buddy::new(PAGES).expect("valid size");
    for _ in 0..4000 {
        buddy.allocate_aligned(SMALL, 6).expect("a slot is left");
    }
    (buddy.free_by_order()[5] << 5) as f64 * 4096.0 / f64::from(1 << 20)
}
