//! [`Transactions`]: shipped transactions in a world of a given setup, and what its actors can do.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bifolio_folio::{Order, PageMap, Reset};
use bifolio_migrate::{Block, Failure, NodeId, PageRun, Rights, Step, Transaction};
use bifolio_policy::FixedOrders;
use bifolio_rules::RuleSet;

use crate::design::{Applied, Bounds};
use crate::folio::model_pool::ModelPool;
use crate::migrate::action::{Action, Request, Way};
use crate::migrate::judge;
use crate::migrate::mutate::{Mutate, Protocol};
use crate::migrate::perform::ways;
use crate::migrate::performer::Performer;
use crate::migrate::setup::Setup;
use crate::migrate::state::{Actor, BLOCK_PAGES, Frame, State, Teardown, VIRTUAL, View};
use crate::migrate::transition_cache::{Answer, Location, Task, TransitionCache};
use crate::mutate::NoMutation;

/// Shipped transactions in every interleaving, with every failure.
#[derive(Debug)]
pub struct Transactions<M = NoMutation> {
    pub(super) setup: Setup,
    pub(super) policy: FixedOrders,
    pub(super) reset: Reset,
    pub(super) mutation: M,
    cache: RwLock<TransitionCache>,
}

impl Transactions {
    /// Makes the world; sizes that cannot be represented are cut to the largest that can.
    #[must_use]
    pub fn new(setup: Setup) -> Transactions {
        Transactions::mutated(setup, NoMutation)
    }

    /// Makes the same world with folios whose words are reset at this moment.
    #[must_use]
    pub fn with_reset(self, reset: Reset) -> Transactions {
        Transactions { reset, ..self }
    }
}

/// The one device.
pub(super) const NODE: NodeId = NodeId(0);

/// The pages of a block that are in use.
const WHOLE: PageRun = PageRun::new(0, BLOCK_PAGES as u16).expect("blocks have pages");

impl<M: Mutate> Transactions<M> {
    /// Makes the world with a mutation of its runner.
    pub(super) fn mutated(setup: Setup, mutation: M) -> Transactions<M> {
        let setup = setup.clamped();
        let mut policy = setup.policy();
        if !mutation.keeps(Protocol::SmallerOrders) {
            policy.smallest = policy.largest;
        }
        Transactions { setup, policy, reset: Reset::OnFree, mutation, cache: RwLock::default() }
    }

    /// The size as bounds of a report.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.setup.bounds()
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, TransitionCache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, TransitionCache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the world has the page.
    pub(super) fn exists(&self, page: usize) -> bool {
        page / BLOCK_PAGES < usize::from(self.setup.blocks)
            && page % BLOCK_PAGES < usize::from(self.setup.block_pages)
    }

