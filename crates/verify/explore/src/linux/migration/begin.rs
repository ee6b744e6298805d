//! How a migration begins, what it takes for its time, and how it gives that back.

use bifolio_rules::judge;

use crate::design::Applied;
use crate::linux::migration::contract::Migration;
use crate::linux::migration::state::{ALL, Entry, Job, Kind, Stage, State};

/// Begins a migration, unless it finds nothing to do.
pub(super) fn begin(contract: &Migration, applied: &mut Applied<State>, actor: u8, kind: Kind) {
    take(&mut applied.state, kind);
    let job =
        Job { kind, stage: Stage::Found, pages: 0, folios: 0, wanted: 0, moved: 0, single: false, dma: None };
    let begun = match kind {
        Kind::ToDevice => to_device(contract, applied, job),
        Kind::Fault(page) => fault(&mut applied.state, job, page),
        Kind::Evict => evict(contract, &applied.state, job),
    };
    if begun.is_none() {
        end(contract, &mut applied.state, kind, Stage::Found);
    }
    applied.state.actors[usize::from(actor)] = begun;
}

/// An eviction that gets no memory for its arrays, after it took the address space.
pub(super) fn without_arrays(contract: &Migration, state: &mut State) {
    state.taken.address_space += u8::from(!contract.evict_puts_mm);
}

fn take(state: &mut State, kind: Kind) {
    state.taken.arrays += 1;
    state.taken.address_space += u8::from(kind == Kind::Evict);
}

/// Gives back what [`begin`] took. `at`: how far the migration came.
pub(super) fn end(contract: &Migration, state: &mut State, kind: Kind, at: Stage) {
    let early = kind == Kind::Evict && at == Stage::Found;
    state.taken.arrays -= u8::from(contract.evict_frees_arrays || !early);
    state.taken.address_space -= u8::from(kind == Kind::Evict);
}

/// Collects the range, and refuses it if it counts fewer pages than the range has.
fn to_device(contract: &Migration, applied: &mut Applied<State>, job: Job) -> Option<Job> {
    let state = &mut applied.state;
    let slots = if state.ram_large { 1 } else { 2 };
    let counted = if contract.counts_pages { 2 } else { slots };
    applied.broken.note(judge::i13_pages(counted, 2, 0));
    if counted != 2 {
        return None;
    }
    state.pages.iter_mut().for_each(|page| page.entry = Entry::Migrating);
    Some(Job { stage: Stage::Collected, pages: ALL, ..job })
}

/// Takes a reference of the folio at the page that was touched.
fn fault(state: &mut State, job: Job, page: u8) -> Option<Job> {
    let head = state.head_of(page)?;
    state.folios[usize::from(head)].references += 1;
    Some(Job { folios: 1 << head, pages: 1 << page, ..job })
}

/// Finds the folios of the object by their device pages, and the entries that lead to them.
fn evict(contract: &Migration, state: &State, job: Job) -> Option<Job> {
    let found = |head: &u8| !(contract.marks_retired && state.folios[usize::from(*head)].retired);
    let (mut folios, mut pages) = (0, 0);
    for head in state.heads().filter(found) {
        folios |= 1 << head;
        pages |= state.mapped_to(head);
    }
    (folios != 0).then_some(Job { folios, pages, ..job })
}
