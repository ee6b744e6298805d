//! Split of a live folio against holders and against lookups by page number.

use loom::sync::Arc;
use loom::thread;

use crate::folio::{Folio, Live, Locked};
use crate::ledger::{Ledger, Map, check, check_bounded, form, order, pagemap};
use crate::pagemap::GetError;
use crate::pfn::Pfn;
use crate::raw::RawFolio;
use crate::split::SplitErrorKind;

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

/// Splits an order-2 folio around page 3 and lays the pieces aside; gives the folio back if it is shared.
fn split_around_3(map: &Map, raw: RawFolio<Locked>) -> Result<[RawFolio<Locked>; 3], RawFolio<Locked>> {
    match map.from_raw(raw).split_around(Pfn::new(3), order(0)) {
        Ok(mut pieces) => Ok([(); 3].map(|()| pieces.next().expect("orders 1, 0 and 0").into_raw())),
        Err(error) => {
            assert_eq!(error.kind, SplitErrorKind::Shared { references: 2 });
            Err(error.folio.into_raw())
        }
    }
}

#[test]
fn page_that_is_live_all_the_time_is_never_reported_free_during_a_split() {
    for page in 0..4 {
        check(move |reset| {
            let map = pagemap(reset, 2);
            let raw = form(&map, 2, 9).into_raw();
            let splitter = thread::spawn({
                let map = Arc::clone(&map);
                move || split_around_3(&map, raw)
            });

            let found = look_up(&map, page);

            let split = splitter.join().expect("no panic");
            let (folios, pieces) = if split.is_ok() { (3, 2) } else { (1, 0) };
            assert_eq!((map.folios().count(), map.pool().told().pieces), (folios, pieces));
            assert_eq!((map.live_pages(), map.check_consistency()), (4, Ok(())));
            if let Some(folio) = found {
                assert_eq!((folio.references(), folio.data(), folio.is_locked()), (2, 9, true));
            }
        });
    }
}

#[test]
fn two_lookups_and_a_split_leave_every_reference_counted() {
    check_bounded(3, |reset| {
        let map = pagemap(reset, 1);
        let raw = form(&map, 1, 0).into_raw();
        let seekers = [0, 1].map(|page| {
            let map = Arc::clone(&map);
            thread::spawn(move || drop(look_up(&map, page)))
        });

        let folios = match map.from_raw(raw).split(order(0)) {
            Ok(pieces) => pieces.map(Folio::into_raw).count(),
            Err(error) => [error.folio.into_raw()].len(),
        };

        seekers.into_iter().for_each(|seeker| seeker.join().expect("no panic"));
        assert!(map.folios().all(|folio| folio.references == 1 && folio.locked));
        assert_eq!((map.folios().count(), map.check_consistency()), (folios, Ok(())));
    });
}

#[test]
fn split_that_succeeds_has_seen_what_the_departed_holder_did() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let locked = form(&map, 1, 0);
        let other = locked.get().expect("few references").into_raw();
        let holder = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let folio = map.from_raw(other);
                map.pool().mark(0);
                drop(folio);
            }
        });

        let split = locked.split(order(0));
        match &split {
            Ok(pieces) => assert_eq!((map.pool().marks(), pieces.len()), (1, 2)),
            Err(error) => assert_eq!(error.kind, SplitErrorKind::Shared { references: 2 }),
        }

        holder.join().expect("no panic");
        drop(split);
        assert_eq!((map.live_pages(), map.check_consistency()), (0, Ok(())));
    });
}

#[test]
fn finder_of_a_piece_sees_what_the_splitter_did_before() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let raw = form(&map, 1, 0).into_raw();
        let splitter = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                map.pool().mark(0);
                let split = map.from_raw(raw).split(order(0));
                split
                    .map(|pieces| pieces.map(Folio::into_raw).count())
                    .map_err(|error| error.folio.into_raw())
                    .is_ok()
            }
        });

        if let Some(piece) = look_up(&map, 1).filter(|folio| folio.order() == order(0)) {
            assert_eq!(map.pool().marks(), 1);
            assert_eq!((piece.references(), piece.data()), (2, 0));
        }

        splitter.join().expect("no panic");
    });
}
