//! Requests that are refused change nothing and give back what they were given.

use bifolio_folio::{
    CollapseErrorKind, DATA_MAX, Folio, FormErrorKind, FreeRange, GetError, Locked, MemoryKind, Order,
    PageMap, PageMapError, Pfn, SplitErrorKind,
};

use crate::pool::{Call, TestPool, map_of, order, pagemap, pagemap_at};

fn new_error(first: u64, pages: u64) -> Option<PageMapError> {
    map_of(MemoryKind::Coherent, Pfn::new(first), pages, TestPool::default()).err()
}

#[test]
fn pagemap_without_pages_or_beyond_64_bits_is_refused() {
    assert_eq!(new_error(5, 0), Some(PageMapError::Empty));
    let first = (1 << 52) - 1;
    assert_eq!(new_error(first, 1), None);
    assert_eq!(new_error(first, 2), Some(PageMapError::TooLarge { first: Pfn::new(first), pages: 2 }));
    assert_eq!(new_error(2, u64::MAX), Some(PageMapError::TooLarge { first: Pfn::new(2), pages: u64::MAX }));
}

#[test]
fn pagemap_with_more_words_than_memory_is_refused() {
    let pages = 1 << 51;
    assert_eq!(new_error(0, pages), Some(PageMapError::OutOfMemory { pages }));
}

#[test]
fn form_refuses_bad_places_and_data_and_gives_the_range_back() {
    let map = pagemap_at(Pfn::new(4), 10);
    let cases = [
        (2, 2, 0, FormErrorKind::Misaligned),
        (0, 2, 0, FormErrorKind::OutOfRange),
        (0, 4, 0, FormErrorKind::OutOfRange),
        (12, 2, 0, FormErrorKind::OutOfRange),
        (1 << 60, 18, 0, FormErrorKind::OutOfRange),
        (4, 2, DATA_MAX + 1, FormErrorKind::DataTooLarge { data: DATA_MAX + 1 }),
    ];
    for (head, size, data, kind) in cases {
        let error = map.form(FreeRange::claim(Pfn::new(head), order(size)), data).expect_err("bad request");
        assert_eq!(error.kind, kind);
        assert_eq!(error.range, FreeRange::claim(Pfn::new(head), order(size)));
    }
    assert_eq!((map.live_pages(), map.folios().count()), (0, 0));
}

#[test]
fn errors_say_what_and_where() {
    let map = pagemap(order(3));
    let error = map.form(FreeRange::claim(Pfn::new(0x22), order(1)), 0).expect_err("outside");
    assert_eq!(error.to_string(), "cannot form a folio of order 1 at page 0x22");
    assert_eq!(error.kind.to_string(), "range reaches outside the pagemap");
}

#[test]
fn largest_data_comes_back() {
    let map = pagemap(order(3));
    let range = map.pool().allocate(order(1)).expect("free");
    let folio = map.form(range, DATA_MAX).expect("free");
    assert_eq!((folio.data(), folio.order(), folio.references()), (DATA_MAX, order(1), 1));
}

#[test]
fn second_lock_is_refused_and_the_handle_comes_back() {
    let map = pagemap(order(3));
    let range = map.pool().allocate(order(3)).expect("free");
    let first = map.form(range, 0).expect("free").unlock();
    let second = first.clone();

    let holder = first.try_lock().expect("unlocked");
    let second = second.try_lock().expect_err("locked");
    drop(holder);

    assert!(second.try_lock().is_ok());
}

#[test]
fn folio_of_another_pagemap_is_not_taken_for_ones_own() {
    let (map, other) = (pagemap(order(3)), pagemap(order(3)));
    let range = map.pool().allocate(order(3)).expect("free");
    let raw = map.form(range, 0).expect("free").into_raw();

    let mistaken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(other.from_raw(raw))));

    assert!(mistaken.is_err());
    assert_eq!((map.live_pages(), other.check_consistency()), (8, Ok(())));
}

#[test]
fn page_outside_is_told_from_a_free_one() {
    let map = pagemap_at(Pfn::new(8), 8);
    let error = |number| map.try_get(Pfn::new(number)).err();
    assert_eq!(
        (error(7), error(8), error(16)),
        (Some(GetError::Outside), Some(GetError::Free), Some(GetError::Outside))
    );
}

#[test]
fn split_into_pieces_that_are_not_smaller_is_refused() {
    let map = pagemap_at(Pfn::new(40), 8);
    let range = map.pool().allocate(order(1)).expect("free");
    let folio = map.form(range, 0).expect("free");
    let head = folio.head();

    let error = folio.split(order(1)).expect_err("same order");
    assert_eq!(error.kind, SplitErrorKind::NotSmaller { to: order(1) });
    // The block of order 9 around the page begins long before the folio.
    let error = error.folio.split_around(head, Order::PMD).expect_err("larger order");
    assert_eq!(error.kind, SplitErrorKind::NotSmaller { to: Order::PMD });
    let outside = head.checked_add(2).expect("small");
    let error = error.folio.split_around(outside, Order::ZERO).expect_err("page of a neighbour");
    assert_eq!(error.kind, SplitErrorKind::Outside { page: outside });
    assert_eq!((error.folio.references(), error.folio.is_locked()), (1, true));
}

