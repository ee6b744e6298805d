//! Steps and states of the Linux designs in words.

use crate::design::Description;
use crate::linux::action::{Action, Step};
use crate::linux::contract::{Folios, Free, Memory, OrderFrom, PageMapFrom};
use crate::linux::memory_order::Late;
use crate::linux::page::{HOT, Info, LOCKED, folio_order};
use crate::linux::state::{Actor, State, pages_in};
use crate::linux::world::World;

pub(super) fn action(world: &World, before: &State, action: Action) -> Description {
    let actor = format!("thread {}", action.actor + 1);
    Description { actor, text: text(world, before, action) }
}

fn text(world: &World, before: &State, Action { actor, step }: Action) -> String {
    let k = |order| world.scale.written(order);
    match step {
        Step::Allocate { page, order } => {
            format!("asks the driver's allocator for order {}: page {page}", k(order))
        }
        Step::Refused { order } => refused(world, before, order),
        Step::Look { page, .. } => format!("looks for a stale large folio over page {page}"),
        Step::SplitStale { .. } => split_stale(world, before, actor),
        Step::Init { page, order } => init(world, before, page, order),
        Step::Publish { page, order, hot } => publish(k(order), page, hot),
        Step::Put { page } => {
            format!("puts the last reference of the folio at page {page}: uncharged, unmapped, refcount 0")
        }
        Step::MoveHome { page } => {
            format!("moves the folio at page {page} home and puts the last reference: refcount 0")
        }
        Step::Undo { page, order } => format!("undoes the compound at page {page}, order {}", k(order)),
        Step::FolioFree { page, order } => folio_free(world, before, page, order),
        Step::FolioFreePage { page, number, .. } => {
            format!("calls folio_free for page {} alone: the driver {}", page + number, takes_back(world))
        }
        Step::UndoAfter { page, order } => {
            format!("undoes the compound at page {page}, order {}, though it was handed back", k(order))
        }
        Step::DropPageMap { page, order } => {
            let late = before.late[usize::from(actor)] != Late::default();
            let seen = if late { "; what it stored before is seen only now" } else { "" };
            format!("{}{seen}", drop_references(world, before, page, order))
        }
        Step::Freeze { page, to } => {
            format!("freezes the folio at page {page} to split it to order {}", k(to))
        }
        Step::Split { page, to } => {
            format!("splits the folio at page {page} to order {} and unfreezes the pieces", k(to))
        }
        Step::SeePut => "is seen to have cleared mapping and memory cgroup only now".to_owned(),
        Step::SeeUndone { page } => format!("is seen to have undone page {page} only now"),
        Step::Kill => "begins teardown: kills the pagemap's reference count".to_owned(),
        Step::End => format!("ends teardown? The pagemap has {} references", before.pagemap),
    }
}

fn refused(world: &World, before: &State, order: u8) -> String {
    let free =
        before.largest_free(world.bounds.pages, world.bounds.order).map_or(0, |k| world.scale.written(k));
    let order = world.scale.written(order);
    format!("asks for order {order}: refused, though a block of order {free} is free")
}

fn split_stale(world: &World, before: &State, actor: u8) -> String {
    match before.actors[usize::from(actor)] {
        Actor::Looked { stale: Some((head, order)), .. } => {
            format!("splits the stale folio it saw at page {head}, order {}", world.scale.written(order))
        }
        _ => "has seen no stale folio: nothing to split".to_owned(),
    }
}

fn publish(order: u8, page: u8, hot: bool) -> String {
    let flags = if hot { ", active and of the working set" } else { "" };
    format!("maps page {page} order {order} into a process and unlocks it{flags}")
}

