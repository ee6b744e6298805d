//! [`ModelPool`]: the pool of the world, which takes folios back from the shipped pagemap.
//!
//! Like the shipped buddy pool, it has a backing for each allocation, with one reference for each folio on it,
//! and gets the memory back with the last one. It hands out *any* free aligned block, so what holds here holds
//! for every allocator: or one of the shipped pools answers in its place, see [`pooled`](crate::folio::pooled).

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bifolio_folio::{FreeRange, Locked, MemoryKind, Order, PageMap, Pfn, Pool, RawFolio, Reset};

use crate::folio::action::PoolOperation;
use crate::folio::outcome::Call;
use crate::folio::packed_words::PAGES;
use crate::folio::pooled::PoolAdapter;
use crate::folio::state::{backing, backing_parts, block, name};

/// The pool.
#[derive(Debug)]
pub struct ModelPool {
    /// Pages that can be handed out.
    pub free: Cell<u8>,
    /// Backings by first page, packed.
    pub backings: Cell<[u8; PAGES]>,
    /// Calls since the step began; the number of calls, and the first two.
    pub calls: Cell<(u8, [Call; 2])>,
    /// Whether the pages are taken and formed anew as soon as they come back, as another thread may do.
    pub reuse: Cell<bool>,
    /// The block that was formed so.
    pub reused: Cell<Option<Call>>,
    /// The shipped pool, if there is one.
    pub adapter: Option<PoolAdapter>,
    map: RefCell<Weak<PageMap<ModelPool>>>,
}

impl ModelPool {
    /// Makes a pagemap of `pages` pages over a new pool.
    pub fn pagemap(reset: Reset, pages: u8) -> Rc<PageMap<ModelPool>> {
        ModelPool::pagemap_over(None, reset, pages)
    }

    /// The same over a shipped pool, if there is one.
    pub fn pagemap_over(adapter: Option<PoolAdapter>, reset: Reset, pages: u8) -> Rc<PageMap<ModelPool>> {
        let pool = ModelPool {
            free: Cell::new(0),
            backings: Cell::default(),
            calls: Cell::default(),
            reuse: Cell::new(false),
            reused: Cell::new(None),
            adapter,
            map: RefCell::default(),
        };
        let map = PageMap::with_reset(reset, MemoryKind::Private, Pfn::ZERO, u64::from(pages), pool);
        let map = Rc::new(map.expect("bounds were checked: 1 to 8 pages"));
        map.pool().map.replace(Rc::downgrade(&map));
        map
    }

    /// Hands out a block: the one at `page`, or what the shipped pool has for the bytes of home page `page`. Returns its
    /// first page.
    pub fn grant(&self, page: u8, order: u8) -> Option<u8> {
        let Some(adapter) = &self.adapter else {
            self.allocate(page, order);
            return Some(page);
        };
        let granted = adapter.allocate(page, order);
        self.free.set(adapter.free());
        granted
    }

    /// The data of a folio to be formed of a block that was handed out.
    pub fn data(&self, page: u8, order: u8) -> u32 {
        u32::from(self.adapter.as_ref().map_or(name(page, order), |adapter| adapter.name_at(page)))
    }

    /// Takes back a block that no folio was formed of.
    pub fn give_back(&self, page: u8, order: u8) {
        match &self.adapter {
            None => self.take_back(u32::from(page)),
            Some(adapter) => {
                adapter.give_back(page, order);
                self.free.set(adapter.free());
            }
        }
    }

    /// Asks the shipped pool for what only some pools do.
    pub fn ask(&self, operation: PoolOperation) {
        if let Some(adapter) = &self.adapter {
            adapter.ask(operation);
            self.free.set(adapter.free());
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
        if left == 0 && references > 0 {
            self.free.set(self.free.get() | block(first, order));
        }
    }

    /// Drops a reference of the backing that what was given back lies on.
    pub fn take_back(&self, data: u32) {
        self.count((data & 7) as u8, -1);
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
        if self.adapter.is_none() && self.free.get() & block(page, order) != block(page, order) {
            return;
        }
        let Some(page) = self.grant(if self.adapter.is_none() { page } else { 0 }, order) else { return };
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

impl Pool for ModelPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        let (head, order) = range.surrender();
        let (page, order) = ((head.get() & 7) as u8, order.get());
        self.note((page, order));
        match &self.adapter {
            None => self.take_back(data),
            Some(adapter) => {
                adapter.folio_free(page, order, data);
                self.free.set(adapter.free());
            }
        }
        if self.reuse.get() {
            self.reuse(page, order);
        }
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        if let Some(adapter) = &self.adapter {
            return adapter.folio_split(head, from, to, data);
        }
        let pieces = 1i16 << (from.get() - to.get());
        self.count((data & 7) as u8, pieces - 1);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        if let Some(adapter) = &self.adapter {
            return adapter.folio_collapse(head, from, to, data);
        }
        let pieces = 1i16 << (to.get() - from.get());
        self.count((data & 7) as u8, 1 - pieces);
    }
}
