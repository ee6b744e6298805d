//! Random calls against a naive model: one entry per page.

#![expect(clippy::cast_possible_truncation, reason = "the models are small")]

use bifolio_buddy::{AllocateError, Block, Buddy, FreeError};
use proptest::prelude::*;
use std::ops::Range;

/// Which allocated block holds each page.
struct Model {
    regions: Vec<Range<u64>>,
    owner: Vec<Option<Block>>,
}

impl Model {
    fn new(regions: &[Range<u64>]) -> Self {
        let pages = regions.last().expect("a region").end;
        Self { regions: regions.to_vec(), owner: vec![None; usize::try_from(pages).expect("small")] }
    }

    fn pages(&self) -> impl Iterator<Item = u64> + '_ {
        self.regions.iter().cloned().flatten()
    }

    fn at(&self, page: u64) -> Option<Block> {
        self.owner[page as usize]
    }

    fn set(&mut self, block: Block, owner: Option<Block>) {
        for page in block.range() {
            assert_ne!(self.at(page).is_some(), owner.is_some(), "page {page} taken or freed twice");
            self.owner[page as usize] = owner;
        }
    }

    fn is_free(&self, range: Range<u64>) -> bool {
        self.regions.iter().any(|r| r.start <= range.start && range.end <= r.end)
            && range.clone().all(|page| self.at(page).is_none())
    }

    fn has_free(&self, order: u32) -> bool {
        self.pages().any(|page| page % (1 << order) == 0 && self.is_free(page..page + (1 << order)))
    }

    /// Free blocks by order: maximal aligned free ranges.
    fn free_by_order(&self) -> Vec<u64> {
        let mut counts = vec![0; 39];
        let mut at = self.pages();
        while let Some(page) = at.next() {
            if self.at(page).is_none() {
                let order =
                    (0..39).rev().find(|o| page % (1 << o) == 0 && self.is_free(page..page + (1 << o)));
                let order = order.expect("a free page is a free block");
                counts[order as usize] += 1;
                at.by_ref().take((1 << order) - 1).for_each(drop);
            }
        }
        counts
    }
}

#[derive(Clone, Debug)]
enum Call {
    Allocate(u32),
    Contiguous(u64),
    FreeNth(usize),
    FreeAny(u64, u32),
    FreeRange(u64, u64),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        6 => (0u32..11).prop_map(Call::Allocate),
        2 => (0u64..700).prop_map(Call::Contiguous),
        5 => any::<prop::sample::Index>().prop_map(|i| Call::FreeNth(i.index(1 << 20))),
        1 => (0u64..2100, 0u32..12).prop_map(|(page, order)| Call::FreeAny(page, order)),
        1 => (0u64..2100, 0u64..400).prop_map(|(page, pages)| Call::FreeRange(page, pages)),
    ];
    prop::collection::vec(call, 1..120)
}

fn regions() -> impl Strategy<Value = Vec<Range<u64>>> {
    prop_oneof![
        3 => (1u64..2000).prop_map(|end| vec![0..end]),
        1 => (0u64..900, 1u64..1000).prop_map(|(start, pages)| vec![start..start + pages]),
        1 => (1u64..300, 0u64..300, 1u64..1300).prop_map(|(a, gap, b)| vec![0..a, a + gap..a + gap + b]),
    ]
}

fn apply(buddy: &mut Buddy, model: &mut Model, call: &Call) -> Result<(), TestCaseError> {
    match *call {
        Call::Allocate(order) => match buddy.allocate(order) {
            Ok(page) => {
                prop_assert_eq!(page % (1 << order), 0);
                let block = Block { page, order };
                prop_assert!(model.is_free(block.range()));
                model.set(block, Some(block));
            }
            Err(error) => {
                prop_assert!(matches!(error, AllocateError::NoSpace { .. }), "{error}");
                prop_assert!(!model.has_free(order));
            }
        },
        Call::Contiguous(pages) => match buddy.allocate_contiguous(pages) {
            Ok(range) => {
                prop_assert_eq!(range.end - range.start, pages);
                Block::cut(range).for_each(|block| model.set(block, Some(block)));
            }
            Err(_) => prop_assert!(pages == 0 || !model.has_free(pages.next_power_of_two().ilog2())),
        },
        Call::FreeNth(nth) => {
            let used: Vec<Block> =
                model.pages().filter_map(|p| model.at(p).filter(|b| b.page == p)).collect();
            if let Some(&block) = used.get(nth % used.len().max(1)) {
                prop_assert_eq!(buddy.free(block.page, block.order), Ok(()));
                model.set(block, None);
            }
        }
        Call::FreeAny(page, order) => {
            let inside = model.regions.iter().any(|r| r.start <= page && page + (1 << order) <= r.end);
            let expected = match inside.then(|| model.at(page)) {
                None => Err(FreeError::Foreign { range: page..page + (1 << order) }),
                Some(None) => Err(FreeError::NotAllocated { page }),
                Some(Some(allocated)) if allocated != (Block { page, order }) => {
                    Err(FreeError::WrongBlock { page, allocated })
                }
                Some(Some(_)) => Ok(()),
            };
            prop_assert_eq!(buddy.free(page, order), expected.clone());
            if expected.is_ok() {
                model.set(Block { page, order }, None);
            }
        }
        Call::FreeRange(page, pages) => {
            let range = page..page + pages;
            let inside = model.regions.iter().any(|r| r.start <= page && range.end <= r.end) && pages > 0;
            let whole = inside
                && range
                    .clone()
                    .all(|p| model.at(p).is_some_and(|b| range.start <= b.page && b.end() <= range.end));
            prop_assert_eq!(buddy.free_range(range.clone()).is_ok(), whole);
            if whole {
                range.for_each(|p| model.owner[p as usize] = None);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_call_agrees_with_the_naive_model(regions in regions(), calls in calls()) {
        let mut buddy = Buddy::with_regions(&regions).expect("valid regions");
        let mut model = Model::new(&regions);
        for call in &calls {
            apply(&mut buddy, &mut model, call)?;
            prop_assert_eq!(buddy.check_consistency(), Ok(()));
            let expected = model.free_by_order();
            prop_assert_eq!(&buddy.free_by_order()[..], &expected[..]);
            let free: u64 = (0..).zip(&expected).map(|(order, n)| n << order).sum();
            prop_assert_eq!(buddy.free_pages(), free);
            prop_assert_eq!(buddy.largest_free_order().is_some(), free > 0);
        }
    }
}
