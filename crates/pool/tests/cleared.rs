//! What pools tell of cleared memory, and that they never tell it of memory that an owner may have written (I22).

use std::collections::BTreeSet;
use std::sync::Arc;

use bifolio_folio::{FreeRange, Order, Pfn};
use bifolio_pool::{Allocation, Contents, DevicePool, PoolName, Rmap, Usage};
use proptest::prelude::*;

/// Pages of the pools.
const PAGES: u64 = 16 * 64;

/// The pools that keep track of cleared memory.
const TRACKING: [PoolName; 2] = [PoolName::Buddy, PoolName::Coherent];

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

fn tracking_pools() -> impl Iterator<Item = (PoolName, Arc<dyn DevicePool>)> {
    TRACKING.into_iter().map(|name| (name, name.make(PAGES).expect("a small pool")))
}

/// Allocates for a block of address space of its own, so that no object is shared.
fn allocate(pool: &dyn DevicePool, k: u8, block: u32, contents: Contents) -> Allocation {
    pool.allocate(order(k), Rmap { block, page: 0 }, contents).expect("there is memory")
}

#[test]
fn memory_is_cleared_once_after_it_was_declared_so() {
    for (name, pool) in tracking_pools() {
        let first = allocate(&*pool, 3, 0, Contents::Zeros);
        assert!(!first.cleared, "{name}: nothing is known of a new device");
        pool.give_back(first.range, first.data);
        pool.declare_cleared();
        let cleared = allocate(&*pool, 3, 1, Contents::Zeros);
        assert!(cleared.cleared, "{name}");
        pool.folio_free(cleared.range, cleared.data);
        pool.release();
        // All other pages are cleared; these are taken first where every byte will be written.
        let reused = allocate(&*pool, 3, 2, Contents::Any);
        assert!(!reused.cleared, "{name}");
    }
}

#[test]
fn cleared_memory_is_kept_for_requests_for_zeros() {
    for (name, pool) in tracking_pools() {
        pool.declare_cleared();
        // An object of memory that was used, and then only cleared memory beside it.
        let used = allocate(&*pool, 6, 0, Contents::Any);
        let head = used.range.head();
        pool.folio_free(used.range, used.data);
        pool.release();
        let zeros = allocate(&*pool, 6, 1, Contents::Zeros);
        assert!(zeros.cleared && zeros.range.head() != head, "{name}");
        let any = allocate(&*pool, 6, 2, Contents::Any);
        assert_eq!((any.range.head(), any.cleared), (head, false), "{name}");
        let more = allocate(&*pool, 6, 3, Contents::Any);
        assert!(more.cleared, "{name}: it tells so although zeros were not asked for");
    }
}

#[test]
fn memory_that_was_not_written_goes_back_as_it_came() {
    for (name, pool) in tracking_pools() {
        pool.declare_cleared();
        for _ in 0..3 {
            let whole = allocate(&*pool, 6, 0, Contents::Zeros);
            assert!(whole.cleared, "{name}");
            pool.give_back_cleared(whole.range, whole.data);
            pool.release();
        }
        let mut left = PAGES / 64;
        while let Some(whole) = pool.allocate(order(6), Rmap::NONE, Contents::Any) {
            assert!(whole.cleared, "{name}: nothing became dirty");
            left -= 1;
        }
        assert_eq!(left, 0, "{name}");
    }
}

#[test]
fn clearing_in_the_background_ends_with_all_free_memory_cleared() {
    for (name, pool) in tracking_pools() {
        let kept = allocate(&*pool, 0, 0, Contents::Any);
        let mut cleared = 0;
        while let Some(dirty) = pool.allocate_dirty(order(5)) {
            assert!(!dirty.cleared && dirty.range.order() <= order(5), "{name}");
            cleared += dirty.range.pages();
            pool.give_back_cleared(dirty.range, dirty.data);
        }
        pool.release();
        assert_eq!(cleared, pool.free_pages(), "{name}");
        while let Some(page) = pool.allocate(Order::ZERO, Rmap::NONE, Contents::Any) {
            assert!(page.cleared, "{name}");
        }
        pool.give_back(kept.range, kept.data);
    }
}

