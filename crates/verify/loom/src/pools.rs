//! Pagemap and pool together: last puts against allocations, splits and releases.
//!
//! Under the locks of a pool all counts are plain numbers; what is tested is that the page word and the pool agree at
//! every moment in between: what a pool hands out can be formed, an object dies once, and no page is lost.

use alloc::boxed::Box;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::buddy::BuddyPool;
use crate::coherent::CoherentPool;
use crate::device_pool::{Allocation, Contents, DevicePool, Rmap, Usage};
use crate::folio::{Folio, Live};
use crate::freelist::FreeListPool;
use crate::ledger::{check_bounded, order};
use crate::mirror::MirrorPool;
use crate::order::Order;
use crate::pagemap::{MemoryKind, PageMap};
use crate::pfn::Pfn;
use crate::raw::RawFolio;

type Shared = alloc::sync::Arc<dyn DevicePool>;
type Map = PageMap<Shared>;

/// Pages of the device: an object of the coherent pool then has two pages.
const PAGES: u64 = 32;

/// Runs a test in every interleaving with few forced switches, with each pool.
fn with_each_pool(test: fn(&Arc<Map>)) {
    let makes: [fn() -> Shared; 4] = [
        || alloc::sync::Arc::new(BuddyPool::new(PAGES).expect("a pool")),
        || alloc::sync::Arc::new(FreeListPool::new(PAGES).expect("a pool")),
        || alloc::sync::Arc::new(CoherentPool::new(PAGES).expect("a pool")),
        || alloc::sync::Arc::new(MirrorPool::new(PAGES).expect("a pool")),
    ];
    for make in makes {
        check_bounded(2, move |reset| {
            let map = PageMap::with_reset(reset, MemoryKind::Private, Pfn::ZERO, PAGES, make());
            let map = Arc::new(map.expect("a pagemap"));
            test(&map);
            map.pool().release();
            assert_eq!((map.live_pages(), map.check_consistency()), (0, Ok(())));
            assert_eq!((map.pool().usage(), map.pool().free_pages()), (Usage::default(), PAGES));
            assert_eq!(map.pool().check_consistency(), Ok(()));
        });
    }
}

/// Allocates and forms. What a pool hands out is free, so forming cannot fail.
fn bring(map: &Map, order: Order, page: u16) -> Option<Folio<'_, Shared, Live>> {
    let Allocation { range, data, .. } =
        map.pool().allocate(order, Rmap { block: 0, page }, Contents::Any)?;
    Some(map.form(range, data).expect("what was handed out is free").unlock())
}

/// Takes all of the device but an aligned block of this order, so that the tests' folios are all there is room for.
fn fill_but(map: &Map, order: Order) -> Box<[RawFolio<Live>]> {
    let mut left = PAGES - order.pages();
    let orders = Order::PMD.descending().flat_map(|order| core::iter::repeat_n(order, 32));
    let mut block = 1;
    let mut kept = alloc::vec::Vec::new();
    for order in orders {
        if order.pages() <= left {
            let allocated = map.pool().allocate(order, Rmap { block, page: 0 }, Contents::Any);
            let Allocation { range, data, .. } = allocated.expect("there is room");
            kept.push(map.form(range, data).expect("free").unlock().into_raw());
            left -= order.pages();
            block += 1;
        }
    }
    kept.into_boxed_slice()
}

fn spawn(map: &Arc<Map>, run: impl FnOnce(&Map) + Send + 'static) -> thread::JoinHandle<()> {
    let map = Arc::clone(map);
    thread::spawn(move || run(&map))
}

#[test]
fn memory_of_a_last_put_is_handed_out_whole_or_not_yet() {
    with_each_pool(|map| {
        let kept = fill_but(map, order(1));
        let last = bring(map, order(1), 0).expect("there is room").into_raw();
        let putter = spawn(map, move |map| drop(map.from_raw(last)));

        let brought = bring(map, order(1), 2);

        putter.join().expect("no panic");
        let (live, usage) = (map.live_pages(), map.pool().usage());
        let held = if brought.is_some() { PAGES } else { PAGES - 2 };
        assert_eq!((live, usage.references), (held, kept.len() as u64 + u64::from(brought.is_some())));
        drop(brought);
        kept.into_iter().for_each(|raw| drop(map.from_raw(raw)));
    });
}

