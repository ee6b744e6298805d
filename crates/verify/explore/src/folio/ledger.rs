//! The pool of the world: takes folios back from the shipped pagemap and keeps the references of backings.
//!
//! Like the pool of the runtime, it has a backing for each allocation, with one reference for each folio on it,
//! and gets the memory back with the last one. It hands out *any* free aligned block, so what holds here holds
//! for every allocator: or one of the shipped pools answers in its place, see [`pooled`](crate::folio::pooled).

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bifolio_folio::{FreeRange, Locked, MemoryKind, Order, PageMap, Pfn, Pool, RawFolio, Reset};

use crate::folio::fault::Fault;
use crate::folio::pooled::Desk;
use crate::folio::state::{PAGES, backing, backing_parts, block, name};

/// A call of `folio_free` as the pool got it: page, order.
pub type Call = (u8, u8);

/// The pool.
#[derive(Debug)]
pub struct Ledger {
    /// Pages that can be handed out.
    pub free: Cell<u8>,
    /// Backings by first page, packed.
    pub backings: Cell<[u8; PAGES]>,
    /// Calls since the step began; the number of calls, and the first two.
    pub calls: Cell<(u8, [Call; 2])>,
    /// Whether somebody else is to take and form the pages at once when they come back, as another thread may.
    pub reuse: Cell<bool>,
    /// The block that was formed so.
    pub reused: Cell<Option<Call>>,
    /// The shipped pool, if there is one.
    pub desk: Option<Desk>,
    fault: Fault,
    map: RefCell<Weak<PageMap<Ledger>>>,
}

impl Ledger {
    /// Makes a pagemap of `pages` pages over a new pool.
    pub fn pagemap(reset: Reset, pages: u8, fault: Fault) -> Rc<PageMap<Ledger>> {
        Ledger::pagemap_over(None, reset, pages, fault)
    }

    /// The same over a shipped pool, if there is one.
    pub fn pagemap_over(desk: Option<Desk>, reset: Reset, pages: u8, fault: Fault) -> Rc<PageMap<Ledger>> {
        let ledger = Ledger {
            free: Cell::new(0),
            backings: Cell::default(),
            calls: Cell::default(),
            reuse: Cell::new(false),
            reused: Cell::new(None),
            desk,
            fault,
            map: RefCell::default(),
        };
        let map = PageMap::with_reset(reset, MemoryKind::Private, Pfn::ZERO, u64::from(pages), ledger);
        let map = Rc::new(map.expect("bounds were checked: 1 to 8 pages"));
        map.pool().map.replace(Rc::downgrade(&map));
        map
    }

    /// Hands out a block: the one at `page`, or what the shipped pool has for the bytes of home page `page`. Returns its
    /// first page.
    pub fn grant(&self, page: u8, order: u8) -> Option<u8> {
        let Some(desk) = &self.desk else {
            self.allocate(page, order);
            return Some(page);
        };
        let granted = desk.allocate(page, order);
        self.free.set(desk.free());
        granted
    }

    /// The data of a folio to be formed of a block that was handed out.
    pub fn data(&self, page: u8, order: u8) -> u32 {
        u32::from(self.desk.as_ref().map_or(name(page, order), |desk| desk.name_at(page)))
    }

    /// Takes back a block that no folio was formed of.
    pub fn give_back(&self, page: u8, order: u8) {
        match &self.desk {
            None => self.take_back(u32::from(page)),
            Some(desk) => {
                desk.give_back(page, order);
                self.free.set(desk.free());
            }
        }
    }

    /// Asks the shipped pool for what only some pools do: a verb of the world.
    pub fn ask(&self, verb: u8) {
        if let Some(desk) = &self.desk {
            desk.ask(verb);
            self.free.set(desk.free());
        }
    }

    /// Takes a block and a first reference of a backing for it.
    pub fn allocate(&self, page: u8, order: u8) {
        self.free.set(self.free.get() & !block(page, order));
        let mut backings = self.backings.get();
        backings[usize::from(page)] = backing(1, order);
        self.backings.set(backings);
    }

    /// Adds to the references of a backing.
    fn count(&self, first: u8, add: i16) {
        let mut backings = self.backings.get();
        let at = usize::from(first) % PAGES;
        let (references, order) = backing_parts(backings[at]);
        let left = u8::try_from((i16::from(references) + add).clamp(0, 31)).unwrap_or(0);
        backings[at] = backing(left, order);
        self.backings.set(backings);
        let early = self.fault == Fault::BackingDiesOneEarly && references > 1 && left == 1;
        if (left == 0 && references > 0 && self.fault != Fault::BackingNeverDies) || early {
            self.free.set(self.free.get() | block(first, order));
        }
    }

    /// Drops a reference of the backing that what was given back lies on.
    pub fn take_back(&self, data: u32) {
        let drop = match self.fault {
            Fault::FreeKeepsReference => 0,
            Fault::FreeDropsTwo => -2,
            _ => -1,
        };
        self.count((data & 7) as u8, drop);
    }

    fn note(&self, call: Call) {
        let (count, mut calls) = self.calls.get();
        if let Some(place) = calls.get_mut(usize::from(count)) {
            *place = call;
        }
        self.calls.set((count + 1, calls));
    }

    /// Forms the block that has just come back, as another thread may do at this moment.
    fn reuse(&self, page: u8, order: u8) {
        self.reuse.set(false);
        let (Some(map), Some(size)) = (self.map.borrow().upgrade(), Order::new(order)) else { return };
        if self.desk.is_none() && self.free.get() & block(page, order) != block(page, order) {
            return;
        }
        let Some(page) = self.grant(if self.desk.is_none() { page } else { 0 }, order) else { return };
        let range = FreeRange::claim(Pfn::new(u64::from(page)), size);
        match map.form(range, self.data(page, order)) {
            Ok(folio) => {
                let _: RawFolio<Locked> = folio.into_raw();
                self.reused.set(Some((page, order)));
            }
            Err(_) => self.give_back(page, order),
        }
    }
}

impl Pool for Ledger {
    fn folio_free(&self, range: FreeRange, data: u32) {
        let (head, order) = range.surrender();
        let (page, order) = ((head.get() & 7) as u8, order.get());
        match self.fault {
            Fault::FreeNotTold => {}
            Fault::FreeTellsOrderZero => self.note((page, 0)),
            Fault::FreeTellsTwice => {
                self.note((page, order));
                self.note((page, order));
            }
            _ => self.note((page, order)),
        }
        match &self.desk {
            None => self.take_back(data),
            Some(desk) => {
                desk.folio_free(page, order, data);
                self.free.set(desk.free());
            }
        }
        if self.reuse.get() {
            self.reuse(page, order);
        }
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        if let Some(desk) = &self.desk {
            return desk.folio_split(head, from, to, data);
        }
        let pieces = 1i16 << (from.get() - to.get());
        let add = match self.fault {
            Fault::SplitTakesNoReferences => 0,
            Fault::SplitTakesOneForEachPiece => pieces,
            _ => pieces - 1,
        };
        self.count((data & 7) as u8, add);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        if let Some(desk) = &self.desk {
            return desk.folio_collapse(head, from, to, data);
        }
        let pieces = 1i16 << (to.get() - from.get());
        let add = match self.fault {
            Fault::CollapseForgetsReferences => 0,
            Fault::CollapseDropsOneForEachPiece => -pieces,
            _ => 1 - pieces,
        };
        self.count((data & 7) as u8, add);
    }
}
