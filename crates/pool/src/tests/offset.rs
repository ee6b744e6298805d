//! Pools whose pages are numbered from another page than 0.

use bifolio_folio::{Order, Pfn};

use crate::{Allocation, Contents, PoolName, Rmap};

#[test]
fn pages_are_numbered_from_the_first_on() {
    let first = Pfn::new(Order::MAX.pages());
    for &name in PoolName::ALL {
        let pool = name.make_at(first, 512).expect("a small pool");
        let rmap = Rmap { block: 3, page: 0 };
        let allocated = pool.allocate(Order::K64, rmap, Contents::Any);
        let Allocation { range, data, .. } = allocated.expect("nothing is in use");
        let head = range.head();
        assert!((first.get()..first.get() + 512).contains(&head.get()), "{name}: {head}");
        assert_eq!(pool.rmap_of(head, data), Some(rmap), "{name}");
        assert!(pool.eviction_range(head, data, Order::PMD).0 >= first, "{name}");
        pool.give_back(range, data);
        pool.release();
        assert_eq!(pool.free_pages(), 512, "{name}");
    }
}

#[test]
fn odd_first_pages_are_refused() {
    let refused = PoolName::Buddy.make_at(Pfn::new(512), 512).expect_err("not aligned");
    assert!(refused.to_string().contains("0x200"), "{refused}");
}
