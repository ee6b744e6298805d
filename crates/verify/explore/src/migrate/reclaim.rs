//! Making room while a transaction waits for it, as the runtime does it: by a second transaction of the same
//! actor, on a block that can be had without waiting.
//!
//! On the device, a victim is looked at without a lock; then its block is tried, and the victim is looked at
//! again (I26): a folio that others hold and no page is on any more is no victim (I28). A block of another actor is passed over (I24); the block that the actor has is its own. In system
//! memory, spans are chosen under the lock of their block. What is answered in the end is any of: room was made,
//! if any folio went, evicted by any actor; nothing could be done; contended, if a block was passed over or others are under way.

use bifolio_folio::Order;
use bifolio_migrate::{OrderRange, Outcome, Step, Transaction};
use bifolio_rules::judge;

use crate::design::Applied;
use crate::migrate::action::{Action, Request, RoomAnswer};
use crate::migrate::folios;
use crate::migrate::mutate::{Mutate, Protocol};
use crate::migrate::state::{Actor, BLOCK_PAGES, State, VIRTUAL};
use crate::migrate::transition_cache::{Answer, Location, TransitionCache};
use crate::migrate::world::{NODE, Transactions};

/// In place of a folio where a span of system memory is waited for.
const NO_FOLIO: u8 = 7;

impl<M: Mutate> Transactions<M> {
    /// What an actor can do whose transaction waits for room.
    pub(super) fn room_actions(
        &self,
        state: &State,
        cache: &TransitionCache,
        actor: u8,
        step: &Step,
        out: &mut Vec<Action>,
    ) {
        let it = &state.actors[usize::from(actor)];
        let mut push = |action| out.push(action);
        if let Some((page, _)) = it.victim {
            let waits = !self.mutation.keeps(Protocol::TriesOnly)
                && state.is_locked_by_other(page / BLOCK_PAGES as u8, actor);
            if !waits {
                push(Action::TryVictim { actor, page });
            }
            return;
        }
        push(Action::Answer { actor, answer: RoomAnswer::Nothing });
        if it.evicted || self.has_room(state, step) {
            push(Action::Answer { actor, answer: RoomAnswer::Room });
        }
        // Memory that others take or free just now is with no block: an actor that misses it answers that it is in use.
        let others = (0u8..).zip(state.actors).any(|(other, it)| other != actor && it.outer.is_some());
        if it.contended || others {
            push(Action::Answer { actor, answer: RoomAnswer::Contended });
        }
        match step {
            Step::ReclaimDevice { .. } => {
                folios::heads(state).for_each(|(head, _)| push(Action::Look { actor, head }));
            }
            _ => spans(state, cache, |page, order| push(Action::MoveOut { actor, page, order })),
        }
    }

    /// Whether there is room by now.
    fn has_room(&self, state: &State, step: &Step) -> bool {
        match step {
            Step::ReclaimDevice { run, .. } => folios::first_free(state, run.order().get()).is_some(),
            Step::ReclaimRam { pages } => u16::from(state.ram_used) + pages <= u16::from(self.setup.ram),
            _ => false,
        }
    }

    /// Looks at a folio without a lock, to find the page that it was made for.
    pub(super) fn look(&self, applied: &mut Applied<State>, actor: u8, head: u8) {
        let owner = folios::owner_of(&applied.state, head);
        let victim = owner.filter(|page| usize::from(*page) < VIRTUAL).map(|page| (page, head));
        applied.state.actors[usize::from(actor)].victim = victim;
    }

    /// Tries the block of the victim; if it can be had, and the victim is still there, evicts it.
    pub(super) fn try_victim(&self, applied: &mut Applied<State>, actor: u8) {
        let it = &mut applied.state.actors[usize::from(actor)];
        let Some((page, head)) = it.victim.take() else { return };
        let block = page / BLOCK_PAGES as u8;
        if applied.state.is_locked_by_other(block, actor) {
            applied.state.actors[usize::from(actor)].contended = true;
            return;
        }
        let found = match self.location(&applied.state, &self.read(), page) {
            Location::Device { head, .. } => Some(head),
            _ => None,
        };
        if found != Some(head) && self.mutation.keeps(Protocol::LooksAgain) {
            return;
        }
        applied.broken.note(judge::i26_rechecked(head, found));
        applied.broken.note(judge::i28_source(self.is_retired(&applied.state, head)));
        let inside = page % BLOCK_PAGES as u8;
        self.begin_inner(applied, actor, block, inside, Transaction::to_ram(u16::from(inside)));
    }

    /// Whether a folio is held by others alone: no page is on it any more.
    fn is_retired(&self, state: &State, head: u8) -> bool {
        let cache = self.read();
        let on_it =
            |location: &Location| matches!(location, Location::Device { head: on, .. } if *on == head);
        let needed = state.blocks.iter().any(|number| cache.view(*number).locations.iter().any(on_it));
        folios::covering(state, head).is_some() && !needed
    }

    /// Moves a span of system memory to the device, if its block can be had.
    pub(super) fn move_out(&self, applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
        let block = page / BLOCK_PAGES as u8;
        if applied.state.is_locked_by_other(block, actor) {
            let it = &mut applied.state.actors[usize::from(actor)];
            it.contended = true;
            it.victim = (!self.mutation.keeps(Protocol::TriesOnly)).then_some((page, NO_FOLIO));
            return;
        }
        let inside = page % BLOCK_PAGES as u8;
        let order = Order::new(order).unwrap_or_default();
        let orders = OrderRange { largest: order, smallest: self.policy.smallest.min(order) };
        let machine = Transaction::to_device(NODE, u16::from(inside), orders);
        self.begin_inner(applied, actor, block, inside, machine);
    }

    fn begin_inner(
        &self,
        applied: &mut Applied<State>,
        actor: u8,
        block: u8,
        page: u8,
        machine: Transaction,
    ) {
        let frame = self.started(&mut applied.state, block, page, Request::Evict, machine);
        applied.state.actors[usize::from(actor)].inner = Some(frame);
        self.finish(applied, actor);
    }

    /// Gives the transaction that waits the answer.
    pub(super) fn answer(&self, applied: &mut Applied<State>, actor: u8, answer: RoomAnswer) {
        let it = &mut applied.state.actors[usize::from(actor)];
        let Some(frame) = it.outer else { return };
        *it = Actor { outer: Some(frame), ..Actor::default() };
        let task = self.read().task(frame.task);
        let answer = match answer {
            RoomAnswer::Room => Outcome::Done.into(),
            RoomAnswer::Contended => Outcome::Busy.into(),
            // The device may be full just because this very folio is there: the reserve breaks the circle.
            RoomAnswer::Nothing if matches!(task.step, Step::ReclaimRam { .. }) && !task.making_room => {
                Answer { outcome: Outcome::Done, making_room: true }
            }
            RoomAnswer::Nothing => Outcome::NoMemory.into(),
        };
        self.advance(applied, actor, answer);
    }
}

/// Yields the largest spans of system memory, as the runtime looks for them.
fn spans(state: &State, cache: &TransitionCache, mut each: impl FnMut(u8, u8)) {
    for (block, number) in (0u8..).zip(state.blocks) {
        let base = block * BLOCK_PAGES as u8;
        let view = cache.view(number);
        let movable = |page: usize| view.locations[page] == Location::Ram && !view.pinned[page];
        if (0..BLOCK_PAGES).all(movable) {
            each(base, 1);
        } else {
            (0..BLOCK_PAGES).filter(|page| movable(*page)).for_each(|page| each(base + page as u8, 0));
        }
    }
}
