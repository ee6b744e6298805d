//! [`World`]: a contract in a world of given bounds, and which steps its threads can take.

use crate::design::Bounds;
use crate::linux::action::{Action, Step};
use crate::linux::contract::{Calls, Contract, Free, Init, Memory};
use crate::linux::memory_order::{self, MemoryOrder};
use crate::linux::page::{ACTIVE, Scale};
use crate::linux::state::{Actor, Phase, State, block, blocks};

/// A core and a driver in a small world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub(super) contract: Contract,
    pub(super) bounds: Bounds,
    pub(super) scale: Scale,
    pub(super) memory_order: MemoryOrder,
}

impl World {
    /// Makes the world.
    #[must_use]
    pub fn new(contract: Contract, bounds: Bounds) -> World {
        let scale = Scale { largest: bounds.order, info: contract.compound_info };
        World { contract, bounds, scale, memory_order: MemoryOrder::Sequential }
    }

    /// The same world with another order of memory.
    #[must_use]
    pub fn with_memory_order(self, memory_order: MemoryOrder) -> World {
        World { memory_order, ..self }
    }

    /// Whether the driver ever has folios of an order: with lists there are two kinds.
    fn makes(&self, order: u8) -> bool {
        self.contract.memory != Memory::Lists || order == 0 || order == self.bounds.order
    }

    /// Blocks that the driver's allocator could hand out for an order.
    fn available(&self, state: &State, order: u8) -> impl Iterator<Item = u8> {
        let listed = if order == 0 { state.small } else { state.large };
        let (lists, largest) = (self.contract.memory == Memory::Lists, self.bounds.order);
        let state = *state;
        blocks(self.bounds.pages, order).filter(move |&page| {
            let chunk = page & !((1 << largest) - 1);
            let fresh =
                state.is_free(chunk, largest) && (state.small | state.large) & block(chunk, largest) == 0;
            if lists { listed >> page & 1 == 1 || fresh } else { state.is_free(page, order) }
        })
    }

    /// Lists the steps that can be taken in a state.
    pub(super) fn list_actions(&self, state: &State, out: &mut Vec<Action>) {
        let mut idle_seen = false;
        for (actor, &at) in (0..self.bounds.actors).zip(&state.actors) {
            match at {
                // Idle threads are alike: one of them stands for all.
                Actor::Idle if idle_seen => {}
                Actor::Idle => {
                    idle_seen = true;
                    self.idle_actions(state, |step| out.push(Action { actor, step }));
                }
                Actor::Formed { page, order } => {
                    let publish = |hot| Action { actor, step: Step::Publish { page, order, hot } };
                    out.push(publish(false));
                    // One hot page is enough to see what it leaves behind.
                    if !state.was_hot {
                        out.push(publish(true));
                    }
                }
                busy => {
                    out.push(Action { actor, step: self.next_step(busy) });
                    memory_order::list(state, actor, |step| out.push(Action { actor, step }));
                }
            }
        }
    }

    fn idle_actions(&self, state: &State, mut push: impl FnMut(Step)) {
        if !state.killed {
            for order in (0..=self.bounds.order).rev().filter(|&order| self.makes(order)) {
                self.allocate_actions(state, order, &mut push);
            }
        }
        for (page, folio) in state.true_folios().filter(|(_, folio)| folio.phase == Phase::Live) {
            push(Step::Put { page });
            // An active folio leaves another flag behind when it is moved than when it is unmapped.
            if state.pages[usize::from(page)].flags & ACTIVE != 0 {
                push(Step::MoveHome { page });
            }
            (0..folio.order).filter(|&to| self.makes(to)).for_each(|to| push(Step::Freeze { page, to }));
        }
        if !state.killed {
            push(Step::Kill);
        } else if !state.ended && (state.pagemap == 0 || self.is_quiet(state)) {
            push(Step::End);
        }
    }

    fn allocate_actions(&self, state: &State, order: u8, push: &mut impl FnMut(Step)) {
        let blocks = self.available(state, order).map(|page| push(Step::Allocate { page, order })).count();
        if blocks == 0 && self.refusal_breaks(state, order) {
            push(Step::Refused { order });
        }
    }

    fn refusal_breaks(&self, state: &State, order: u8) -> bool {
        state.largest_free(self.bounds.pages, self.bounds.order).is_some_and(|free| free >= order)
    }

    /// Nothing lives and no thread works: teardown must be able to end now.
    fn is_quiet(&self, state: &State) -> bool {
        state.live() == 0 && state.actors.iter().all(|actor| *actor == Actor::Idle)
    }

    /// The one step that a busy thread can take.
    fn next_step(&self, actor: Actor) -> Step {
        let Contract { free, init, calls, .. } = self.contract;
        match actor {
            Actor::Claimed { page, order } if init == Init::SplitStale => Step::Look { page, order },
            Actor::Claimed { page, order } | Actor::Ready { page, order } => Step::Init { page, order },
            Actor::Looked { page, order, .. } => Step::SplitStale { page, order },
            Actor::Splitting { page, to } => Step::Split { page, to },
            Actor::Freeing { page, order } if free == Free::Undo => Step::Undo { page, order },
            Actor::Freeing { page, order } | Actor::Undone { page, order } if calls == Calls::PerPage => {
                Step::FolioFreePage { page, order, number: 0 }
            }
            Actor::Freeing { page, order } | Actor::Undone { page, order } => Step::FolioFree { page, order },
            Actor::HandingBack { page, order, done } => Step::FolioFreePage { page, order, number: done },
            Actor::HandedBack { page, order } if free == Free::UndoAfter => Step::UndoAfter { page, order },
            Actor::HandedBack { page, order } | Actor::UndoneAfter { page, order } => {
                Step::DropPageMap { page, order }
            }
            Actor::Idle | Actor::Formed { .. } => unreachable!("these have a choice"),
        }
    }
}
