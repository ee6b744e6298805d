//! Cleared pages: never reported unless declared (I22), used when preferred, and no hindrance to merging.

use crate::allocate_exact;
use bifolio_buddy::{Buddy, BuddyBlock, FreeError, Grant, Request};
use proptest::prelude::*;
use std::ops::Range;

const PAGES: u64 = 5 * 4096 + 100;

#[derive(Clone, Debug)]
enum Call {
    Allocate(u32),
    Prefer(u64, u32),
    Free(prop::sample::Index, bool),
    Declare(u64, u64),
    ClearInBackground(u64, u32),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => (0u32..14).prop_map(Call::Allocate),
        3 => (1u64..3000, 0u32..4).prop_map(|(pages, order)| Call::Prefer(pages, order)),
        6 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(index, cleared)| Call::Free(index, cleared)),
        3 => (0..PAGES, 1u64..9000).prop_map(|(page, pages)| Call::Declare(page, pages)),
        1 => (0..PAGES, 0u32..14).prop_map(|(from, order)| Call::ClearInBackground(from, order)),
    ]
}

/// What is cleared, page by page, by the caller's word alone.
struct Truth(Vec<bool>);

impl Truth {
    fn set(&mut self, range: Range<u64>, cleared: bool) {
        self.0[range.start as usize..range.end as usize].fill(cleared);
    }

    fn holds(&self, range: Range<u64>) -> bool {
        self.0[range.start as usize..range.end as usize].iter().all(|&cleared| cleared)
    }
}

proptest! {
    #[test]
    fn nothing_is_reported_cleared_that_was_not_declared_since_it_was_last_used(
        calls in prop::collection::vec(call(), 1..80),
    ) {
        let mut buddy = Buddy::new(PAGES).expect("valid size");
        let (mut truth, mut live) = (Truth(vec![false; PAGES as usize]), Vec::new());
        for call in calls {
            let mut taken: Vec<Grant> = Vec::new();
            match call {
                Call::Allocate(order) => {
                    let page = buddy.allocate(order);
                    taken.extend(page.map(|page| Grant { block: BuddyBlock { page, order }, cleared: false }));
                }
                Call::Prefer(pages, order) => {
                    let request = Request::pages(pages).min_order(order).prefer_cleared();
                    taken.extend(buddy.allocate_with(&request).into_iter().flatten());
                }
                Call::Free(index, cleared) => {
                    if !live.is_empty() {
                        let BuddyBlock { page, order } = live.swap_remove(index.index(live.len()));
                        let freed = if cleared { buddy.free_cleared(page, order) } else { buddy.free(page, order) };
                        prop_assert_eq!(freed, Ok(()));
                        truth.set(page..page + (1 << order), cleared);
                    }
                }
                Call::Declare(page, pages) => {
                    let range = page..(page + pages).min(PAGES);
                    if buddy.declare_cleared(range.clone()).is_ok() {
                        truth.set(range, true);
                    }
                }
                Call::ClearInBackground(from, order) => {
                    if let Some(BuddyBlock { page, order }) = buddy.take_dirty(from, order) {
                        prop_assert_eq!(buddy.free_cleared(page, order), Ok(()));
                        truth.set(page..page + (1 << order), true);
                    }
                }
            }
            for Grant { block, cleared } in taken {
                prop_assert!(!cleared || truth.holds(block.range()), "{:?} was not declared cleared", block);
                truth.set(block.range(), false);
                live.push(block);
            }
            for extent in buddy.cleared_extents() {
                prop_assert!(truth.holds(extent.clone()), "{:?} was not declared cleared", extent);
            }
            prop_assert_eq!(buddy.check_consistency(), Ok(()));
        }
    }
}

#[test]
fn cleared_and_dirty_buddies_merge_at_once() {
    let mut buddy = Buddy::new(4096).expect("valid size");
    buddy.set_merge_delay(0);
    let pages: Vec<u64> = (0..4096).map(|_| buddy.allocate(0).expect("space is left")).collect();
    for page in pages {
        let freed = if page % 2 == 0 { buddy.free_cleared(page, 0) } else { buddy.free(page, 0) };
        assert_eq!(freed, Ok(()));
    }
    assert_eq!(buddy.largest_free_order(), Some(12));
    assert_eq!((buddy.cleared_pages(), buddy.cleared_extents().count()), (2048, 2048));
}

#[test]
fn a_dirty_request_leaves_cleared_blocks_alone_while_there_are_dirty_ones() {
    let mut buddy = Buddy::new(64).expect("valid size");
    let blocks: Vec<u64> = (0..8).map(|_| buddy.allocate(3).expect("space is left")).collect();
    buddy.free_cleared(blocks[1], 3).expect("allocated");
    buddy.free_cleared(blocks[6], 3).expect("allocated");
    buddy.free(blocks[3], 3).expect("allocated");
    assert_eq!(buddy.allocate(3), Ok(blocks[3]));
    let grants = buddy.allocate_with(&Request::block(3).prefer_cleared()).expect("space is left");
    assert!(grants[0].cleared);
    assert_eq!(buddy.cleared_pages(), 8);
}