#[test]
fn split_with_a_second_reference_gives_the_folio_back() {
    let map = pagemap(order(3));
    let range = map.pool().allocate(order(3)).expect("free");
    let folio = map.form(range, 0).expect("free");
    let second = folio.get().expect("few references");

    let error = folio.split(Order::ZERO).expect_err("shared");

    assert_eq!(error.kind, SplitErrorKind::Shared { references: 2 });
    assert_eq!((error.folio.order(), error.folio.is_locked(), second.references()), (order(3), true, 2));
    assert_eq!(map.pool().books().calls, []);
    drop(second);
    assert_eq!(error.folio.split(order(2)).expect("only reference").len(), 2);
}

/// A folio: head, order, data.
type Shape = (u64, u8, u32);

fn formed<'m>(map: &'m PageMap<TestPool>, folios: &[Shape]) -> Vec<Folio<'m, TestPool, Locked>> {
    let form = |&(head, size, data): &Shape| {
        let range = map.pool().allocate_at(Pfn::new(head), order(size)).expect("free");
        map.form(range, data).expect("free")
    };
    folios.iter().map(form).collect()
}

#[test]
fn collapse_of_what_is_not_one_block_gives_the_pieces_back() {
    let cases: [(&[Shape], CollapseErrorKind); 7] = [
        (&[], CollapseErrorKind::TooFew),
        (&[(0, 2, 0)], CollapseErrorKind::TooFew),
        (&[(0, 1, 0), (4, 1, 0)], CollapseErrorKind::Gap { page: Pfn::new(2) }),
        (&[(2, 1, 0), (4, 1, 0)], CollapseErrorKind::NotABlock { head: Pfn::new(2), pages: 4 }),
        (&[(0, 2, 0), (4, 1, 0)], CollapseErrorKind::NotABlock { head: Pfn::new(0), pages: 6 }),
        (&[(0, 0, 5), (1, 0, 4)], CollapseErrorKind::OtherData { page: Pfn::new(1) }),
        (&[(0, 0, 5), (1, 0, 5), (2, 1, 4)], CollapseErrorKind::OtherData { page: Pfn::new(2) }),
    ];
    for (folios, kind) in cases {
        let map = pagemap(order(3));
        let error = Folio::collapse_all(formed(&map, folios)).expect_err("not one block");
        assert_eq!(error.kind, kind);
        let back: Vec<_> =
            error.pieces.iter().map(|it| (it.head().get(), it.order().get(), it.data())).collect();
        assert_eq!(back, folios);
        assert!(error.pieces.iter().all(|piece| piece.is_locked() && piece.references() == 1));
        assert_eq!((map.pool().books().calls.len(), map.check_consistency()), (0, Ok(())));
    }
}

#[test]
fn collapse_with_a_folio_of_another_pagemap_gives_both_back() {
    let (map, other) = (pagemap(order(1)), pagemap(order(1)));
    let lower = formed(&map, &[(0, 0, 0)]).remove(0);
    let upper = formed(&other, &[(1, 0, 0)]).remove(0);

    let error = lower.collapse(upper).expect_err("two pagemaps");

    assert_eq!(error.kind, CollapseErrorKind::OtherPagemap { page: Pfn::new(1) });
    let [lower, upper] = error.pieces;
    assert_eq!((lower.unlock().references(), upper.unlock().references()), (1, 1));
}

#[test]
fn collapse_with_a_shared_piece_gives_all_back_and_nothing_is_frozen() {
    let map = pagemap(order(2));
    let range = map.pool().allocate(order(2)).expect("free");
    let pieces: Vec<_> = map.form(range, 0).expect("free").split(Order::ZERO).expect("unshared").collect();
    let holder = pieces[2].get().expect("few references");

    let error = Folio::collapse_all(pieces).expect_err("shared");

    assert_eq!(error.kind, CollapseErrorKind::Shared { page: Pfn::new(2), references: 2 });
    assert_eq!(error.kind.to_string(), "folio at page 0x2 has 2 references");
    assert_eq!((error.pieces.len(), map.check_consistency()), (4, Ok(())));
    assert!((0..4).all(|page| map.try_get(Pfn::new(page)).is_ok()), "frozen");
    assert!(!map.pool().books().calls.iter().any(|call| matches!(call, Call::Collapse { .. })));
    drop(holder);
    let whole = Folio::collapse_all(error.pieces).expect("quiet now");
    assert_eq!((whole.order(), whole.references(), whole.is_locked()), (order(2), 1, true));
}
