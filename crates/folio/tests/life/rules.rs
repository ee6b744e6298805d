//! One regression test per rule of the life of a folio, named after it.

use bifolio_folio::{Folio, FormErrorKind, FreeRange, GetError, MemoryKind, Order, PageMap, Pfn, Pool};

use crate::pool::{Call, map_of, order, pagemap};

fn pfn(number: u64) -> Pfn {
    Pfn::new(number)
}

#[test]
fn i1_forming_over_a_live_folio_is_refused_at_any_page_of_it() {
    let map = pagemap(Order::PMD);
    let range = map.pool().allocate(order(2)).expect("free");
    let folio = map.form(range, 0).expect("free");

    for (head, size) in [(0, 2), (0, 0), (3, 0), (2, 1), (0, 4)] {
        let stolen = FreeRange::claim(pfn(head), order(size));
        let error = map.form_checked(stolen, 0).expect_err("in use");
        assert_eq!(error.kind, FormErrorKind::Busy { pfn: pfn(head) });
        assert_eq!(error.range, FreeRange::claim(pfn(head), order(size)));
    }

    let behind_free_head = FreeRange::claim(pfn(4), order(2));
    let tail = map.pool().allocate_at(pfn(6), Order::ZERO).expect("free");
    let tail = map.form(tail, 0).expect("free");
    let error = map.form_checked(behind_free_head, 0).expect_err("page 6 is in use");
    assert_eq!(error.kind, FormErrorKind::Busy { pfn: pfn(6) });
    assert_eq!(map.live_pages(), folio.pages() + tail.pages());
}

#[test]
fn i2_former_tail_as_head_shows_nothing_of_its_last_life() {
    let map = pagemap(Order::PMD);
    let range = map.pool().allocate(Order::PMD).expect("free");
    drop(map.form(range, 0xab_cdef).expect("free"));

    let range = map.pool().allocate_at(pfn(1), Order::ZERO).expect("free");
    let small = map.form(range, 0).expect("free");

    assert_eq!((small.order(), small.references(), small.data()), (Order::ZERO, 1, 0));
    let live = small.unlock();
    assert!(!live.is_locked());
    assert!(live.try_lock().is_ok());
}

#[test]
fn i4_each_folio_is_freed_once_with_the_order_it_had() {
    let map = pagemap(Order::PMD);
    let mut formed = Vec::new();
    for size in [3, 0, 5, 1] {
        let range = map.pool().allocate(order(size)).expect("free");
        formed.push((range.head(), range.order(), u32::from(size) + 100));
        let folio = map.form(range, u32::from(size) + 100).expect("free").unlock();
        let second = folio.clone();
        drop(folio);
        drop(second);
    }

    assert_eq!(map.pool().books().freed(), formed);
    assert_eq!(map.pool().books().free_pages(), Order::PMD.pages());
}

/// Forms the same page anew from inside `folio_free`, as another thread could at that very moment.
struct Reuse {
    next: std::sync::OnceLock<&'static PageMap<Reuse>>,
}

impl Pool for Reuse {
    fn folio_free(&self, range: FreeRange, data: u32) {
        if data == 1 {
            let map = self.next.get().expect("set before the first folio");
            let folio = map.form(range, 2).expect("undone before the pool hears of it");
            let _ = folio.unlock().into_raw();
        }
    }

    fn folio_split(&self, _: Pfn, _: Order, _: Order, _: u32) {}

    fn folio_collapse(&self, _: Pfn, _: Order, _: Order, _: u32) {}
}

#[test]
fn i5_freeing_path_leaves_a_folio_formed_meanwhile_alone() {
    let pool = Reuse { next: std::sync::OnceLock::new() };
    let map = map_of(MemoryKind::Private, Pfn::ZERO, 4, pool).expect("small");
    let map: &'static PageMap<Reuse> = Box::leak(Box::new(map));
    assert!(map.pool().next.set(map).is_ok());

    drop(map.form(FreeRange::claim(Pfn::ZERO, order(2)), 1).expect("free"));

    let next = map.try_get(pfn(3)).expect("the second life");
    assert_eq!((next.data(), next.references(), next.order()), (2, 2, order(2)));
    assert_eq!(map.live_pages(), 4);
    assert_eq!(map.check_consistency(), Ok(()));
}

