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
    let aligned = PageRun::new(4, 16).expect("inside a block").aligned(order(3));
    let orders: Vec<u8> = aligned.map(|run| run.order().get()).collect();
    assert_eq!(orders, [2, 3, 2]);
}

#[test]
fn aligned_runs_cover_exactly_the_asked_pages() {
    for (first, end) in [(0, 512), (1, 512), (3, 17), (511, 512)] {
        let mut at = first;
        for run in PageRun::between(first, end).expect("inside a block").aligned(Order::PMD) {
            assert_eq!(run.first(), at);
            assert_eq!(run.first() % run.pages(), 0);
            at = run.end();
        }
        assert_eq!(at, end);
    }
}

fn runs() -> impl Strategy<Value = (PageRun, bool)> {
    (0u16..512, 1u16..512, any::<bool>()).prop_filter_map("a run of pages", |(first, pages, insert)| {
        Some((PageRun::new(first, pages.min(512 - first))?, insert))
    })
}

#[test]
fn runs_are_never_empty_and_never_leave_the_block() {
    for (first, pages) in [(5, 0), (512, 1), (511, 2), (0, 513), (u16::MAX, 1), (1, u16::MAX)] {
        assert_eq!(PageRun::new(first, pages), None, "{pages} pages from {first} on");
    }
    assert_eq!(PageRun::between(7, 7), None);
    assert_eq!(PageRun::between(8, 7), None);
}

proptest! {
    #[test]
    fn runs_agree_with_ranges_of_numbers(first in 0u16..600, pages in 0u16..600, page in 0u16..600, other in runs()) {
        let (range, other) = (first..first + pages, other.0);
        let run = PageRun::new(first, pages);
        prop_assert_eq!(run.is_some(), !range.is_empty() && range.end <= 512);
        let Some(run) = run else { return Ok(()) };
        prop_assert_eq!((run.first(), run.pages(), run.end()), (first, pages, first + pages));
        prop_assert_eq!(run.contains(page), range.contains(&page));
        prop_assert_eq!(run.covers(other), other.into_iter().all(|page| range.contains(&page)));
        let pages = |run: Option<PageRun>| run.into_iter().flatten().collect::<Vec<u16>>();
        let both: Vec<u16> = range.clone().filter(|page| other.contains(*page)).collect();
        prop_assert_eq!(pages(run.intersection(other)), both);
        let rest: Vec<u16> = range.filter(|at| *at >= page).collect();
        prop_assert_eq!(pages(run.from_page(page)), rest);
    }

    #[test]
    fn agrees_with_a_set_of_numbers(changes in proptest::collection::vec(runs(), 1..20), probe in runs()) {
        let (mut set, mut model) = (PageSet::EMPTY, BTreeSet::new());
        for (run, insert) in changes {
            if insert {
                set.insert(run);
                model.extend(run);
            } else {
                set.remove(run);
                model.retain(|page| !run.contains(*page));
            }
        }
        let probe = probe.0;
        let inside = |page: &u16| model.contains(page);
        prop_assert_eq!(usize::from(set.count()), model.len());
        prop_assert_eq!(set.contains_all(probe), probe.into_iter().all(|page| inside(&page)));
        prop_assert_eq!(set.intersects(probe), probe.into_iter().any(|page| inside(&page)));
        prop_assert_eq!(usize::from(set.count_in(probe)), probe.into_iter().filter(inside).count());
        let before = (0..probe.first()).filter(|page| set.contains(*page)).count();
        prop_assert_eq!(usize::from(set.count_before(probe.first())), before);
        prop_assert_eq!(set.count_before(512), set.count());
        let listed: BTreeSet<u16> = set.runs(probe).flatten().collect();
        let expected: BTreeSet<u16> = probe.into_iter().filter(inside).collect();
        prop_assert_eq!(listed, expected);
        let aligned: BTreeSet<u16> = set.aligned_runs(Order::PMD).flatten().collect();
        prop_assert_eq!(&aligned, &model);
    }
}
