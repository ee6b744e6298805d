//! Collapse of quiet pieces against holders, against lookups by page number, and against the end of all.

use alloc::vec::Vec;

use loom::sync::Arc;
use loom::thread;

use crate::collapse::CollapseErrorKind;
use crate::folio::{Folio, Live, Locked};
use crate::ledger::{Ledger, Map, Told, assert_all_free, check, check_bounded, form, order, pagemap};
use crate::pagemap::GetError;
use crate::pfn::Pfn;
use crate::raw::RawFolio;

type Pieces = Vec<RawFolio<Locked>>;

/// Forms a folio of all pages and splits it around one.
fn pieces_around(map: &Map, size: u8, page: u64) -> Pieces {
    let pieces = form(map, size, 9).split_around(Pfn::new(page), order(0)).expect("only reference");
    pieces.map(Folio::into_raw).collect()
}

/// Collapses pieces; gives them back if one is shared.
fn collapse(map: &Map, pieces: Pieces) -> Result<RawFolio<Locked>, Pieces> {
    let pieces = pieces.into_iter().map(|piece| map.from_raw(piece)).collect();
    match Folio::collapse_all(pieces) {
        Ok(whole) => Ok(whole.into_raw()),
        Err(error) => {
            assert!(matches!(error.kind, CollapseErrorKind::Shared { .. }), "{:?}", error.kind);
            Err(error.pieces.into_iter().map(Folio::into_raw).collect())
        }
    }
}

/// Looks up a page that is live all the time.
fn look_up(map: &Map, page: u64) -> Option<Folio<'_, Ledger, Live>> {
    match map.try_get(Pfn::new(page)) {
        Ok(folio) => {
            assert!(Pfn::new(page).is_within(folio.head(), folio.order()));
            Some(folio)
        }
        Err(error) => {
            assert_eq!(error, GetError::Frozen, "page {page} is live all the time");
            None
        }
    }
}

#[test]
fn page_of_a_pair_is_never_reported_free_during_its_collapse() {
    for page in 0..2 {
        check_bounded(3, move |reset| {
            let map = pagemap(reset, 1);
            let pieces = pieces_around(&map, 1, 0);
            let collapser = thread::spawn({
                let map = Arc::clone(&map);
                move || collapse(&map, pieces).is_ok()
            });

            let found = look_up(&map, page);

            let (folios, joined) = if collapser.join().expect("no panic") { (1, 1) } else { (2, 0) };
            assert_eq!((map.folios().count(), map.pool().told().joined), (folios, joined));
            assert_eq!((map.live_pages(), map.check_consistency()), (2, Ok(())));
            if let Some(folio) = found {
                assert_eq!((folio.references(), folio.data(), folio.is_locked()), (2, 9, true));
            }
        });
    }
}

#[test]
fn page_of_unequal_pieces_is_never_reported_free_during_their_collapse() {
    for page in [2, 3] {
        check_bounded(3, move |reset| {
            let map = pagemap(reset, 2);
            let pieces = pieces_around(&map, 2, 3);
            let collapser = thread::spawn({
                let map = Arc::clone(&map);
                move || collapse(&map, pieces).is_ok()
            });

            drop(look_up(&map, page));

            let folios = if collapser.join().expect("no panic") { 1 } else { 3 };
            assert!(map.folios().all(|folio| folio.references == 1 && folio.locked));
            assert_eq!((map.folios().count(), map.check_consistency()), (folios, Ok(())));
        });
    }
}

#[test]
fn page_is_never_reported_free_when_the_split_that_made_its_piece_is_followed_by_a_collapse_beside_it() {
    check_bounded(3, |reset| {
        let map = pagemap(reset, 2);
        let whole = form(&map, 2, 0).into_raw();
        let worker = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let mut pieces: Pieces = match map.from_raw(whole).split(order(0)) {
                    Ok(pieces) => pieces.map(Folio::into_raw).collect(),
                    Err(error) => return drop(error.folio.into_raw()),
                };
                drop(pieces.split_off(2));
                assert!(collapse(&map, pieces).is_ok(), "no lookup comes there");
            }
        });

        drop(look_up(&map, 3));

        worker.join().expect("no panic");
        assert_eq!((map.live_pages(), map.check_consistency()), (4, Ok(())));
    });
}

