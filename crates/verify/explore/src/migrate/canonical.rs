//! The canonical form of a state: actors are sorted, and so are blocks.
//!
//! A block's machine knows pages by their number inside the block, so a state with its blocks in another order
//! behaves alike, each page of one for its like of another. Device pages are not renamed: blocks and machines know
//! them by number, and the first free ones are taken.

use std::cmp::Reverse;

use crate::migrate::state::{Actor, BLOCK_PAGES, BLOCKS, Frame, GARBAGE, State, VIRTUAL, Virtual};
use crate::migrate::transition_cache::TransitionCache;

/// For each new place of a block, the place it had.
type Order = [usize; BLOCKS];

/// All orders of the blocks of a world that has one, two or three.
const ORDERS: [&[Order]; BLOCKS] = [
    &[[0, 1, 2]],
    &[[0, 1, 2], [1, 0, 2]],
    &[[0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]],
];

/// Returns the canonical form, in a world of this many blocks.
pub(super) fn canonical(mut state: State, cache: &TransitionCache, blocks: u8) -> State {
    let ranks = state.blocks.map(|number| cache.block_rank(number));
    let sorted = |order: &&Order| (1..usize::from(blocks)).all(|at| ranks[order[at - 1]] <= ranks[order[at]]);
    let mut orders = ORDERS[usize::from(blocks) - 1].iter().filter(sorted);
    let first = *orders.next().expect("one of all orders is sorted");
    let mut best = in_order(state, first);
    // Only blocks in the same condition leave a choice.
    for order in orders {
        let other = in_order(state, *order);
        if key(&other, cache) < key(&best, cache) {
            best = other;
        }
    }
    state = best;
    state.actors.sort_unstable_by_key(|actor| actor_key(actor, cache));
    state
}

/// All that tells a state from the one with its blocks in another order, if the blocks are in the same condition.
fn key(state: &State, cache: &TransitionCache) -> impl Ord + use<> {
    let mut actors = state.actors.map(|actor| actor_key(&actor, cache));
    actors.sort_unstable();
    (state.pages.map(Virtual::bits), state.device, state.owners, state.child, actors)
}

type FrameKey = (bool, u8, u64);

/// What tells actors apart; those with work come first.
fn actor_key(actor: &Actor, cache: &TransitionCache) -> impl Ord + use<> {
    let frame = |frame: Option<Frame>| -> Reverse<FrameKey> {
        Reverse(frame.map_or((false, 0, 0), |it| (true, it.block, cache.task_rank(it.task))))
    };
    (frame(actor.outer), frame(actor.inner), actor.victim, actor.evicted, actor.contended)
}

/// The same state with its blocks in another order.
fn in_order(mut state: State, order: Order) -> State {
    if order == ORDERS[0][0] {
        return state;
    }
    let names = Names::of(order);
    let (blocks, pages) = (state.blocks, state.pages);
    for (new, old) in order.into_iter().enumerate() {
        state.blocks[new] = blocks[old];
        for inside in 0..BLOCK_PAGES {
            let page = pages[old * BLOCK_PAGES + inside];
            let (expected, ram) =
                (page.expected.map(|it| names.value(it)), page.ram.map(|it| names.value(it)));
            state.pages[new * BLOCK_PAGES + inside] = Virtual { expected, ram, ..page };
        }
    }
    state.device = state.device.map(|bytes| names.value(bytes));
    for (owner, _) in state.owners.iter_mut().zip(state.backings).filter(|(_, backing)| *backing != 0) {
        *owner = names.page(*owner);
    }
    state.child = state.child.map(|child| names.pages(child));
    state.actors = state.actors.map(|actor| names.actor(actor));
    state
}

/// What blocks are called in another order.
struct Names([u8; BLOCKS]);

impl Names {
    fn of(order: Order) -> Names {
        let mut names = [0; BLOCKS];
        order.into_iter().enumerate().for_each(|(new, old)| names[old] = new as u8);
        Names(names)
    }

    fn block(&self, block: u8) -> u8 {
        self.0[usize::from(block)]
    }

    fn page(&self, page: u8) -> u8 {
        let (block, inside) = (page / BLOCK_PAGES as u8, page % BLOCK_PAGES as u8);
        self.0.get(usize::from(block)).map_or(page, |block| block * BLOCK_PAGES as u8 + inside)
    }

    fn pages(&self, pages: u8) -> u8 {
        let set = (0..VIRTUAL as u8).filter(|page| pages >> page & 1 == 1);
        set.fold(0, |all, page| all | 1 << self.page(page))
    }

    /// What was written to a page is told by its number.
    fn value(&self, value: u8) -> u8 {
        if value == 0 || value == GARBAGE { value } else { 1 + self.page(value - 1) }
    }

    fn actor(&self, actor: Actor) -> Actor {
        let frame = |frame: Option<Frame>| frame.map(|it| Frame { block: self.block(it.block), ..it });
        let victim = actor.victim.map(|(page, head)| (self.page(page), head));
        Actor { outer: frame(actor.outer), inner: frame(actor.inner), victim, ..actor }
    }
}
