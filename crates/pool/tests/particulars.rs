//! What one pool does and the others do not.

use bifolio_folio::{FreeRange, MemoryKind, Order, PageMap, Pfn, Pool};
use bifolio_pool::{Allocation, CoherentPool, Contents, DevicePool, FreeListPool, MirrorPool, Rmap, Usage};

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

fn rmap(block: u32, page: u16) -> Rmap {
    Rmap { block, page }
}

/// Allocates, where there must be memory: first page and number.
fn allocate(pool: &impl DevicePool, order: Order, rmap: Rmap) -> (Pfn, u32) {
    let Allocation { range, data, .. } = pool.allocate(order, rmap, Contents::Any).expect("there is memory");
    (range.surrender().0, data)
}

fn free(pool: &impl DevicePool, head: Pfn, order: Order, data: u32) {
    pool.folio_free(FreeRange::claim(head, order), data);
}

/// Pages of a device with eight chunks of two slots.
const EIGHT_CHUNKS: u64 = 8 * 2 * 512;

#[test]
fn free_lists_use_a_freed_piece_at_once_while_its_neighbours_live() {
    let pool = FreeListPool::new(512).expect("a pool");
    let (head, data) = allocate(&pool, Order::PMD, rmap(1, 0));
    pool.folio_split(head, Order::PMD, Order::K64, data);
    free(&pool, Pfn::new(48), Order::K64, data);

    assert_eq!(pool.free_pages(), 16);
    let (again, other) = allocate(&pool, Order::K64, rmap(2, 32));
    assert_eq!((again, other == data), (Pfn::new(48), false));
    assert_eq!(pool.rmap_of(Pfn::new(50), other), Some(rmap(2, 34)));
    assert_eq!(pool.rmap_of(Pfn::new(511), data), Some(rmap(1, 511)));
    assert_eq!(pool.usage(), Usage { objects: 0, references: 32, pages: 512, refusals: 0 });
}

#[test]
fn free_lists_make_chunks_on_demand_and_give_all_empty_ones_but_one_back() {
    let pool = FreeListPool::new(EIGHT_CHUNKS).expect("a pool");
    assert_eq!((pool.chunks(), pool.free_pages()), (0, EIGHT_CHUNKS));
    let folios: Vec<_> = (0..6).map(|block| allocate(&pool, Order::PMD, rmap(block, 0))).collect();
    assert_eq!(pool.chunks(), 3, "two slots each");

    for (head, data) in folios {
        free(&pool, head, Order::PMD, data);
    }
    assert_eq!((pool.chunks(), pool.free_pages()), (1, EIGHT_CHUNKS));
    pool.close();
    assert_eq!((pool.chunks(), pool.check_consistency()), (0, Ok(())));
}

#[test]
fn free_lists_keep_a_chunk_as_long_as_one_page_of_it_lives() {
    let pool = FreeListPool::new(EIGHT_CHUNKS).expect("a pool");
    let (head, data) = allocate(&pool, Order::PMD, rmap(0, 0));
    pool.folio_split(head, Order::PMD, Order::ZERO, data);
    for page in 1..512 {
        free(&pool, Pfn::new(head.get() + page), Order::ZERO, data);
    }
    pool.close();
    assert_eq!((pool.chunks(), pool.usage().references), (1, 1));
    free(&pool, head, Order::ZERO, data);
    pool.close();
    assert_eq!((pool.chunks(), pool.free_pages()), (0, EIGHT_CHUNKS));
}

#[test]
fn objects_are_shared_by_the_folios_of_a_block_at_offsets() {
    let pool = CoherentPool::new(16 * 512).expect("a pool");
    assert_eq!(pool.object_order(), Order::PMD);
    let (first, object) = allocate(&pool, Order::K64, rmap(5, 64));
    let (second, same) = allocate(&pool, order(5), rmap(5, 32));
    let (_, other) = allocate(&pool, Order::K64, rmap(6, 64));

    assert_eq!((first, second, same), (Pfn::new(64), Pfn::new(32), object), "the object begins at page 0");
    assert_ne!(other, object, "another block has an object of its own");
    assert_eq!(pool.usage(), Usage { objects: 2, references: 3, pages: 1024, refusals: 0 });
    assert_eq!(pool.rmap_of(Pfn::new(40), object), Some(rmap(5, 40)));
}