fn init(world: &World, before: &State, page: u8, order: u8) -> String {
    let k = world.scale.written(order);
    let words = before.pages[usize::from(page)];
    let mut text = match world.contract.folios {
        Folios::Whole => format!("init({page}, {k})"),
        Folios::Singles if order == 0 => format!("init({page}, 0)"),
        Folios::Singles => format!("init({page}, 0) and so on for the {} pages of order {k}", 1u32 << order),
    };
    if world.contract.init_pagemap == PageMapFrom::Page && words.info != Info::PageMap {
        text.push_str(&format!(": reads its pagemap from page {page}, which holds something else"));
    } else if world.contract.keeps_flags(LOCKED) && words.flags & LOCKED != 0 {
        text.push_str(": page seems locked already, the lock is waited for without end");
    } else if before.killed && before.pagemap == 0 {
        text.push_str(": the pagemap refuses its references, a warning, and goes on");
    } else if before.killed {
        text.push_str(": the pagemap was killed, but still has references and gives more");
    } else if world.contract.keeps_flags(HOT) && words.flags & HOT != 0 {
        text.push_str(&format!(": page {page} keeps the flags {:#05x} of its last life", words.flags & HOT));
    }
    text
}

fn folio_free(world: &World, before: &State, page: u8, order: u8) -> String {
    let read = world.scale.written(folio_order(&before.pages, page, world.scale));
    let k = world.scale.written(order);
    let order = match world.contract.order_from {
        OrderFrom::Folio => format!("the driver reads folio_order = {read}"),
        OrderFrom::Argument => format!("the driver is told order {k}"),
        OrderFrom::Backing => format!("the driver finds order {k} in its backing page"),
    };
    let undone = if world.contract.free == Free::UndoInDriver { ", undoes the compound" } else { "" };
    format!("calls folio_free for page {page}: {order}{undone} and {}", takes_back(world))
}

fn takes_back(world: &World) -> &'static str {
    match world.contract.memory {
        Memory::Objects => "drops a reference of the object",
        Memory::Blocks => "gives the pages to its allocator",
        Memory::Lists => "puts the folio on a list",
    }
}

fn drop_references(world: &World, before: &State, page: u8, order: u8) -> String {
    let pages = 1u32 << order;
    match (world.contract.free_pagemap, before.pages[usize::from(page)].info) {
        (PageMapFrom::Caller, _) => format!("drops {pages} references of the pagemap it remembers"),
        (PageMapFrom::Page, Info::PageMap) => {
            format!("reads folio->pgmap of page {page} to drop {pages} references")
        }
        (PageMapFrom::Page, Info::Null) => {
            format!("reads folio->pgmap of page {page} to drop {pages} references: finds nothing")
        }
        (PageMapFrom::Page, Info::Link(_) | Info::Mask(_)) => {
            format!("reads folio->pgmap of page {page} to drop {pages} references: finds a compound link")
        }
    }
}

pub(super) fn view(world: &World, state: &State) -> Vec<String> {
    let pages = usize::from(world.bounds.pages);
    let mut lines: Vec<String> = state.pages[..pages]
        .iter()
        .enumerate()
        .map(|(number, page)| format!("page {number}: {page}"))
        .collect();
    let free: Vec<String> =
        (0..pages).filter(|page| state.free >> page & 1 == 1).map(|page| page.to_string()).collect();
    lines.push(format!(
        "driver: free pages {}",
        if free.is_empty() { "-".to_owned() } else { free.join(" ") }
    ));
    lines.push(format!(
        "pagemap: {} references{}",
        state.pagemap,
        if state.killed { ", killed" } else { "" }
    ));
    for (actor, late) in (1..).zip(state.late) {
        let mut unseen: Vec<String> =
            pages_in(late.undone).map(|page| format!("undone page {page}")).collect();
        unseen.extend(late.put.then(|| "cleared mapping and cgroup".to_owned()));
        if !unseen.is_empty() {
            lines.push(format!("thread {actor} has stored, unseen by others: {}", unseen.join(", ")));
        }
    }
    for (page, object) in state.objects.iter().enumerate().filter(|(_, object)| object.references > 0) {
        lines.push(format!("object obj{page}: {} references", object.references));
    }
    lines
}
