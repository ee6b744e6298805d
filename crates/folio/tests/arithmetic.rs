//! Orders, page numbers and ranges against their definitions.

use bifolio_folio::{FreeRange, Order, PAGE_SIZE, Pfn};
use proptest::prelude::*;

fn any_order() -> impl Strategy<Value = Order> {
    (0..=Order::MAX.get()).prop_map(|order| Order::new(order).expect("at most 18"))
}

#[test]
fn orders_end_at_18() {
    assert_eq!(Order::new(18), Some(Order::MAX));
    assert_eq!(Order::new(19), None);
    assert_eq!(Order::MAX.larger(), None);
    assert_eq!(Order::ZERO.smaller(), None);
    assert_eq!(Order::all().len(), Order::COUNT);
    assert_eq!(Order::PMD.bytes(), 2 << 20);
    assert_eq!(Order::MAX.bytes(), 1 << 30);
}

#[test]
fn descending_goes_to_zero_or_to_the_floor() {
    let numbers = |orders: Vec<Order>| orders.into_iter().map(Order::get).collect::<Vec<_>>();
    assert_eq!(numbers(Order::K64.descending().collect()), [4, 3, 2, 1, 0]);
    assert_eq!(numbers(Order::PMD.descending_to(Order::K64).collect()), [9, 8, 7, 6, 5, 4]);
    assert_eq!(numbers(Order::ZERO.descending_to(Order::K64).collect()), [0u8; 0]);
}

#[test]
fn page_beyond_the_address_space_has_no_address() {
    assert_eq!(Pfn::new((1 << 52) - 1).address(), Some(u64::MAX - (PAGE_SIZE - 1)));
    assert_eq!(Pfn::new(1 << 52).address(), None);
    assert_eq!(Pfn::new(u64::MAX).checked_add(1), None);
}

#[test]
fn single_page_and_last_page_numbers_cannot_be_halved() {
    let page = FreeRange::claim(Pfn::new(5), Order::ZERO);
    assert_eq!(page.halve(), Err(FreeRange::claim(Pfn::new(5), Order::ZERO)));
    let last = FreeRange::claim(Pfn::new(u64::MAX), Order::PMD);
    assert_eq!(last.halve(), Err(FreeRange::claim(Pfn::new(u64::MAX), Order::PMD)));
}

#[test]
fn neighbours_that_are_no_buddies_do_not_join() {
    let (left, right) =
        (FreeRange::claim(Pfn::new(1), Order::ZERO), FreeRange::claim(Pfn::new(2), Order::ZERO));
    let (left, right) = left.join(right).expect_err("pages 1 and 2 are of different blocks");
    assert_eq!((left.surrender().0, right.surrender().0), (Pfn::new(1), Pfn::new(2)));
}

proptest! {
    #[test]
    fn largest_fitting_fits_and_the_next_does_not(pages in 0u64..1 << 20) {
        match Order::largest_fitting(pages) {
            None => prop_assert_eq!(pages, 0),
            Some(order) => {
                prop_assert!(order.pages() <= pages);
                prop_assert!(order.larger().is_none_or(|larger| larger.pages() > pages));
            }
        }
    }

    #[test]
    fn covering_covers_and_the_next_smaller_does_not(pages in 0u64..1 << 19) {
        match Order::covering(pages) {
            None => prop_assert!(pages > Order::MAX.pages()),
            Some(order) => {
                prop_assert!(order.pages() >= pages);
                prop_assert!(order.smaller().is_none_or(|smaller| smaller.pages() < pages));
            }
        }
    }

    #[test]
    fn align_down_gives_the_block_that_contains_the_page(number in any::<u64>(), order in any_order()) {
        let pfn = Pfn::new(number);
        let head = pfn.align_down(order);
        prop_assert!(head.is_aligned(order));
        prop_assert!(pfn.is_within(head, order));
    }

    #[test]
    fn heads_covering_are_the_distinct_aligned_heads(number in any::<u64>(), largest in any_order()) {
        let pfn = Pfn::new(number);
        let mut naive: Vec<_> = largest.descending().map(|order| pfn.align_down(order)).collect();
        naive.dedup();
        prop_assert_eq!(pfn.heads_covering(largest).collect::<Vec<_>>(), naive);
    }

    #[test]
    fn largest_block_is_aligned_fits_and_cannot_grow(number in 0u64..1 << 30, pages in 1u64..1 << 20) {
        let pfn = Pfn::new(number);
        let order = pfn.largest_block(pages).expect("at least one page");
        prop_assert!(pfn.is_aligned(order) && order.pages() <= pages);
        if let Some(larger) = order.larger() {
            prop_assert!(!pfn.is_aligned(larger) || larger.pages() > pages);
        }
    }

    #[test]
    fn halves_join_to_the_whole(block in 0u64..1 << 20, order in 1u8..=18) {
        let order = Order::new(order).expect("at most 18");
        let head = Pfn::new(block * order.pages());
        let (lower, upper) = FreeRange::claim(head, order).halve().expect("more than one page");
        prop_assert_eq!((lower.pages() + upper.pages(), lower.head().buddy(lower.order())), (order.pages(), upper.head()));
        prop_assert_eq!(upper.join(lower), Ok(FreeRange::claim(head, order)));
    }
}
