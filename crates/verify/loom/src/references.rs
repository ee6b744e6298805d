//! Reference count and lock between holders.

use loom::sync::Arc;
use loom::thread;

use crate::folio::{Folio, Live};
use crate::ledger::{Ledger, Told, assert_all_free, check, check_bounded, form, pagemap};
use crate::pfn::Pfn;
use crate::sync::{AtomicU64, Ordering};

#[test]
fn three_holders_free_once_and_after_every_use() {
    check_bounded(3, |reset| {
        let map = pagemap(reset, 0);
        let folio = form(&map, 0, 0).unlock();
        let holders = [1, 2].map(|user| {
            let (map, folio) = (Arc::clone(&map), folio.clone().into_raw());
            thread::spawn(move || {
                let folio = map.from_raw(folio);
                map.pool().mark(user);
                drop(folio);
            })
        });

        map.pool().mark(0);
        drop(folio);

        holders.into_iter().for_each(|holder| holder.join().expect("no panic"));
        assert_all_free(&map, Told { frees: 1, pages: 1, pieces: 0, joined: 0, marks: 3 });
    });
}

#[test]
fn clone_against_put_of_another_holder_loses_no_reference() {
    check(|reset| {
        let map = pagemap(reset, 0);
        let folio = form(&map, 0, 0).unlock();
        let other = folio.clone().into_raw();
        let holder = thread::spawn({
            let map = Arc::clone(&map);
            move || drop(map.from_raw(other))
        });

        let clone = folio.clone();
        drop(folio);

        holder.join().expect("no panic");
        assert_eq!(clone.references(), 1);
        drop(clone);
        assert_all_free(&map, Told { frees: 1, pages: 1, pieces: 0, joined: 0, marks: 0 });
    });
}

/// Adds one in two steps, which only a lock makes whole; tells whether it got the lock.
fn add_under_lock(folio: Folio<'_, Ledger, Live>, sum: &AtomicU64) -> bool {
    match folio.try_lock() {
        Ok(locked) => {
            let before = sum.load(Ordering::Relaxed);
            sum.store(before + 1, Ordering::Relaxed);
            drop(locked.unlock());
            true
        }
        Err(_) => false,
    }
}

#[test]
fn one_thread_at_a_time_has_the_lock_and_sees_what_the_last_one_did() {
    check_bounded(5, |reset| {
        let map = pagemap(reset, 0);
        let sum = Arc::new(AtomicU64::new(0));
        let folio = form(&map, 0, 0).unlock();
        let other = folio.clone().into_raw();
        let holder = thread::spawn({
            let (map, sum) = (Arc::clone(&map), Arc::clone(&sum));
            move || add_under_lock(map.from_raw(other), &sum)
        });

        let mine = add_under_lock(folio, &sum);

        let others = holder.join().expect("no panic");
        assert!(mine || others, "both were refused a lock that was free at first");
        assert_eq!(sum.load(Ordering::Relaxed), u64::from(mine) + u64::from(others));
    });
}

#[test]
fn dropped_lock_holder_leaves_the_folio_unlocked() {
    check(|reset| {
        let map = pagemap(reset, 0);
        let locked = form(&map, 0, 0);
        let other = locked.get().expect("few references");
        let raw = locked.into_raw();
        let holder = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let locked = map.from_raw(raw);
                map.pool().mark(0);
                drop(locked);
            }
        });

        let other = match other.try_lock() {
            Ok(locked) => {
                assert_eq!(map.pool().marks(), 1);
                locked.unlock()
            }
            Err(other) => other,
        };

        holder.join().expect("no panic");
        assert_eq!((other.references(), other.is_locked()), (1, false));
        assert!(map.try_get(Pfn::ZERO).is_ok());
    });
}
