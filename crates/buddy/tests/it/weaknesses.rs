//! Named regression tests for the weaknesses of the kernel's buddy allocators that this one must not share.

use crate::allocate_exact;
use bifolio_buddy::{AllocateError, Buddy, BuddyBlock, FreeError, NewError, PageState, Request};

fn buddy(pages: u64) -> Buddy {
    Buddy::new(pages).expect("valid size")
}

/// The kernel's asserts stop the machine on such calls.
#[test]
fn bad_input_is_an_error_and_changes_nothing() {
    let mut buddy = buddy(1000);
    let page = buddy.allocate(4).expect("space is left");
    // Page 0 is aligned to every order.
    allocate_exact(&mut buddy, 0..1).expect("free");
    let before = buddy.snapshot();
    let block = BuddyBlock { page, order: 4 };
    for order in [0, 3, 5, 7, 38, 39, 63, 64, 200, u32::MAX] {
        assert!(buddy.free(page, order).is_err());
        assert!(buddy.free_cleared(page, order).is_err());
        assert!(buddy.free_many(order, &[page]).is_err());
        assert!(buddy.join(BuddyBlock { page: page + 1, order: order.max(1) }).is_err());
        assert!(buddy.trim(BuddyBlock { page, order }, page..page + 1).is_err());
        assert!(buddy.split(BuddyBlock { page, order }, 0).is_err());
    }
    for order in [10, 38, 39, 63, 64, 200, u32::MAX] {
        assert!(buddy.allocate(order).is_err());
        assert!(buddy.allocate_aligned(0, order).is_err());
        assert!(buddy.allocate_many(order, &mut [0]).is_err());
        assert!(buddy.allocate_with(&Request::block(order)).is_err());
    }
    for page in [1000, 1 << 40, u64::MAX] {
        assert!(matches!(buddy.free(page, 0), Err(FreeError::Foreign { .. })));
        assert!(buddy.free_range(page..page.saturating_add(1)).is_err());
        assert!(buddy.declare_cleared(page..page.saturating_add(1)).is_err());
        assert!(allocate_exact(&mut buddy, page..page.saturating_add(1)).is_err());
        assert_eq!((buddy.page_state(page), buddy.take_dirty(page, 0)), (PageState::Outside, None));
    }
    assert!(allocate_exact(&mut buddy, 5..5).is_err());
    assert!(buddy.trim(block, page..page).is_err());
    assert!(buddy.trim(block, page..page + 17).is_err());
    assert!(buddy.allocate_contiguous(0).is_err());
    assert!(buddy.allocate_contiguous(u64::MAX).is_err());
    for request in [Request::pages(0), Request::pages(u64::MAX).min_order(3), Request::pages(1).within(9..9)]
    {
        assert!(matches!(buddy.allocate_with(&request), Err(AllocateError::Impossible { .. })));
    }
    assert_eq!(buddy.snapshot(), before);
    assert_eq!(buddy.check_consistency(), Ok(()));
}

#[test]
fn a_pool_that_cannot_be_managed_is_refused() {
    assert_eq!(Buddy::new(0).err(), Some(NewError::Empty));
    assert!(matches!(Buddy::new(1 << 39), Err(NewError::TooLong { .. })));
    assert!(matches!(Buddy::new(u64::MAX), Err(NewError::TooHigh { .. })));
    let high = (1 << 62) - 100..1 << 62;
    assert_eq!(Buddy::with_regions(&[high]).map(|buddy| buddy.free_pages()).ok(), Some(100));
    assert!(matches!(Buddy::with_regions(&[5..5, 6..7]), Err(NewError::Empty)));
    assert!(matches!(Buddy::with_regions(&[0..10, 9..20]), Err(NewError::Disorder { previous_end: 10, .. })));
    assert!(matches!(Buddy::with_regions(&[]), Err(NewError::Empty)));
}

/// Requests above the largest order once ran into an assertion where the size was no power of two.
#[test]
fn a_size_that_is_no_power_of_two_is_used_to_the_last_page() {
    let mut buddy = buddy(3 * 1024 + 77);
    assert_eq!(buddy.largest_free_order(), Some(11));
    assert!(matches!(buddy.allocate(12), Err(AllocateError::NoSpace { largest_free_order: Some(11), .. })));
    let grants = buddy.allocate_with(&Request::pages(3 * 1024 + 77)).expect("all pages are free");
    assert_eq!(grants.len(), 2 + 4);
    assert_eq!((buddy.free_pages(), buddy.largest_free_order()), (0, None));
}

/// A kernel request for consecutive memory is rounded up to a power of two first.
#[test]
fn consecutive_pages_are_not_rounded_up_and_may_span_blocks() {
    let mut buddy = buddy(1024);
    let range = buddy.allocate_contiguous(513).expect("space is left");
    assert_eq!((range, buddy.free_pages()), (0..513, 511));
    buddy.free_range(0..513).expect("allocated");
    // Only 300..800 is free: no aligned block of 512, yet 500 pages in a row.
    allocate_exact(&mut buddy, 0..300).expect("free");
    allocate_exact(&mut buddy, 800..1024).expect("free");
    assert_eq!(buddy.allocate_contiguous(500), Ok(300..800));
}

