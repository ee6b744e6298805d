//! The pool of the world: takes folios back from the shipped pagemap and keeps the references of backings.
//!
//! Like the pool of the runtime, it has a backing for each allocation, with one reference for each folio on it,
//! and gets the memory back with the last one. It hands out *any* free aligned block, so what holds here holds
//! for every allocator.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bifolio_folio::{FreeRange, Locked, MemoryKind, Order, PageMap, Pfn, Pool, RawFolio, Reset};

use crate::bifolio::fault::Fault;
use crate::bifolio::state::{PAGES, backing, backing_parts, block, name};

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
    fault: Fault,
    map: RefCell<Weak<PageMap<Ledger>>>,
}

impl Ledger {
    /// Makes a pagemap of `pages` pages over a new pool.
    pub fn pagemap(reset: Reset, pages: u8, fault: Fault) -> Rc<PageMap<Ledger>> {
        let ledger = Ledger {
            free: Cell::new(0),
            backings: Cell::default(),
            calls: Cell::default(),
            reuse: Cell::new(false),
            reused: Cell::new(None),
            fault,
            map: RefCell::default(),
        };
        let map = PageMap::with_reset(reset, MemoryKind::Private, Pfn::ZERO, u64::from(pages), ledger);
        let map = Rc::new(map.expect("bounds were checked: 1 to 8 pages"));
        map.pool().map.replace(Rc::downgrade(&map));
        map
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

    /// Takes back what a folio was or was to be formed of.
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
        if self.free.get() & block(page, order) != block(page, order) {
            return;
        }
        self.allocate(page, order);
        let range = FreeRange::claim(Pfn::new(u64::from(page)), size);
        match map.form(range, u32::from(name(page, order))) {
            Ok(folio) => {
                let _: RawFolio<Locked> = folio.into_raw();
                self.reused.set(Some((page, order)));
            }
            Err(_) => self.take_back(u32::from(page)),
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
        self.take_back(data);
        if self.reuse.get() {
            self.reuse(page, order);
        }
    }

    fn folio_split(&self, _head: Pfn, from: Order, to: Order, data: u32) {
        let pieces = 1i16 << (from.get() - to.get());
        let add = match self.fault {
            Fault::SplitTakesNoReferences => 0,
            Fault::SplitTakesOneForEachPiece => pieces,
            _ => pieces - 1,
        };
        self.count((data & 7) as u8, add);
    }

    fn folio_collapse(&self, _head: Pfn, from: Order, to: Order, data: u32) {
        let pieces = 1i16 << (to.get() - from.get());
        let add = match self.fault {
            Fault::CollapseForgetsReferences => 0,
            Fault::CollapseDropsOneForEachPiece => -pieces,
            _ => 1 - pieces,
        };
        self.count((data & 7) as u8, add);
    }
}