#[test]
fn i6_form_split_and_free_leave_neighbours_alone() {
    let map = pagemap(order(4));
    let form_at = |head, data| {
        let range = map.pool().allocate_at(pfn(head), order(2)).expect("free");
        map.form(range, data).expect("free")
    };
    let (left, middle, right) = (form_at(0, 1), form_at(4, 2), form_at(8, 3).unlock());

    let pieces: Vec<_> = middle.split(Order::ZERO).expect("only reference").collect();
    let last_piece_of_left = left.split_around(pfn(3), Order::ZERO).expect("only reference").last();
    drop(pieces);

    let last_piece_of_left = last_piece_of_left.expect("three pieces");
    assert_eq!((last_piece_of_left.head(), last_piece_of_left.data()), (pfn(3), 1));
    assert_eq!((right.order(), right.references(), right.data(), right.is_locked()), (order(2), 1, 3, false));
    assert_eq!(map.check_consistency(), Ok(()));
    assert_eq!(map.live_pages(), 5);
}

#[test]
fn i7_backing_has_one_reference_for_each_folio_through_a_split() {
    let map = pagemap(Order::PMD);
    let range = map.pool().allocate(Order::PMD).expect("free");
    let folio = map.form(range, 7).expect("free");
    assert_eq!(map.pool().books().backing, 1);

    let mut pieces = folio.split(Order::ZERO).expect("only reference");
    assert_eq!(map.pool().books().backing, 512);

    drop(pieces.next());
    assert_eq!(map.pool().books().backing, 511);
    drop(pieces);
    assert_eq!(map.pool().books().backing, 0);
}

#[test]
fn i7_split_around_a_page_tells_the_pool_one_halving_after_the_other() {
    let map = pagemap(Order::PMD);
    let range = map.pool().allocate(Order::PMD).expect("free");
    let folio = map.form(range, 7).expect("free");

    let pieces = folio.split_around(pfn(300), order(4)).expect("only reference");

    assert_eq!(map.pool().books().backing, 6);
    assert_eq!(pieces.len(), 6);
    let split = |head, from| Call::Split { head: pfn(head), from: order(from), to: order(from - 1), data: 7 };
    let expected = [split(0, 9), split(256, 8), split(256, 7), split(256, 6), split(288, 5)];
    assert_eq!(map.pool().books().calls, expected);
    let shape: Vec<_> = pieces.map(|piece| (piece.head().get(), piece.order().get())).collect();
    assert_eq!(shape, [(0, 8), (256, 5), (288, 4), (304, 4), (320, 6), (384, 7)]);
}

#[test]
fn i7_backing_keeps_one_reference_when_pieces_collapse() {
    let map = pagemap(Order::PMD);
    let range = map.pool().allocate(Order::PMD).expect("free");
    let pieces = map.form(range, 7).expect("free").split(Order::ZERO).expect("only reference");

    let whole = Folio::collapse_all(pieces.collect()).expect("quiet");

    assert_eq!((map.pool().books().backing, map.live_pages()), (1, 512));
    let collapse = Call::Collapse { head: pfn(0), from: Order::ZERO, to: Order::PMD, data: 7 };
    assert_eq!(map.pool().books().calls.last(), Some(&collapse));
    assert_eq!((whole.order(), whole.data(), whole.references()), (Order::PMD, 7, 1));
    drop(whole);
    let books = map.pool().books();
    assert_eq!((books.backing, books.free_pages()), (0, 512));
}

#[test]
fn i7_collapse_of_unequal_pieces_tells_the_pool_the_halvings_backwards() {
    let map = pagemap(Order::PMD);
    let range = map.pool().allocate(Order::PMD).expect("free");
    let folio = map.form(range, 7).expect("free");
    let mut pieces: Vec<_> = folio.split_around(pfn(300), order(4)).expect("only reference").collect();
    map.pool().books().calls.clear();
    pieces.rotate_left(3);

    let whole = Folio::collapse_all(pieces).expect("quiet");

    let join =
        |head, from| Call::Collapse { head: pfn(head), from: order(from), to: order(from + 1), data: 7 };
    assert_eq!(
        map.pool().books().calls,
        [join(288, 4), join(256, 5), join(256, 6), join(256, 7), join(0, 8)]
    );
    assert_eq!((map.pool().books().backing, whole.head(), whole.order()), (1, pfn(0), Order::PMD));
}

#[test]
fn i8_counter_equals_pages_in_folios_and_a_split_does_not_move_it() {
    let map = pagemap(Order::PMD);
    let range = map.pool().allocate(Order::PMD).expect("free");
    let folio = map.form(range, 0).expect("free");
    assert_eq!(map.live_pages(), 512);

    let mut pieces = folio.split(order(4)).expect("only reference");
    assert_eq!(map.live_pages(), 512);

    drop(pieces.next());
    assert_eq!(map.live_pages(), 496);
    drop(pieces);
    assert_eq!(map.live_pages(), 0);
}

