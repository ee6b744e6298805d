//! `linux-7.3-gpu-buddy`: the kernel's buddy allocator of 7.3.4, which keeps clear and dirty memory apart.
//!
//! Each order has two trees of free blocks: clear ones and dirty ones. A block that is freed joins its buddy only if both
//! are clear or both are dirty, so that a dirty half does not spoil a clear one. Where a request finds no block, buddies
//! that differ are merged after all (`__force_merge`), and what they become is dirty. Without that pass, orders would be
//! refused that free memory has (I9).

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
    /// Whether buddies that differ are merged where a request finds no block.
    pub merges_by_force: bool,
}

/// gpu_buddy of 7.3.4.
pub const LINUX_7_3: Allocator = Allocator {
    name: "linux-7.3-gpu-buddy",
    about: "7.3.4's gpu_buddy: clear and dirty blocks apart, merged when a request finds none",
    merges_by_force: true,
};

/// The same without the merging that is forced.
pub const UNMERGED: Allocator = Allocator {
    name: "gpu-buddy-unmerged",
    about: "clear and dirty blocks apart, and never merged with each other",
    merges_by_force: false,
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
    /// Gives its block back, and says whether it cleared it.
    Free { cleared: bool },
}

/// A free block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Block {
    order: u8,
    clear: bool,
}

/// All of a world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Free blocks by first page.
    free: [Option<Block>; PAGES],
    /// Pages that hold what a client wrote.
    written: u16,
    /// First page and order of what each client owns.
    clients: [Option<(u8, u8)>; CLIENTS],
}

fn pages_of(page: u8, order: u8) -> u16 {
    ((1u16 << (1 << order)) - 1) << page
}

impl State {
    /// First pages of free blocks of at least an order.
    fn blocks(&self, order: u8) -> impl Iterator<Item = (u8, Block)> + use<> {
        let free = self.free;
        (0u8..)
            .zip(free)
            .filter_map(move |(page, block)| block.map(|it| (page, it)))
            .filter(move |(_, it)| it.order >= order)
    }

    fn owned(&self, actor: u8) -> u16 {
        self.clients[usize::from(actor)].map_or(0, |(page, order)| pages_of(page, order))
    }

    /// The largest order whose pages are all free, in however many blocks.
    fn largest_free(&self, bounds: Bounds) -> Option<u8> {
        let free = self.blocks(0).fold(0, |all, (page, it)| all | pages_of(page, it.order));
        let whole =
            |order: u8| (0..bounds.pages).step_by(1 << order).any(|page| pages_of(page, order) & !free == 0);
        (0..=bounds.order).rev().find(|order| whole(*order))
    }

    /// Puts a block among the free ones, and joins it with its buddy as long as it may.
    fn insert(&mut self, mut page: u8, mut block: Block, top: u8, force: bool) {
        while block.order < top {
            let buddy = page ^ 1 << block.order;
            let Some(other) = self.free[usize::from(buddy)].filter(|it| it.order == block.order) else {
                break;
            };
            if other.clear != block.clear && !force {
                break;
            }
            self.free[usize::from(buddy)] = None;
            page &= buddy;
            block = Block { order: block.order + 1, clear: block.clear && other.clear };
        }
        self.free[usize::from(page)] = Some(block);
    }

    /// Merges buddies that differ, until there is a block of an order. Tells whether there is one.
    fn merge(&mut self, order: u8) -> bool {
        for below in (0..order).rev() {
            for (page, block) in self.blocks(0).filter(|(_, it)| it.order == below) {
                let here = self.free[usize::from(page)] == Some(block);
                let buddy = self.free[usize::from(page ^ 1 << below)].is_some_and(|it| it.order == below);
                if here && buddy {
                    self.free[usize::from(page)] = None;
                    self.insert(page, block, order, true);
                }
                if self.blocks(order).next().is_some() {
                    return true;
                }
            }
        }
        false
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
            let merges = self.allocator.merges_by_force && { *state }.merge(order);
            push(if merges { Step::Merge { order } } else { Step::Refused { order } });
        }
    }

    /// Hands out the first part of a free block. The parts that are split off stay clear or dirty, as the block is.
    fn allocate(applied: &mut Applied<State>, actor: u8, from: u8, order: u8) {
        let state = &mut applied.state;
        let Some(block) = state.free[usize::from(from)].take() else { return };
        for half in order..block.order {
            state.free[usize::from(from + (1 << half))] = Some(Block { order: half, ..block });
        }
        let pages = pages_of(from, order);
        let said_clear = if block.clear { pages } else { 0 };
        applied.broken.note(rules::i22_clear(said_clear, state.written));
        // What is not said to be clear is cleared by its new owner before use.
        state.written &= !pages;
        state.clients[usize::from(actor)] = Some((from, order));
    }

    fn free(&self, state: &mut State, actor: u8, cleared: bool) {
        let pages = state.owned(actor);
        let Some((page, order)) = state.clients[usize::from(actor)].take() else { return };
        state.written &= if cleared { !pages } else { u16::MAX };
        state.insert(page, Block { order, clear: cleared }, self.bounds.order, false);
    }
}

impl Design for World {
    type State = State;
    type Encoded = State;
    type Action = Action;
    type Scratch = ();

    fn scratch(&self) {}

    fn initial(&self) -> State {
        let mut state = State { free: [None; PAGES], written: 0, clients: [None; CLIENTS] };
        for page in 0..self.bounds.pages {
            // Nothing is known of the first bytes of a device.
            state.insert(page, Block { order: 0, clear: false }, self.bounds.order, false);
        }
        state
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        for (actor, owned) in (0..self.bounds.actors).zip(state.clients) {
            let mut push = |step| out.push(Action { actor, step });
            match owned {
                Some(_) => [Step::Write, Step::Free { cleared: true }, Step::Free { cleared: false }]
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
            Step::Free { cleared } => self.free(&mut applied.state, actor, cleared),
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
                let clear = before.free[usize::from(from)].is_some_and(|it| it.clear);
                let said = if clear { "said to be clear" } else { "said to be dirty, and clears it" };
                format!("allocates order {order}: page {from}, {said}")
            }
            (Step::Merge { order }, _) => format!("asks for order {order}: blocks that differ are merged"),
            (Step::Refused { order }, _) => format!("asks for order {order}: refused"),
            (Step::Write, (page, order)) => format!("writes to its memory of order {order} at page {page}"),
            (Step::Free { cleared: true }, (page, order)) => {
                format!("clears its memory of order {order} at page {page}, and frees it as clear")
            }
            (Step::Free { cleared: false }, (page, order)) => {
                format!("frees order {order} at page {page} as dirty")
            }
        };
        Description { actor: format!("client {}", actor + 1), text }
    }

    fn view(&self, state: &State) -> Vec<String> {
        let free = state.blocks(0).map(|(page, it)| {
            let is = if it.clear { "clear" } else { "dirty" };
            format!("page {page}: a free block of order {}, {is}", it.order)
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
pub(super) const WORLD: &str = "allocator";
