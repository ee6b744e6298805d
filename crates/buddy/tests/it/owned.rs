//! Owners of blocks against a map of blocks, through allocations, frees, splits and trims.

use bifolio_buddy::{BuddyBlock, FreeError, OwnedBuddy, Request};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Call {
    Allocate(u32, u32),
    AllocateWith(u64, u32),
    Free(Index, bool),
    Split(Index, u32),
    Trim(Index, Index),
    SetOwner(Index, u32),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (0u32..8, 0u32..5).prop_map(|(order, owner)| Call::Allocate(order, owner)),
        1 => (1u64..200, 0u32..5).prop_map(|(pages, owner)| Call::AllocateWith(pages, owner)),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(index, cleared)| Call::Free(index, cleared)),
        2 => (any::<Index>(), 0u32..6).prop_map(|(index, order)| Call::Split(index, order)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(index, page)| Call::Trim(index, page)),
        1 => (any::<Index>(), 0u32..5).prop_map(|(index, owner)| Call::SetOwner(index, owner)),
    ]
}

/// The blocks and their owners.
type Model = BTreeMap<BuddyBlock, u32>;

fn pick(model: &Model, index: &Index) -> Option<(BuddyBlock, u32)> {
    (!model.is_empty())
        .then(|| model.iter().nth(index.index(model.len())).map(|(block, owner)| (*block, *owner)))?
}

fn apply(buddy: &mut OwnedBuddy, model: &mut Model, call: &Call) {
    match call {
        Call::Allocate(order, owner) => {
            let page = buddy.allocate(*order, *owner);
            model.extend(page.map(|page| (BuddyBlock { page, order: *order }, *owner)));
        }
        Call::AllocateWith(pages, owner) => {
            let grants = buddy.allocate_with(&Request::pages(*pages), *owner);
            model.extend(grants.into_iter().flatten().map(|grant| (grant.block, *owner)));
        }
        Call::Free(index, cleared) => {
            let Some((block, owner)) = pick(model, index) else { return };
            let BuddyBlock { page, order } = block;
            let freed = if *cleared { buddy.free_cleared(page, order) } else { buddy.free(page, order) };
            assert_eq!(freed, Ok(owner));
            model.remove(&block);
            assert!(matches!(buddy.free(page, order), Err(FreeError::NotAllocated { .. })));
        }
        Call::Split(index, order) => {
            let Some((block, owner)) = pick(model, index) else { return };
            assert_eq!(buddy.split(block, *order), Ok(()));
            model.remove(&block);
            let order = block.order.min(*order);
            model.extend(block.range().step_by(1 << order).map(|page| (BuddyBlock { page, order }, owner)));
        }
        Call::Trim(index, from) => {
            let Some((block, owner)) = pick(model, index) else { return };
            let keep = block.page + from.index(block.pages() as usize) as u64..block.end();
            assert_eq!(buddy.trim(block, keep.clone()), Ok(()));
            model.remove(&block);
            model.extend(BuddyBlock::cut(keep).map(|piece| (piece, owner)));
        }
        Call::SetOwner(index, owner) => {
            let Some((block, _)) = pick(model, index) else { return };
            assert_eq!(buddy.set_owner(block, *owner), Ok(()));
            model.insert(block, *owner);
        }
    }
}

proptest! {
    #[test]
    fn every_block_keeps_its_owner(calls in prop::collection::vec(call(), 1..80)) {
        let mut buddy = OwnedBuddy::with_regions(&[3..200, 700..1100]).expect("valid regions");
        let mut model = Model::new();
        for call in &calls {
            apply(&mut buddy, &mut model, call);
            for page in 0..1200 {
                let block = model.iter().find(|(block, _)| block.range().contains(&page));
                prop_assert_eq!(buddy.owner(page), block.map(|(block, owner)| (*block, *owner)));
            }
            for owner in 0..5 {
                let expected: Vec<BuddyBlock> =
                    model.iter().filter(|(_, of)| **of == owner).map(|(block, _)| *block).collect();
                prop_assert_eq!(buddy.blocks_of(owner).collect::<Vec<_>>(), expected);
            }
            prop_assert_eq!(buddy.buddy().check_consistency(), Ok(()));
        }
    }
}

#[test]
fn owner_of_a_block_that_is_not_there_cannot_be_set() {
    let mut buddy = OwnedBuddy::new(64).expect("valid size");
    let page = buddy.allocate(3, 1).expect("space is left");
    assert!(matches!(buddy.set_owner(BuddyBlock { page, order: 2 }, 2), Err(FreeError::WrongBlock { .. })));
    assert!(matches!(buddy.set_owner(BuddyBlock { page: 64, order: 0 }, 2), Err(FreeError::Foreign { .. })));
    assert_eq!(buddy.owner(page), Some((BuddyBlock { page, order: 3 }, 1)));
}
