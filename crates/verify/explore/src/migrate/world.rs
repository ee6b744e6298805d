//! [`Transactions`]: the world as a [`Design`].

use std::rc::Rc;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bifolio_folio::{Order, PageMap, Reset};
use bifolio_migrate::{Block, Failure, NodeId, PageRun, Step, Transaction};
use bifolio_policy::{FixedOrders, Policy};
use bifolio_rules::RuleSet;

use crate::design::{Action, Applied, Bounds, Design, Told};
use crate::folio::fault::Fault;
use crate::folio::ledger::Ledger;
use crate::migrate::book::{Answer, Book, Seen, Site};
use crate::migrate::canonical::canonical;
use crate::migrate::kept::Kept;
use crate::migrate::perform::{Performer, ways};
use crate::migrate::setup::Setup;
use crate::migrate::slip::Slip;
use crate::migrate::state::{Actor, BLOCK_PAGES, State, Teardown, VIRTUAL, View, Virtual};
use crate::migrate::{folios, judge, tell};

/// What is done in an action.
pub(super) mod verb {
    /// A thread of the program writes a page that is in view.
    pub const CPU_WRITE: u8 = 0;
    /// A unit of the device writes a page that is in the device's table.
    pub const DEVICE_WRITE: u8 = 1;
    /// A page begins to live.
    pub const MAP: u8 = 2;
    /// From here on: an idle actor begins a transaction.
    pub const CPU_FAULT: u8 = 3;
    pub const DEVICE_FAULT: u8 = 4;
    pub const EVICT: u8 = 5;
    pub const PREFETCH: u8 = 6;
    pub const UNMAP: u8 = 7;
    pub const UNMAP_BLOCK: u8 = 8;
    /// A driver that wants small pages splits a folio where it is.
    pub const SPLIT: u8 = 23;
    /// The same driver has two folios made one again.
    pub const COLLAPSE: u8 = 24;
    /// Teardown brings a folio home, beyond the limit of system memory.
    pub const BRING: u8 = 22;
    /// An actor does the step its transaction asks for.
    pub const STEP: u8 = 9;
    /// From here on: an actor makes room.
    pub const LOOK: u8 = 10;
    pub const TRY: u8 = 11;
    pub const MOVE_OUT: u8 = 12;
    pub const ANSWER: u8 = 13;
    /// From here on: others.
    pub const HOLD: u8 = 14;
    pub const DROP: u8 = 15;
    pub const KILL: u8 = 16;
    pub const END: u8 = 17;
    pub const FORK: u8 = 18;
    pub const FILL: u8 = 19;
    pub const PIN: u8 = 20;
    pub const UNPIN: u8 = 21;
}

/// The one device.
pub(super) const NODE: NodeId = NodeId(0);

/// The pages of a block that are in use.
const WHOLE: PageRun = PageRun::new(0, BLOCK_PAGES as u16).expect("blocks have pages");

/// Actor number of everyone who runs no transaction.
const OUTSIDE: u8 = 9;

/// Shipped transactions in every interleaving, with every failure.
#[derive(Debug)]
pub struct Transactions {
    pub(super) setup: Setup,
    pub(super) policy: FixedOrders,
    reset: Reset,
    pub(super) slip: Slip,
    book: RwLock<Book>,
}

impl Transactions {
    /// Makes the world; sizes that cannot be represented are cut to the largest that can.
    #[must_use]
    pub fn new(setup: Setup) -> Transactions {
        let setup = setup.clamped();
        Transactions {
            setup,
            policy: setup.policy(),
            reset: Reset::OnFree,
            slip: Slip::None,
            book: RwLock::default(),
        }
    }

    /// Makes the same world with folios that are reset when they are told to.
    #[must_use]
    pub fn with_reset(self, reset: Reset) -> Transactions {
        Transactions { reset, ..self }
    }

    /// Makes the world with a fault in its runner.
    #[cfg(test)]
    pub(crate) fn with_slip(setup: Setup, slip: Slip) -> Transactions {
        let mut world = Transactions { slip, ..Transactions::new(setup) };
        if slip == Slip::NoSmallerOrder {
            world.policy.smallest = world.policy.largest;
        }
        world
    }

    /// The size as bounds of a report.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.setup.bounds()
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the world has the page.
    fn exists(&self, page: usize) -> bool {
        page / BLOCK_PAGES < usize::from(self.setup.blocks)
            && page % BLOCK_PAGES < usize::from(self.setup.block_pages)
    }

