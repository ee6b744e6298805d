//! COPY, ZEROPAGE, CONTINUE and POISON.

use bifolio_sys::{CopyMode, Errno, Features, Modes, Outcome, PAGE, Protection, RangeIoctls, Wake};

use crate::limits::{Skip, limited, uffd};
use crate::serving::{doubled, numbered, numbers, private};

const SHMEM: Features = Features::MISSING_SHMEM.union(Features::MINOR_SHMEM);

#[test]
fn copy_fills_missing_pages() {
    limited("copy_fills_missing_pages", || {
        let uffd = uffd(Features::empty())?;
        let (source, target) = (numbered(16 * PAGE), private(16 * PAGE));
        let ioctls = uffd.register(target.all(), Modes::MISSING).expect("private memory");
        assert!(ioctls.contains(RangeIoctls::COPY | RangeIoctls::WAKE | RangeIoctls::ZEROPAGE));
        let outcome = uffd.copy(target.span(), source.all(), CopyMode::empty());
        assert_eq!(outcome, Outcome::Done(16 * PAGE));
        assert_eq!(numbers(&target), numbers(&source));
        Ok(())
    });
}

#[test]
fn copy_onto_a_present_page_tells_exists() {
    limited("copy_onto_a_present_page_tells_exists", || {
        let uffd = uffd(Features::empty())?;
        let (source, target) = (numbered(PAGE), numbered(PAGE));
        uffd.register(target.all(), Modes::MISSING).expect("private memory");
        let outcome = uffd.copy(target.span(), source.all(), CopyMode::empty());
        assert_eq!((outcome, outcome.bytes()), (Outcome::Exists, 0));
        Ok(())
    });
}

#[test]
fn copy_stopped_half_way_tells_how_far_it_came() {
    limited("copy_stopped_half_way_tells_how_far_it_came", || {
        let uffd = uffd(Features::empty())?;
        let (source, target) = (numbered(8 * PAGE), private(8 * PAGE));
        target.all().store_u64(5 * PAGE, 99).expect("inside");
        uffd.register(target.all(), Modes::MISSING).expect("private memory");
        let outcome = uffd.copy(target.span(), source.all(), CopyMode::empty());
        assert_eq!(outcome, Outcome::Again(5 * PAGE));
        let rest = target.span().part(5 * PAGE, 3 * PAGE).expect("inside");
        let rest_source = source.bytes(5 * PAGE, 3 * PAGE).expect("inside");
        assert_eq!(uffd.copy(rest, rest_source, CopyMode::empty()), Outcome::Exists);
        assert_eq!(target.all().load_u64(5 * PAGE), Ok(99));
        Ok(())
    });
}

#[test]
fn copy_where_nothing_is_registered_tells_missing() {
    limited("copy_where_nothing_is_registered_tells_missing", || {
        let uffd = uffd(Features::empty())?;
        let (source, target) = (numbered(PAGE), private(PAGE));
        let outcome = uffd.copy(target.span(), source.all(), CopyMode::empty());
        assert_eq!(outcome, Outcome::Missing);
        let gone = target.span();
        drop(target);
        assert_eq!(uffd.copy(gone, source.all(), CopyMode::empty()), Outcome::Missing);
        Ok(())
    });
}

#[test]
fn copy_from_unreadable_memory_tells_no_source() {
    limited("copy_from_unreadable_memory_tells_no_source", || {
        let uffd = uffd(Features::empty())?;
        let (source, target) = (numbered(PAGE), private(PAGE));
        source.protect(source.span(), Protection::None).expect("own memory");
        uffd.register(target.all(), Modes::MISSING).expect("private memory");
        let outcome = uffd.copy(target.span(), source.all(), CopyMode::empty());
        assert_eq!(outcome, Outcome::NoSource);
        Ok(())
    });
}

