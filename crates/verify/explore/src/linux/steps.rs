//! What each step does to the words, and what the rules are told of it.

use crate::design::Applied;
use crate::linux::action::{Action, Step};
use crate::linux::contract::{Folios, Free, Init, Memory, OrderFrom, PageMapFrom, Reset};
use crate::linux::memory_order::{self, Late};
use crate::linux::page::{
    ACTIVE, Data, HOT, Info, LOCKED, LOW_BYTE, Mapping, Memcg, Page, folio_order, from_nothing, head_of,
    prep_compound, undo_compound,
};
use crate::linux::state::{Actor, Folio, Object, Pages, Phase, State, block};
use crate::linux::world::World;
use bifolio_rules::Rule;
use bifolio_rules::judge::{self, Path, Remains, Teardown};

/// Does one step.
pub(super) fn apply(world: &World, applied: &mut Applied<State>, Action { actor, step }: Action) {
    match step {
        Step::Allocate { page, order } => allocate(world, applied, actor, page, order),
        Step::Refused { order } => refused(world, applied, order),
        Step::Look { page, order } => look(world, applied, actor, page, order),
        Step::SplitStale { page, order } => split_stale(applied, actor, page, order),
        Step::Init { page, order } => init(world, applied, actor, page, order),
        Step::Publish { page, order, hot } => publish(world, applied, actor, page, order, hot),
        Step::Put { page } => put(world, &mut applied.state, actor, page),
        Step::MoveHome { page } => {
            // Moving takes this flag from the folio that is left behind, and no other.
            applied.state.pages[usize::from(page)].flags &= !ACTIVE;
            put(world, &mut applied.state, actor, page);
        }
        Step::Undo { page, order } => undo(world, applied, actor, page, order),
        Step::FolioFree { page, order } => folio_free(world, applied, actor, page, order),
        Step::FolioFreePage { page, order, number } => {
            folio_free_page(world, applied, actor, page, order, number);
        }
        Step::UndoAfter { page, order } => undo_after(world, applied, actor, page, order),
        Step::DropPageMap { page, order } => drop_references(world, applied, actor, page, order),
        Step::Freeze { page, to } => freeze(applied, actor, page, to),
        Step::Split { page, to } => split(world, applied, actor, page, to),
        Step::SeePut => memory_order::see(world, applied, actor, Late { put: true, undone: 0 }),
        Step::SeeUndone { page } => {
            memory_order::see(world, applied, actor, Late { put: false, undone: 1 << page });
        }
        Step::Kill => applied.state.killed = true,
        Step::End => end(applied),
    }
}

/// Judges what must hold in every state.
pub(super) fn judge_everywhere(world: &World, applied: &mut Applied<State>) {
    let (state, broken) = (&applied.state, &mut applied.broken);
    // A folio formed after the kill may have no references of the pagemap: that is I16.
    if !broken.contains(Rule::known(16)) {
        let counted = u64::try_from(state.pagemap).unwrap_or(u64::MAX);
        broken.note(judge::i8_counted(counted, state.counted_pages()));
    }
    let like_frozen = |page: &Page| page.references == 0 && page.is_compound();
    broken.note(judge::i10_frozen(pages_where(state, like_frozen), state.free));
    if world.contract.memory == Memory::Objects {
        for (page, object) in (0u8..).zip(state.objects).filter(|(_, object)| object.references > 0) {
            let users = state.object_users(page).into();
            broken.note(judge::i7_references(object.references.into(), users, 0));
        }
        let without = state.needing_objects() & !state.owned();
        broken.note(judge::i7_outlives(without == 0, without.count_ones().into()));
    }
}

fn pages_where(state: &State, wanted: impl Fn(&Page) -> bool) -> Pages {
    let hits = (0u8..).zip(&state.pages).filter(|(_, page)| wanted(page));
    hits.fold(0, |all, (number, _)| all | 1 << number)
}

fn allocate(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let state = &mut applied.state;
    if world.contract.memory == Memory::Lists {
        take_from_list(world, state, page, order);
    }
    state.free &= !block(page, order);
    if world.contract.memory == Memory::Objects {
        state.objects[usize::from(page)] = Object { references: 1, order };
    }
    state.actors[usize::from(actor)] = Actor::Claimed { page, order };
}

