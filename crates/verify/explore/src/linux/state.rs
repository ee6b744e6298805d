//! State of a world of `struct page`: words, what the driver keeps, what is true, and how far each actor is.

use crate::linux::memory_order::Late;
use crate::linux::page::{HOT, Page, WORKINGSET};

/// A set of pages, one bit each.
pub type Pages = u16;

/// Room for pages of the largest world.
pub const PAGES: usize = 8;
/// Room for actors of the largest world.
pub const ACTORS: usize = 3;

/// In which part of its life a folio truly is, whatever its words say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    /// No folio begins at this page.
    #[default]
    Gone,
    /// Formed, locked by its maker.
    New,
    /// In use.
    Live,
    /// Being split: no reference can be had.
    Frozen,
    /// Last reference put, not yet handed back.
    Freeing,
}

/// A folio as it truly is, kept at its head page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Folio {
    /// Part of its life.
    pub phase: Phase,
    /// Order.
    pub order: u8,
}

/// An object of the driver that holds a block of memory, kept at its first page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Object {
    /// References; the object is gone at 0.
    pub references: u8,
    /// Order of its block.
    pub order: u8,
}

/// How far an actor has come; page and order are those of the block or folio that it works on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Actor {
    /// Could begin anything.
    #[default]
    Idle,
    /// Owns a range that the allocator gave out.
    Claimed { page: u8, order: u8 },
    /// Has looked for a stale compound over its range and found the one of this head and order, if any.
    Looked { page: u8, order: u8, stale: Option<(u8, u8)> },
    /// Is ready to form what it claimed.
    Ready { page: u8, order: u8 },
    /// Has formed what it claimed, all still locked.
    Formed { page: u8, order: u8 },
    /// Has frozen a folio to split it.
    Splitting { page: u8, to: u8 },
    /// Put the last reference; remembers the order.
    Freeing { page: u8, order: u8 },
    /// Has undone the compound.
    Undone { page: u8, order: u8 },
    /// `folio_free` was called for some of the pages, from the first one on.
    HandingBack { page: u8, order: u8, done: u8 },
    /// `folio_free` has returned for the last time.
    HandedBack { page: u8, order: u8 },
    /// Has undone the compound after that; the pagemap's references are still to be dropped.
    UndoneAfter { page: u8, order: u8 },
}

/// All of a world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Words of the pages.
    pub pages: [Page; PAGES],
    /// Folios as they truly are.
    pub folios: [Folio; PAGES],
    /// Objects of the driver.
    pub objects: [Object; PAGES],
    /// Pages that the allocator may hand out.
    pub free: Pages,
    /// With lists: pages on the list of single pages.
    pub small: Pages,
    /// With lists: heads on the list of large folios.
    pub large: Pages,
    /// References of the pagemap.
    pub pagemap: i8,
    /// Whether a hot page of a program has moved to the device.
    pub was_hot: bool,
    /// Whether teardown has begun.
    pub killed: bool,
    /// Whether teardown has ended.
    pub ended: bool,
    /// Actors; those beyond the bounds stay idle.
    pub actors: [Actor; ACTORS],
    /// For each actor, its stores that others do not see yet.
    pub late: [Late; ACTORS],
}

/// The pages of a set.
pub fn pages_in(set: Pages) -> impl Iterator<Item = u8> {
    (0u8..).take(PAGES).filter(move |page| set >> page & 1 == 1)
}

/// The pages of a block.
#[must_use]
pub fn block(page: u8, order: u8) -> Pages {
    ((1u16 << (1 << order)) - 1) << page
}

impl State {
    /// A world in which all is free and nothing was ever used.
    #[must_use]
    pub fn fresh(pages: u8) -> State {
        State {
            pages: [Page::FRESH; PAGES],
            folios: [Folio::default(); PAGES],
            objects: [Object::default(); PAGES],
            free: (1u16 << pages) - 1,
            small: 0,
            large: 0,
            pagemap: 0,
            was_hot: false,
            killed: false,
            ended: false,
            actors: [Actor::Idle; ACTORS],
            late: [Late::default(); ACTORS],
        }
    }

