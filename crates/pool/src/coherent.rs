//! The coherent pool: objects that several folios of one block share, at offsets.
//!
//! As KFD's: an object covers up to 2 MiB of one block of address space, and what is allocated for these addresses
//! later is served from it, at the place that belongs to them.
//!
//! ```text
//!   block      |  page 64 . . . . . . . . . . . . . . . . page 127  |       addresses
//!                     [ folio ]         [ folio ][ folio ]
//!   object     |  head. . . . . . . . . . . . . . . . . . head + 63 |       device memory, 3 references
//! ```
//!
//! One reference for each folio on it and for each range handed out: a split adds some, and when a partial unmap
//! splits what the block has there, both parts go on referencing the one object at their offsets. The last put kills
//! it. Its memory becomes free in [`DevicePool::release`], never in the freeing context (I15), or when an allocation
//! would fail without it. So folios of an address range that are moved out and in again get the same memory, and
//! one page in use keeps all memory of its object.
//!
//! Made for coherent memory, where the CPU maps the object's memory; it serves private memory too, as KFD does on
//! PCIe. The memory below is the buddy allocator's, as there.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bifolio_buddy::{Buddy, BuddyBlock, Grant};
use bifolio_folio::{AlignedRun, FreeRange, Order, PageSet, Pfn, Pool};

use crate::backing::{Backing, range_of};
use crate::counted::{Counted, Covers, Freed};
use crate::sync::{Mutex, MutexGuard};
use crate::{Allocation, Contents, DevicePool, NewError, Rmap, Usage};

/// The least number of objects that a device has room for, if their order is not 0.
const OBJECTS_LEAST: u64 = 16;

/// Objects shared by folios at offsets.
#[derive(Debug)]
pub struct CoherentPool {
    pub(crate) inner: Mutex<Inner>,
}

#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) memory: Buddy,
    pub(crate) objects: Counted<Object>,
    /// The object that serves the addresses from a page of a block on.
    pub(crate) serving: BTreeMap<Rmap, u32>,
    /// Device pages of all objects, dead ones included.
    held: u64,
    /// Order of an object, if a larger one is not asked for and there is memory.
    order: Order,
}

/// Device memory for some addresses of a block.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Its memory, and the pages of the block that it serves.
    pub(crate) at: Backing,
    /// The pages that are handed out, counted from the head.
    pub(crate) used: PageSet,
    /// Pages that are not handed out and known to be cleared.
    pub(crate) cleared: PageSet,
}

impl Object {
    fn new(at: Backing, is_cleared: bool) -> Object {
        let mut cleared = PageSet::EMPTY;
        if is_cleared {
            cleared.insert(aligned(0, at.order));
        }
        Object { at, used: PageSet::EMPTY, cleared }
    }

    /// Tells whether none of these pages is handed out.
    fn is_unused(&self, pages: AlignedRun) -> bool {
        !self.used.intersects(pages)
    }

    fn set_used(&mut self, offset: u64, order: Order, used: bool) {
        let pages = aligned(offset, order);
        let count = if used { 0 } else { pages.pages() };
        debug_assert_eq!(self.used.count_in(pages), count, "handed out or freed twice");
        if used { self.used.insert(pages) } else { self.used.remove(pages) }
    }

    /// Notes that pages are handed out; tells whether all of them are cleared.
    fn hand_out(&mut self, offset: u64, order: Order) -> bool {
        self.set_used(offset, order, true);
        let pages = aligned(offset, order);
        let cleared = self.cleared.contains_all(pages);
        self.cleared.remove(pages);
        cleared
    }
}

impl Covers for Object {
    fn covers(&self, head: Pfn, order: Order) -> bool {
        self.at.covers(head, order)
    }
}

/// The pages of a folio that lies `offset` pages inside an object.
pub(crate) fn aligned(offset: u64, order: Order) -> AlignedRun {
    AlignedRun::around(u16::try_from(offset).expect("an object has 512 pages at most"), order)
}

impl CoherentPool {
    /// Makes a pool of `pages` free pages from page 0.
    ///
    /// # Errors
    /// What the allocator refuses.
    pub fn new(pages: u64) -> Result<CoherentPool, NewError> {
        let order = Order::largest_fitting(pages / OBJECTS_LEAST).unwrap_or_default().min(Order::PMD);
        CoherentPool::of_objects(order, pages)
    }

