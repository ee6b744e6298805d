//! Form, last put and the next life against a thread that looks the folio up by page number.

use loom::sync::Arc;
use loom::thread;

use crate::ledger::{Told, assert_all_free, check, check_bounded, form, order, pagemap};
use crate::pagemap::GetError;
use crate::pfn::Pfn;

#[test]
fn folio_found_while_it_is_formed_is_whole_and_its_lock_shows_its_contents() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let former = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                map.pool().mark(0);
                let folio = form(&map, 1, 7);
                map.pool().mark(1);
                let _ = folio.unlock().into_raw();
            }
        });

        match map.try_get(Pfn::new(1)) {
            Ok(folio) => {
                assert_eq!((folio.head(), folio.order(), folio.data()), (Pfn::ZERO, order(1), 7));
                assert!(map.pool().marks() >= 1, "what was done before forming");
                if let Ok(locked) = folio.try_lock() {
                    assert_eq!(map.pool().marks(), 2);
                    drop(locked.unlock());
                }
            }
            Err(error) => assert_eq!(error, GetError::Free),
        }

        former.join().expect("no panic");
        let folio = map.try_get(Pfn::ZERO).expect("formed");
        assert_eq!((folio.references(), folio.is_locked()), (2, false));
    });
}

#[test]
fn last_put_against_lookup_frees_once_and_after_every_use() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let folio = form(&map, 1, 0).unlock().into_raw();
        let holder = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let folio = map.from_raw(folio);
                map.pool().mark(0);
                drop(folio);
            }
        });

        let mut marks = 1;
        match map.try_get(Pfn::new(1)) {
            Ok(folio) => {
                map.pool().mark(1);
                marks += 1;
                drop(folio);
            }
            Err(error) => assert_eq!(error, GetError::Free),
        }

        holder.join().expect("no panic");
        assert_all_free(&map, Told { frees: 1, pages: 2, pieces: 0, joined: 0, marks });
    });
}

#[test]
fn stale_lookup_never_gets_a_later_folio_that_does_not_cover_its_page() {
    check_bounded(5, |reset| {
        let map = pagemap(reset, 1);
        let folio = form(&map, 1, 1).unlock().into_raw();
        let recycler = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                drop(map.from_raw(folio));
                // If the other thread still has the folio, there is nothing to recycle yet.
                let Some(range) = map.pool().take() else { return };
                let (lower, _upper) = range.halve().expect("two pages");
                let _ = map.form(lower, 2).expect("free").unlock().into_raw();
            }
        });

        match map.try_get(Pfn::new(1)) {
            Ok(folio) => assert_eq!((folio.order(), folio.data()), (order(1), 1)),
            Err(error) => assert_eq!(error, GetError::Free),
        }

        recycler.join().expect("no panic");
        assert_eq!(map.check_consistency(), Ok(()));
    });
}

#[test]
fn lookup_of_a_recycled_head_sees_one_life_or_the_other() {
    check_bounded(5, |reset| {
        let map = pagemap(reset, 1);
        let folio = form(&map, 1, 1).unlock().into_raw();
        let recycler = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                drop(map.from_raw(folio));
                let Some(range) = map.pool().take() else { return };
                let (lower, _upper) = range.halve().expect("two pages");
                let _ = map.form(lower, 2).expect("free").unlock().into_raw();
            }
        });

        match map.try_get(Pfn::ZERO) {
            Ok(folio) => {
                let life = (folio.order().get(), folio.data());
                assert!(life == (1, 1) || life == (0, 2), "mixed lives: {life:?}");
            }
            Err(error) => assert_eq!(error, GetError::Free),
        }

        recycler.join().expect("no panic");
        assert_eq!(map.check_consistency(), Ok(()));
    });
}

#[test]
fn i5_range_formed_by_another_thread_as_soon_as_it_is_freed_is_left_alone() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let folio = form(&map, 1, 1).unlock().into_raw();
        let last = thread::spawn({
            let map = Arc::clone(&map);
            move || drop(map.from_raw(folio))
        });

        let next =
            map.pool().take().map(|range| map.form(range, 2).expect("undone before the pool hears of it"));

        last.join().expect("no panic");
        match next {
            Some(next) => {
                assert_eq!((next.references(), next.is_locked(), next.data()), (1, true, 2));
                assert_eq!(map.live_pages(), 2);
            }
            None => assert_eq!(map.live_pages(), 0),
        }
    });
}

#[test]
fn lookup_that_hits_the_next_life_of_an_equal_word_sees_what_its_maker_did() {
    check_bounded(5, |reset| {
        let map = pagemap(reset, 0);
        let folio = form(&map, 0, 1).unlock().into_raw();
        let recycler = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                drop(map.from_raw(folio));
                let Some(range) = map.pool().take() else { return };
                map.pool().mark(0);
                let next = map.form(range, 1).expect("free");
                // The word is now the same as in the first life.
                let _ = next.unlock().into_raw();
            }
        });

        let found = map.try_get(Pfn::ZERO);
        let marks = map.pool().marks();

        recycler.join().expect("no panic");
        let second_life = map.pool().told().frees == 1;
        if found.is_ok() && second_life {
            assert_eq!(marks, 1);
        }
    });
}
