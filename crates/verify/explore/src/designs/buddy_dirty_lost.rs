//! `buddy-dirty-lost`: an allocator whose record that a range is dirty can be lost for want of memory.
//!
//! As read in a series that was posted for the kernel's gpu_buddy in mid 2026, and is not in 7.3.4: free memory is one tree
//! per order, and dirty extents are kept beside it. If the node for an extent cannot be allocated, the range is not
//! recorded, and is reported as clear when it is handed out next (I22). What 7.3.4 does is [`gpu_buddy`].
//!
//! [`gpu_buddy`]: crate::designs::gpu_buddy
//!
//! This world knows neither folios nor page words: pages, what is in them, and what the allocator believes.

use bifolio_rules::{RuleSet, judge as rules};

use crate::design::{Applied, Bounds, Description, Design};
use crate::designs::gpu_buddy::WORLD;
use crate::designs::options::Options;
use crate::explore::Progress;
use crate::report::{Report, judge};

/// Name of the design.
pub const NAME: &str = "buddy-dirty-lost";
/// What it is.
pub const ABOUT: &str =
    "a series posted in 2026: dirt is noted beside the free blocks, if there is memory for the note";

/// What a client does, and its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    actor: u8,
    step: Step,
}

/// One step of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Is given a block.
    Allocate { page: u8, order: u8 },
    /// Is given none.
    Refused { order: u8 },
    /// Writes to its block.
    Write,
    /// Gives its block back; the allocator notes that it is dirty, or has no memory for the note.
    Free { noted: bool },
}

/// First page and order of the block that a client owns.
type Owned = Option<(u8, u8)>;

/// All of a world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    free: u16,
    /// Pages that hold what a client wrote.
    written: u16,
    /// Pages that the allocator knows to be dirty.
    noted: u16,
    clients: [Owned; 3],
}

impl State {
    /// Pages of the block that a client owns.
    fn pages_of(&self, actor: u8) -> u16 {
        self.clients[usize::from(actor)].map_or(0, |(page, order)| block(page, order))
    }
}

/// The allocator in a small world.
#[derive(Clone, Copy, Debug)]
pub struct DirtyLost {
    bounds: Bounds,
}

fn block(page: u8, order: u8) -> u16 {
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
        applied.broken.note(rules::i22_clear(pages & !state.noted, state.written));
        // What is not said to be clear is cleared by its new owner before use.
        state.free &= !pages;
        (state.written, state.noted) = (state.written & !pages, state.noted & !pages);
        state.clients[usize::from(actor)] = Some((page, order));
    }
}

impl Design for DirtyLost {
    type State = State;
    type Encoded = State;
    type Action = Action;
    type Scratch = ();

    fn scratch(&self) {}

    fn initial(&self) -> State {
        State { free: (1 << self.bounds.pages) - 1, written: 0, noted: 0, clients: [None; 3] }
    }

    fn actions(&self, state: &State, out: &mut Vec<Action>) {
        for (actor, owned) in (0..self.bounds.actors).zip(state.clients) {
            let mut push = |step| out.push(Action { actor, step });
            if owned.is_some() {
                [Step::Write, Step::Free { noted: true }, Step::Free { noted: false }]
                    .into_iter()
                    .for_each(push);
                continue;
            }
            for order in 0..=self.bounds.order {
                let blocks = self.free_blocks(state, order);
                if blocks.map(|page| push(Step::Allocate { page, order })).count() == 0 {
                    push(Step::Refused { order });
                }
            }
        }
    }

    fn apply(&self, (): &mut (), state: &State, Action { actor, step }: Action) -> Applied<State> {
        let mut applied = Applied::unbroken(*state);
        let (pages, after) = (state.pages_of(actor), &mut applied.state);
        match step {
            Step::Allocate { page, order } => DirtyLost::allocate(&mut applied, actor, page, order),
            Step::Refused { order } => {
                let free =
                    (0..=self.bounds.order).rev().find(|&k| self.free_blocks(state, k).next().is_some());
                applied.broken.note(rules::i9_refused(order, free));
            }
            Step::Write => after.written |= pages,
            Step::Free { noted } => {
                after.free |= pages;
                after.noted |= if noted { pages } else { 0 };
                after.clients[usize::from(actor)] = None;
            }
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
        let text = match (step, before.clients[usize::from(actor)].unwrap_or_default()) {
            (Step::Allocate { page, order }, _) => {
                let clear = before.noted & block(page, order) == 0;
                let said = if clear { "said to be clear" } else { "said to be dirty, and clears it" };
                format!("allocates order {order}: page {page}, {said}")
            }
            (Step::Refused { order }, _) => format!("asks for order {order}: refused"),
            (Step::Write, (page, order)) => format!("writes to its memory of order {order} at page {page}"),
            (Step::Free { noted: true }, (page, order)) => {
                format!("frees order {order} at page {page}, which is noted as dirty")
            }
            (Step::Free { noted: false }, (page, order)) => {
                format!(
                    "frees order {order} at page {page}; there is no memory for the note that it is dirty"
                )
            }
        };
        Description { actor: format!("client {}", actor + 1), text }
    }

    fn view(&self, state: &State) -> Vec<String> {
        let line = |page: u8| {
            let is = |set: u16, yes, no| if set >> page & 1 == 1 { yes } else { no };
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
pub fn run(bounds: Bounds, options: &Options, progress: &mut dyn FnMut(Progress)) -> Option<Report> {
    let explore = || judge(NAME, WORLD, bounds, &DirtyLost { bounds }, &options.limits, progress);
    options.includes(WORLD).then(explore)
}
