//! MOVE: small pages, pieces of huge pages, whole huge pages, and what does not move.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use bifolio_sys::advise;
use bifolio_sys::pagemap::Pagemap;
use bifolio_sys::smaps;
use bifolio_sys::{Errno, Features, HUGE_PAGE, Mapping, Modes, MoveMode, Outcome, PAGE, Uffd};

use crate::limits::{Skip, limited, uffd};
use crate::serving::{doubled, numbered, numbers, private};

/// Makes a registered, empty target.
fn target(uffd: &Uffd, len: usize) -> Mapping {
    let target = private(len);
    uffd.register(target.all(), Modes::MISSING).expect("private memory");
    target
}

/// Makes a mapping of one huge page, each 4 KiB of it numbered; or skips.
fn huge() -> Result<Mapping, Skip> {
    let mapping = private(HUGE_PAGE);
    advise::hugepage(mapping.all()).map_err(|error| Skip::because(error.errno))?;
    for page in 0..HUGE_PAGE / PAGE {
        mapping.all().store_u64(page * PAGE, page as u64 + 1).expect("inside");
    }
    let bytes = huge_bytes(&mapping);
    if bytes == HUGE_PAGE { Ok(mapping) } else { Err(Skip::because("no huge page given on first touch")) }
}

fn huge_bytes(mapping: &Mapping) -> usize {
    let pages = Pagemap::open().expect("proc is mounted");
    pages.huge_bytes(mapping.span()).expect("own memory")
}

#[test]
fn small_pages_move_with_their_bytes() {
    limited("small_pages_move_with_their_bytes", || {
        let uffd = uffd(Features::MOVE)?;
        for len in [PAGE, 16 * PAGE] {
            let (source, target) = (numbered(len), target(&uffd, len));
            let wanted = numbers(&source);
            let outcome = uffd.move_(target.span(), source.all(), MoveMode::empty());
            assert_eq!(outcome, Outcome::Done(len));
            assert_eq!(numbers(&target), wanted);
            let pages = Pagemap::open().expect("proc is mounted");
            assert_eq!(pages.present_pages(source.span()), Ok(0));
        }
        Ok(())
    });
}

#[test]
fn huge_page_moves_whole() {
    limited("huge_page_moves_whole", || {
        let uffd = uffd(Features::MOVE)?;
        let (source, target) = (huge()?, target(&uffd, HUGE_PAGE));
        let outcome = uffd.move_(target.span(), source.all(), MoveMode::empty());
        assert_eq!(outcome, Outcome::Done(HUGE_PAGE));
        assert_eq!(huge_bytes(&target), HUGE_PAGE);
        let vma = smaps::vma_at(target.span().start()).expect("proc is mounted").expect("mapped");
        assert_eq!(vma.anon_huge_bytes, HUGE_PAGE, "{vma:?}");
        assert!(numbers(&target).into_iter().eq(1..=512));
        Ok(())
    });
}

#[test]
fn piece_of_a_huge_page_moves_as_small_pages() {
    limited("piece_of_a_huge_page_moves_as_small_pages", || {
        const LEN: usize = 64 << 10;
        let uffd = uffd(Features::MOVE)?;
        let (source, target) = (huge()?, target(&uffd, LEN));
        let piece = source.bytes(LEN, LEN).expect("inside");
        assert_eq!(uffd.move_(target.span(), piece, MoveMode::empty()), Outcome::Done(LEN));
        assert!(numbers(&target).into_iter().eq(17..=32));
        assert_eq!(huge_bytes(&source), 0);
        assert_eq!(source.all().load_u64(0), Ok(1));
        Ok(())
    });
}

#[test]
fn hole_stops_a_move() {
    limited("hole_stops_a_move", || {
        let uffd = uffd(Features::MOVE)?;
        let (source, target) = (private(4 * PAGE), target(&uffd, 4 * PAGE));
        source.all().store_u64(0, 7).expect("inside");
        source.all().store_u64(2 * PAGE, 7).expect("inside");
        assert_eq!(uffd.move_(target.span(), source.all(), MoveMode::empty()), Outcome::Again(PAGE));
        let rest = target.span().part(PAGE, 3 * PAGE).expect("inside");
        let left = source.bytes(PAGE, 3 * PAGE).expect("inside");
        assert_eq!(uffd.move_(rest, left, MoveMode::empty()), Outcome::Missing);
        let pages = Pagemap::open().expect("proc is mounted");
        assert_eq!(pages.present(target.span()), Ok(vec![true, false, false, false]));
        Ok(())
    });
}

