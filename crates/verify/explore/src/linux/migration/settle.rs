//! Targets, copies, mappings, and the end of a migration: each page has one place again.

use bifolio_rules::judge;

use crate::design::Applied;
use crate::linux::migration::contract::Migration;
use crate::linux::migration::state::{ALL, Bytes, Entry, Folio, Job, Kind, Stage, State, members};

/// Order of the whole range, and of a page.
const LARGE: u8 = 1;
const SINGLE: u8 = 0;

/// Gets a target. On the device it is a new object, with a reference for each folio and one for the function.
pub(super) fn allocate(state: &mut State, job: &mut Job) {
    job.stage = Stage::Allocated;
    if job.kind != Kind::ToDevice {
        return;
    }
    let folio = Folio { references: 1, large: state.ram_large, locked: true, retired: false };
    job.folios = if state.ram_large { 0b01 } else { ALL };
    members(job.folios).for_each(|head| state.folios[usize::from(head)] = folio);
    state.object = 1 + job.folios.count_ones() as u8;
}

/// There is no large page of system memory for a fault.
pub(super) fn large_fails(contract: &Migration, applied: &mut Applied<State>, job: &mut Job) {
    if contract.falls_back {
        job.single = true;
    } else {
        applied.broken.note(judge::i19_gave_up(true, LARGE, SINGLE));
        job.stage = Stage::Moved;
    }
}

/// There is no target, or the second page of it is missing, and the first one is put again.
pub(super) fn allocate_fails(contract: &Migration, applied: &mut Applied<State>, job: &mut Job) {
    job.stage = Stage::Moved;
    let mut first = (job.kind != Kind::ToDevice && job.pages == ALL).then_some(SINGLE);
    if first.is_none() {
        return;
    }
    let order_before = first.take();
    let order_after = first;
    let order = if contract.reads_before_put { order_before } else { order_after };
    applied.broken.note(judge::i17_lives(order));
}

/// Enters the target for DMA, and copies.
pub(super) fn copy(state: &mut State, job: &mut Job) {
    for page in members(job.pages) {
        let it = &mut state.pages[usize::from(page)];
        match job.kind {
            Kind::ToDevice => it.device = it.ram,
            Kind::Fault(_) | Kind::Evict => it.ram = it.device,
        }
    }
    job.dma = Some(if state.is_large(job) && !job.single { LARGE } else { SINGLE });
    job.stage = Stage::Copied;
}

/// Moves the mappings of these pages, as far as it can.
pub(super) fn move_mappings(contract: &Migration, applied: &mut Applied<State>, job: &mut Job, moved: u8) {
    job.stage = Stage::Moved;
    let can = match job.kind {
        Kind::ToDevice => can_insert(contract, applied, job),
        Kind::Fault(_) => !(job.single && applied.state.is_large(job)) || split(&mut applied.state, job),
        Kind::Evict => moved == 0 || slot_agrees(contract, applied, job),
    };
    job.moved = if can { moved } else { 0 };
}

/// Takes the page table's lock and looks whether the process lives: a dying one gets no new entries.
fn can_insert(contract: &Migration, applied: &mut Applied<State>, job: &Job) -> bool {
    let state = &mut applied.state;
    let unlocks = state.alive || !state.is_large(job) || contract.insert_unlocks;
    state.taken.table_lock = !unlocks;
    state.alive
}

/// Splits the source, whose targets are single pages.
fn split(state: &mut State, job: &mut Job) -> bool {
    let split = state.split();
    job.folios = if split { ALL } else { job.folios };
    split
}

/// Whether the slot says of the target what it is. Otherwise the core refuses it, as it cannot split the source.
fn slot_agrees(contract: &Migration, applied: &mut Applied<State>, job: &Job) -> bool {
    let target = if applied.state.is_large(job) { LARGE } else { SINGLE };
    let said = if contract.evict_says_compound { target } else { SINGLE };
    applied.broken.note(judge::i14_orders(Some(target), said));
    said == target
}

/// Gives each page its one place, and returns locks, references and entries for DMA.
pub(super) fn finalize(contract: &Migration, applied: &mut Applied<State>, job: &Job) {
    if let Some(entered) = job.dma {
        let by_fault = matches!(job.kind, Kind::Fault(_));
        let removed = if contract.fault_unmaps_as_mapped || !by_fault { entered } else { SINGLE };
        applied.broken.note(judge::i20_whole(removed, entered));
    }
    match job.kind {
        Kind::ToDevice => on_device(contract, &mut applied.state, job),
        Kind::Fault(_) | Kind::Evict => at_home(&mut applied.state, job),
    }
}

fn on_device(contract: &Migration, state: &mut State, job: &Job) {
    for page in members(job.pages) {
        let it = &mut state.pages[usize::from(page)];
        let moved = job.moved >> page & 1 == 1;
        it.entry = if moved { Entry::Device } else { Entry::Ram };
        it.ram = if moved { Bytes::None } else { it.ram };
    }
    state.ram_large &= job.moved == 0;
    for head in members(job.folios) {
        let mapped = state.mapped_to(head).count_ones() as u8;
        let folio = &mut state.folios[usize::from(head)];
        (folio.locked, folio.references) = (false, folio.references + mapped);
        state.put(head, 1);
    }
    if job.folios != 0 {
        // The caller is told of an error if only a part was moved.
        let freed_by_caller = job.moved != 0 && job.moved != job.pages && !contract.leaves_object;
        state.object = state.object.saturating_sub(1 + u8::from(freed_by_caller));
    }
}

fn at_home(state: &mut State, job: &Job) {
    for page in members(job.pages) {
        let on_folio = state.head_of(page).is_some_and(|head| job.folios >> head & 1 == 1);
        let moved = job.moved >> page & 1 == 1 || !on_folio;
        let it = &mut state.pages[usize::from(page)];
        it.entry = if moved { Entry::Ram } else { Entry::Device };
        it.ram = if moved { it.ram } else { Bytes::None };
    }
    for head in members(job.folios) {
        let back = state.mapped_to(head).count_ones() as u8;
        let went_home = job.moved & state.pages_of(head) != 0 && back == 0;
        let folio = &mut state.folios[usize::from(head)];
        (folio.locked, folio.references) = (false, folio.references + back);
        state.put(head, 1);
        let folio = &mut state.folios[usize::from(head)];
        folio.retired |= went_home && folio.references > 0;
    }
    state.ram_large = job.moved == ALL && job.folios == 0b01 && !job.single;
}
