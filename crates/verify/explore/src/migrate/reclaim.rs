//! Making room while a transaction waits for it, as the runtime does it: by a second transaction of the same
//! actor, on a block that can be had without waiting.
//!
//! On the device, a victim is looked at without a lock; then its block is tried, and the victim is looked at
//! again (I26). A block of another actor is passed over (I24); the block that the actor has is its own. In system
//! memory, spans are chosen under the lock of their block. What is answered in the end is any of: room was made,
//! if anything was, by whomever; nothing could be done; contended, if a block was passed over or others are under way.

use bifolio_folio::Order;
use bifolio_migrate::{OrderRange, Outcome, Step, Transaction};
use bifolio_rules::facts;

use crate::design::{Action, Applied};
use crate::migrate::book::{Answer, Book, Seen, Site, Task};
use crate::migrate::folios;
use crate::migrate::slip::Slip;
use crate::migrate::state::{Actor, BLOCK_PAGES, Frame, State, VIRTUAL};
use crate::migrate::world::{NODE, Transactions, verb};

/// How a request for room is answered.
mod answer {
    pub const ROOM: u8 = 0;
    pub const NOTHING: u8 = 1;
    pub const CONTENDED: u8 = 2;
}

/// In place of a folio where a span of system memory is waited for.
const NO_FOLIO: u8 = 7;

impl Transactions {
    /// What an actor can do whose transaction waits for room.
    pub(super) fn room_actions(
        &self,
        state: &State,
        book: &Book,
        actor: u8,
        step: &Step,
        out: &mut Vec<Action>,
    ) {
        let it = &state.actors[usize::from(actor)];
        let mut push = |verb, page, order| out.push(Action { actor, verb, page, order });
        if let Some((page, _)) = it.victim {
            let waits =
                self.slip == Slip::EvictorWaits && state.is_locked_by_other(page / BLOCK_PAGES as u8, actor);
            if !waits {
                push(verb::TRY, page, 0);
            }
            return;
        }
        push(verb::ANSWER, 0, answer::NOTHING);
        if it.evicted || self.has_room(state, step) {
            push(verb::ANSWER, 0, answer::ROOM);
        }
        // Memory that others take or free just now is with no block: whoever misses it says that it is in use.
        let others = (0u8..).zip(state.actors).any(|(other, it)| other != actor && it.outer.is_some());
        if it.contended || others {
            push(verb::ANSWER, 0, answer::CONTENDED);
        }
        match step {
            Step::ReclaimDevice { .. } => {
                folios::heads(state).for_each(|(head, _)| push(verb::LOOK, head, 0));
            }
            _ => spans(state, book, |page, order| push(verb::MOVE_OUT, page, order)),
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

    /// Looks at a folio without a lock: whose is it?
    pub(super) fn look(&self, applied: &mut Applied<State>, action: Action) {
        let owner = folios::owner_of(&applied.state, action.page);
        let victim = owner.filter(|page| usize::from(*page) < VIRTUAL).map(|page| (page, action.page));
        applied.state.actors[usize::from(action.actor)].victim = victim;
    }

    /// Tries the block of the victim; if it can be had, and the victim is still there, evicts it.
    pub(super) fn try_victim(&self, applied: &mut Applied<State>, action: Action) {
        let actor = &mut applied.state.actors[usize::from(action.actor)];
        let Some((page, head)) = actor.victim.take() else { return };
        let block = page / BLOCK_PAGES as u8;
        if applied.state.is_locked_by_other(block, action.actor) {
            applied.state.actors[usize::from(action.actor)].contended = true;
            return;
        }
        let site =
            self.read().says(applied.state.blocks[usize::from(block)]).sites[usize::from(page) % BLOCK_PAGES];
        let found = match site {
            Site::Device { head, .. } => Some(head),
            _ => None,
        };
        if found != Some(head) && self.slip != Slip::VictimNotLookedAtAgain {
            return;
        }
        applied.broken.require(facts::i26(head, found), 26);
        let inside = page % BLOCK_PAGES as u8;
        self.begin_inner(applied, action.actor, block, inside, Transaction::to_ram(u16::from(inside)));
    }

    /// Moves a span of system memory to the device, if its block can be had.
    pub(super) fn move_out(&self, applied: &mut Applied<State>, action: Action) {
        let block = action.page / BLOCK_PAGES as u8;
        if applied.state.is_locked_by_other(block, action.actor) {
            let actor = &mut applied.state.actors[usize::from(action.actor)];
            actor.contended = true;
            actor.victim = (self.slip == Slip::EvictorWaits).then_some((action.page, NO_FOLIO));
            return;
        }
        let inside = action.page % BLOCK_PAGES as u8;
        let order = Order::new(action.order).unwrap_or_default();
        let orders = OrderRange { largest: order, smallest: self.policy.smallest.min(order) };
        let machine = Transaction::to_device(NODE, u16::from(inside), orders);
        self.begin_inner(applied, action.actor, block, inside, machine);
    }

    fn begin_inner(
        &self,
        applied: &mut Applied<State>,
        actor: u8,
        block: u8,
        page: u8,
        machine: Transaction,
    ) {
        let frame = self.started(&mut applied.state, block, page, verb::EVICT, machine);
        applied.state.actors[usize::from(actor)].inner = Some(frame);
        self.finish(applied, actor);
    }

    /// Tells the transaction that waits what came of making room.
    pub(super) fn answer(&self, applied: &mut Applied<State>, action: Action, task: &Seen) {
        let actor = &mut applied.state.actors[usize::from(action.actor)];
        let outer = actor.outer;
        *actor = Actor { outer, ..Actor::default() };
        let answer = match action.order {
            answer::ROOM => Outcome::Done.into(),
            answer::CONTENDED => Outcome::Busy.into(),
            // The device may be full just because this very folio is there: the reserve breaks the circle.
            _ if matches!(task.step, Step::ReclaimRam { .. }) && !task.making_room => {
                Answer { outcome: Outcome::Done, making_room: true }
            }
            _ => Outcome::NoMemory.into(),
        };
        self.advance(applied, action.actor, answer);
    }

    /// Begins a transaction on a block that is free or the actor's own.
    pub(super) fn started(
        &self,
        state: &mut State,
        block: u8,
        page: u8,
        why: u8,
        machine: Transaction,
    ) -> Frame {
        let number = &mut state.blocks[usize::from(block)];
        // The step is replaced by the first one that the machine asks for.
        let step = Step::ReclaimRam { pages: 0 };
        let task = Task { why, page, machine, step, tried: 0, making_room: false };
        let (task, place) = self.write().begin(task, *number);
        *number = place;
        Frame { task, block }
    }
}

/// Yields the largest spans of system memory, as the runtime looks for them.
fn spans(state: &State, book: &Book, mut each: impl FnMut(u8, u8)) {
    for (block, number) in (0u8..).zip(state.blocks) {
        let base = block * BLOCK_PAGES as u8;
        let says = book.says(number);
        let movable = |page: usize| says.sites[page] == Site::Ram && !says.pinned[page];
        if (0..BLOCK_PAGES).all(movable) {
            each(base, 1);
        } else {
            (0..BLOCK_PAGES).filter(|page| movable(*page)).for_each(|page| each(base + page as u8, 0));
        }
    }
}
