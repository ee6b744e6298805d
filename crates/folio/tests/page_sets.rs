//! Runs of pages inside a block, and sets of them, against sets of numbers.

use std::collections::BTreeSet;

use bifolio_folio::{AlignedRun, Order, PageRun, PageSet};
use proptest::prelude::*;

fn order(k: u8) -> Order {
    Order::new(k).expect("orders in tests are small")
}

#[test]
fn halves_are_buddies() {
    let (with, other) = AlignedRun::around(5, order(2)).halves(5).expect("order 2 has halves");
    assert_eq!((with.first(), with.end()), (4, 6));
    assert_eq!((other.first(), other.end()), (6, 8));
    assert_eq!(AlignedRun::around(5, Order::ZERO).halves(5), None);
}

#[test]
fn aligned_runs_are_no_larger_than_asked() {
    let aligned = PageRun { first: 4, pages: 16 }.aligned(order(3));
    let orders: Vec<u8> = aligned.map(|run| run.order().get()).collect();
    assert_eq!(orders, [2, 3, 2]);
}

#[test]
fn aligned_runs_cover_exactly_the_asked_pages() {
    for (first, end) in [(0, 512), (1, 512), (3, 17), (511, 512)] {
        let mut at = first;
        for run in (PageRun { first, pages: end - first }).aligned(Order::PMD) {
            assert_eq!(run.first(), at);
            assert_eq!(run.first() % run.pages(), 0);
            at = run.end();
        }
        assert_eq!(at, end);
    }
}

fn runs() -> impl Strategy<Value = (PageRun, bool)> {
    (0u16..512, 1u16..512, any::<bool>())
        .prop_map(|(first, pages, insert)| (PageRun { first, pages: pages.min(512 - first) }, insert))
}

proptest! {
    #[test]
    fn agrees_with_a_set_of_numbers(changes in proptest::collection::vec(runs(), 1..20), probe in runs()) {
        let (mut set, mut model) = (PageSet::EMPTY, BTreeSet::new());
        for (run, insert) in changes {
            if insert {
                set.insert(run);
                model.extend(run.first..run.end());
            } else {
                set.remove(run);
                model.retain(|page| !(run.first..run.end()).contains(page));
            }
        }
        let probe = probe.0;
        let inside = |page: &u16| model.contains(page);
        prop_assert_eq!(usize::from(set.count()), model.len());
        prop_assert_eq!(set.contains_all(probe), (probe.first..probe.end()).all(|page| inside(&page)));
        prop_assert_eq!(set.intersects(probe), (probe.first..probe.end()).any(|page| inside(&page)));
        prop_assert_eq!(usize::from(set.count_in(probe)), (probe.first..probe.end()).filter(inside).count());
        let listed: BTreeSet<u16> = set.runs(probe).flat_map(|run| run.first..run.end()).collect();
        let expected: BTreeSet<u16> = (probe.first..probe.end()).filter(inside).collect();
        prop_assert_eq!(listed, expected);
        let spans: BTreeSet<u16> = set.spans(Order::PMD).flat_map(|span| span.first()..span.end()).collect();
        prop_assert_eq!(&spans, &model);
    }
}
