//! What every pool keeps, whichever it is: against a naive model, and with many threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bifolio_folio::{FreeRange, MemoryKind, Order, PageMap, Pfn};
use bifolio_pool::{Allocation, Contents, DevicePool, PoolName, Rmap, Usage};
use proptest::prelude::*;

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

fn rmap(block: u32, page: u16) -> Rmap {
    Rmap { block, page }
}

fn all_pools(pages: u64) -> impl Iterator<Item = (PoolName, Arc<dyn DevicePool>)> {
    PoolName::ALL.iter().map(move |name| (*name, name.make(pages).expect("a small pool")))
}

/// A range that is handed out.
#[derive(Clone, Copy, Debug)]
struct Held {
    order: Order,
    data: u32,
    rmap: Rmap,
}

/// A pool, and beside it a plain list of what it handed out.
struct Model {
    name: PoolName,
    pool: Arc<dyn DevicePool>,
    pages: u64,
    held: BTreeMap<u64, Held>,
}

impl Model {
    fn new(name: PoolName, pages: u64) -> Model {
        let pool = name.make(pages).expect("a small pool");
        Model { name, pool, pages, held: BTreeMap::new() }
    }

    /// Allocates; the range must be aligned, inside, and overlap no other. Tells whether there was one.
    fn allocate(&mut self, order: Order, rmap: Rmap) -> bool {
        let said = self.pool.can_allocate(order, rmap);
        let allocated = self.pool.allocate(order, rmap, Contents::Any);
        assert_eq!(said, allocated.is_some(), "{}: order {order} at {rmap:?}", self.name);
        let Some(Allocation { range, data, .. }) = allocated else { return false };
        let (head, got) = range.surrender();
        let (start, end) = (head.get(), head.get() + got.pages());
        assert_eq!((got, head.is_aligned(got)), (order, true));
        assert!(end <= self.pages, "{}: pages {start} to {end}", self.name);
        let before = self.held.range(..end).next_back();
        assert!(
            before.is_none_or(|(head, held)| head + held.order.pages() <= start),
            "{} overlaps",
            self.name
        );
        self.held.insert(start, Held { order, data, rmap });
        true
    }

    fn free(&mut self, nth: usize) {
        if let Some((&head, &Held { order, data, .. })) = self.held.iter().nth(nth % self.held.len().max(1)) {
            self.held.remove(&head);
            self.pool.folio_free(FreeRange::claim(Pfn::new(head), order), data);
        }
    }

    fn split(&mut self, nth: usize, to: Order) {
        let larger = |(head, held): (&u64, &Held)| (held.order > to).then_some((*head, *held));
        let candidates: Vec<_> = self.held.iter().filter_map(larger).collect();
        let Some(&(head, held)) = candidates.get(nth % candidates.len().max(1)) else { return };
        self.pool.folio_split(Pfn::new(head), held.order, to, held.data);
        for piece in (0..held.order.pages()).step_by(1 << to.get()) {
            let page = held.rmap.page + u16::try_from(piece).expect("within a block");
            self.held.insert(head + piece, Held { order: to, rmap: Rmap { page, ..held.rmap }, ..held });
        }
    }

    /// Joins two halves of a folio, both held, that are on the same thing and belong side by side.
    fn collapse(&mut self, nth: usize) {
        let halves = |(&head, &held): (&u64, &Held)| {
            let other = self.held.get(&(head + held.order.pages()))?;
            let larger = held.order.larger().filter(|larger| *larger <= Order::PMD)?;
            let next = Rmap { page: held.rmap.page + u16::try_from(held.order.pages()).ok()?, ..held.rmap };
            let alike = other.order == held.order && other.data == held.data && other.rmap == next;
            (alike && Pfn::new(head).is_aligned(larger)).then_some((head, held, larger))
        };
        let candidates: Vec<_> = self.held.iter().filter_map(halves).collect();
        let Some(&(head, held, larger)) = candidates.get(nth % candidates.len().max(1)) else { return };
        self.pool.folio_collapse(Pfn::new(head), held.order, larger, held.data);
        self.held.remove(&(head + held.order.pages()));
        self.held.insert(head, Held { order: larger, ..held });
    }