    /// The same with objects of an order.
    pub(crate) fn of_objects(order: Order, pages: u64) -> Result<CoherentPool, NewError> {
        let inner = Inner {
            memory: Buddy::new(pages)?,
            objects: Counted::new(pages).ok_or(NewError::OutOfMemory)?,
            serving: BTreeMap::new(),
            held: 0,
            order,
        };
        Ok(CoherentPool { inner: Mutex::new(inner) })
    }

    /// Returns the order that objects have where there is memory and no larger folio is asked for.
    #[must_use]
    pub fn object_order(&self) -> Order {
        self.lock().order
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // What can panic comes before what changes, so a panic elsewhere leaves all of it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Finds the object that serves an address, and how far inside it lies.
    fn serving(&self, rmap: Rmap) -> Option<(u32, &Object, u64)> {
        let (_, &number) = self.serving.range(..=rmap).next_back()?;
        let object = self.objects.get(number)?;
        Some((number, object, object.at.offset_of(rmap)?))
    }

    /// Finds the place for a folio on an object that is there, if it is free.
    fn place(&self, order: Order, rmap: Rmap) -> Option<(u32, u64)> {
        let (number, object, offset) = self.serving(rmap)?;
        let fits = order <= object.at.order && offset.is_multiple_of(order.pages());
        (fits && object.is_unused(aligned(offset, order))).then_some((number, offset))
    }

    fn serve(&mut self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        let (data, offset) = match self.place(order, rmap) {
            Some((number, offset)) => {
                let head = Pfn::new(self.objects.get(number)?.at.head.get() + offset);
                self.objects.hand_out(number, head, order);
                (number, offset)
            }
            None => self.make(order, rmap, contents)?,
        };
        let object = self.objects.get_mut(data)?;
        let cleared = object.hand_out(offset, order);
        let head = Pfn::new(object.at.head.get() + offset);
        Some(Allocation { range: FreeRange::claim(head, order), data, cleared })
    }

    /// Makes an object for these addresses and what lies around them, as large as there is memory for. It is for them
    /// alone if they have no mapping, or if their place on another object is taken, by a folio that is still in use.
    fn make(&mut self, order: Order, rmap: Rmap, contents: Contents) -> Option<(u32, u64)> {
        let taken = self.serving(rmap).is_some_and(|(_, object, _)| order <= object.at.order);
        let shared = !taken && rmap != Rmap::NONE && u64::from(rmap.page).is_multiple_of(order.pages());
        let largest = if shared { self.order.max(order) } else { order };
        let grant = largest.descending_to(order).find_map(|size| {
            self.memory.allocate_grant(u32::from(size.get()), contents == Contents::Zeros).ok()
        })?;
        self.make_on(grant, order, rmap, shared)
    }

    /// Makes an object on a block that was allocated, for a folio of `order` on it.
    fn make_on(&mut self, grant: Grant, order: Order, rmap: Rmap, shared: bool) -> Option<(u32, u64)> {
        let (head, size) = range_of(grant.block);
        let offset = if shared { u64::from(rmap.page) % size.pages() } else { 0 };
        let first = Rmap { page: rmap.page - u16::try_from(offset).ok()?, ..rmap };
        let object = Object::new(Backing { rmap: first, head, order: size }, grant.cleared);
        let number = match self.objects.insert(object, Pfn::new(head.get() + offset), order) {
            Ok(number) => number,
            Err(object) => {
                self.free(&object);
                return None;
            }
        };
        self.held += size.pages();
        if shared {
            self.serving.insert(first, number);
        }
        Some((number, offset))
    }

    /// Takes an object that just died out of the index, so that no allocation finds it.
    fn stop_serving(&mut self, number: u32) {
        let rmap = self.objects.get(number).map(|object| object.at.rmap);
        if let Some(rmap) = rmap.filter(|rmap| self.serving.get(rmap) == Some(&number)) {
            self.serving.remove(&rmap);
        }
    }

    fn release(&mut self) -> u64 {
        let mut released = 0;
        while let Some(object) = self.objects.take_dead() {
            self.held -= object.at.order.pages();
            self.free(&object);
            released += 1;
        }
        released
    }

    /// Gives the memory of an object to the allocator.
    fn free(&mut self, object: &Object) {
        let (head, order) = (object.at.head.get(), object.at.order);
        self.memory.free(head, u32::from(order.get())).expect("what objects are on was allocated");
        for run in object.cleared.runs(aligned(0, order)) {
            let pages = head + u64::from(run.first())..head + u64::from(run.end());
            self.memory.declare_cleared(pages).expect("the block was freed just now");
        }
    }

    /// Takes a range back, all bytes of which are zeros if `cleared` says so.
    fn take_back(&mut self, range: FreeRange, data: u32, cleared: bool) {
        let (head, order) = range.surrender();
        let freed = self.objects.free(data, head, order);
        if freed == Freed::Refused {
            return;
        }
        if let Some(object) = self.objects.get_mut(data)
            && let Some(offset) = head.offset_from(object.at.head)
        {
            object.set_used(offset, order, false);
            if cleared {
                object.cleared.insert(aligned(offset, order));
            }
        }
        if freed == Freed::Dies {
            self.stop_serving(data);
        }
    }
}

impl DevicePool for CoherentPool {
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        if order > Order::PMD {
            return None;
        }
        let mut inner = self.lock();
        let served = inner.serve(order, rmap, contents);
        served.or_else(|| (inner.release() > 0).then(|| inner.serve(order, rmap, contents))?)
    }

