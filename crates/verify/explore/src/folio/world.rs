//! [`World`]: how large a world of shipped folios is, and which operations its actors can do.

use bifolio_folio::Reset;

use crate::design::Bounds;
use crate::folio::action::{Action, Operation};
use crate::folio::encoded::without_symmetry;
use crate::folio::state::{Handle, HandleKind, LEFT_OVER, LIVE, State, all_pages, block, ones, order_in};

/// What has no name of its own. Of actions that differ by such a name only, one is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Symmetry {
    /// Pages and actors are alike.
    PagesAndActors,
    /// Actors are alike; a shipped pool prefers some pages to others.
    Actors,
    /// All actions are listed.
    None,
}

/// The size of a world, and what is left out of it.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Pages, largest order, actors.
    pub bounds: Bounds,
    /// When words of folios are reset.
    pub reset: Reset,
    /// What is alike.
    pub symmetry: Symmetry,
}

impl World {
    /// The bits that a folio leaves in its word.
    pub fn left_over(&self) -> u16 {
        match self.reset {
            Reset::OnFree => 0,
            Reset::OnForm => LEFT_OVER,
        }
    }

    /// The actors and what they hold.
    pub fn actors(&self, state: &State) -> impl Iterator<Item = (u8, Handle)> {
        (0..self.bounds.actors).zip(state.handles)
    }

    /// Lists what the actors can do.
    pub fn list_actions(&self, state: &State, out: &mut Vec<Action>) {
        let pages = all_pages(self.bounds.pages)
            & match self.symmetry {
                Symmetry::PagesAndActors => without_symmetry(state, self.bounds.order, self.reset),
                Symmetry::Actors | Symmetry::None => u8::MAX,
            };
        for (actor, handle) in self.actors(state) {
            let alike = state.handles[..usize::from(actor)].contains(&handle);
            let elsewhere = handle.kind != HandleKind::None && pages >> handle.page & 1 == 0;
            if self.symmetry != Symmetry::None && (alike || elsewhere) {
                continue;
            }
            let mut push = |operation| out.push(Action { actor, operation });
            match handle.kind {
                HandleKind::None => self.unoccupied(state, pages, &mut push),
                HandleKind::Range => [Operation::Form, Operation::GiveBack].into_iter().for_each(push),
                HandleKind::Locked => self.with_lock(state, handle, &mut push),
                HandleKind::Live => {
                    push(Operation::TryLock);
                    if state.parked_order(handle.page).is_none() {
                        push(Operation::Park);
                    }
                    self.drops(state, handle, &mut push);
                }
            }
        }
    }

    /// What an actor without a handle can do with these pages.
    fn unoccupied(&self, state: &State, pages: u8, push: &mut impl FnMut(Operation)) {
        if !state.dead {
            push(Operation::Kill);
            // Where pages are not alike, a shipped pool chooses them.
            let choices = if self.symmetry == Symmetry::Actors { 0 } else { self.bounds.order + 1 };
            for order in 0..choices {
                let aligned = ones(state.free & pages).filter(|page| page & ((1 << order) - 1) == 0);
                let free = aligned.filter(|&page| state.free & block(page, order) == block(page, order));
                free.for_each(|page| push(Operation::Allocate { page, order }));
            }
        }
        for page in ones(pages) {
            let word = state.words.at(page);
            if word & LIVE != 0 {
                // By the last page, which takes the longest way to the head.
                push(Operation::Get { page: page + (1 << order_in(word)) - 1 });
            }
            if let Some(order) = state.parked_order(page) {
                push(Operation::Unpark { page, order });
            }
        }
        if state.free != 0 {
            push(Operation::Get { page: u8::try_from(state.free.trailing_zeros()).unwrap_or(0) });
        }
    }

    /// What an actor with a locked folio can do.
    fn with_lock(&self, state: &State, handle: Handle, push: &mut impl FnMut(Operation)) {
        let Handle { page, order, .. } = handle;
        push(Operation::Unlock);
        (0..order).for_each(|to| push(Operation::Split { to }));
        for to in 0..order.saturating_sub(1) {
            let pieces = (page..page + (1 << order)).step_by(1 << to);
            pieces.for_each(|page| push(Operation::SplitAround { page, to }));
        }
        for to in order + 1..=self.bounds.order {
            let first = page & !((1 << to) - 1);
            let other_half = block(first, to) & !block(page & !((1 << (to - 1)) - 1), to - 1);
            if ones(other_half).any(|other| state.parked_order(other).is_some()) {
                push(Operation::Collapse { first, to });
            }
        }
        self.drops(state, handle, push);
    }

    fn drops(&self, state: &State, handle: Handle, push: &mut impl FnMut(Operation)) {
        push(Operation::Drop);
        let last = state.words.at(handle.page) & 15 == 1;
        let another = self.actors(state).any(|(_, handle)| handle.kind == HandleKind::None);
        if last && another && !state.dead {
            push(Operation::DropAndReuse);
        }
    }
}