    fn check(&self) {
        assert_eq!(self.pool.check_consistency(), Ok(()), "{}", self.name);
        let usage = self.pool.usage();
        let pages: u64 = self.held.values().map(|held| held.order.pages()).sum();
        assert_eq!(usage.references, self.held.len() as u64, "{}", self.name);
        assert_eq!(self.pool.free_pages() + usage.pages, self.pages, "{}", self.name);
        assert!(usage.pages >= pages, "{}: {usage:?} of {pages}", self.name);
        for (head, held) in &self.held {
            let last = held.order.pages() - 1;
            let page = held.rmap.page + u16::try_from(last).expect("within a block");
            let rmaps = [0, last].map(|at| self.pool.rmap_of(Pfn::new(head + at), held.data));
            assert_eq!(rmaps, [Some(held.rmap), Some(Rmap { page, ..held.rmap })], "{}", self.name);
        }
    }

    /// Frees all, and asks for all of it again in the largest folios there can be.
    fn nothing_is_lost(&mut self) {
        while !self.held.is_empty() {
            self.free(0);
        }
        self.pool.release();
        self.check();
        assert_eq!(
            (self.pool.usage(), self.pool.free_pages()),
            (Usage::default(), self.pages),
            "{}",
            self.name
        );
        let mut left = self.pages;
        for order in Order::PMD.descending() {
            while left >= order.pages() {
                let block = u32::try_from(1000 + left).expect("small");
                assert!(self.allocate(order, rmap(block, 0)), "{}: order {order}, {left} left", self.name);
                left -= order.pages();
            }
        }
        self.check();
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Allocate { order: u8, block: u32, page: u16 },
    Free(usize),
    Split(usize, u8),
    Collapse(usize),
    Release,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u8..=9, 0_u32..4, 0_u16..512).prop_map(|(order, block, page)| Op::Allocate { order, block, page }),
        3 => (0_usize..1000).prop_map(Op::Free),
        2 => (0_usize..1000, 0_u8..9).prop_map(|(nth, to)| Op::Split(nth, to)),
        2 => (0_usize..1000).prop_map(Op::Collapse),
        1 => Just(Op::Release),
    ]
}