    /// Pages of the world.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u8> {
        (0..VIRTUAL as u8).filter(|page| self.exists(usize::from(*page)))
    }

    /// Whether requests wait until a child has its bytes.
    fn is_stopped(&self, state: &State) -> bool {
        state.child.is_some() && self.mutation.keeps(Protocol::ParentWaits)
    }

    /// Where a page is, as its block says.
    pub(super) fn location(&self, state: &State, cache: &TransitionCache, page: u8) -> Location {
        let number = state.blocks[usize::from(page) / BLOCK_PAGES];
        cache.view(number).locations[usize::from(page) % BLOCK_PAGES]
    }

    /// Lists what can be done in a state.
    pub(super) fn list_actions(&self, state: &State, out: &mut Vec<Action>) {
        let cache = self.read();
        self.outside_actions(state, &cache, out);
        let mut idle_seen = false;
        for (actor, it) in (0u8..).zip(&state.actors[..usize::from(self.setup.actors)]) {
            let Some(frame) = it.top() else {
                // Idle actors are alike: one of them stands for all.
                if !std::mem::replace(&mut idle_seen, true) {
                    self.begin_actions(state, &cache, actor, out);
                }
                continue;
            };
            let task = cache.task(frame.task);
            let inner = it.inner.is_some() || task.request == Request::BringHome;
            let ways = ways(&task.step, self.setup.memory, inner);
            ways.iter().for_each(|&way| out.push(Action::Step { actor, way }));
            if ways.is_empty() {
                self.room_actions(state, &cache, actor, &task.step, out);
            }
        }
    }

    /// What the program, the units of the device, and the actors without transactions can do.
    fn outside_actions(&self, state: &State, cache: &TransitionCache, out: &mut Vec<Action>) {
        let mut push = |action| out.push(action);
        for page in self.numbers() {
            let it = &state.pages[usize::from(page)];
            let locked = state.is_locked(page / BLOCK_PAGES as u8);
            if it.expected.is_none() && !locked && !self.is_stopped(state) {
                push(Action::Map { page });
            }
            if it.expected.is_some() && it.cpu != View::Fault {
                push(Action::CpuWrite { page });
            }
            if it.expected.is_some() && it.table.is_some() {
                push(Action::DeviceWrite { page });
            }
        }
        self.others_actions(state, cache, &mut push);
    }

    /// Whether the next step of some actor copies or clears.
    #[cfg(test)]
    pub fn copies_next(&self, state: &State) -> bool {
        let cache = self.read();
        let next = state.actors.iter().filter_map(Actor::top).map(|frame| cache.task(frame.task).step);
        let copies = |step| {
            matches!(step, Step::CopyToDevice { .. } | Step::ClearDevice { .. } | Step::CopyToRam { .. })
        };
        next.into_iter().any(copies)
    }

    fn begin_actions(&self, state: &State, cache: &TransitionCache, actor: u8, out: &mut Vec<Action>) {
        if self.is_stopped(state) {
            return;
        }
        for page in self.numbers().filter(|page| !state.is_locked(page / BLOCK_PAGES as u8)) {
            let (it, location) = (state.pages[usize::from(page)], self.location(state, cache, page));
            let mut push = |request, wanted: bool| {
                if wanted {
                    out.push(Action::Begin { actor, request, page });
                }
            };
            let live = it.expected.is_some();
            let on_device = matches!(location, Location::Device { .. });
            push(Request::CpuFault, live && it.cpu == View::Fault);
            push(Request::DeviceFault, live && it.table.is_none());
            push(Request::Evict, on_device);
            push(Request::BringHome, on_device && state.teardown == Teardown::Killed);
            push(Request::Prefetch, location == Location::Ram);
            push(Request::Unmap, live);
            let whole = self.setup.block_pages > 1 && usize::from(page).is_multiple_of(BLOCK_PAGES);
            push(Request::UnmapBlock, live && whole);
            push(Request::Split, whole && matches!(location, Location::Device { order: 1, .. }));
            push(Request::Collapse, whole && matches!(location, Location::Device { order: 0, .. }));
        }
    }

    fn transaction(&self, place: &Block, request: Request, page: u16) -> Transaction {
        match request {
            Request::CpuFault => Transaction::cpu_fault(place, page, self.policy.cpu_fault_orders()),
            Request::DeviceFault => {
                Transaction::device_fault(NODE, page, self.policy.to_device_orders(), Rights::all())
            }
            Request::Evict | Request::BringHome => Transaction::to_ram(page),
            Request::Prefetch => Transaction::to_device(NODE, page, self.policy.to_device_orders()),
            Request::Split => Transaction::split(PageRun::single(page), Order::ZERO),
            Request::Collapse => Transaction::collapse(WHOLE),
            Request::Unmap => Transaction::unmap(PageRun::single(page)),
            Request::UnmapBlock => Transaction::unmap(WHOLE),
        }
    }

    /// Begins a transaction for an idle actor.
    pub(super) fn begin(&self, applied: &mut Applied<State>, actor: u8, request: Request, page: u8) {
        let (block, page) = (page / BLOCK_PAGES as u8, page % BLOCK_PAGES as u8);
        let number = applied.state.blocks[usize::from(block)];
        let machine = self.transaction(self.read().block(number), request, u16::from(page));
        let frame = self.started(&mut applied.state, block, page, request, machine);
        applied.state.actors[usize::from(actor)].outer = Some(frame);
        self.finish(applied, actor);
    }

    /// Begins a transaction on a block that is free or the actor's own.
    pub(super) fn started(
        &self,
        state: &mut State,
        block: u8,
        page: u8,
        request: Request,
        machine: Transaction,
    ) -> Frame {
        let number = &mut state.blocks[usize::from(block)];
        // The step is replaced by the first one that the machine asks for.
        let step = Step::ReclaimRam { pages: 0 };
        let task = Task { request, page, machine, step, tried: 0, making_room: false };
        let (task, place) = self.write().begin(task, *number);
        *number = place;
        Frame { task, block }
    }

    /// Does the step that an actor's transaction asks for.
    pub(super) fn step(&self, map: &PageMap<ModelPool>, applied: &mut Applied<State>, actor: u8, way: Way) {
        let it = applied.state.actors[usize::from(actor)];
        let Some(frame) = it.top() else { return };
        let (task, view) = {
            let cache = self.read();
            (cache.task(frame.task), *cache.view(applied.state.blocks[usize::from(frame.block)]))
        };
        let beyond = task.request == Request::BringHome;
        let mut performer = Performer {
            map,
            state: applied.state,
            locations: view.locations,
            base: frame.block * BLOCK_PAGES as u8,
            task,
            inner: it.inner.is_some() || beyond,
            beyond,
            setup: &self.setup,
            broken: RuleSet::NONE,
        };
        let outcome = performer.perform(&self.mutation, task.step, way);
        (applied.state, applied.broken) = (performer.state, applied.broken.union(performer.broken));
        self.advance(applied, actor, outcome.into());
    }

    /// Gives the shipped machine of an actor the answer to its step.
    pub(super) fn advance(&self, applied: &mut Applied<State>, actor: u8, answer: Answer) {
        let it = &mut applied.state.actors[usize::from(actor)];
        let Some(frame) = it.inner.as_mut().or(it.outer.as_mut()) else { return };
        let number = &mut applied.state.blocks[usize::from(frame.block)];
        let known = self.read().known(frame.task, *number, answer);
        (frame.task, *number) = known.unwrap_or_else(|| self.write().advance(frame.task, *number, answer));
        self.finish(applied, actor);
    }

    /// Ends a transaction whose machine says so.
    pub(super) fn finish(&self, applied: &mut Applied<State>, actor: u8) {
        let state = &mut applied.state;
        let it = &mut state.actors[usize::from(actor)];
        let Some(frame) = it.top() else { return };
        let cache = self.read();
        let task = cache.task(frame.task);
        let Step::Finish(result) = task.step else { return };
        let page = frame.block * BLOCK_PAGES as u8 + task.page;
        let locations = &cache.view(state.blocks[usize::from(frame.block)]).locations;
        judge::end(result, &task, locations, &state.pages[usize::from(page)], &mut applied.broken);
        if it.inner.take().is_none() {
            *it = Actor::default();
        } else {
            it.evicted |= result.is_ok();
            it.contended |= result == Err(Failure::Busy);
        }
    }

    /// Changes a block under its lock, without a transaction.
    pub(super) fn on_block(&self, state: &mut State, page: u8, change: fn(&mut Block, PageRun)) {
        let number = &mut state.blocks[usize::from(page) / BLOCK_PAGES];
        let mut cache = self.write();
        let mut place = cache.block(*number).clone();
        change(&mut place, PageRun::single(u16::from(page) % BLOCK_PAGES as u16));
        *number = cache.block_number(&place);
    }
}