    /// Pages of the world.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u8> {
        (0..VIRTUAL as u8).filter(|page| self.exists(usize::from(*page)))
    }

    /// Whether requests wait until a child has its bytes.
    fn is_stopped(&self, state: &State) -> bool {
        state.child.is_some() && self.slip != Slip::ParentDoesNotWait
    }

    /// Where a page is, as its block says.
    pub(super) fn site(&self, state: &State, book: &Book, page: u8) -> Site {
        let number = state.blocks[usize::from(page) / BLOCK_PAGES];
        book.says(number).sites[usize::from(page) % BLOCK_PAGES]
    }

    /// What the program, the units of the device, and those do who run no transactions.
    fn outside_actions(&self, state: &State, book: &Book, out: &mut Vec<Action>) {
        let mut push = |verb, page| out.push(Action { actor: OUTSIDE, verb, page, order: 0 });
        for number in self.numbers() {
            let page = &state.pages[usize::from(number)];
            let locked = state.is_locked(number / BLOCK_PAGES as u8);
            if page.expected.is_none() && !locked && !self.is_stopped(state) {
                push(verb::MAP, number);
            }
            if page.expected.is_some() && page.cpu != View::Fault {
                push(verb::CPU_WRITE, number);
            }
            if page.expected.is_some() && page.table.is_some() {
                push(verb::DEVICE_WRITE, number);
            }
        }
        self.others_actions(state, book, &mut push);
    }

    fn begin_actions(&self, state: &State, book: &Book, actor: u8, out: &mut Vec<Action>) {
        if self.is_stopped(state) {
            return;
        }
        for page in self.numbers().filter(|page| !state.is_locked(page / BLOCK_PAGES as u8)) {
            let (it, site) = (state.pages[usize::from(page)], self.site(state, book, page));
            let mut push = |verb, wanted: bool| {
                if wanted {
                    out.push(Action { actor, verb, page, order: 0 });
                }
            };
            let live = it.expected.is_some();
            let on_device = matches!(site, Site::Device { .. });
            push(verb::CPU_FAULT, live && it.cpu == View::Fault);
            push(verb::DEVICE_FAULT, live && it.table.is_none());
            push(verb::EVICT, on_device);
            push(verb::BRING, on_device && state.teardown == Teardown::Killed);
            push(verb::PREFETCH, site == Site::Ram);
            push(verb::UNMAP, live);
            let whole = self.setup.block_pages > 1 && usize::from(page).is_multiple_of(BLOCK_PAGES);
            push(verb::UNMAP_BLOCK, live && whole);
            push(verb::SPLIT, whole && matches!(site, Site::Device { order: 1, .. }));
            push(verb::COLLAPSE, whole && matches!(site, Site::Device { order: 0, .. }));
        }
    }

    fn transaction(&self, place: &Block, action: Action) -> Transaction {
        let page = u16::from(action.page) % BLOCK_PAGES as u16;
        match action.verb {
            verb::CPU_FAULT => Transaction::cpu_fault(place, page, self.policy.cpu_fault_orders()),
            verb::DEVICE_FAULT => Transaction::device_fault(NODE, page, self.policy.to_device_orders()),
            verb::EVICT | verb::BRING => Transaction::to_ram(page),
            verb::PREFETCH => Transaction::to_device(NODE, page, self.policy.to_device_orders()),
            verb::SPLIT => Transaction::split(PageRun::single(page), Order::ZERO),
            verb::COLLAPSE => Transaction::collapse(WHOLE),
            verb::UNMAP => Transaction::unmap(PageRun::single(page)),
            _ => Transaction::unmap(WHOLE),
        }
    }

    fn begin(&self, applied: &mut Applied<State>, action: Action) {
        let block = action.page / BLOCK_PAGES as u8;
        let machine = self.transaction(self.read().block(applied.state.blocks[usize::from(block)]), action);
        let page = action.page % BLOCK_PAGES as u8;
        let frame = self.started(&mut applied.state, block, page, action.verb, machine);
        applied.state.actors[usize::from(action.actor)].outer = Some(frame);
        self.finish(applied, action.actor);
    }

    fn step(&self, map: &PageMap<Ledger>, applied: &mut Applied<State>, action: Action) {
        let actor = applied.state.actors[usize::from(action.actor)];
        let Some(frame) = actor.top() else { return };
        let (task, says) = {
            let book = self.read();
            (book.task(frame.task), *book.says(applied.state.blocks[usize::from(frame.block)]))
        };
        let mut performer = Performer {
            map,
            state: applied.state,
            sites: says.sites,
            base: frame.block * BLOCK_PAGES as u8,
            task,
            inner: actor.inner.is_some() || task.why == verb::BRING,
            beyond: task.why == verb::BRING,
            setup: &self.setup,
            slip: self.slip,
            broken: RuleSet::NONE,
        };
        let outcome = performer.perform(task.step, action.order);
        (applied.state, applied.broken) = (performer.state, applied.broken.union(performer.broken));
        self.advance(applied, action.actor, outcome.into());
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
        let book = self.read();
        let task = book.task(frame.task);
        let Step::Finish(result) = task.step else { return };
        let page = frame.block * BLOCK_PAGES as u8 + task.page;
        let sites = &book.says(state.blocks[usize::from(frame.block)]).sites;
        judge::end(result, &task, sites, &state.pages[usize::from(page)], &mut applied.broken);
        if it.inner.take().is_none() {
            *it = Actor::default();
        } else {
            it.evicted |= result.is_ok();
            it.contended |= result == Err(Failure::Busy);
        }
    }

    /// Changes a block under its lock, without a transaction.
    fn on_block(&self, state: &mut State, page: u8, change: fn(&mut Block, PageRun)) {
        let number = &mut state.blocks[usize::from(page) / BLOCK_PAGES];
        let mut book = self.write();
        let mut place = book.block(*number).clone();
        change(&mut place, PageRun::single(u16::from(page) % BLOCK_PAGES as u16));
        *number = book.block_number(&place);
    }
}