fn run(model: &mut Model, op: Op) {
    match op {
        Op::Allocate { order: k, block, page } => {
            let page = page >> k << k;
            model.allocate(order(k), rmap(block, page));
        }
        Op::Free(nth) => model.free(nth),
        Op::Split(nth, to) => model.split(nth, order(to)),
        Op::Collapse(nth) => model.collapse(nth),
        Op::Release => {
            model.pool.release();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_pool_agrees_with_a_naive_model(
        pages in prop_oneof![1_u64..600, 600_u64..9000],
        ops in prop::collection::vec(op(), 1..160),
    ) {
        for name in PoolName::ALL {
            let mut model = Model::new(*name, pages);
            for op in &ops {
                run(&mut model, *op);
                model.check();
            }
            model.nothing_is_lost();
        }
    }

    /// What reclaim counts on: with the folios gone that `eviction_range` names, there is room.
    #[test]
    fn emptying_what_the_pool_names_makes_room(
        ops in prop::collection::vec(op(), 1..80),
        wanted in 0_u8..=9,
        nth in 0_usize..1000,
    ) {
        for name in PoolName::ALL {
            let mut model = Model::new(*name, 1 << 12);
            ops.iter().for_each(|op| run(&mut model, *op));
            while model.allocate(order(wanted), rmap(9, 0)) {}
            let (&head, held) = model.held.iter().nth(nth % model.held.len()).expect("it is full");
            let (first, size) = model.pool.eviction_range(Pfn::new(head), held.data, order(wanted));
            let inside = |head: &u64| Pfn::new(*head).is_within(first, size);
            let victims: Vec<u64> = model.held.keys().copied().filter(inside).collect();
            prop_assert!(victims.contains(&head));
            for victim in victims {
                let nth = model.held.keys().position(|head| *head == victim).expect("it is held");
                model.free(nth);
            }
            model.pool.release();
            prop_assert!(model.pool.can_allocate(order(wanted), rmap(10, 0)), "{}", name);
        }
    }
}

/// A call with a page and a number that were handed out.
type Call = fn(&dyn DevicePool, u64, u32);

fn free(pool: &dyn DevicePool, head: u64, k: u8, data: u32) {
    pool.folio_free(FreeRange::claim(Pfn::new(head), order(k)), data);
}

#[test]
fn what_was_not_handed_out_like_this_is_refused_and_the_memory_stays_where_it_is() {
    let wrong: [(&str, Call); 8] = [
        ("a smaller order", |pool, head, data| free(pool, head, 0, data)),
        ("the order from before a split", |pool, head, data| free(pool, head, 2, data)),
        ("a larger order", |pool, head, data| free(pool, head, 3, data)),
        ("the middle of a folio", |pool, head, data| free(pool, head + 1, 0, data)),
        ("a free page", |pool, head, data| free(pool, head ^ 8, 0, data)),
        ("a page outside", |pool, _, data| free(pool, 512, 1, data)),
        ("another number", |pool, head, data| free(pool, head, 1, data + 1)),
        ("a split of another order", |pool, head, data| {
            pool.folio_split(Pfn::new(head), order(2), Order::ZERO, data);
        }),
    ];
    for (name, pool) in all_pools(512) {
        let Allocation { range, data, .. } =
            pool.allocate(order(2), rmap(1, 4), Contents::Any).expect("all is free");
        let head = range.surrender().0;
        pool.folio_split(head, order(2), order(1), data);
        for (refusals, (what, call)) in (1..).zip(&wrong) {
            let (before, free) = (pool.usage(), pool.free_pages());
            call(&*pool, head.get(), data);
            assert_eq!(pool.usage(), Usage { refusals, ..before }, "{name}: {what}");
            assert_eq!(pool.free_pages(), free, "{name}: {what}");
        }
        free(&*pool, head.get(), 1, data);
        free(&*pool, head.get(), 1, data);
        assert_eq!(pool.usage().refusals, 9, "{name}: the second time");
        assert!(pool.check_consistency().is_err_and(|why| why.contains("9 calls were refused")), "{name}");
        free(&*pool, head.get() + 2, 1, data);
        pool.release();
        assert_eq!(pool.usage(), Usage { refusals: 9, ..Usage::default() }, "{name}");
        assert_eq!(pool.free_pages(), 512, "{name}");
    }
}

#[test]
fn order_4_comes_out_of_a_free_order_9() {
    for (name, pool) in all_pools(512) {
        let Allocation { range: whole, data, .. } =
            pool.allocate(Order::PMD, rmap(3, 0), Contents::Any).expect("all is free");
        pool.folio_free(whole, data);
        pool.release();
        let Allocation { range: part, .. } =
            pool.allocate(order(4), rmap(3, 0), Contents::Any).expect("all is free again");
        assert_eq!(part.order(), order(4), "{name}");
        assert_eq!(pool.free_pages() + pool.usage().pages, 512, "{name}");
    }
}

#[test]
fn every_order_is_served_and_the_next_one_down_when_it_is_full() {
    for (name, pool) in all_pools(512 + 256) {
        assert!(pool.allocate(Order::PMD, rmap(0, 0), Contents::Any).is_some(), "{name}");
        assert!(pool.allocate(Order::PMD, rmap(1, 0), Contents::Any).is_none(), "{name}: 256 pages are left");
        for k in (0..=8).rev() {
            let expected = k == 8;
            assert_eq!(
                pool.allocate(order(k), rmap(2, 0), Contents::Any).is_some(),
                expected,
                "{name}: order {k}"
            );
        }
    }
}

#[test]
fn pieces_freed_in_any_order_leave_nothing_behind() {
    for name in PoolName::ALL {
        for step in [1, 3, 171, 511] {
            let mut model = Model::new(*name, 4 * 512);
            while model.allocate(Order::PMD, rmap(7, 0)) {}
            for nth in 0..4 {
                model.split(nth, Order::ZERO);
            }
            for nth in (0..4 * 512).map(|nth| nth * step) {
                model.free(nth);
            }
            model.nothing_is_lost();
        }
    }
}

#[test]
fn ends_of_odd_sizes_are_used() {
    for name in PoolName::ALL {
        for pages in [1, 2, 3, 511, 513, 1023, 5 * 512 + 77, 17 * 512 + 1] {
            let mut model = Model::new(*name, pages);
            while model.allocate(Order::ZERO, rmap(model.held.len().try_into().expect("few"), 0)) {}
            // Objects are larger than a page where there is room for it; the rest must be gone to the last page.
            assert_eq!(model.pool.free_pages(), 0, "{name} of {pages} pages");
            model.nothing_is_lost();
        }
    }
}

#[test]
fn plain_objects_get_what_they_ask_for_and_have_no_reverse_mapping() {
    for (name, pool) in all_pools(5 * 512 + 77) {
        let mut memory = Vec::new();
        let page = pool.allocate(Order::ZERO, rmap(0, 7), Contents::Any).expect("all is free");
        assert_eq!(pool.add_plain(700, &mut memory), 700, "{name}");
        assert_eq!(memory.iter().map(|(range, _)| range.pages()).sum::<u64>(), 700, "{name}");
        for (range, data) in memory {
            let backing = pool.rmap_of(range.head(), data);
            assert!(backing.is_none_or(|backing| backing == Rmap::NONE), "{name}: {backing:?}");
            pool.give_back(range, data);
        }
        pool.give_back(page.range, page.data);
        pool.release();
        assert_eq!((pool.usage(), pool.free_pages()), (Usage::default(), 5 * 512 + 77), "{name}");
    }
}

#[test]
fn no_pages_and_too_many_are_refused() {
    for name in PoolName::ALL {
        assert!(name.make(0).is_err(), "{name}");
        assert!(name.make(u64::MAX).is_err(), "{name}");
    }
}

/// Forms, splits and frees on a pagemap of the pool, as fast as it goes.
fn hammer(map: &PageMap<Arc<dyn DevicePool>>, seed: u64, done: &AtomicU64) {
    let mut random = seed;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let block = u32::try_from(seed).expect("a small seed");
    let mut kept = Vec::new();
    for _ in 0..4000 {
        let order = order(u8::try_from(next(10)).expect("one digit"));
        let page = u16::try_from(next(512 >> order.get()) << order.get()).expect("within a block");
        let allocated = map.pool().allocate(order, rmap(block, page), Contents::Any);
        if let Some(Allocation { range, data, .. }) = allocated {
            let folio = map.form(range, data).expect("handed out once");
            done.fetch_add(1, Ordering::Relaxed);
            match order.smaller() {
                Some(half) if next(2) == 0 => {
                    kept.extend(
                        folio.split(half).expect("it is the only reference").map(|piece| piece.unlock()),
                    );
                }
                _ => kept.push(folio.unlock()),
            }
        }
        while kept.len() > 8 {
            drop(kept.swap_remove(usize::try_from(next(kept.len() as u64)).expect("small")));
        }
        if next(16) == 0 {
            map.pool().release();
        }
    }
}

#[test]
fn threads_lose_nothing() {
    for (name, pool) in all_pools(5 * 512 + 77) {
        let pages = 5 * 512 + 77;
        let map = PageMap::new(MemoryKind::Private, Pfn::ZERO, pages, pool).expect("a pagemap");
        let done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for seed in 1..=4 {
                let (map, done) = (&map, &done);
                scope.spawn(move || hammer(map, seed, done));
            }
        });
        map.pool().release();
        assert!(done.into_inner() > 1000, "{name}: the threads found memory");
        assert_eq!((map.live_pages(), map.check_consistency()), (0, Ok(())), "{name}");
        assert_eq!((map.pool().usage(), map.pool().free_pages()), (Usage::default(), pages), "{name}");
        assert_eq!(map.pool().check_consistency(), Ok(()), "{name}");
    }
}