#[test]
fn pieces_put_by_two_threads_let_the_memory_go_once() {
    with_each_pool(|map| {
        let folio = bring(map, order(1), 0).expect("there is room");
        let mut pieces = folio
            .try_lock()
            .expect("it is the only reference")
            .split(order(0))
            .expect("it is the only reference");
        let [lower, upper] = [(); 2].map(|()| pieces.next().expect("two").into_raw());
        assert_eq!(map.pool().usage().references, 2);
        let putter = spawn(map, move |map| drop(map.from_raw(lower)));

        drop(map.from_raw(upper));

        putter.join().expect("no panic");
        assert_eq!(map.pool().usage().references, 0);
    });
}

#[test]
fn split_and_put_of_a_piece_leave_an_allocation_what_is_its_own() {
    with_each_pool(|map| {
        let folio = bring(map, order(1), 0).expect("there is room").into_raw();
        let splitter = spawn(map, move |map| {
            let locked = map.from_raw(folio).try_lock().expect("it is the only reference");
            let mut pieces = locked.split(order(0)).expect("it is the only reference");
            drop(pieces.next());
            assert!(map.pool().usage().references >= 1, "the other piece lives");
        });

        // The place of the first piece on its object, or any other: never the second piece's.
        let brought = bring(map, order(0), 0).expect("there is room elsewhere");

        assert_eq!(map.pool().rmap_of(brought.head(), brought.data()), Some(Rmap { block: 0, page: 0 }));
        splitter.join().expect("no panic");
        drop(brought);
    });
}

#[test]
fn object_that_dies_while_others_allocate_and_release_is_released_once() {
    with_each_pool(|map| {
        let last = bring(map, order(0), 0).expect("there is room").into_raw();
        let putter = spawn(map, move |map| drop(map.from_raw(last)));
        let releaser = spawn(map, |map| {
            map.pool().release();
        });

        let brought = bring(map, order(0), 1).expect("there is room");

        putter.join().expect("no panic");
        releaser.join().expect("no panic");
        assert_eq!((map.live_pages(), map.pool().usage().references), (1, 1));
        drop(brought);
    });
}

#[test]
fn object_that_dies_during_a_release_is_released_by_it_or_by_the_next() {
    with_each_pool(|map| {
        let last = bring(map, order(0), 0).expect("there is room").into_raw();
        // Another object, dead already: so that there is something to release.
        drop(bring(map, order(0), 256).expect("there is room"));
        let putter = spawn(map, move |map| drop(map.from_raw(last)));

        map.pool().release();

        putter.join().expect("no panic");
        map.pool().release();
        assert_eq!((map.pool().usage(), map.pool().free_pages()), (Usage::default(), PAGES));
    });
}

#[test]
fn refusal_for_lack_of_memory_is_not_due_to_an_object_that_died_before() {
    with_each_pool(|map| {
        let kept = fill_but(map, order(1));
        let last = bring(map, order(1), 0).expect("there is room");
        let putter = spawn(map, |map| {
            map.pool().release();
        });
        drop(last);

        let brought = bring(map, order(1), 2);

        putter.join().expect("no panic");
        assert!(brought.is_some(), "the memory was free before it was asked for");
        drop(brought);
        kept.into_iter().for_each(|raw| drop(map.from_raw(raw)));
    });
}

#[test]
fn failure_that_was_asked_for_meets_one_of_two_allocations() {
    check_bounded(3, |reset| {
        let pool = alloc::sync::Arc::new(MirrorPool::new(PAGES).expect("a pool"));
        pool.fail_next();
        let shared: Shared = pool;
        let map =
            PageMap::with_reset(reset, MemoryKind::Private, Pfn::ZERO, PAGES, shared).expect("a pagemap");
        let map = Arc::new(map);
        let refused = Arc::new(AtomicUsize::new(0));
        let ask = |map: &Map, page, refused: &AtomicUsize| {
            if bring(map, order(0), page).is_none() {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        };
        let other = spawn(&map, {
            let refused = Arc::clone(&refused);
            move |map| ask(map, 0, &refused)
        });

        ask(&map, 1, &refused);

        other.join().expect("no panic");
        assert_eq!(refused.load(Ordering::Relaxed), 1);
    });
}
