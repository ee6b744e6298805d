//! The canonical form of a state: actors are sorted, and of two blocks that are alike either may be the first.
//!
//! A block's machine knows pages by their number inside the block, so a state with the blocks swapped behaves
//! alike, each page of one for its like of the other. Device pages are not renamed: blocks and machines know
//! them by number, and the first free ones are taken.

use std::cmp::Reverse;

use crate::svm::book::Book;
use crate::svm::state::{ACTORS, Actor, BLOCK_PAGES, BLOCKS, Frame, GARBAGE, State, VIRTUAL};

/// Returns the canonical form.
pub(super) fn canonical(mut state: State, book: &Book, blocks: u8) -> State {
    if usize::from(blocks) == BLOCKS {
        state = first_block(state, book);
    }
    state.actors.sort_unstable_by_key(|actor| actor_key(actor, book));
    state
}

/// Swaps the blocks if that makes a smaller state.
fn first_block(state: State, book: &Book) -> State {
    let rank = |block: usize| book.block_rank(state.blocks[block]);
    let swap = match rank(0).cmp(&rank(1)) {
        std::cmp::Ordering::Less => return state,
        std::cmp::Ordering::Greater => return swapped(state),
        std::cmp::Ordering::Equal => swapped(state),
    };
    if key(&swap, book) < key(&state, book) { swap } else { state }
}

/// All that tells a state from the one with its blocks swapped, if the blocks are in the same condition.
fn key(state: &State, book: &Book) -> impl Ord {
    let pages = state.pages.map(crate::svm::state::Virtual::bits);
    let mut actors = state.actors.map(|actor| actor_key(&actor, book));
    actors.sort_unstable();
    (pages, state.device, state.owners, state.child, actors)
}

type FrameKey = (bool, u8, u64);

/// What tells actors apart; those with work come first.
fn actor_key(actor: &Actor, book: &Book) -> impl Ord + use<> {
    let frame = |frame: Option<Frame>| -> Reverse<FrameKey> {
        Reverse(frame.map_or((false, 0, 0), |it| (true, it.block, book.task_rank(it.task))))
    };
    (frame(actor.outer), frame(actor.inner), actor.victim, actor.evicted, actor.contended)
}

/// The same state with the blocks swapped.
fn swapped(mut state: State) -> State {
    state.blocks.swap(0, 1);
    let pages = state.pages;
    for (page, from) in
        state.pages.iter_mut().enumerate().map(|(at, page)| (page, (at + BLOCK_PAGES) % VIRTUAL))
    {
        *page = pages[from];
        page.expected = page.expected.map(value);
        page.ram = page.ram.map(value);
    }
    state.device = state.device.map(value);
    for (owner, backing) in state.owners.iter_mut().zip(state.backings) {
        *owner = if backing == 0 { 0 } else { other(*owner) };
    }
    const { assert!(BLOCKS == 2 && ACTORS <= 3, "one swap is all there is") };
    state.child =
        state.child.map(|child| (child << BLOCK_PAGES | child >> BLOCK_PAGES) & ((1 << VIRTUAL) - 1));
    state.actors = state.actors.map(swapped_actor);
    state
}

fn swapped_actor(actor: Actor) -> Actor {
    let frame = |frame: Option<Frame>| frame.map(|it| Frame { block: it.block ^ 1, ..it });
    let victim = actor.victim.map(|(page, head)| (other(page), head));
    Actor { outer: frame(actor.outer), inner: frame(actor.inner), victim, ..actor }
}

/// The like of a page in the other block.
fn other(page: u8) -> u8 {
    (page + BLOCK_PAGES as u8) % VIRTUAL as u8
}

/// The like of what was written to a page.
fn value(value: u8) -> u8 {
    if value == 0 || value == GARBAGE { value } else { 1 + other(value - 1) }
}