#[test]
fn i2_tails_of_a_collapsed_folio_are_as_free_pages_are() {
    let map = pagemap(order(3));
    let range = map.pool().allocate(order(3)).expect("free");
    let pieces = map.form(range, 9).expect("free").split(Order::ZERO).expect("only reference");

    drop(Folio::collapse_all(pieces.collect()).expect("quiet"));

    assert_eq!((map.folios().count(), map.check_consistency()), (0, Ok(())));
    let range = map.pool().allocate_at(pfn(5), Order::ZERO).expect("free");
    let small = map.form_checked(range, 1).expect("clean");
    assert_eq!((small.order(), small.data(), small.references()), (Order::ZERO, 1, 1));
}

#[test]
fn i9_order_4_comes_out_of_a_freed_order_9() {
    let map = pagemap(Order::PMD);
    let range = map.pool().allocate(Order::PMD).expect("free");
    drop(map.form(range, 1).expect("free"));

    let range = map.pool().allocate(order(4)).expect("a part of the free order 9");
    let small = map.form_checked(range, 2).expect("clean");

    assert_eq!((small.order(), small.data(), map.live_pages()), (order(4), 2, 16));
    assert_eq!(map.pool().books().free_pages(), 512 - 16);
    assert_eq!(map.check_consistency(), Ok(()));
}

/// Looks at the folio from inside `folio_split`, as another thread could.
struct Scanner {
    map: std::sync::OnceLock<&'static PageMap<Scanner>>,
    seen: std::sync::Mutex<Vec<Option<GetError>>>,
}

impl Pool for Scanner {
    fn folio_free(&self, _: FreeRange, _: u32) {}

    fn folio_split(&self, head: Pfn, from: Order, _: Order, _: u32) {
        let map = self.map.get().expect("set before the first folio");
        let pages = (0..=from.pages()).filter_map(|offset| head.checked_add(offset));
        self.seen.lock().expect("no panic").extend(pages.map(|page| map.try_get(page).err()));
    }

    fn folio_collapse(&self, head: Pfn, _: Order, to: Order, data: u32) {
        self.folio_split(head, to, Order::ZERO, data);
    }
}

#[test]
fn i10_frozen_folio_and_free_page_are_told_apart() {
    let pool = Scanner { map: std::sync::OnceLock::new(), seen: std::sync::Mutex::default() };
    let map = map_of(MemoryKind::Private, Pfn::ZERO, 8, pool).expect("small");
    let map: &'static PageMap<Scanner> = Box::leak(Box::new(map));
    assert!(map.pool().map.set(map).is_ok());
    let folio = map.form(FreeRange::claim(Pfn::ZERO, order(2)), 0).expect("free");

    let pieces = folio.split(Order::ZERO).expect("only reference");

    let frozen = Some(GetError::Frozen);
    assert_eq!(
        *map.pool().seen.lock().expect("no panic"),
        [frozen, frozen, frozen, frozen, Some(GetError::Free)]
    );
    let found = map.try_get(pfn(2)).expect("a piece");
    drop(found);

    map.pool().seen.lock().expect("no panic").clear();
    let _whole = Folio::collapse_all(pieces.collect()).expect("only references");
    assert_eq!(
        *map.pool().seen.lock().expect("no panic"),
        [frozen, frozen, frozen, frozen, Some(GetError::Free)]
    );
    assert_eq!(map.try_get(pfn(2)).map(|folio| folio.order()), Ok(order(2)));
}

#[test]
fn i11_new_folio_is_locked_with_one_reference_and_freed_pages_hold_nothing() {
    let map = pagemap(order(3));
    let range = map.pool().allocate(order(3)).expect("free");
    let folio = map.form(range, 5).expect("free");
    assert_eq!((folio.references(), folio.is_locked()), (1, true));

    drop(folio);

    assert_eq!(map.folios().count(), 0);
    assert_eq!((map.live_pages(), map.check_consistency()), (0, Ok(())));
}

#[test]
fn i16_no_form_after_kill_and_drained_when_the_last_page_is_free() {
    let map = pagemap(order(3));
    let range = map.pool().allocate(order(2)).expect("free");
    let folio = map.form(range, 0).expect("free").unlock();

    map.kill();
    let range = map.pool().allocate(order(2)).expect("free");
    let error = map.form(range, 0).expect_err("killed");
    assert_eq!(error.kind, FormErrorKind::Dead);
    map.pool().give_back(error.range);
    assert!(map.is_dead() && !map.is_drained());

    drop(folio);
    assert!(map.is_drained());
    assert_eq!(map.pool().books().free_pages(), 8);
}

#[test]
fn i16_pagemap_that_was_not_killed_is_never_drained() {
    let map = pagemap(order(3));
    assert_eq!((map.live_pages(), map.is_drained()), (0, false));
}