#[test]
fn both_parts_of_a_split_stay_on_their_object_and_the_last_put_kills_it() {
    let pool = CoherentPool::new(16 * 512).expect("a pool");
    let map = PageMap::new(MemoryKind::Coherent, Pfn::ZERO, 16 * 512, pool).expect("a pagemap");
    let allocated = map.pool().allocate(Order::PMD, rmap(1, 0), Contents::Any);
    let Allocation { range, data, .. } = allocated.expect("memory");
    let mut halves = map.form(range, data).expect("free").split(order(8)).expect("it is the only reference");
    let (lower, upper) = (halves.next().expect("two"), halves.next().expect("two"));

    assert_eq!(map.pool().usage(), Usage { objects: 1, references: 2, pages: 512, refusals: 0 });
    drop(lower);
    assert_eq!(map.pool().rmap_of(upper.head(), data), Some(rmap(1, 256)));
    let again = map.pool().allocate(order(3), rmap(1, 8), Contents::Any).expect("its place is free");
    assert_eq!((again.range.head(), again.data), (Pfn::new(8), data));
    map.pool().give_back(again.range, again.data);
    assert_eq!(map.pool().usage().references, 1);
    drop(upper);
    assert_eq!((map.pool().release(), map.pool().usage()), (1, Usage::default()));
}

#[test]
fn dead_objects_keep_their_memory_until_release_or_until_it_is_needed() {
    let pool = CoherentPool::new(512).expect("a pool");
    let (head, data) = allocate(&pool, Order::PMD, rmap(0, 0));
    free(&pool, head, Order::PMD, data);
    assert_eq!(
        (pool.free_pages(), pool.usage()),
        (0, Usage { objects: 1, references: 0, pages: 512, refusals: 0 })
    );
    assert_eq!((pool.release(), pool.free_pages()), (1, 512));

    let (head, data) = allocate(&pool, Order::PMD, rmap(0, 0));
    free(&pool, head, Order::PMD, data);
    assert!(
        pool.allocate(Order::PMD, rmap(1, 0), Contents::Any).is_some(),
        "an allocation may take its time"
    );
}

#[test]
fn place_that_is_still_held_is_not_handed_out_again() {
    let pool = CoherentPool::new(16 * 512).expect("a pool");
    let (held, object) = allocate(&pool, Order::K64, rmap(0, 16));
    let (apart, own) = allocate(&pool, Order::K64, rmap(0, 16));
    assert!(held != apart && object != own);
    assert_eq!(pool.usage().pages, 512 + 16, "it gets what it needs and no more");
    assert_eq!(
        [held, apart].map(|page| pool.rmap_of(page, if page == held { object } else { own })),
        [Some(rmap(0, 16)); 2]
    );

    free(&pool, held, Order::K64, object);
    free(&pool, apart, Order::K64, own);
    assert_eq!((pool.release(), pool.free_pages()), (2, 16 * 512));
}

#[test]
fn mirror_refuses_one_allocation_when_told_to() {
    let pool = MirrorPool::new(512).expect("a pool");
    pool.fail_next();
    assert!(pool.can_allocate(Order::ZERO, rmap(0, 0)));
    assert!(pool.allocate(Order::ZERO, rmap(0, 0), Contents::Any).is_none());
    assert!(pool.allocate(Order::ZERO, rmap(0, 0), Contents::Any).is_some());
}

#[test]
fn mirror_keeps_its_chunks_until_it_is_closed() {
    let pool = MirrorPool::new(EIGHT_CHUNKS).expect("a pool");
    let folios: Vec<_> = (0..6).map(|block| allocate(&pool, Order::PMD, rmap(block, 0))).collect();
    for (head, data) in folios {
        free(&pool, head, Order::PMD, data);
    }
    assert_eq!((pool.chunks(), pool.free_pages()), (3, EIGHT_CHUNKS));
    pool.close();
    assert_eq!((pool.chunks(), pool.free_pages()), (0, EIGHT_CHUNKS));
    assert!(pool.allocate(Order::ZERO, rmap(0, 0), Contents::Any).is_none());
}
