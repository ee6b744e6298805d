//! What is done to the pagemap of a world: the shipped code, on the words of a state.

use bifolio_folio::{CollapseErrorKind, Folio as Handle, FreeRange, Live, Order, PageMap, Pfn, Reset};
use bifolio_rules::{RuleSet, judge};

use crate::folio::model_pool::ModelPool;
use crate::folio::packed_words::PAGES;
use crate::folio::state::{LIVE, backing_parts, block, data_in, order_in, pack, unpack};
use crate::migrate::state::{DEVICE, GARBAGE, State, Teardown};

/// Set in the counter of a pagemap that was killed.
const DEAD: u64 = 1 << 63;

/// A folio as its runner knows it: first device page and order.
pub(super) type Named = (u8, u8);

/// Runs `work` on a pagemap that holds the words of a state, and puts the words back.
pub(super) fn on_pagemap<R>(
    map: &PageMap<ModelPool>,
    state: &mut State,
    work: impl FnOnce(&PageMap<ModelPool>) -> R,
) -> R {
    let before = state.words;
    put_in(map, state);
    let result = work(map);
    take_out(map, state);
    spoil_freed(state, &before);
    result
}

/// Makes garbage of what is in device pages that were in a folio and are in none now.
fn spoil_freed(state: &mut State, before: &[u16; DEVICE]) {
    for (head, was) in before.iter().enumerate().filter(|(_, word)| **word & LIVE != 0) {
        // The upper half of a folio that was collapsed is part of another one.
        if covering(state, head as u8).is_none() {
            let end = (head + (1 << order_in(*was))).min(DEVICE);
            state.device[head..end].fill(GARBAGE);
        }
    }
}

fn put_in(map: &PageMap<ModelPool>, state: &State) {
    let dead = if state.is_killed() { DEAD } else { 0 };
    map.restore(&state.words.map(unpack), u64::from(state.live) | dead);
    let pool = map.pool();
    let mut backings = [0; PAGES];
    backings[..DEVICE].copy_from_slice(&state.backings);
    pool.free.set(state.free);
    pool.backings.set(backings);
    pool.calls.set(Default::default());
}

fn take_out(map: &PageMap<ModelPool>, state: &mut State) {
    let mut words = [0; DEVICE];
    map.snapshot_words(&mut words);
    // What a folio left in its word is for the worlds of folios to look at.
    let left_over =
        |word: u64| if map.reset() == Reset::OnForm && word >> 32 & 1 == 0 { !0 << 35 } else { 0 };
    state.words = words.map(|word| pack(word & !left_over(word)).unwrap_or(u16::MAX));
    state.live = u8::try_from(map.snapshot_live() & !DEAD).unwrap_or(u8::MAX);
    state.free = map.pool().free.get();
    state.backings.copy_from_slice(&map.pool().backings.get()[..DEVICE]);
    // What is left of a backing that died means nothing.
    for (backing, owner) in state.backings.iter_mut().zip(&mut state.owners) {
        if backing_parts(*backing).0 == 0 {
            (*backing, *owner) = (0, 0);
        }
    }
}

/// The first free block of an order.
pub(super) fn first_free(state: &State, order: u8) -> Option<u8> {
    (0..DEVICE as u8).step_by(1 << order).find(|&page| {
        let wanted = block(page, order);
        state.free & wanted == wanted
    })
}

/// Forms a folio of the first free pages; `None` if there are none of this order, or the pagemap was killed.
pub(super) fn form(
    map: &PageMap<ModelPool>,
    state: &mut State,
    order: u8,
    owner: u8,
    broken: &mut RuleSet,
) -> Option<u8> {
    let killed = state.is_killed();
    let page = first_free(state, order)?;
    let formed = on_pagemap(map, state, |map| {
        map.pool().allocate(page, order);
        let range = FreeRange::claim(pfn(page), Order::new(order)?);
        match map.form(range, u32::from(page)) {
            Ok(folio) => {
                drop_raw(folio.unlock());
                Some(())
            }
            Err(_) => {
                map.pool().take_back(u32::from(page));
                None
            }
        }
    });
    if formed.is_none() && !killed {
        broken.note(judge::i9_refused(order, Some(order)));
    }
    formed?;
    state.owners[usize::from(page)] = owner;
    Some(page)
}