#[test]
fn pools_that_do_not_keep_track_never_say_cleared() {
    for name in PoolName::ALL.iter().filter(|name| !TRACKING.contains(name)) {
        let pool = name.make(PAGES).expect("a small pool");
        pool.declare_cleared();
        let page = allocate(&*pool, 0, 0, Contents::Zeros);
        assert!(!page.cleared && pool.allocate_dirty(order(9)).is_none(), "{name}");
        pool.give_back_cleared(page.range, page.data);
        assert_eq!((pool.usage(), pool.free_pages()), (Usage::default(), PAGES), "{name}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Allocate { order: u8, block: u32, page: u16, zeros: bool },
    Free { nth: usize, cleared: bool },
    Split { nth: usize, to: u8 },
    AllocateDirty(u8),
    DeclareCleared,
    Release,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0_u8..=6, 0_u32..4, 0_u16..64, any::<bool>())
            .prop_map(|(order, block, page, zeros)| Op::Allocate { order, block, page, zeros }),
        8 => (0_usize..1000, any::<bool>()).prop_map(|(nth, cleared)| Op::Free { nth, cleared }),
        3 => (0_usize..1000, 0_u8..6).prop_map(|(nth, to)| Op::Split { nth, to }),
        2 => (0_u8..=6).prop_map(Op::AllocateDirty),
        1 => Just(Op::DeclareCleared),
        3 => Just(Op::Release),
    ]
}

/// A pool, and beside it the pages that are zeros.
struct Model {
    pool: Arc<dyn DevicePool>,
    held: Vec<(Pfn, Order, u32)>,
    zeros: BTreeSet<u64>,
}

fn pages(head: Pfn, order: Order) -> std::ops::Range<u64> {
    head.get()..head.get() + order.pages()
}

impl Model {
    /// Takes memory, which must be zeros if the pool says so, and writes it.
    fn take(&mut self, Allocation { range, data, cleared }: Allocation) {
        let (head, order) = range.surrender();
        assert!(!cleared || pages(head, order).all(|page| self.zeros.contains(&page)), "{head} {order}");
        self.zeros.retain(|page| !pages(head, order).contains(page));
        self.held.push((head, order, data));
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Allocate { order: k, block, page, zeros } => {
                let contents = if zeros { Contents::Zeros } else { Contents::Any };
                let rmap = Rmap { block, page: page >> k << k };
                self.pool.allocate(order(k), rmap, contents).into_iter().for_each(|taken| self.take(taken));
            }
            Op::AllocateDirty(k) => {
                self.pool.allocate_dirty(order(k)).into_iter().for_each(|taken| self.take(taken));
            }
            Op::Free { nth, cleared } if !self.held.is_empty() => {
                let (head, order, data) = self.held.swap_remove(nth % self.held.len());
                let range = FreeRange::claim(head, order);
                if cleared {
                    self.zeros.extend(pages(head, order));
                    self.pool.give_back_cleared(range, data);
                } else {
                    self.pool.folio_free(range, data);
                }
            }
            Op::Split { nth, to } if !self.held.is_empty() => {
                let nth = nth % self.held.len();
                let (head, from, data) = self.held[nth];
                if from > order(to) {
                    self.pool.folio_split(head, from, order(to), data);
                    self.held.swap_remove(nth);
                    let heads = pages(head, from).step_by(1 << to);
                    self.held.extend(heads.map(|head| (Pfn::new(head), order(to), data)));
                }
            }
            Op::DeclareCleared => {
                self.pool.declare_cleared();
                let held: BTreeSet<u64> =
                    self.held.iter().flat_map(|(head, order, _)| pages(*head, *order)).collect();
                self.zeros.extend((0..PAGES).filter(|page| !held.contains(page)));
            }
            Op::Release => {
                self.pool.release();
            }
            Op::Free { .. } | Op::Split { .. } => {}
        }
    }
}

proptest! {
    #[test]
    fn cleared_is_said_of_zeros_only(ops in prop::collection::vec(op(), 1..120)) {
        for (name, pool) in tracking_pools() {
            let mut model = Model { pool, held: Vec::new(), zeros: BTreeSet::new() };
            for op in &ops {
                model.run(*op);
                prop_assert_eq!(model.pool.check_consistency(), Ok(()), "{}", name);
            }
        }
    }
}