    /// Gives the pages of folios that were just formed the flags above the low byte that such folios have.
    pub fn settle_new_flags(&mut self) {
        for head in (0..PAGES).filter(|head| self.folios[*head].phase == Phase::New) {
            let order = self.folios[head].order;
            self.pages[head..head + (1 << order)].iter_mut().for_each(|page| page.flags &= !HOT);
            if order > 0 {
                self.pages[head + 1].flags |= WORKINGSET;
            }
        }
    }

    /// Gives actors their numbers in an order that depends on nothing but what they do.
    pub fn sort_actors(&mut self, actors: u8) {
        let mut each: [(Actor, Late); ACTORS] = std::array::from_fn(|at| (self.actors[at], self.late[at]));
        each[..usize::from(actors)].sort_unstable();
        (self.actors, self.late) = (each.map(|(actor, _)| actor), each.map(|(_, late)| late));
    }

    /// Heads and folios that truly are.
    pub fn true_folios(&self) -> impl Iterator<Item = (u8, Folio)> {
        (0u8..).zip(self.folios).filter(|(_, folio)| folio.phase != Phase::Gone)
    }

    /// Pages of folios that truly are.
    #[must_use]
    pub fn live(&self) -> Pages {
        self.true_folios().map(|(head, folio)| block(head, folio.order)).fold(0, |all, pages| all | pages)
    }

    /// Pages that actors other than `me` claimed and have not formed yet.
    #[must_use]
    pub fn claimed_by_others(&self, me: u8) -> Pages {
        let others = (0u8..).zip(self.actors).filter(|(number, _)| *number != me);
        others.map(|(_, actor)| actor.claims()).fold(0, |all, pages| all | pages)
    }

    /// Pages that the pagemap should have references for: in folios, or in the hands of a freeing path.
    #[must_use]
    pub fn counted_pages(&self) -> u64 {
        let in_folios: u32 = self.true_folios().map(|(_, folio)| 1 << folio.order).sum();
        let handed: u32 = self.actors.iter().map(|actor| actor.handed_pages()).sum();
        u64::from(in_folios + handed)
    }

    /// References that the object at `page` should have: one for each folio on it, one for an actor in flight.
    #[must_use]
    pub fn object_users(&self, page: u8) -> u8 {
        let object = self.objects[usize::from(page)];
        let mine = block(page, object.order);
        let on_it = |(head, folio): &(u8, Folio)| folio.phase != Phase::New && mine >> head & 1 == 1;
        let folios = self.true_folios().filter(on_it).count();
        let flying = self.actors.iter().filter(|actor| actor.in_flight() & mine != 0).count();
        u8::try_from(folios + flying).unwrap_or(u8::MAX)
    }

    /// Pages of objects that exist.
    #[must_use]
    pub fn owned(&self) -> Pages {
        let objects = (0u8..).zip(self.objects).filter(|(_, object)| object.references > 0);
        objects.fold(0, |all, (page, object)| all | block(page, object.order))
    }

    /// Pages that need an object: those of folios, and those in the hands of an actor.
    #[must_use]
    pub fn needing_objects(&self) -> Pages {
        self.actors.iter().fold(self.live(), |all, actor| all | actor.in_flight())
    }

    /// Largest order of an aligned block of free pages.
    #[must_use]
    pub fn largest_free(&self, pages: u8, largest: u8) -> Option<u8> {
        (0..=largest).rev().find(|&order| blocks(pages, order).any(|page| self.is_free(page, order)))
    }

    /// Whether all pages of a block are free.
    #[must_use]
    pub fn is_free(&self, page: u8, order: u8) -> bool {
        self.free & block(page, order) == block(page, order)
    }
}

/// First pages of the blocks of an order.
pub fn blocks(pages: u8, order: u8) -> impl Iterator<Item = u8> {
    (0..pages).step_by(1 << order)
}

impl Actor {
    fn claims(self) -> Pages {
        match self {
            Actor::Claimed { page, order }
            | Actor::Looked { page, order, .. }
            | Actor::Ready { page, order } => block(page, order),
            _ => 0,
        }
    }

    fn in_flight(self) -> Pages {
        match self {
            Actor::Formed { page, order } | Actor::HandingBack { page, order, .. } => block(page, order),
            other => other.claims(),
        }
    }

    fn handed_pages(self) -> u32 {
        match self {
            Actor::HandingBack { order, .. }
            | Actor::HandedBack { order, .. }
            | Actor::UndoneAfter { order, .. } => 1 << order,
            _ => 0,
        }
    }
}