    fn give_back_cleared(&self, range: FreeRange, data: u32) {
        self.lock().take_back(range, data, true);
    }

    fn allocate_dirty(&self, largest: Order) -> Option<Allocation> {
        let mut inner = self.lock();
        inner.release();
        let block = inner.memory.take_dirty(0, u32::from(largest.min(Order::PMD).get()))?;
        let (head, order) = range_of(block);
        let (data, _) = inner.make_on(Grant { block, cleared: false }, order, Rmap::NONE, false)?;
        inner.objects.get_mut(data)?.hand_out(0, order);
        Some(Allocation { range: FreeRange::claim(head, order), data, cleared: false })
    }

    fn declare_cleared(&self) {
        let mut inner = self.lock();
        inner.release();
        let free: Vec<BuddyBlock> = inner.memory.free_blocks().collect();
        for block in free {
            inner.memory.declare_cleared(block.range()).expect("free blocks are free");
        }
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        self.lock().objects.get(data)?.at.rmap_of(page)
    }

    fn can_allocate(&self, order: Order, rmap: Rmap) -> bool {
        let mut inner = self.lock();
        inner.release();
        let largest = inner.memory.largest_free_order();
        order <= Order::PMD
            && (inner.place(order, rmap).is_some()
                || largest.is_some_and(|largest| largest >= u32::from(order.get())))
    }

    /// An object keeps its memory until its last folio has gone, so a larger one goes as a whole.
    fn eviction_range(&self, page: Pfn, data: u32, order: Order) -> (Pfn, Order) {
        let holds = self.lock().objects.get(data).map(|object| object.at.order);
        let order = holds.map_or(order, |holds| order.max(holds));
        (page.align_down(order), order)
    }

    fn free_pages(&self) -> u64 {
        self.lock().memory.free_pages()
    }

    fn usage(&self) -> Usage {
        let inner = self.lock();
        let objects = &inner.objects;
        Usage {
            objects: objects.len(),
            references: objects.references(),
            pages: inner.held,
            refusals: objects.refusals(),
        }
    }

    fn release(&self) -> u64 {
        self.lock().release()
    }

    fn check_consistency(&self) -> Result<(), String> {
        let inner = self.lock();
        inner.objects.check_consistency()?;
        inner.memory.check_consistency().map_err(|what| what.to_string())?;
        let unused = inner.objects.living().find(|(_, object)| object.used.is_empty());
        let stale = inner
            .serving
            .iter()
            .find(|(rmap, number)| inner.objects.get(**number).is_none_or(|object| object.at.rmap != **rmap));
        match (unused, stale) {
            (Some((number, _)), _) => Err(format!("object {number} has references and no folio")),
            (_, Some((rmap, number))) => Err(format!("object {number} is not at {rmap:?}")),
            (None, None) => Ok(()),
        }
    }
}

impl Pool for CoherentPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        self.lock().take_back(range, data, false);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.lock().objects.split(data, head, from, to);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.lock().objects.collapse(data, head, from, to);
    }
}
