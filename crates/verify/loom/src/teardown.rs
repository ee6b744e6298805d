//! Killing a pagemap against forming and freeing.

use loom::sync::Arc;
use loom::thread;

use crate::form::FormErrorKind;
use crate::ledger::{Told, check, form, order, pagemap};
use crate::pfn::Pfn;
use crate::range::FreeRange;

#[test]
fn i16_form_against_kill_is_counted_or_refused() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let killer = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                map.kill();
                map.is_drained()
            }
        });

        let formed = map.form(FreeRange::claim(Pfn::ZERO, order(1)), 0);

        let drained_at_once = killer.join().expect("no panic");
        match formed {
            Ok(folio) => {
                assert!(!drained_at_once && !map.is_drained());
                drop(folio);
            }
            Err(error) => assert_eq!(error.kind, FormErrorKind::Dead),
        }
        assert!(map.is_drained());
        assert_eq!(map.check_consistency(), Ok(()));
    });
}

#[test]
fn i16_drained_is_for_good_and_after_the_pools_work() {
    check(|reset| {
        let map = pagemap(reset, 0);
        let worker = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                if let Ok(folio) = map.form(FreeRange::claim(Pfn::ZERO, order(0)), 0) {
                    // One mark for each page formed; the pool notes it when the page comes back.
                    map.pool().mark(0);
                    drop(folio);
                }
            }
        });

        map.kill();
        if map.is_drained() {
            let (formed, told) = (map.pool().marks(), map.pool().told());
            assert_eq!(told, Told { frees: formed, pages: formed, pieces: 0, joined: 0, marks: formed });
            assert!(map.is_drained());
        }

        worker.join().expect("no panic");
        assert!(map.is_drained());
    });
}

#[test]
fn i16_last_put_against_kill_drains() {
    check(|reset| {
        let map = pagemap(reset, 1);
        let folio = form(&map, 1, 0).unlock().into_raw();
        let holder = thread::spawn({
            let map = Arc::clone(&map);
            move || drop(map.from_raw(folio))
        });

        map.kill();

        holder.join().expect("no panic");
        assert!(map.is_drained());
        assert_eq!(map.pool().told(), Told { frees: 1, pages: 2, pieces: 0, joined: 0, marks: 0 });
    });
}

#[test]
fn finder_of_a_dead_pagemap_sees_what_was_done_before() {
    check(|reset| {
        let map = pagemap(reset, 0);
        let killer = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                map.pool().mark(0);
                map.kill();
            }
        });

        if map.is_dead() {
            assert_eq!(map.pool().marks(), 1);
        }

        killer.join().expect("no panic");
    });
}
