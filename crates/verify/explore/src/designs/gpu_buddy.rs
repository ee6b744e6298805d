//! Allocators that tell clear memory from dirty: gpu_buddy of 7.3.4, and a series that was posted for it.
//!
//! `linux-7.3-gpu-buddy`: each order has two trees of free blocks, clear ones and dirty ones. A block that is freed joins its
//! buddy only if both are clear or both are dirty, so that a dirty half does not spoil a clear one. Where a request finds no
//! block, buddies that differ are merged after all (`__force_merge`), and what they become is dirty. Without that pass, orders
//! would be refused that free memory has (I9).
//!
//! `buddy-dirty-lost`, as read in a series of mid 2026 that is not in 7.3.4: free memory is one tree for each order, and dirty
//! extents are noted beside it. If there is no memory for the note, the range is reported as clear when it is handed out next
//! (I22).
//!
//! These worlds know neither folios nor page words: pages, what is in them, and what the allocator believes.

use bifolio_rules::{RuleSet, judge as rules};

use crate::design::{Applied, Bounds, Description, Design};
use crate::designs::options::Options;
use crate::explore::Progress;
use crate::report::{Report, judge};

/// Most pages of a world.
const PAGES: usize = 8;
/// Most clients.
const CLIENTS: usize = 3;

/// What the allocator does.
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    /// Name of the design.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How it keeps what it knows of dirt.
    pub dirt: Dirt,
}

/// How an allocator keeps which free memory is dirty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dirt {
    /// In a tree of its own for each order.
    OwnTree {
        /// Whether buddies that differ are merged where a request finds no block.
        merges_by_force: bool,
    },
    /// In notes beside the free blocks, for which there may be no memory.
    Notes,
}

/// gpu_buddy of 7.3.4.
pub const LINUX_7_3: Allocator = Allocator {
    name: "linux-7.3-gpu-buddy",
    about: "7.3.4's gpu_buddy: clear and dirty blocks apart, merged when a request finds none",
    dirt: Dirt::OwnTree { merges_by_force: true },
};

/// The same without the merging that is forced.
pub const UNMERGED: Allocator = Allocator {
    name: "gpu-buddy-unmerged",
    about: "clear and dirty blocks apart, and never merged with each other",
    dirt: Dirt::OwnTree { merges_by_force: false },
};

/// The posted series.
pub const DIRTY_LOST: Allocator = Allocator {
    name: "buddy-dirty-lost",
    about: "a series posted in 2026: dirt is noted beside the free blocks, if there is memory for the note",
    dirt: Dirt::Notes,
};

/// What a client does, and its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    actor: u8,
    step: Step,
}

/// One step of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Is given the first part of a free block, clear memory if it wants some and there is some.
    Allocate { from: u8, order: u8 },
    /// There is no block, and buddies that differ are merged.
    Merge { order: u8 },
    /// Is given none.
    Refused { order: u8 },
    /// Writes to its block.
    Write,
    /// Gives its block back. It counts as clear if the client cleared it, or if there was no memory to note that it did not.
    Free { as_clear: bool },
}

/// All of a world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Orders of free blocks by first page.
    free: [Option<u8>; PAGES],
    /// Free pages that the allocator knows to be dirty.
    dirty: u16,
    /// Pages that hold what a client wrote.
    written: u16,
    /// First page and order of what each client owns.
    clients: [Option<(u8, u8)>; CLIENTS],
}

fn pages_of(page: u8, order: u8) -> u16 {
    ((1u16 << (1 << order)) - 1) << page
}

impl State {
    /// First pages and orders of free blocks of at least an order.
    fn blocks(&self, order: u8) -> impl Iterator<Item = (u8, u8)> + use<> {
        let free = self.free;
        (0u8..).zip(free).filter_map(|(page, block)| Some((page, block?))).filter(move |(_, it)| *it >= order)
    }

    /// Whether the allocator takes a free block for clear.
    fn is_clear(&self, page: u8, order: u8) -> bool {
        self.dirty & pages_of(page, order) == 0
    }

    fn owned(&self, actor: u8) -> u16 {
        self.clients[usize::from(actor)].map_or(0, |(page, order)| pages_of(page, order))
    }

