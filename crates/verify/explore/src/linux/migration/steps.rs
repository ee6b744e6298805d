//! What each step does to the world.

use crate::design::Applied;
use crate::linux::migration::action::Action;
use crate::linux::migration::contract::Migration;
use crate::linux::migration::state::{Bytes, Entry, Job, State, members};
use crate::linux::migration::{begin, settle, take};

/// Does one step.
pub(super) fn apply(contract: &Migration, applied: &mut Applied<State>, action: Action) {
    match action {
        Action::CpuWrite { page } => cpu_write(&mut applied.state, page),
        Action::DeviceWrite { page } => applied.state.pages[usize::from(page)].device = Bytes::Latest,
        Action::GpuMap { head } => gpu_map(&mut applied.state, head),
        Action::Touch { page } => touch(&mut applied.state, page),
        Action::Drop { pages } => drop_pages(&mut applied.state, pages),
        Action::Hold { head } => hold(&mut applied.state, head),
        Action::PutHeld => put_held(&mut applied.state),
        Action::Die => applied.state.alive = false,
        Action::Begin { actor, kind } => begin::begin(contract, applied, actor, kind),
        Action::BeginWithoutArrays { .. } => begin::without_arrays(contract, &mut applied.state),
        Action::Collect { actor }
        | Action::Allocate { actor }
        | Action::LargeFails { actor }
        | Action::AllocateFails { actor }
        | Action::Copy { actor }
        | Action::Move { actor, .. }
        | Action::Finalize { actor } => {
            let Some(mut job) = applied.state.actors[usize::from(actor)] else { return };
            let goes_on = migrate(contract, applied, &mut job, action);
            applied.state.actors[usize::from(actor)] = goes_on.then_some(job);
            if !goes_on {
                begin::end(contract, &mut applied.state, job.kind, job.stage);
            }
        }
    }
}

/// Does one step of a migration. Returns whether it goes on.
fn migrate(contract: &Migration, applied: &mut Applied<State>, job: &mut Job, action: Action) -> bool {
    match action {
        Action::Collect { .. } => return take::collect(contract, applied, job),
        Action::Allocate { .. } => settle::allocate(&mut applied.state, job),
        Action::LargeFails { .. } => settle::large_fails(contract, applied, job),
        Action::AllocateFails { .. } => settle::allocate_fails(contract, applied, job),
        Action::Copy { .. } => settle::copy(&mut applied.state, job),
        Action::Move { moved, .. } => settle::move_mappings(contract, applied, job, moved),
        _ => {
            settle::finalize(contract, applied, job);
            return false;
        }
    }
    true
}

fn cpu_write(state: &mut State, page: u8) {
    let it = &mut state.pages[usize::from(page)];
    it.ram = Bytes::Latest;
    if it.device == Bytes::Latest {
        it.device = Bytes::Stale;
    }
}

fn gpu_map(state: &mut State, head: u8) {
    members(state.pages_of(head)).for_each(|page| state.pages[usize::from(page)].gpu = true);
}

fn touch(state: &mut State, page: u8) {
    let it = &mut state.pages[usize::from(page)];
    (it.entry, it.ram) = (Entry::Ram, Bytes::Latest);
}

fn drop_pages(state: &mut State, pages: u8) {
    for page in members(pages) {
        let head = state.head_of(page);
        let it = &mut state.pages[usize::from(page)];
        let was = std::mem::replace(&mut it.entry, Entry::Empty);
        it.ram = Bytes::None;
        match (was, head) {
            (Entry::Device, Some(head)) => {
                it.device = Bytes::Stale;
                state.put(head, 1);
            }
            _ => state.ram_large = false,
        }
    }
    state.invalidate();
}

fn hold(state: &mut State, head: u8) {
    state.folios[usize::from(head)].references += 1;
    state.holder = Some(head);
}

fn put_held(state: &mut State) {
    if let Some(head) = state.holder.take() {
        state.put(head, 1);
    }
}