#[test]
fn copy_of_unequal_lengths_is_invalid() {
    limited("copy_of_unequal_lengths_is_invalid", || {
        let uffd = uffd(Features::empty())?;
        let (source, target) = (numbered(2 * PAGE), private(PAGE));
        let outcome = uffd.copy(target.span(), source.all(), CopyMode::empty());
        assert_eq!(outcome, Outcome::Invalid(Errno::INVAL));
        Ok(())
    });
}

#[test]
fn zeropage_fills_with_zero_once() {
    limited("zeropage_fills_with_zero_once", || {
        let uffd = uffd(Features::empty())?;
        let target = private(4 * PAGE);
        uffd.register(target.all(), Modes::MISSING).expect("private memory");
        assert_eq!(uffd.zeropage(target.span(), Wake::Now), Outcome::Done(4 * PAGE));
        assert!(target.all().is_zero());
        assert_eq!(uffd.zeropage(target.span(), Wake::Later), Outcome::Exists);
        Ok(())
    });
}

#[test]
fn continue_maps_what_the_alias_wrote() {
    limited("continue_maps_what_the_alias_wrote", || {
        let uffd = uffd(SHMEM)?;
        let (_memfd, alias, view) = doubled(16 * PAGE);
        alias.all().store_u64(3 * PAGE, 7).expect("inside");
        uffd.register(view.all(), Modes::MISSING | Modes::MINOR).expect("shared memory");
        let page = view.span().part(3 * PAGE, PAGE).expect("inside");
        assert_eq!(uffd.continue_(page, CopyMode::empty()), Outcome::Done(PAGE));
        assert_eq!(view.all().load_u64(3 * PAGE), Ok(7));
        view.all().store_u64(3 * PAGE, 8).expect("inside");
        assert_eq!(alias.all().load_u64(3 * PAGE), Ok(8));
        assert_eq!(uffd.continue_(page, CopyMode::empty()), Outcome::Exists);
        Ok(())
    });
}

#[test]
fn continue_of_a_hole_tells_no_source() {
    limited("continue_of_a_hole_tells_no_source", || {
        let uffd = uffd(SHMEM)?;
        let (_memfd, alias, view) = doubled(4 * PAGE);
        alias.all().store_u64(0, 7).expect("inside");
        uffd.register(view.all(), Modes::MISSING | Modes::MINOR).expect("shared memory");
        assert_eq!(uffd.continue_(view.span(), CopyMode::empty()), Outcome::Again(PAGE));
        let hole = view.span().part(PAGE, PAGE).expect("inside");
        assert_eq!(uffd.continue_(hole, CopyMode::empty()), Outcome::NoSource);
        Ok(())
    });
}

#[test]
fn poisoned_page_fails_system_calls_until_a_copy_heals_it() {
    limited("poisoned_page_fails_system_calls_until_a_copy_heals_it", || {
        let uffd = uffd(Features::POISON)?;
        let target = private(PAGE);
        uffd.register(target.all(), Modes::MISSING).expect("private memory");
        assert_eq!(uffd.poison(target.span(), Wake::Now), Outcome::Done(PAGE));
        assert_eq!(crate::faults::write_from(target.all()), Err(Errno::FAULT));
        assert_eq!(uffd.zeropage(target.span(), Wake::Now), Outcome::Exists);
        let source = numbered(PAGE);
        assert!(uffd.copy(target.span(), source.all(), CopyMode::empty()).is_done());
        assert_eq!(crate::faults::write_from(target.all()), Ok(PAGE));
        Ok(())
    });
}

#[test]
fn registration_by_two_is_refused() {
    limited("registration_by_two_is_refused", || {
        let (first, second) = (uffd(Features::empty())?, uffd(Features::empty())?);
        let target = private(PAGE);
        first.register(target.all(), Modes::MISSING).expect("private memory");
        let refused = second.register(target.all(), Modes::MISSING).expect_err("taken");
        assert_eq!(refused.errno, Errno::BUSY);
        first.unregister(target.span()).expect("registered");
        second.register(target.all(), Modes::MISSING).expect("free again");
        Ok::<(), Skip>(())
    });
}
