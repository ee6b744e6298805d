//! [`World`]: a migration in a small world, and which steps can be taken.

use crate::linux::migration::action::Action;
use crate::linux::migration::contract::Migration;
use crate::linux::migration::state::{ALL, Entry, Job, Kind, Stage, State, members};

/// A kernel's migration in a small world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub(super) contract: Migration,
    /// Threads that migrate.
    pub(super) actors: u8,
}

impl World {
    /// Makes the world.
    #[must_use]
    pub fn new(contract: Migration, actors: u8) -> World {
        World { contract, actors: actors.clamp(1, 2) }
    }

    /// Lists the steps that can be taken in a state.
    pub(super) fn list_actions(&self, state: &State, out: &mut Vec<Action>) {
        self.outside(state, out);
        let mut idle_seen = false;
        for (actor, job) in (0..self.actors).zip(state.actors) {
            match job {
                Some(job) => self.next_steps(state, actor, job, out),
                // Idle threads are alike: one of them stands for all.
                None if idle_seen => {}
                None => {
                    idle_seen = true;
                    begins(state, actor, out);
                }
            }
        }
    }

    /// What the program, the device and other threads can do.
    fn outside(&self, state: &State, out: &mut Vec<Action>) {
        for (page, it) in (0u8..).zip(&state.pages) {
            match it.entry {
                Entry::Ram => out.push(Action::CpuWrite { page }),
                Entry::Empty if state.alive => out.push(Action::Touch { page }),
                _ => {}
            }
            if it.gpu {
                out.push(Action::DeviceWrite { page });
            }
        }
        let migrating = state.with_entry(Entry::Migrating);
        let droppable = ALL & !migrating & !state.with_entry(Entry::Empty);
        out.extend(
            [0b01, 0b10, 0b11]
                .into_iter()
                .filter(|pages| pages & !droppable == 0)
                .map(|pages| Action::Drop { pages }),
        );
        for head in state.heads() {
            let pages = state.pages_of(head);
            if state.mapped_to(head) == pages
                && !members(pages).any(|page| state.pages[usize::from(page)].gpu)
            {
                out.push(Action::GpuMap { head });
            }
            if state.holder.is_none() {
                out.push(Action::Hold { head });
            }
        }
        if state.holder.is_some() {
            out.push(Action::PutHeld);
        }
        if state.alive {
            out.push(Action::Die);
        }
    }

    fn next_steps(&self, state: &State, actor: u8, job: Job, out: &mut Vec<Action>) {
        match job.stage {
            Stage::Found => out.push(Action::Collect { actor }),
            Stage::Locking => {
                let free = |head: u8| !state.folios[usize::from(head)].locked;
                out.extend(job.next_wanted().filter(|head| free(*head)).map(|_| Action::Collect { actor }));
            }
            Stage::Collected => self.allocations(state, actor, job, out),
            Stage::Allocated => out.push(Action::Copy { actor }),
            Stage::Copied => {
                let large = state.is_large(&job) && !job.single;
                let some = [0b01, 0b10].into_iter().filter(|page| !large && page & !job.pages == 0);
                out.extend([0].into_iter().chain(some).map(|moved| Action::Move { actor, moved }));
                if job.pages.count_ones() > u32::from(!large) {
                    out.push(Action::Move { actor, moved: job.pages });
                }
            }
            Stage::Moved => out.push(Action::Finalize { actor }),
        }
    }

    fn allocations(&self, state: &State, actor: u8, job: Job, out: &mut Vec<Action>) {
        let large = state.is_large(&job);
        let free = state.object == 0;
        if job.kind != Kind::ToDevice || free {
            out.push(Action::Allocate { actor });
        }
        // Without the process's mappings a large folio cannot be split, so only a fault falls back.
        if large && !job.single && matches!(job.kind, Kind::Fault(_)) {
            out.push(Action::LargeFails { actor });
        }
        // A fault gives up for want of a large page, or goes on with single ones.
        if !(large && matches!(job.kind, Kind::Fault(_)) && !job.single) {
            out.push(Action::AllocateFails { actor });
        }
    }
}

/// The migrations that an idle thread can begin.
fn begins(state: &State, actor: u8, out: &mut Vec<Action>) {
    let others = state.actors.iter().flatten().any(|job| job.kind == Kind::ToDevice);
    let mut push = |kind| out.push(Action::Begin { actor, kind });
    if state.alive && !others && state.with_entry(Entry::Ram) == ALL {
        push(Kind::ToDevice);
    }
    for page in members(state.with_entry(Entry::Device)).filter(|_| state.alive) {
        push(Kind::Fault(page));
    }
    if state.object > 0 && state.alive {
        push(Kind::Evict);
        out.push(Action::BeginWithoutArrays { actor });
    }
}
