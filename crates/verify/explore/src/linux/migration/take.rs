//! Collecting: a migration locks folios and takes their pages out of the page table.

use bifolio_rules::judge;

use crate::design::Applied;
use crate::linux::migration::contract::Migration;
use crate::linux::migration::state::{Entry, Job, Kind, Stage, State, members};

/// Locks what can be locked without waiting, and replaces its entries. Returns whether there is something to migrate.
pub(super) fn collect(contract: &Migration, applied: &mut Applied<State>, job: &mut Job) -> bool {
    match job.kind {
        Kind::Fault(_) if job.stage == Stage::Locking => lock_next(&mut applied.state, job),
        Kind::Fault(page) => fault(contract, &mut applied.state, job, page),
        Kind::ToDevice | Kind::Evict => evict(contract, applied, job),
    }
}

/// Takes the next folio that a fault wants and that is not locked any more, unless it has no pages by now.
fn lock_next(state: &mut State, job: &mut Job) -> bool {
    let Some(head) = job.next_wanted() else { return true };
    job.wanted &= !(1 << head);
    if state.mapped_to(head) != 0 {
        state.folios[usize::from(head)].references += 1;
        take_out(state, job, head);
    }
    job.stage = if job.wanted == 0 { Stage::Collected } else { Stage::Locking };
    true
}

/// Takes the folio that was touched, of which the fault has a reference, and the other folios of the object.
fn fault(contract: &Migration, state: &mut State, job: &mut Job, page: u8) -> bool {
    let Some(head) = members(job.folios).next() else { return false };
    let elsewhere = state.mapped_to(head) >> page & 1 == 0;
    if state.folios[usize::from(head)].locked || elsewhere {
        // The fault is tried again, or another thread has answered it.
        state.put(head, 1);
        return false;
    }
    job.pages = 0;
    if !contract.tries_locks {
        job.wanted = state.heads().filter(|other| *other != head).fold(0, |all, other| all | 1 << other);
        take_out(state, job, head);
        job.stage = if job.wanted == 0 { Stage::Collected } else { Stage::Locking };
        return true;
    }
    for other in state.heads() {
        let free = !state.folios[usize::from(other)].locked && state.mapped_to(other) != 0;
        state.folios[usize::from(other)].references += u8::from(other != head && free);
        if free {
            take_out(state, job, other);
        }
    }
    true
}

/// Takes folios that were found by device page. Passes over those that were freed meanwhile, or are locked.
fn evict(contract: &Migration, applied: &mut Applied<State>, job: &mut Job) -> bool {
    let (found, heads) = (job.pages, job.folios);
    (job.pages, job.folios) = (0, 0);
    for head in members(heads) {
        let folio = applied.state.folios[usize::from(head)];
        let skipped = folio.retired && contract.marks_retired;
        if folio.references == 0 || folio.locked || skipped {
            continue;
        }
        applied.broken.note(judge::i28_source(folio.retired));
        applied.state.folios[usize::from(head)].references += 1;
        take_out(&mut applied.state, job, head);
    }
    if job.folios != 0 && !contract.rechecks_entries {
        replace_as_found(applied, job, found);
    }
    job.folios != 0
}

/// Locks a folio of which the migration has a reference, and replaces its entries.
fn take_out(state: &mut State, job: &mut Job, head: u8) {
    let pages = state.mapped_to(head);
    let folio = &mut state.folios[usize::from(head)];
    folio.locked = true;
    folio.references -= pages.count_ones() as u8;
    for page in members(pages) {
        state.pages[usize::from(page)].entry = Entry::Migrating;
    }
    state.invalidate();
    job.pages |= pages;
    job.folios |= 1 << head;
    job.stage = Stage::Collected;
}

/// Replaces entries that were found without a lock, whatever they are by now.
fn replace_as_found(applied: &mut Applied<State>, job: &mut Job, found: u8) {
    for page in members(found & !job.pages) {
        let entry = applied.state.pages[usize::from(page)].entry;
        if entry != Entry::Ram {
            continue;
        }
        applied.broken.note(judge::i26_rechecked(Entry::Device, Some(entry)));
        applied.state.pages[usize::from(page)].entry = Entry::Migrating;
        job.pages |= 1 << page;
    }
}