#[test]
fn move_ends_where_another_thread_drops_its_pages() {
    limited("move_ends_where_another_thread_drops_its_pages", || {
        let uffd = uffd(Features::MOVE)?;
        let (source, target) = (private(64 * PAGE), target(&uffd, 64 * PAGE));
        let done = AtomicBool::new(false);
        let dropped = thread::scope(|scope| {
            scope.spawn(|| {
                let mut page = 0;
                while !done.load(Relaxed) {
                    page = (page * 5 + 17) % 64;
                    advise::dontneed(source.bytes(page * PAGE, PAGE).expect("inside")).expect("own memory");
                }
            });
            let dropped = (0..2000).filter(|_| moves_while_dropped(&uffd, &source, &target)).count();
            done.store(true, Relaxed);
            dropped
        });
        if dropped == 0 { Err(Skip::because("no page was dropped during a move")) } else { Ok(()) }
    });
}

/// Fills the source and moves it page by page; tells whether a page was dropped on the way.
fn moves_while_dropped(uffd: &Uffd, source: &Mapping, target: &Mapping) -> bool {
    let (mut at, mut missing) = (0, false);
    (0..64).for_each(|page| source.all().store_u64(page * PAGE, 1).expect("inside"));
    while at < 64 * PAGE {
        let to = target.span().part(at, 64 * PAGE - at).expect("inside");
        let from = source.bytes(at, 64 * PAGE - at).expect("inside");
        match uffd.move_(to, from, MoveMode::empty()) {
            Outcome::Done(bytes) => at += bytes,
            Outcome::Again(bytes) => at += bytes,
            Outcome::Exists => at += PAGE,
            Outcome::Missing => (at, missing) = (at + PAGE, true),
            other => panic!("{other:?}"),
        }
    }
    advise::dontneed(target.all()).expect("own memory");
    missing
}

#[test]
fn occupied_target_stops_a_move_where_it_is() {
    limited("occupied_target_stops_a_move_where_it_is", || {
        let uffd = uffd(Features::MOVE)?;
        let (source, target) = (numbered(4 * PAGE), private(4 * PAGE));
        target.all().store_u64(2 * PAGE, 99).expect("inside");
        uffd.register(target.all(), Modes::MISSING).expect("private memory");
        let outcome = uffd.move_(target.span(), source.all(), MoveMode::empty());
        assert_eq!(outcome, Outcome::Again(2 * PAGE));
        let rest = target.span().part(2 * PAGE, 2 * PAGE).expect("inside");
        let left = source.bytes(2 * PAGE, 2 * PAGE).expect("inside");
        assert_eq!(uffd.move_(rest, left, MoveMode::empty()), Outcome::Exists);
        assert_eq!(source.all().load_u64(2 * PAGE), Ok(3), "what did not move is still there");
        Ok(())
    });
}

#[test]
fn shared_memory_does_not_move() {
    limited("shared_memory_does_not_move", || {
        let uffd = uffd(Features::MOVE)?;
        let (_memfd, alias, _view) = doubled(PAGE);
        alias.all().store_u64(0, 7).expect("inside");
        let target = target(&uffd, PAGE);
        let outcome = uffd.move_(target.span(), alias.all(), MoveMode::empty());
        assert_eq!(outcome, Outcome::Invalid(Errno::INVAL));
        Ok(())
    });
}

#[test]
fn page_shared_with_a_child_is_busy_until_written() {
    limited("page_shared_with_a_child_is_busy_until_written", || {
        let uffd = uffd(Features::MOVE)?;
        let (source, target) = (numbered(PAGE), target(&uffd, PAGE));
        let child = crate::events::Child::fork(crate::events::sleep_for_ever);
        let busy = uffd.move_(target.span(), source.all(), MoveMode::empty());
        advise::populate_write(source.all()).expect("own memory");
        let moved = uffd.move_(target.span(), source.all(), MoveMode::empty());
        drop(child);
        assert_eq!((busy, moved), (Outcome::Busy, Outcome::Done(PAGE)));
        assert_eq!(target.all().load_u64(0), Ok(1));
        Ok(())
    });
}