/// Drops a reference; `false` if there is no such folio.
pub(super) fn put(map: &PageMap<ModelPool>, state: &mut State, folio: Named) -> bool {
    on_pagemap(map, state, |map| resume(map, folio).is_some())
}

/// Splits a folio into halves; `false` if another reference exists, `None` if there is no such folio.
pub(super) fn split(map: &PageMap<ModelPool>, state: &mut State, folio: Named) -> Option<bool> {
    on_pagemap(map, state, |map| {
        let handle = resume(map, folio)?;
        let half = Order::new(folio.1)?.smaller()?;
        let locked = match handle.try_lock() {
            Ok(locked) => locked,
            Err(handle) => {
                drop_raw(handle);
                return Some(false);
            }
        };
        match locked.split(half) {
            Ok(pieces) => pieces.for_each(|piece| drop_raw(piece.unlock())),
            Err(error) => {
                drop_raw(error.folio.unlock());
                return Some(false);
            }
        }
        Some(true)
    })
}

/// Collapses two folios into one, or tells why not; `None` if either is not there.
pub(super) fn collapse(
    map: &PageMap<ModelPool>,
    state: &mut State,
    lower: Named,
    upper: Named,
) -> Option<Result<(), CollapseErrorKind>> {
    on_pagemap(map, state, |map| {
        let (lower, upper) = (resume(map, lower)?, resume(map, upper)?);
        let page = lower.head();
        let (Ok(lower), Ok(upper)) = (lower.try_lock(), upper.try_lock()) else {
            unreachable!("no lock is held between steps, not even of {page}")
        };
        Some(match lower.collapse(upper) {
            Ok(whole) => {
                drop_raw(whole.unlock());
                Ok(())
            }
            Err(refused) => {
                refused.pieces.into_iter().for_each(|piece| drop_raw(piece.unlock()));
                Err(refused.kind)
            }
        })
    })
}

/// Takes a reference of the folio that covers a page, for a third party.
pub(super) fn hold(map: &PageMap<ModelPool>, state: &mut State, page: u8) {
    let got = on_pagemap(map, state, |map| map.try_get(pfn(page)).map(drop_raw).is_ok());
    state.held = got.then_some(page);
}

/// Kills the pagemap.
pub(super) fn kill(map: &PageMap<ModelPool>, state: &mut State) {
    on_pagemap(map, state, PageMap::kill);
    state.teardown = Teardown::Killed;
}

/// Whether teardown finds the pagemap drained.
pub(super) fn is_drained(map: &PageMap<ModelPool>, state: &State) -> bool {
    put_in(map, state);
    map.is_drained()
}

/// First pages of the folios, with the words there.
pub(super) fn heads(state: &State) -> impl Iterator<Item = (u8, u16)> + use<> {
    (0u8..).zip(state.words).filter(|(_, word)| word & LIVE != 0)
}

/// Head and order of the folio that covers a page.
pub(super) fn covering(state: &State, page: u8) -> Option<Named> {
    (0..=page.min(DEVICE as u8 - 1)).rev().find_map(|head| {
        let word = state.words[usize::from(head)];
        let order = order_in(word);
        (word & LIVE != 0 && block(head, order) >> page & 1 == 1).then_some((head, order))
    })
}

/// Pages of the folio that covers a page, as far as they are of the backing it stands on.
pub(super) fn own_pages(state: &State, page: u8) -> u8 {
    let Some((head, order)) = covering(state, page) else { return 0 };
    let first = data_in(state.words[usize::from(head)]);
    let (references, size) = state.backings.get(usize::from(first)).map_or((0, 0), |it| backing_parts(*it));
    if references == 0 { 0 } else { block(head, order) & block(first, size) }
}

/// The page of the program that a folio was allocated for, as its backing says.
pub(super) fn owner_of(state: &State, head: u8) -> Option<u8> {
    let first = data_in(state.words[usize::from(head)]);
    let owner = *state.owners.get(usize::from(first))?;
    Some(owner + head.checked_sub(first)?)
}

fn resume<'m>(map: &'m PageMap<ModelPool>, (page, order): Named) -> Option<Handle<'m, ModelPool, Live>> {
    map.resume::<Live>(pfn(page), Order::new(order)?)
}

fn drop_raw(folio: Handle<'_, ModelPool, Live>) {
    let _ = folio.into_raw();
}

fn pfn(page: u8) -> Pfn {
    Pfn::new(u64::from(page))
}