/// 4 KiB pages of which all but the third quarter are cleared.
fn mostly_cleared() -> Buddy {
    let mut buddy = Buddy::new(4096).expect("valid size");
    buddy.declare_cleared(0..2048).expect("free");
    buddy.declare_cleared(3072..4096).expect("free");
    buddy
}

/// The kernel's allocator fills one list with cleared blocks and one with dirty ones; this one index for both.
#[test]
fn plain_requests_take_dirty_pages_wherever_they_are() {
    let dirty = 2048..3072;
    let mut buddy = mostly_cleared();
    for order in [0, 5, 8] {
        let page = buddy.allocate(order).expect("space is left");
        assert!(dirty.contains(&page), "order {order} at {page}");
    }
    assert!(dirty.contains(&buddy.allocate_aligned(2, 7).expect("space is left")));
    let range = buddy.allocate_contiguous(77).expect("space is left");
    assert!(dirty.start <= range.start && range.end <= dirty.end, "{range:?}");
    let top = buddy.allocate_with(&Request::block(3).top_down()).expect("space is left");
    assert_eq!(top[0], Grant { block: BuddyBlock { page: 3064, order: 3 }, cleared: false });
    let mut pages = [0; 20];
    buddy.allocate_many(1, &mut pages).expect("space is left");
    assert!(pages.iter().all(|page| dirty.contains(page)), "{pages:?}");
    assert_eq!(buddy.cleared_pages(), 3072);
}

#[test]
fn where_no_dirty_place_is_left_plain_requests_take_cleared_pages() {
    let mut buddy = mostly_cleared();
    assert_eq!(buddy.allocate(10), Ok(2048));
    assert_eq!(
        buddy.allocate_grant(10, false),
        Ok(Grant { block: BuddyBlock { page: 3072, order: 10 }, cleared: true })
    );
}

#[test]
fn cleared_pages_are_preferred_from_the_top_too() {
    let mut buddy = mostly_cleared();
    let request = Request::block(4).prefer_cleared().top_down();
    let top = buddy.allocate_with(&request).expect("space is left");
    assert_eq!(top[0], Grant { block: BuddyBlock { page: 4080, order: 4 }, cleared: true });
    let top = buddy.allocate_with(&request.within(1000..3080)).expect("space is left");
    assert_eq!(top[0], Grant { block: BuddyBlock { page: 2032, order: 4 }, cleared: true });
}

#[test]
fn consecutive_cleared_pages_are_found_where_they_begin() {
    let mut buddy = Buddy::new(4096).expect("valid size");
    buddy.declare_cleared(1000..1300).expect("free");
    let grants =
        buddy.allocate_with(&Request::pages(290).contiguous().prefer_cleared()).expect("space is left");
    assert!(grants.iter().all(|grant| grant.cleared));
    assert_eq!((grants[0].block.page, buddy.cleared_pages()), (1000, 10));
    let grants =
        buddy.allocate_with(&Request::pages(290).contiguous().prefer_cleared()).expect("space is left");
    assert!(grants.iter().all(|grant| !grant.cleared), "what is left is too short");
    assert_eq!(buddy.cleared_pages(), 10);
}

#[test]
fn a_failed_request_restores_what_was_cleared() {
    let mut buddy = Buddy::new(4096).expect("valid size");
    buddy.declare_cleared(100..700).expect("free");
    allocate_exact(&mut buddy, 2048..2060).expect("free");
    let before = buddy.snapshot();
    let request = Request::pages(4090).min_order(2).within(0..4080).prefer_cleared();
    assert!(buddy.allocate_with(&request).is_err());
    assert_eq!(buddy.snapshot(), before);
}

#[test]
fn used_pages_cannot_be_declared_cleared() {
    let mut buddy = Buddy::new(64).expect("valid size");
    allocate_exact(&mut buddy, 8..16).expect("free");
    let error = FreeError::WrongBlock { page: 10, allocated: BuddyBlock { page: 8, order: 3 } };
    assert_eq!(buddy.declare_cleared(10..40), Err(error));
    assert!(buddy.declare_cleared(60..70).is_err());
    assert_eq!(buddy.cleared_pages(), 0);
}

#[test]
fn clearing_in_the_background_ends_with_all_free_pages_cleared() {
    let mut buddy = Buddy::new(10_000).expect("valid size");
    allocate_exact(&mut buddy, 3000..3500).expect("free");
    let mut rounds = 0;
    while let Some(block) = buddy.take_dirty(0, 9) {
        buddy.free_cleared(block.page, block.order).expect("just taken");
        rounds += 1;
    }
    assert_eq!(buddy.cleared_pages(), 9500);
    assert!(rounds < 50, "{rounds} rounds");
    assert_eq!(buddy.cleared_extents().collect::<Vec<_>>(), [0..3000, 3500..10_000]);
}