/// 8 KiB blocks on an alignment of 256 KiB once cut up the large blocks.
#[test]
fn small_blocks_on_a_large_alignment_cut_one_slot_each() {
    let mut buddy = buddy(1 << 20);
    for slot in 0..4000 {
        assert_eq!(buddy.allocate_aligned(1, 6), Ok(slot * 64));
    }
    let free = buddy.free_by_order();
    // Each slot of 64 pages keeps one block of each order 1..=5, the least that is possible.
    assert_eq!(free[..6], [0, 4000, 4000, 4000, 4000, 4000]);
    assert!(free[6..].iter().all(|&blocks| blocks <= 1));
}

/// Clear and dirty lists once had to be merged by force when a request failed.
#[test]
fn a_large_request_after_many_small_frees_needs_no_merge_pass() {
    let mut buddy = buddy(1 << 14);
    let mut pages = vec![0; 1 << 14];
    buddy.allocate_many(0, &mut pages).expect("all pages are free");
    for (at, &page) in pages.iter().enumerate() {
        let freed = if at % 3 == 0 { buddy.free_cleared(page, 0) } else { buddy.free(page, 0) };
        assert_eq!(freed, Ok(()));
    }
    assert_eq!(buddy.allocate(14), Ok(0));
}

/// One kernel object for each block, two for each split.
#[test]
fn bookkeeping_takes_at_most_two_bits_a_page_whatever_is_allocated() {
    let mut buddy = buddy(1 << 22);
    let whole = buddy.metadata_bytes();
    assert!(whole * 8 <= 2 << 22, "{whole} bytes");
    let mut pages = vec![0; 1 << 21];
    buddy.allocate_many(0, &mut pages).expect("space is left");
    for pair in pages.chunks_exact(2) {
        buddy.free(pair[0], 0).expect("allocated");
    }
    assert_eq!(buddy.metadata_bytes(), whole);
}

#[test]
fn tracking_cleared_pages_takes_little_more_than_a_bit_a_page() {
    let mut buddy = buddy(1 << 20);
    let before = buddy.metadata_bytes();
    (0..1 << 20).step_by(2).for_each(|page| buddy.declare_cleared(page..page + 1).expect("free"));
    let bits = (buddy.metadata_bytes() - before) * 8;
    assert!(bits <= (1 << 20) * 5 / 4, "{bits} bits");
}

#[test]
fn orders_reach_from_a_page_to_a_tebibyte() {
    // 2^28 pages of 4 KiB.
    let mut buddy = buddy(1 << 28);
    assert_eq!(buddy.largest_free_order(), Some(28));
    for order in 0..28 {
        assert_eq!(buddy.allocate(order).map(|page| page % (1 << order)), Ok(0));
    }
    assert_eq!(buddy.free_pages(), 1);
    assert_eq!(buddy.free(1 << 27, 27), Ok(()));
}

/// The address alone finds the block.
#[test]
fn a_block_is_found_by_its_address() {
    let mut buddy = buddy(1 << 12);
    let page = buddy.allocate(9).expect("space is left");
    assert_eq!(buddy.page_state(page + 300), PageState::Allocated(BuddyBlock { page, order: 9 }));
    assert!(matches!(buddy.free(page + 300, 0), Err(FreeError::WrongBlock { .. })));
    buddy.free(page, 9).expect("allocated");
    assert_eq!((buddy.page_state(page), buddy.page_state(1 << 12)), (PageState::Free, PageState::Outside));
}

/// An order-4 block from a free order-9 one, and a live large block turned into pages.
#[test]
fn a_live_block_is_split_freed_in_pieces_and_joined() {
    let mut buddy = buddy(1024);
    let block = BuddyBlock { page: buddy.allocate(9).expect("space is left"), order: 9 };
    buddy.split(block, 4).expect("allocated");
    buddy.free(block.page + 32, 4).expect("a piece of its own");
    assert!(buddy.join(block).is_err());
    allocate_exact(&mut buddy, block.page + 32..block.page + 48).expect("free");
    buddy.join(block).expect("all pieces are allocated");
    buddy.free(block.page, 9).expect("one block again");
    assert_eq!(buddy.largest_free_order(), Some(10));
}

#[test]
fn regions_never_merge_across_their_border() {
    let mut buddy = Buddy::with_regions(&[0..512, 512..1024, 5000..5100]).expect("valid regions");
    assert_eq!(buddy.largest_free_order(), Some(9));
    assert!(matches!(buddy.free_range(500..520), Err(FreeError::Foreign { .. })));
    assert!(buddy.allocate_contiguous(513).is_err());
    assert_eq!(buddy.free(2000, 0), Err(FreeError::Foreign { range: 2000..2001 }));
    let grants = buddy.allocate_with(&Request::pages(1124)).expect("all pages are free");
    assert_eq!(grants.iter().map(|grant| grant.block.pages()).sum::<u64>(), 1124);
}