impl Design for Transactions {
    type State = State;
    type Kept = Kept;
    type Scratch = Rc<PageMap<Ledger>>;

    fn scratch(&self) -> Self::Scratch {
        Ledger::pagemap(self.reset, self.setup.device, Fault::None)
    }

    fn initial(&self) -> State {
        let blocks = std::array::from_fn(|block| {
            let mut place = Block::new();
            if block < usize::from(self.setup.blocks) {
                let pages = u16::from(self.setup.block_pages);
                place.map(PageRun::new(0, pages).expect("blocks of these worlds have pages"));
            }
            self.write().block_number(&place)
        });
        State {
            free: ((1u16 << self.setup.device) - 1) as u8,
            blocks,
            pages: std::array::from_fn(|page| Virtual {
                expected: self.exists(page).then_some(0),
                ..Virtual::default()
            }),
            ..State::empty()
        }
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        let book = self.read();
        self.outside_actions(state, &book, out);
        let mut idle_seen = false;
        for (actor, it) in (0u8..).zip(&state.actors[..usize::from(self.setup.actors)]) {
            let Some(frame) = it.top() else {
                // Idle actors are alike: one of them stands for all.
                if !std::mem::replace(&mut idle_seen, true) {
                    self.begin_actions(state, &book, actor, out);
                }
                continue;
            };
            let Seen { step, why, .. } = book.task(frame.task);
            let ways = ways(&step, self.setup.memory, it.inner.is_some() || why == verb::BRING);
            (0..ways).for_each(|order| out.push(Action { actor, verb: verb::STEP, page: 0, order }));
            if ways == 0 {
                self.room_actions(state, &book, actor, &step, out);
            }
        }
    }

    fn apply(&self, map: &mut Self::Scratch, state: &State, action: Action) -> Applied<State> {
        let mut applied = Applied::kept(*state);
        let page = state.pages[usize::from(action.page)];
        match action.verb {
            verb::CPU_WRITE => applied.state.write(action.page, page.cpu),
            verb::DEVICE_WRITE => {
                applied.state.write(action.page, page.table.map_or(View::Fault, View::Device));
            }
            verb::MAP => {
                applied.state.pages[usize::from(action.page)].expected = Some(0);
                self.on_block(&mut applied.state, action.page, Block::map);
            }
            verb::PIN => self.on_block(&mut applied.state, action.page, Block::pin),
            verb::UNPIN => self.on_block(&mut applied.state, action.page, Block::unpin),
            verb::STEP => self.step(map, &mut applied, action),
            verb::LOOK => self.look(&mut applied, action),
            verb::TRY => self.try_victim(&mut applied, action),
            verb::MOVE_OUT => self.move_out(&mut applied, action),
            verb::ANSWER => {
                let frame = state.actors[usize::from(action.actor)].outer;
                let task = frame.map(|frame| self.read().task(frame.task));
                task.iter().for_each(|task| self.answer(&mut applied, action, task));
            }
            verb::HOLD => folios::hold(map, &mut applied.state, action.page),
            verb::DROP => self.drop_held(map, &mut applied),
            verb::KILL => folios::kill(map, &mut applied.state),
            verb::END => self.end(map, &mut applied),
            verb::FORK => self.fork(&mut applied),
            verb::FILL => self.fill(&mut applied, action.page),
            _ => self.begin(&mut applied, action),
        }
        judge::state(&applied.state, &self.read(), self.setup.blocks, self.slip, &mut applied.broken);
        applied
    }

    fn keep(&self, state: &State) -> Kept {
        Kept::of(&canonical(*state, &self.read(), self.setup.blocks))
    }

    fn restore(&self, kept: &Kept) -> State {
        kept.state(self.setup.device)
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[7, 8, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 27])
    }

    fn only_seen(&self) -> RuleSet {
        RuleSet::NONE
    }

    fn built(&self) -> &'static [(u8, &'static str)] {
        &[
            (
                15,
                "folio_free only notes that an object died; its memory is released by who may take his time",
            ),
            (25, "type: an engine has one pagemap, and no step of a transaction can name another"),
        ]
    }

    fn tell(&self, before: &State, action: Action, _after: &State) -> Told {
        let frame = before.actors.get(usize::from(action.actor)).and_then(Actor::top);
        let step = frame.map(|frame| self.read().task(frame.task).step);
        tell::told(action, step)
    }

    fn view(&self, state: &State) -> Vec<String> {
        tell::view(state, &self.setup)
    }

    fn scale(&self) -> String {
        tell::scale(&self.setup)
    }
}
