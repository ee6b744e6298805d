//! Tests of the buddy pool, its locks within reach.

use std::sync::mpsc;
use std::time::Duration;

use bifolio_folio::{Folio, MemoryKind, Order, PageMap, Pfn, Pool};

use crate::{Allocation, BuddyPool, Contents, DevicePool, Rmap, Usage};

const RMAP: Rmap = Rmap { block: 3, page: 0 };

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

fn pool(pages: u64) -> BuddyPool {
    BuddyPool::new(pages).expect("a pool")
}

fn pagemap(pages: u64) -> PageMap<BuddyPool> {
    PageMap::new(MemoryKind::Private, Pfn::ZERO, pages, pool(pages)).expect("a pagemap")
}

#[test]
fn order_4_comes_out_of_a_free_order_9() {
    let pool = pool(512);
    let Allocation { range: whole, data, .. } =
        pool.allocate(Order::PMD, RMAP, Contents::Any).expect("all is free");
    pool.folio_free(whole, data);
    let Allocation { range: part, .. } =
        pool.allocate(order(4), RMAP, Contents::Any).expect("all is free again");
    assert_eq!((part.order(), pool.free_pages()), (order(4), 512 - 16));
}

#[test]
fn object_has_512_references_after_a_split_and_goes_with_the_last() {
    let pagemap = pagemap(512);
    let Allocation { range, data, .. } =
        pagemap.pool().allocate(Order::PMD, RMAP, Contents::Any).expect("all is free");
    let folio = pagemap.form(range, data).expect("free pages");
    let references = || pagemap.pool().usage().references;
    assert_eq!(references(), 1);
    let pieces: Vec<_> = folio.split(Order::ZERO).expect("it is the only reference").collect();
    assert_eq!(references(), 512);
    let folio = Folio::collapse_all(pieces).expect("these are the only references");
    assert_eq!(references(), 1);
    let pieces: Vec<_> = folio.split(Order::ZERO).expect("it is the only reference").collect();
    let mut pieces = pieces.into_iter();
    drop(pieces.next());
    assert_eq!((references(), pagemap.pool().release(), pagemap.pool().free_pages()), (511, 0, 0));
    drop(pieces);
    assert_eq!(pagemap.pool().release(), 1);
    assert_eq!((pagemap.pool().usage(), pagemap.pool().free_pages()), (Usage::default(), 512));
}

#[test]
fn freeing_splitting_and_looking_up_wait_for_no_allocator() {
    let pagemap = pagemap(1024);
    let allocate = || pagemap.pool().allocate(Order::PMD, RMAP, Contents::Any).expect("half of it is free");
    let [split, whole] = [allocate(), allocate()]
        .map(|Allocation { range, data, .. }| pagemap.form(range, data).expect("free"));
    let allocating = pagemap.pool().buddy();
    std::thread::scope(|scope| {
        let (done, all_done) = mpsc::channel();
        let head = whole.head();
        scope.spawn({
            let pagemap = &pagemap;
            move || {
                drop(split.split(Order::ZERO).expect("it is the only reference"));
                let looked_up = pagemap.pool().rmap_of(head, whole.data());
                drop(whole);
                done.send(looked_up).expect("the test waits");
            }
        });
        // Released before the test fails, so that the thread ends in either case.
        let looked_up = all_done.recv_timeout(Duration::from_secs(300));
        drop(allocating);
        assert_eq!(looked_up, Ok(Some(RMAP)), "no put waited for the allocator");
    });
    assert_eq!(pagemap.live_pages(), 0);
}

#[test]
fn dead_objects_hold_their_memory_until_it_is_released() {
    let pool = pool(512);
    let Allocation { range, data, .. } = pool.allocate(order(4), RMAP, Contents::Any).expect("all is free");
    pool.folio_free(range, data);
    assert_eq!(
        (pool.usage(), pool.free_pages()),
        (Usage { objects: 1, references: 0, pages: 16, refusals: 0 }, 496)
    );
    assert_eq!((pool.release(), pool.release()), (1, 0));
    assert_eq!((pool.usage(), pool.free_pages()), (Usage::default(), 512));
}

#[test]
fn allocating_and_asking_release_before_they_say_no() {
    let pool = pool(512);
    let Allocation { range: whole, data, .. } =
        pool.allocate(Order::PMD, RMAP, Contents::Any).expect("all is free");
    assert!(
        !pool.can_allocate(Order::ZERO, RMAP) && pool.allocate(Order::ZERO, RMAP, Contents::Any).is_none()
    );
    pool.folio_free(whole, data);
    assert!(pool.can_allocate(Order::PMD, RMAP));
    let Allocation { range: whole, data, .. } =
        pool.allocate(Order::PMD, RMAP, Contents::Any).expect("a dead object is in the way of no allocation");
    pool.folio_free(whole, data);
    let mut memory = Vec::new();
    assert_eq!(pool.add_plain(512, &mut memory), 512);
}

#[test]
fn plain_object_has_exactly_the_pages_that_were_asked_for() {
    let pool = pool(2048);
    let mut memory = Vec::new();
    assert_eq!(pool.add_plain(1283, &mut memory), 1283);
    let pages: Vec<u64> = memory.iter().map(|(range, _)| range.pages()).collect();
    assert_eq!(pages, [1024, 256, 2, 1]);
    let usage = Usage { objects: 1, references: 4, pages: 1283, refusals: 0 };
    assert_eq!((pool.usage(), pool.free_pages()), (usage, 2048 - 1283));
    for (range, data) in memory {
        assert_eq!(pool.rmap_of(range.head(), data), None, "it holds bytes of no block");
        assert_eq!(pool.release(), 0, "it goes as a whole");
        pool.give_back(range, data);
    }
    assert_eq!((pool.release(), pool.free_pages(), pool.usage()), (1, 2048, Usage::default()));
}

#[test]
fn plain_object_grows_by_what_is_free_and_stays_one_object() {
    let pool = pool(64);
    let Allocation { range, data, .. } = pool.allocate(order(5), RMAP, Contents::Any).expect("all is free");
    let mut memory = Vec::new();
    assert_eq!(pool.add_plain(48, &mut memory), 32, "as much as there is");
    assert_eq!(pool.add_plain(16, &mut memory), 0);
    pool.folio_free(range, data);
    assert_eq!(pool.add_plain(16, &mut memory), 16);
    assert_eq!(pool.usage(), Usage { objects: 1, references: 2, pages: 48, refusals: 0 });
}