    /// The largest order whose pages are all free, in however many blocks.
    fn largest_free(&self, bounds: Bounds) -> Option<u8> {
        let free = self.blocks(0).fold(0, |all, (page, order)| all | pages_of(page, order));
        let whole =
            |order: u8| (0..bounds.pages).step_by(1 << order).any(|page| pages_of(page, order) & !free == 0);
        (0..=bounds.order).rev().find(|order| whole(*order))
    }

    /// Puts a block among the free ones, and joins it with its buddy as long as `joins` says so of blocks that differ or
    /// not.
    fn insert(&mut self, mut page: u8, mut order: u8, top: u8, joins: impl Fn(bool) -> bool) {
        while order < top {
            let buddy = page ^ 1 << order;
            let alike = self.is_clear(page, order) == self.is_clear(buddy, order);
            if self.free[usize::from(buddy)] != Some(order) || !joins(alike) {
                break;
            }
            self.free[usize::from(buddy)] = None;
            page &= buddy;
            order += 1;
        }
        self.free[usize::from(page)] = Some(order);
    }

    /// Merges buddies that differ, until there is a block of an order. Tells whether there is one.
    fn merge(&mut self, order: u8) -> bool {
        for below in (0..order).rev() {
            for (page, _) in self.blocks(0).filter(|(_, it)| *it == below) {
                let is_there = |page: u8| self.free[usize::from(page)] == Some(below);
                if is_there(page) && is_there(page ^ 1 << below) {
                    self.free[usize::from(page)] = None;
                    self.insert(page, below, order, |_| true);
                    self.spread_dirt();
                }
                if self.blocks(order).next().is_some() {
                    return true;
                }
            }
        }
        false
    }

    /// A block of a tree is clear or dirty as a whole.
    fn spread_dirt(&mut self) {
        for (page, order) in self.blocks(0) {
            self.dirty |= if self.is_clear(page, order) { 0 } else { pages_of(page, order) };
        }
    }
}

/// An allocator in a small world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    allocator: Allocator,
    bounds: Bounds,
}

impl World {
    /// Makes the world.
    #[must_use]
    pub fn new(allocator: Allocator, bounds: Bounds) -> World {
        World { allocator, bounds }
    }

    /// What an idle client can ask for, and get. Any block will do: the client may want clear memory, or not.
    fn requests(&self, state: &State, mut push: impl FnMut(Step)) {
        for order in 0..=self.bounds.order {
            let blocks = state.blocks(order).map(|(from, _)| push(Step::Allocate { from, order })).count();
            if blocks > 0 {
                continue;
            }
            let by_force = self.allocator.dirt == Dirt::OwnTree { merges_by_force: true };
            let merges = by_force && { *state }.merge(order);
            push(if merges { Step::Merge { order } } else { Step::Refused { order } });
        }
    }

    /// Hands out the first part of a free block. The parts that are split off stay clear or dirty, as they are.
    fn allocate(applied: &mut Applied<State>, actor: u8, from: u8, order: u8) {
        let state = &mut applied.state;
        let Some(found) = state.free[usize::from(from)].take() else { return };
        for half in order..found {
            state.free[usize::from(from + (1 << half))] = Some(half);
        }
        let pages = pages_of(from, order);
        applied.broken.note(rules::i22_clear(pages & !state.dirty, state.written));
        // What is not said to be clear is cleared by its new owner before use.
        (state.written, state.dirty) = (state.written & !pages, state.dirty & !pages);
        state.clients[usize::from(actor)] = Some((from, order));
    }

    fn free(&self, state: &mut State, actor: u8, as_clear: bool) {
        let pages = state.owned(actor);
        let Some((page, order)) = state.clients[usize::from(actor)].take() else { return };
        state.dirty |= if as_clear { 0 } else { pages };
        if as_clear && self.allocator.dirt != Dirt::Notes {
            state.written &= !pages;
        }
        let joins = |alike| alike || self.allocator.dirt == Dirt::Notes;
        state.insert(page, order, self.bounds.order, joins);
    }
}