/// Takes a folio off its list; a chunk that is on none is put on the list of that kind first.
fn take_from_list(world: &World, state: &mut State, page: u8, order: u8) {
    let largest = world.bounds.order;
    let chunk = page & !((1 << largest) - 1);
    if (state.small | state.large) & block(chunk, largest) == 0 && state.is_free(chunk, largest) {
        if order == 0 {
            state.small |= block(chunk, largest);
        } else {
            state.large |= 1 << chunk;
        }
    }
    if order == 0 {
        state.small &= !(1 << page);
    } else {
        state.large &= !(1 << page);
    }
}

fn refused(world: &World, applied: &mut Applied<State>, order: u8) {
    let free = applied.state.largest_free(world.bounds.pages, world.bounds.order);
    applied.broken.note(judge::i9_refused(order, free));
}

fn look(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let pages = &applied.state.pages;
    let head = head_of(pages, page);
    let stale = folio_order(pages, head, world.scale);
    let stale = (stale > order).then_some((head, stale));
    applied.state.actors[usize::from(actor)] = Actor::Looked { page, order, stale };
}

fn split_stale(applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let state = &mut applied.state;
    let Actor::Looked { stale, .. } = state.actors[usize::from(actor)] else { return };
    if let Some((head, stale_order)) = stale {
        let touched = block(head, stale_order);
        applied.broken.note(judge::words_of_others(Path::Forming, touched, state.live()));
        undo_compound(&mut state.pages, head, stale_order, Reset::AllFlags, Info::PageMap);
    }
    state.actors[usize::from(actor)] = Actor::Ready { page, order };
}

fn init(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    match world.contract.folios {
        Folios::Whole => init_folio(world, applied, page, order),
        Folios::Singles => {
            (page..page + (1 << order)).for_each(|single| init_folio(world, applied, single, 0));
        }
    }
    applied.state.actors[usize::from(actor)] = Actor::Formed { page, order };
}

fn init_folio(world: &World, applied: &mut Applied<State>, page: u8, order: u8) {
    let (state, range) = (&mut applied.state, block(page, order));
    let head = usize::from(page);
    let pagemap = match world.contract.init_pagemap {
        PageMapFrom::Caller => Info::PageMap,
        PageMapFrom::Page => state.pages[head].info,
    };
    if world.contract.init == Init::Rewrite {
        state.pages[head..head + (1 << order)].iter_mut().for_each(|page| page.rewrite(world.contract.reset));
    }
    let (live, compound) = (state.live(), pages_where(state, Page::is_compound));
    let hangs = state.pages[head].flags & LOCKED != 0;
    // References are refused once the count has reached 0, not by the kill alone.
    if !state.killed || state.pagemap > 0 {
        state.pagemap += 1 << order;
    }
    state.pages[head].references = 1;
    state.pages[head].flags |= LOCKED;
    if order > 0 {
        prep_compound(&mut state.pages, page, order, world.scale);
    }
    state.folios[head] = Folio { phase: Phase::New, order };
    let stale = stale_words(world, state, page, order);
    let Page { references, flags, .. } = state.pages[head];
    let teardown = if state.killed { Teardown::Killed } else { Teardown::Alive };
    applied.broken.note(judge::i1_formed(range, live, compound));
    applied.broken.note(judge::i2_words([stale], [Stale::Nothing]));
    applied.broken.note(judge::i3_pagemap(pagemap, Info::PageMap));
    applied.broken.note(judge::i11_born(flags & LOCKED != 0, references.into(), false));
    applied.broken.note(judge::i16_formed(teardown));
    applied.fatal |= hangs || pagemap != Info::PageMap || stale == Stale::Words;
}

/// What a new folio has from the last life of its pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stale {
    Nothing,
    /// Flags above the low byte, which travel with the page and which no step here reads.
    HighFlags,
    /// Anything else.
    Words,
}

