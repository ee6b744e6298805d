//! What the table of handed-out ranges accepts and refuses.

use bifolio_folio::{Order, Pfn};

use crate::handed_out::{HandedOut, NotHandedOut};

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

/// A table of 8 pages with order 1 at page 2.
fn table() -> HandedOut {
    let mut table = HandedOut::new(8).expect("8 bytes");
    table.insert(Pfn::new(2), order(1));
    table
}

#[test]
fn range_goes_out_and_comes_back_whole_or_in_pieces() {
    let mut table = table();
    assert_eq!(table.split(Pfn::new(2), order(1), order(0)), Ok(()));
    assert_eq!(table.ranges().count(), 2);
    assert_eq!(table.collapse(Pfn::new(2), order(0), order(1)), Ok(()));
    assert_eq!(table.remove(Pfn::new(2), order(1)), Ok(()));
    assert_eq!(table.ranges().count(), 0);
}

#[test]
fn wrong_order_wrong_page_and_page_outside_are_refused() {
    let mut table = table();
    for (page, k) in [(2, 0), (2, 2), (3, 0), (0, 1), (8, 0), (u64::MAX, 0)] {
        assert_eq!(table.remove(Pfn::new(page), order(k)), Err(NotHandedOut), "order {k} at page {page}");
    }
    assert_eq!(table.split(Pfn::new(2), order(2), order(0)), Err(NotHandedOut));
    assert_eq!(table.collapse(Pfn::new(2), order(0), order(1)), Err(NotHandedOut), "page 3 is no head");
    assert_eq!(table.ranges().collect::<Vec<_>>(), [(Pfn::new(2), order(1))]);
}