#[test]
fn page_is_never_reported_free_during_two_collapses_one_after_the_other() {
    check_bounded(2, |reset| {
        let map = pagemap(reset, 2);
        let mut pieces = pieces_around(&map, 2, 3);
        let collapser = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let upper = collapse(&map, pieces.split_off(1))?;
                pieces.push(upper);
                collapse(&map, pieces)
            }
        });

        drop(look_up(&map, 3));

        let whole = collapser.join().expect("no panic").is_ok();
        assert_eq!(
            (map.folios().next().map(|folio| folio.order == order(2)), map.live_pages()),
            (Some(whole), 4)
        );
        assert_eq!(map.check_consistency(), Ok(()));
    });
}

#[test]
fn collapse_that_succeeds_has_seen_what_the_departed_holder_did() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let pieces = pieces_around(&map, 1, 0);
        let other = map.try_get(Pfn::new(1)).expect("a piece").into_raw();
        let holder = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let folio = map.from_raw(other);
                map.pool().mark(0);
                drop(folio);
            }
        });

        let collapsed = collapse(&map, pieces);
        if collapsed.is_ok() {
            assert_eq!(map.pool().marks(), 1);
        }

        holder.join().expect("no panic");
        let folios = if collapsed.is_ok() { 1 } else { 2 };
        assert!(map.folios().all(|folio| folio.references == 1 && folio.locked));
        assert_eq!((map.folios().count(), map.check_consistency()), (folios, Ok(())));
    });
}

#[test]
fn collapse_against_get_by_a_holder_is_refused_and_undone() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let pieces = pieces_around(&map, 1, 0);
        let other = map.try_get(Pfn::new(1)).expect("a piece").into_raw();
        let holder = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let folio = map.from_raw(other);
                [folio.get().expect("few references").into_raw(), folio.into_raw()]
            }
        });

        let pieces = collapse(&map, pieces).expect_err("the upper piece has another reference all the time");

        let held = holder.join().expect("no panic");
        assert_eq!((pieces.len(), held.len(), map.check_consistency()), (2, 2, Ok(())));
        let references: Vec<_> = map.folios().map(|folio| (folio.references, folio.locked)).collect();
        assert_eq!(references, [(1, true), (3, true)]);
    });
}

#[test]
fn finder_of_the_whole_sees_what_the_collapser_did_before() {
    check_bounded(3, |reset| {
        let map = pagemap(reset, 1);
        let pieces = pieces_around(&map, 1, 0);
        let collapser = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                map.pool().mark(0);
                collapse(&map, pieces).is_ok()
            }
        });

        if let Some(whole) = look_up(&map, 1).filter(|folio| folio.order() == order(1)) {
            assert_eq!(map.pool().marks(), 1);
            assert_eq!((whole.references(), whole.data()), (2, 9));
        }

        collapser.join().expect("no panic");
    });
}

#[test]
fn last_put_after_a_collapse_frees_each_page_once_and_after_every_use() {
    check_bounded(3, |reset| {
        let map = pagemap(reset, 1);
        let pieces = pieces_around(&map, 1, 0);
        let collapser = thread::spawn({
            let map = Arc::clone(&map);
            move || match collapse(&map, pieces) {
                Ok(whole) => {
                    drop(map.from_raw(whole));
                    1
                }
                Err(pieces) => {
                    pieces.into_iter().for_each(|piece| drop(map.from_raw(piece)));
                    0
                }
            }
        });

        let found = map.try_get(Pfn::new(1));
        let wrong =
            found.as_ref().err().filter(|&&error| !matches!(error, GetError::Frozen | GetError::Free));
        assert_eq!(wrong, None);
        drop(found);

        let joined = collapser.join().expect("no panic");
        assert_all_free(&map, Told { frees: 2 - joined, pages: 2, pieces: 1, joined, marks: 0 });
    });
}

#[test]
fn i16_collapse_against_kill_drains_with_the_last_put() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let pieces = pieces_around(&map, 1, 0);
        let collapser = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let whole = collapse(&map, pieces).expect("no lookup comes there");
                drop(map.from_raw(whole));
            }
        });

        map.kill();
        if map.is_drained() {
            assert_eq!(map.pool().told(), Told { frees: 1, pages: 2, pieces: 1, joined: 1, marks: 0 });
        }

        collapser.join().expect("no panic");
        assert!(map.is_drained());
        assert_eq!(map.check_consistency(), Ok(()));
    });
}
