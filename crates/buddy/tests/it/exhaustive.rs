//! Small pools exhaustively: every sequence of calls up to a depth, and every state.

use crate::allocate_exact;
use crate::model::Model;
use bifolio_buddy::{Buddy, BuddyBlock};
use std::collections::BTreeSet;

/// One call of the alphabet.
#[derive(Clone, Copy, Debug)]
enum Call {
    Allocate(u32),
    Contiguous(u64),
    Free(BuddyBlock),
    FreeCleared(BuddyBlock),
}

fn alphabet(used: &[BuddyBlock], orders: u32) -> Vec<Call> {
    let frees = used.iter().flat_map(|&block| [Call::Free(block), Call::FreeCleared(block)]);
    (0..=orders).map(Call::Allocate).chain([Call::Contiguous(3)]).chain(frees).collect()
}

/// Makes the call on both and compares them; tells whether it succeeded.
fn step(buddy: &mut Buddy, used: &mut Vec<BuddyBlock>, call: Call) -> bool {
    let fits = |used: &[BuddyBlock], pages: u64, align: u64, size: u64| {
        (0..=size - pages)
            .step_by(align as usize)
            .any(|page| !used.iter().any(|block| block.page < page + pages && page < block.end()))
    };
    let size = buddy.pages();
    match call {
        Call::Allocate(order) => match buddy.allocate(order) {
            Ok(page) => used.push(BuddyBlock { page, order }),
            Err(_) => {
                assert!(!fits(used, 1 << order, 1 << order, size));
                return false;
            }
        },
        Call::Contiguous(pages) => match buddy.allocate_contiguous(pages) {
            Ok(range) => used.extend(BuddyBlock::cut(range)),
            Err(_) => {
                assert!(!fits(used, pages, 1, size));
                return false;
            }
        },
        Call::Free(block) => {
            assert_eq!(buddy.free(block.page, block.order), Ok(()));
            used.retain(|other| *other != block);
            assert!(buddy.free(block.page, block.order).is_err(), "freed twice");
        }
        Call::FreeCleared(block) => {
            assert_eq!(buddy.free_cleared(block.page, block.order), Ok(()));
            used.retain(|other| *other != block);
            assert!(buddy.is_cleared(block.range()));
        }
    }
    true
}

fn check(buddy: &Buddy, used: &[BuddyBlock]) {
    assert_eq!(buddy.check_consistency(), Ok(()));
    let mut sorted = used.to_vec();
    sorted.sort();
    assert!(buddy.used_blocks().eq(sorted.iter().copied()));
    let mut model = Model::new(std::slice::from_ref(&(0..buddy.pages())));
    used.iter().for_each(|&block| model.take(block));
    assert_eq!(buddy.free_by_order(), model.free_by_order());
}

fn all_sequences(buddy: &Buddy, used: &[BuddyBlock], depth: u32, sequences: &mut u64) {
    check(buddy, used);
    *sequences += 1;
    if depth == 0 {
        return;
    }
    for call in alphabet(used, 4) {
        let (mut next, mut next_used) = (buddy.clone(), used.to_vec());
        if step(&mut next, &mut next_used, call) {
            all_sequences(&next, &next_used, depth - 1, sequences);
        }
    }
}

#[test]
fn every_sequence_of_five_calls_on_16_pages_is_right() {
    for delay in [0, 1, 32] {
        let mut buddy = Buddy::new(16).expect("valid size");
        buddy.set_merge_delay(delay);
        let mut sequences = 0;
        all_sequences(&buddy, &[], 5, &mut sequences);
        assert!(sequences > 10_000, "{sequences} sequences");
    }
}

/// A pool of `2^k` pages has `s(k)` states, where `s(0) = 2` and `s(k) = s(k-1)^2 + 1`: a used or free block, or any
/// two halves but two free ones. So 8 pages have 677.
#[test]
fn every_state_of_8_pages_is_reached_and_every_call_in_it_is_right() {
    let mut start = Buddy::new(8).expect("valid size");
    start.set_merge_delay(0);
    let (mut seen, mut frontier) = (BTreeSet::from([Vec::new()]), vec![(start, Vec::new())]);
    while let Some((buddy, used)) = frontier.pop() {
        check(&buddy, &used);
        let blocks =
            (0..4).flat_map(|order| (0..8 >> order).map(move |at| BuddyBlock { page: at << order, order }));
        for block in blocks {
            let mut next = buddy.clone();
            if allocate_exact(&mut next, block.range()).is_err() {
                continue;
            }
            let used: Vec<BuddyBlock> = next.used_blocks().collect();
            if seen.insert(used.clone()) {
                frontier.push((next, used));
            }
        }
        for call in alphabet(&used, 3) {
            let (mut next, mut next_used) = (buddy.clone(), used.clone());
            if step(&mut next, &mut next_used, call) {
                check(&next, &next_used);
            }
        }
    }
    assert_eq!(seen.len(), 677);
}