/// Compares the words of a new folio with those that page, order and pagemap alone give. The driver's word is the driver's.
fn stale_words(world: &World, state: &State, page: u8, order: u8) -> Stale {
    let expected = from_nothing(state.pages.len(), page, order, world.scale);
    let range = usize::from(page)..usize::from(page) + (1 << order);
    let with = |page: &Page, flags| Page { data: Data::Null, flags: page.flags & flags, ..*page };
    let differ = |flags| {
        let pairs = state.pages[range.clone()].iter().zip(&expected[range.clone()]);
        pairs.into_iter().any(|(is, should)| with(is, flags) != with(should, flags))
    };
    match (differ(LOW_BYTE), differ(u16::MAX)) {
        (true, _) => Stale::Words,
        (false, true) => Stale::HighFlags,
        (false, false) => Stale::Nothing,
    }
}

fn publish(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8, hot: bool) {
    let state = &mut applied.state;
    state.was_hot |= hot;
    let object = usize::from(page);
    let mut folios = 0;
    for head in page..page + (1 << order) {
        let Folio { phase, order } = state.folios[usize::from(head)];
        if phase != Phase::New {
            continue;
        }
        folios += 1;
        state.folios[usize::from(head)].phase = Phase::Live;
        state.pages[usize::from(head)].flags |= if hot { HOT } else { 0 };
        map(state, head, order, page);
    }
    if world.contract.memory == Memory::Objects {
        // The actor's own reference goes, each folio has one.
        state.objects[object].references = state.objects[object].references + folios - 1;
    }
    state.actors[usize::from(actor)] = Actor::Idle;
}

/// Makes a folio part of a process: unlocked, charged, mapped.
fn map(state: &mut State, head: u8, order: u8, object: u8) {
    let first = &mut state.pages[usize::from(head)];
    first.flags &= !LOCKED;
    (first.memcg, first.mapping, first.data) = (Memcg::Charged, Mapping::Anon, Data::Object(object));
    if order > 0 {
        state.pages[usize::from(head) + 1].mm_ids = true;
    }
}

fn put(world: &World, state: &mut State, actor: u8, page: u8) {
    let folio = &mut state.folios[usize::from(page)];
    folio.phase = Phase::Freeing;
    let order = folio.order;
    state.pages[usize::from(page)].references = 0;
    if order > 0 {
        state.pages[usize::from(page) + 1].mm_ids = false;
    }
    state.actors[usize::from(actor)] = Actor::Freeing { page, order };
    memory_order::store(world, state, actor, Late { put: true, undone: 0 });
}

fn undo(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let state = &mut applied.state;
    let live = state.live();
    let touched = block(page, order);
    applied.broken.note(judge::words_of_others(Path::Forming, touched, live & !touched));
    state.actors[usize::from(actor)] = Actor::Undone { page, order };
    memory_order::store(world, state, actor, Late { put: false, undone: touched });
}

fn folio_free(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let words = memory_order::own_view(world, &applied.state, actor);
    let told = match world.contract.order_from {
        OrderFrom::Argument | OrderFrom::Backing => order,
        OrderFrom::Folio => folio_order(&words, page, world.scale),
    };
    applied.broken.note(judge::i4_told(Some((page, order)), [(page, told)]));
    applied.broken.note(judge::i11_freed(&remains(&words, page, order)));
    if world.contract.free == Free::UndoInDriver {
        let undone = block(page, order);
        memory_order::store(world, &mut applied.state, actor, Late { put: false, undone });
    }
    memory_order::hand_back(world, applied, actor);
    let state = &mut applied.state;
    state.folios[usize::from(page)] = Folio::default();
    take_back(world, state, page, told);
    state.actors[usize::from(actor)] = Actor::HandedBack { page, order };
}

/// What a folio still has that is handed back.
fn remains(words: &[Page], page: u8, order: u8) -> Remains {
    let range = usize::from(page)..usize::from(page) + (1 << order);
    let head = words[usize::from(page)];
    Remains {
        locked: head.flags & LOCKED != 0,
        references: words[range].iter().map(|page| u64::from(page.references)).sum(),
        mapped: u64::from(head.mapping != Mapping::Null),
        charged: head.memcg == Memcg::Charged,
    }
}

/// Hands one page of a folio back; each call is for a single page.
fn folio_free_page(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8, number: u8) {
    let words = memory_order::own_view(world, &applied.state, actor);
    applied.broken.note(judge::i4_told(Some((page, order)), [(page, 0)]));
    applied.broken.note(judge::i11_freed(&remains(&words, page, order)));
    memory_order::hand_back(world, applied, actor);
    let state = &mut applied.state;
    let data = state.pages[usize::from(page)].data;
    state.folios[usize::from(page)] = Folio::default();
    state.pages[usize::from(page + number)].data = data;
    take_back(world, state, page + number, 0);
    let done = number + 1;
    let all = done == 1 << order;
    state.actors[usize::from(actor)] =
        if all { Actor::HandedBack { page, order } } else { Actor::HandingBack { page, order, done } };
}

