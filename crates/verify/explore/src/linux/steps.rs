//! What each step does to the words, and the facts it gives to the rules.

use crate::design::Applied;
use crate::linux::action::{Action, Step};
use crate::linux::contract::{Folios, Init, Memory, OrderFrom, PageMapFrom};
use crate::linux::page::{
    LOCKED, Mapping, Page, Word1, Word2, folio_order, from_nothing, head_of, prep_compound, undo_compound,
};
use crate::linux::state::{Actor, Folio, Object, Phase, State, block};
use crate::linux::world::World;
use bifolio_rules::facts::{self, Asked, Counted, Ended, Formed, Freed, Looked, Pages, Touched};
use bifolio_rules::{Rule, RuleSet};

/// Does one step.
pub(super) fn apply(world: &World, applied: &mut Applied<State>, Action { actor, step }: Action) {
    match step {
        Step::Allocate { page, order } => allocate(world, applied, actor, page, order),
        Step::Refused { order } => refused(world, applied, order),
        Step::Look { page, order } => look(world, applied, actor, page, order),
        Step::SplitStale { page, order } => split_stale(applied, actor, page, order),
        Step::Init { page, order } => init(world, applied, actor, page, order),
        Step::Publish { page, order } => publish(world, applied, actor, page, order),
        Step::Put { page } => put(applied, actor, page),
        Step::Undo { page, order } => undo(applied, actor, page, order),
        Step::FolioFree { page, order } => folio_free(world, applied, actor, page, order),
        Step::DropPageMap { page, order } => drop_references(world, applied, actor, page, order),
        Step::Freeze { page, to } => freeze(applied, actor, page, to),
        Step::Split { page, to } => split(world, applied, actor, page, to),
        Step::Kill => applied.state.killed = true,
        Step::End => end(applied),
    }
}

/// Judges what must hold in every state.
pub(super) fn judge_everywhere(world: &World, applied: &mut Applied<State>) {
    let (state, broken) = (&applied.state, &mut applied.broken);
    let pagemap = Counted { counter: i32::from(state.pagemap), truth: state.counted_pages() };
    // A folio formed after the kill has no references of the pagemap: that is I16, and told as such.
    broken.require(facts::i8(&pagemap) || broken.contains(Rule::known(16)), 8);
    let like_frozen = |page: &Page| page.references == 0 && page.is_compound();
    let looked = Looked { free: state.free, like_frozen: pages_where(state, like_frozen) };
    broken.require(facts::i10(&looked), 10);
    if world.contract.memory == Memory::Objects {
        broken.require(objects_are_right(state), 7);
    }
}

fn objects_are_right(state: &State) -> bool {
    (0u8..).zip(state.objects).filter(|(_, object)| object.references > 0).all(|(page, object)| {
        let (counter, truth) = (i32::from(object.references), i32::from(state.object_users(page)));
        facts::i7(&Counted { counter, truth })
    })
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
    applied.broken.require(facts::i9(&Asked { order, free, granted: false }), 9);
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
        let touched = Touched { pages: block(head, stale_order), of_others: state.live() };
        applied.broken.require(facts::i6(&touched), 6);
        undo_compound(&mut state.pages, head, stale_order);
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
    if world.contract.init == Init::Rewrite {
        for page in &mut state.pages[head..head + (1 << order)] {
            *page = Page { data: page.data, references: page.references, ..Page::FRESH };
        }
    }
    let (live, compound) = (state.live(), pages_where(state, Page::is_compound));
    let pagemap_right = state.pages[head].word1 == Word1::PageMap;
    let hangs = state.pages[head].flags & LOCKED != 0;
    if !state.killed {
        state.pagemap += 1 << order;
    }
    state.pages[head].references = 1;
    state.pages[head].flags |= LOCKED;
    if order > 0 {
        prep_compound(&mut state.pages, page, order, world.scale);
    }
    state.folios[head] = Folio { phase: Phase::New, order };
    let formed = Formed {
        range,
        live,
        compound,
        as_from_nothing: is_from_nothing(world, state, page, order),
        pagemap_right,
        references: state.pages[head].references,
        locked: state.pages[head].flags & LOCKED != 0,
        after_kill: state.killed,
    };
    judge_formed(&mut applied.broken, &formed);
    applied.fatal |= hangs || !pagemap_right;
}

fn judge_formed(broken: &mut RuleSet, formed: &Formed) {
    broken.require(facts::i1(formed), 1);
    broken.require(facts::i2(formed), 2);
    broken.require(facts::i3(formed), 3);
    broken.require(facts::i11_born(formed), 11);
    broken.require(facts::i16_formed(formed), 16);
}