impl Design for World {
    type State = State;
    type Encoded = State;
    type Action = Action;
    type Scratch = ();

    fn scratch(&self) {}

    fn initial(&self) -> State {
        // Nothing is known of the first bytes of a device.
        let dirty = (1 << self.bounds.pages) - 1;
        let mut state = State { free: [None; PAGES], dirty, written: 0, clients: [None; CLIENTS] };
        for page in 0..self.bounds.pages {
            state.insert(page, 0, self.bounds.order, |alike| alike);
        }
        state
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        for (actor, owned) in (0..self.bounds.actors).zip(state.clients) {
            let mut push = |step| out.push(Action { actor, step });
            match owned {
                Some(_) => [Step::Write, Step::Free { as_clear: true }, Step::Free { as_clear: false }]
                    .into_iter()
                    .for_each(push),
                None => self.requests(state, &mut push),
            }
        }
    }

    fn apply(&self, (): &mut (), state: &State, Action { actor, step }: Action) -> Applied<State> {
        let mut applied = Applied::unbroken(*state);
        match step {
            Step::Allocate { from, order } => World::allocate(&mut applied, actor, from, order),
            Step::Merge { order } => {
                applied.state.merge(order);
            }
            Step::Refused { order } => {
                applied.broken.note(rules::i9_refused(order, state.largest_free(self.bounds)));
            }
            Step::Write => applied.state.written |= state.owned(actor),
            Step::Free { as_clear } => self.free(&mut applied.state, actor, as_clear),
        }
        applied
    }

    fn encode(&self, state: &State) -> State {
        let mut state = *state;
        state.clients[..usize::from(self.bounds.actors)].sort_unstable();
        state
    }

    fn decode(&self, encoded: &State) -> State {
        *encoded
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[9, 22])
    }

    fn describe(&self, before: &State, Action { actor, step }: Action, _after: &State) -> Description {
        let own = before.clients[usize::from(actor)].unwrap_or_default();
        let text = match (step, own) {
            (Step::Allocate { from, order }, _) => {
                let clear = before.is_clear(from, order);
                let said = if clear { "said to be clear" } else { "said to be dirty, and clears it" };
                format!("allocates order {order}: page {from}, {said}")
            }
            (Step::Merge { order }, _) => format!("asks for order {order}: blocks that differ are merged"),
            (Step::Refused { order }, _) => format!("asks for order {order}: refused"),
            (Step::Write, (page, order)) => format!("writes to its memory of order {order} at page {page}"),
            (Step::Free { as_clear: true }, (page, order)) if self.allocator.dirt == Dirt::Notes => {
                format!(
                    "frees order {order} at page {page}; there is no memory for the note that it is dirty"
                )
            }
            (Step::Free { as_clear: true }, (page, order)) => {
                format!("clears its memory of order {order} at page {page}, and frees it as clear")
            }
            (Step::Free { as_clear: false }, (page, order)) => {
                format!("frees order {order} at page {page} as dirty")
            }
        };
        Description { actor: format!("client {}", actor + 1), text }
    }

    fn view(&self, state: &State) -> Vec<String> {
        let free = state.blocks(0).map(|(page, order)| {
            let is = if state.is_clear(page, order) { "clear" } else { "dirty" };
            format!("page {page}: a free block of order {order}, said to be {is}")
        });
        let owned = (1..).zip(state.clients).filter_map(|(client, owned)| {
            let (page, order) = owned?;
            let holds = if state.written & pages_of(page, order) == 0 { "zeros" } else { "its bytes" };
            Some(format!("page {page}: a block of order {order} of client {client}, holds {holds}"))
        });
        free.chain(owned).collect()
    }

    fn scale(&self) -> String {
        format!("{} pages, orders 0 to {}", self.bounds.pages, self.bounds.order)
    }
}

/// Explores an allocator.
pub fn run(
    allocator: &Allocator,
    bounds: Bounds,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Option<Report> {
    let world = World::new(*allocator, bounds);
    let explore = || judge(allocator.name, WORLD, bounds, &world, &options.limits, progress);
    options.includes(WORLD).then(explore)
}

/// Name of the world of an allocator.
const WORLD: &str = "allocator";