/// What the driver does in `folio_free`, with the order it knows.
fn take_back(world: &World, state: &mut State, page: u8, told: u8) {
    match world.contract.memory {
        Memory::Blocks => state.free |= block(page, told),
        Memory::Lists => {
            state.free |= block(page, told);
            if told == 0 {
                state.small |= 1 << page;
            } else {
                state.large |= 1 << page;
            }
        }
        Memory::Objects => {
            let Data::Object(first) = state.pages[usize::from(page)].data else { return };
            let object = &mut state.objects[usize::from(first)];
            object.references = object.references.saturating_sub(1);
            if object.references == 0 {
                state.free |= block(first, object.order);
                *object = Object::default();
            }
        }
    }
}

/// Undoes the compound of a folio that may have another owner by now.
fn undo_after(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let state = &mut applied.state;
    let (pages, live) = (block(page, order), state.live());
    let handed_out = live | state.claimed_by_others(actor);
    applied.broken.note(judge::words_of_others(Path::HandedBack, pages, handed_out));
    applied.broken.note(judge::words_of_others(Path::Forming, pages, live));
    undo_compound(&mut state.pages, page, order, world.contract.reset, Info::Null);
    state.actors[usize::from(actor)] = Actor::UndoneAfter { page, order };
}

fn drop_references(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    memory_order::end(world, applied, actor);
    let state = &mut applied.state;
    if world.contract.free_pagemap == PageMapFrom::Page {
        let (info, pages) = (state.pages[usize::from(page)].info, 1 << page);
        // A link means that the page had another owner meanwhile, be it that it is free again.
        let linked = if matches!(info, Info::Link(_) | Info::Mask(_)) { pages } else { 0 };
        let of_others = state.live() | state.claimed_by_others(actor) | linked;
        let untouched = judge::words_of_others(Path::HandedBack, pages, of_others);
        applied.broken.note(untouched);
        if untouched.kept {
            applied.broken.note(judge::i3_pagemap(info, Info::PageMap));
        }
        applied.fatal |= info != Info::PageMap;
    }
    state.pagemap = state.pagemap.saturating_sub(1 << order);
    state.actors[usize::from(actor)] = Actor::Idle;
}

fn freeze(applied: &mut Applied<State>, actor: u8, page: u8, to: u8) {
    let state = &mut applied.state;
    state.pages[usize::from(page)].references = 0;
    state.pages[usize::from(page)].flags |= LOCKED;
    state.folios[usize::from(page)].phase = Phase::Frozen;
    state.actors[usize::from(actor)] = Actor::Splitting { page, to };
}

/// Splits a frozen folio: each piece has the flags of the whole that travel with a page.
fn split(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, to: u8) {
    let state = &mut applied.state;
    let order = state.folios[usize::from(page)].order;
    let Page { data, flags, .. } = state.pages[usize::from(page)];
    let Data::Object(object) = data else { return };
    state.pages[usize::from(page) + 1].mm_ids = false;
    undo_compound(&mut state.pages, page, order, Reset::AllFlags, Info::PageMap);
    for head in (page..page + (1 << order)).step_by(1 << to) {
        if to > 0 {
            prep_compound(&mut state.pages, head, to, world.scale);
        }
        let words = &mut state.pages[usize::from(head)];
        words.references = 1;
        words.flags |= flags & HOT;
        map(state, head, to, object);
        state.folios[usize::from(head)] = Folio { phase: Phase::Live, order: to };
    }
    if world.contract.memory == Memory::Objects && world.contract.split_takes_references {
        state.objects[usize::from(object)].references += (1 << (order - to)) - 1;
    }
    state.actors[usize::from(actor)] = Actor::Idle;
}

fn end(applied: &mut Applied<State>) {
    let state = &mut applied.state;
    let ends = state.pagemap == 0;
    applied.broken.note(judge::i16_ended(ends, state.live().count_ones().into()));
    state.ended = ends;
}