/// Compares the words of a new folio with those that page, order and pagemap alone give.
fn is_from_nothing(world: &World, state: &State, page: u8, order: u8) -> bool {
    let expected = from_nothing(state.pages.len(), page, order, world.scale);
    let range = usize::from(page)..usize::from(page) + (1 << order);
    let without_data = |page: &Page| Page { data: 0, ..*page };
    state.pages[range.clone()].iter().map(without_data).eq(expected[range].iter().map(without_data))
}

fn publish(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let state = &mut applied.state;
    let object = usize::from(page);
    let mut folios = 0;
    for head in page..page + (1 << order) {
        if state.folios[usize::from(head)].phase != Phase::New {
            continue;
        }
        folios += 1;
        state.folios[usize::from(head)].phase = Phase::Live;
        show(&mut state.pages[usize::from(head)], page + 1);
    }
    if world.contract.memory == Memory::Objects {
        // The actor's own reference goes, each folio has one.
        state.objects[object].references = state.objects[object].references + folios - 1;
    }
    state.actors[usize::from(actor)] = Actor::Idle;
}

/// Makes a folio part of a process: unlocked, charged, mapped.
fn show(head: &mut Page, data: u8) {
    head.flags &= !LOCKED;
    head.word2 = Word2::Memcg;
    head.mapping = Mapping::Anon;
    head.data = data;
}

fn put(applied: &mut Applied<State>, actor: u8, page: u8) {
    let state = &mut applied.state;
    let head = &mut state.pages[usize::from(page)];
    head.references = 0;
    head.word2 = Word2::Null;
    head.mapping = Mapping::Null;
    let folio = &mut state.folios[usize::from(page)];
    folio.phase = Phase::Freeing;
    state.actors[usize::from(actor)] = Actor::Freeing { page, order: folio.order };
}

fn undo(applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let state = &mut applied.state;
    let live = state.live();
    let touched = Touched { pages: block(page, order), of_others: live & !block(page, order) };
    applied.broken.require(facts::i6(&touched), 6);
    undo_compound(&mut state.pages, page, order);
    state.actors[usize::from(actor)] = Actor::Undone { page, order };
}

fn folio_free(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let state = &mut applied.state;
    let told = match world.contract.order_from {
        OrderFrom::Argument => order,
        OrderFrom::Folio => folio_order(&state.pages, page, world.scale),
    };
    let range = usize::from(page)..usize::from(page) + (1 << order);
    let head = state.pages[usize::from(page)];
    let clean = head.flags & LOCKED == 0
        && head.mapping == Mapping::Null
        && head.word2 != Word2::Memcg
        && state.pages[range].iter().all(|page| page.references == 0);
    let freed = Freed { order, told: Some(told), clean };
    applied.broken.require(facts::i4(&freed), 4);
    applied.broken.require(facts::i11_freed(&freed), 11);
    state.folios[usize::from(page)] = Folio::default();
    take_back(world, state, page, told);
    state.actors[usize::from(actor)] = Actor::HandedBack { page, order };
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
            let Some(first) = state.pages[usize::from(page)].data.checked_sub(1) else { return };
            let object = &mut state.objects[usize::from(first)];
            object.references = object.references.saturating_sub(1);
            if object.references == 0 {
                state.free |= block(first, object.order);
                *object = Object::default();
            }
        }
    }
}

fn drop_references(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
    let state = &mut applied.state;
    if world.contract.pagemap_from == PageMapFrom::Folio {
        let of_others = state.live() | state.claimed_by_others(actor);
        applied.broken.require(facts::i5(&Touched { pages: 1 << page, of_others }), 5);
        applied.fatal |= state.pages[usize::from(page)].word1 != Word1::PageMap;
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

fn split(world: &World, applied: &mut Applied<State>, actor: u8, page: u8, to: u8) {
    let state = &mut applied.state;
    let order = state.folios[usize::from(page)].order;
    let data = state.pages[usize::from(page)].data;
    undo_compound(&mut state.pages, page, order);
    for head in (page..page + (1 << order)).step_by(1 << to) {
        if to > 0 {
            prep_compound(&mut state.pages, head, to, world.scale);
        }
        let words = &mut state.pages[usize::from(head)];
        words.references = 1;
        show(words, data);
        state.folios[usize::from(head)] = Folio { phase: Phase::Live, order: to };
    }
    if world.contract.memory == Memory::Objects && world.contract.split_takes_references {
        let object = &mut state.objects[usize::from(data.saturating_sub(1))];
        object.references += (1 << (order - to)) - 1;
    }
    state.actors[usize::from(actor)] = Actor::Idle;
}

fn end(applied: &mut Applied<State>) {
    let state = &mut applied.state;
    let live = u8::try_from(state.live().count_ones()).unwrap_or(u8::MAX);
    let ends = state.pagemap == 0;
    applied.broken.require(facts::i16_ended(&Ended { ends, live }), 16);
    state.ended = ends;
}
