//! `buddy-dirty-lost`: an allocator whose record that a range is dirty can be lost for want of memory.
//!
//! As read in the kernel's buddy allocator of mid 2026: free memory is one tree per order, and dirty extents are
//! kept beside it. If the node for an extent cannot be allocated, the range is not recorded, and is reported as
//! clear when it is handed out next (I22).
//!
//! This world knows neither folios nor page words: pages, what is in them, and what the allocator believes.

use crate::design::{Action, Applied, Bounds, Design, Told};
use crate::explore::{Limits, Progress};
use crate::report::{Report, judge};
use bifolio_rules::RuleSet;
use bifolio_rules::facts::{self, Asked, HandedOut, Pages};

/// Name of the design.
pub const NAME: &str = "buddy-dirty-lost";
/// What it is.
pub const ABOUT: &str =
    "a buddy allocator that forgets that memory is dirty when it has no memory to note it";

const ALLOCATE: u8 = 0;
const WRITE: u8 = 1;
const FREE: u8 = 2;
const FREE_UNNOTED: u8 = 3;
const REFUSED: u8 = 4;

/// What a client owns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
struct Owned {
    page: u8,
    /// 1 + order; 0 for nothing.
    size: u8,
}

/// All of a world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    free: Pages,
    /// Pages that hold what a client wrote.
    written: Pages,
    /// Pages that the allocator knows to be dirty.
    noted: Pages,
    clients: [Owned; 3],
}

/// The allocator in a small world.
#[derive(Clone, Copy, Debug)]
pub struct DirtyLost {
    bounds: Bounds,
}

fn block(page: u8, order: u8) -> Pages {
    ((1u16 << (1 << order)) - 1) << page
}

impl DirtyLost {
    fn free_blocks(&self, state: &State, order: u8) -> impl Iterator<Item = u8> {
        let free = state.free;
        (0..self.bounds.pages)
            .step_by(1 << order)
            .filter(move |&page| free & block(page, order) == block(page, order))
    }

    fn allocate(applied: &mut Applied<State>, actor: u8, page: u8, order: u8) {
        let state = &mut applied.state;
        let pages = block(page, order);
        let handed = HandedOut { said_clear: pages & !state.noted, holding: state.written };
        applied.broken.require(facts::i22(&handed), 22);
        // What is not said to be clear is cleared by its new owner before use.
        state.free &= !pages;
        (state.written, state.noted) = (state.written & !pages, state.noted & !pages);
        state.clients[usize::from(actor)] = Owned { page, size: order + 1 };
    }
}

impl Design for DirtyLost {
    type State = State;
    type Kept = State;
    type Scratch = ();

    fn scratch(&self) {}

    fn initial(&self) -> State {
        State { free: (1 << self.bounds.pages) - 1, written: 0, noted: 0, clients: [Owned::default(); 3] }
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        for (actor, owned) in (0..self.bounds.actors).zip(state.clients) {
            let mut push = |verb, page, order| out.push(Action { actor, verb, page, order });
            match owned.size {
                0 => (0..=self.bounds.order).for_each(|order| {
                    let blocks =
                        self.free_blocks(state, order).map(|page| push(ALLOCATE, page, order)).count();
                    if blocks == 0 {
                        push(REFUSED, 0, order);
                    }
                }),
                size => {
                    [WRITE, FREE, FREE_UNNOTED].into_iter().for_each(|verb| push(verb, owned.page, size - 1));
                }
            }
        }
    }

    fn apply(&self, (): &mut (), state: &State, action: Action) -> Applied<State> {
        let Action { actor, verb, page, order } = action;
        let mut applied = Applied::kept(*state);
        let (pages, after) = (block(page, order), &mut applied.state);
        match verb {
            ALLOCATE => DirtyLost::allocate(&mut applied, actor, page, order),
            WRITE => after.written |= pages,
            REFUSED => {
                let free =
                    (0..=self.bounds.order).rev().find(|&k| self.free_blocks(state, k).next().is_some());
                applied.broken.require(facts::i9(&Asked { order, free, granted: false }), 9);
            }
            _ => {
                after.free |= pages;
                after.noted |= if verb == FREE { pages } else { 0 };
                after.clients[usize::from(actor)] = Owned::default();
            }
        }
        applied
    }

    fn keep(&self, state: &State) -> State {
        let mut state = *state;
        state.clients[..usize::from(self.bounds.actors)].sort_unstable();
        state
    }

    fn restore(&self, kept: &State) -> State {
        *kept
    }

    fn expresses(&self) -> RuleSet {
        RuleSet::of(&[9, 22])
    }

    fn tell(&self, before: &State, action: Action, _after: &State) -> Told {
        let Action { actor, verb, page, order } = action;
        let pages = block(page, order);
        let clear = before.noted & pages == 0;
        let text = match verb {
            ALLOCATE if clear => format!("allocates order {order}: page {page}, said to be clear"),
            ALLOCATE => format!("allocates order {order}: page {page}, said to be dirty, and clears it"),
            WRITE => format!("writes to its memory of order {order} at page {page}"),
            FREE => format!("frees order {order} at page {page}, which is noted as dirty"),
            REFUSED => format!("asks for order {order}: refused"),
            _ => format!(
                "frees order {order} at page {page}; there is no memory for the note that it is dirty"
            ),
        };
        Told { actor: format!("client {}", actor + 1), text }
    }

    fn view(&self, state: &State) -> Vec<String> {
        let line = |page: u8| {
            let is = |set: Pages, yes, no| if set >> page & 1 == 1 { yes } else { no };
            let (owner, bytes) =
                (is(state.free, "free", "owned"), is(state.written, "a client's bytes", "zeros"));
            format!(
                "page {page}: {owner}, holds {bytes}, allocator says {}",
                is(state.noted, "dirty", "clear")
            )
        };
        (0..self.bounds.pages).map(line).collect()
    }

    fn scale(&self) -> String {
        format!("{} pages, orders 0 to {}", self.bounds.pages, self.bounds.order)
    }
}

/// Explores the design.
pub fn run(bounds: Bounds, limits: &Limits, progress: &mut dyn FnMut(Progress)) -> Report {
    judge(NAME, "allocator", bounds, &DirtyLost { bounds }, limits, progress)
}
