//! [`MemoryOrder`]: when other threads see the stores of a path that frees a folio.
//!
//! Usually each step is seen by all threads at once. With [`MemoryOrder::Weak`] the plain stores of a freeing path to page
//! words may be seen late, those of each page for themselves and in any order: those that clear the mapping and the memory
//! cgroup of the head, and those that undo the compound. They are seen at the latest when the path hands the memory back,
//! if that is [ordered](HandBack::Ordered) after them, or else when the path ends. The path itself reads what it stored.
//!
//! Seen at once are atomic operations (references, the freezing of a split), and what is done to a folio under its lock. A
//! thread that is given memory reads its words afterwards, not before: it has taken the allocator's lock.

use bifolio_rules::judge::{self, Path};

use crate::design::Applied;
use crate::linux::action::Step;
use crate::linux::contract::HandBack;
use crate::linux::page::{Info, Mapping, Memcg, Page, undo_page};
use crate::linux::state::{Actor, PAGES, Pages, State, block, pages_in};
use crate::linux::world::World;

/// When other threads see the stores of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryOrder {
    /// At once.
    #[default]
    Sequential,
    /// Plain stores of a freeing path may be seen late.
    Weak,
}

impl MemoryOrder {
    /// All of them.
    pub const ALL: [MemoryOrder; 2] = [MemoryOrder::Sequential, MemoryOrder::Weak];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MemoryOrder::Sequential => "sequential",
            MemoryOrder::Weak => "weak",
        }
    }
}

/// Stores of a freeing path that other threads do not see yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Late {
    /// Whether they still see the mapping and the memory cgroup of the head.
    pub put: bool,
    /// Pages that they still see in the compound.
    pub undone: Pages,
}

impl Late {
    fn is_none(self) -> bool {
        self == Late::default()
    }

    /// The pages that the stores are to.
    fn pages(self, head: u8) -> Pages {
        self.undone | if self.put { 1 << head } else { 0 }
    }
}

/// The folio that an actor frees, and whether it was handed back.
fn freed(actor: Actor) -> Option<(u8, u8, bool)> {
    match actor {
        Actor::Freeing { page, order } | Actor::Undone { page, order } => Some((page, order, false)),
        Actor::HandingBack { page, order, .. }
        | Actor::HandedBack { page, order }
        | Actor::UndoneAfter { page, order } => Some((page, order, true)),
        _ => None,
    }
}

/// Does plain stores of the path that an actor is on.
pub(super) fn store(world: &World, state: &mut State, actor: u8, stores: Late) {
    match world.memory_order {
        MemoryOrder::Sequential => apply(world, &mut state.pages, state.actors[usize::from(actor)], stores),
        MemoryOrder::Weak => {
            let late = &mut state.late[usize::from(actor)];
            (late.put, late.undone) = (late.put || stores.put, late.undone | stores.undone);
        }
    }
}

fn apply(world: &World, pages: &mut [Page; PAGES], actor: Actor, stores: Late) {
    let Some((head, order, _)) = freed(actor) else { return };
    if stores.put {
        let first = &mut pages[usize::from(head)];
        (first.memcg, first.mapping) = (Memcg::Null, Mapping::Null);
    }
    for page in pages_in(stores.undone) {
        undo_page(pages, page, (head, order), world.contract.reset, Info::PageMap);
    }
}

/// The words as the actor itself reads them.
pub(super) fn own_view(world: &World, state: &State, actor: u8) -> [Page; PAGES] {
    let mut pages = state.pages;
    let at = usize::from(actor);
    if !state.late[at].is_none() {
        apply(world, &mut pages, state.actors[at], state.late[at]);
    }
    pages
}

/// Lists the stores of an actor that may be seen next.
pub(super) fn list(state: &State, actor: u8, mut push: impl FnMut(Step)) {
    let late = state.late[usize::from(actor)];
    if late.put {
        push(Step::SeePut);
    }
    pages_in(late.undone).for_each(|page| push(Step::SeeUndone { page }));
}

/// Other threads see some of the late stores of an actor.
pub(super) fn see(world: &World, applied: &mut Applied<State>, actor: u8, stores: Late) {
    let (state, at) = (&mut applied.state, usize::from(actor));
    let Some((head, order, handed_back)) = freed(state.actors[at]) else { return };
    let own = if handed_back { 0 } else { block(head, order) };
    let (pages, live) = (stores.pages(head), state.live() & !own);
    let handed_out = live | state.claimed_by_others(actor);
    applied.broken.note(judge::words_of_others(Path::HandedBack, pages, handed_out));
    applied.broken.note(judge::words_of_others(Path::Forming, pages, live));
    apply(world, &mut state.pages, state.actors[at], stores);
    let late = &mut state.late[at];
    (late.put, late.undone) = (late.put && !stores.put, late.undone & !stores.undone);
}

/// The path hands memory back: what is ordered before that is seen.
pub(super) fn hand_back(world: &World, applied: &mut Applied<State>, actor: u8) {
    if world.contract.hand_back == HandBack::Ordered {
        end(world, applied, actor);
    }
}

/// The path ends: all of its stores are seen.
pub(super) fn end(world: &World, applied: &mut Applied<State>, actor: u8) {
    let late = applied.state.late[usize::from(actor)];
    if !late.is_none() {
        see(world, applied, actor, late);
    }
}
