//! Shipped folios over each shipped pool keep every rule, in so many states.

use crate::explore::explore;
use crate::folio::Pooled;
use crate::{Bounds, End, Limits};
use bifolio_folio::Reset;
use bifolio_pool::PoolName;

/// States and levels of the worlds over a pool, in the order of the bounds.
fn explored(pool: PoolName, reset: Reset, bounds: &[Bounds]) -> Vec<(u64, u32)> {
    let explored = bounds.iter().map(|bounds| {
        let found = explore(&Pooled::new(pool, *bounds, reset), &Limits::default(), &mut |_| ());
        assert_eq!((found.end, found.broken.len()), (End::Complete, 0), "{pool} {bounds:?}");
        (found.states, found.depth)
    });
    explored.collect()
}

/// One chunk of two pages; two of them; one of four pages.
const WORLDS: [Bounds; 3] = [Bounds::of(2, 1, 2), Bounds::of(4, 1, 2), Bounds::of(4, 2, 2)];

#[test]
fn buddy_pool_keeps_every_rule() {
    let states = explored(PoolName::Buddy, Reset::OnFree, &WORLDS);
    assert_eq!(states, [(355, 11), (25_244, 19), (27_613, 19)]);
}

#[test]
fn free_lists_keep_every_rule() {
    let states = explored(PoolName::FreeList, Reset::OnFree, &WORLDS);
    assert_eq!(states, [(405, 13), (16_792, 23), (42_459, 23)]);
}

#[test]
fn mirror_keeps_every_rule() {
    let states = explored(PoolName::Mirror, Reset::OnFree, &WORLDS[..2]);
    assert_eq!(states, [(811, 14), (32_722, 24)]);
}

#[test]
fn coherent_pool_keeps_every_rule() {
    // One object; two of them, which one actor fills by laying folios aside.
    let worlds = [Bounds::of(2, 1, 2), Bounds::of(4, 1, 1)];
    let states = explored(PoolName::Coherent, Reset::OnFree, &worlds);
    assert_eq!(states, [(153, 9), (92_983, 39)]);
}

#[test]
fn pools_keep_every_rule_where_words_outlive_folios() {
    let states = |pool| explored(pool, Reset::OnForm, &WORLDS[..1])[0];
    let all = [PoolName::Buddy, PoolName::FreeList, PoolName::Coherent, PoolName::Mirror].map(states);
    assert_eq!(all, [(1_062, 16), (727, 14), (310, 11), (1_446, 15)]);
}

#[test]
fn number_of_threads_makes_no_difference() {
    let explored = |threads| {
        let world = Pooled::new(PoolName::FreeList, Bounds::of(4, 1, 1), Reset::OnFree);
        let found = explore(&world, &Limits { threads, ..Limits::default() }, &mut |_| ());
        (found.states, found.steps, found.depth)
    };
    assert_eq!(explored(1), explored(3));
}
