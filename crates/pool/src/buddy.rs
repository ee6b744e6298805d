//! The buddy pool: device memory over the buddy allocator, as objects.
//!
//! Each allocation makes an *object*, whose number every folio on it carries. An object has one reference per live
//! folio: one for a 2 MiB folio, 512 after a split to 4 KiB. It dies with the last one (I7), as in GPU SVM: what a
//! split freed before is not used for others until then. A plain object, which no folio is formed from, has as many
//! pages as were asked for, in as many blocks as it takes.
//!
//! Dropping a reference never touches the allocator (I15): a dead object is put on a list, and keeps its memory until
//! it is released ([`DevicePool::release`]) where that may take time. An allocation releases before it is refused.
//!
//! Two locks, the allocator's before the objects'. The second is held for a few instructions only, and is all that
//! freeing, splitting and looking up take. Beside them there is one flag: whether the list of dead objects may have any.
//!
//! # Orderings
//!
//! The flag is a hint beside a list that the objects' lock protects, so all its accesses are `Relaxed`. It is set after
//! the section in which an object died, and cleared before the section in which the list is emptied. A clear that
//! overwrote a set comes after it in the flag's order, so it cannot happen before the object's death, and the emptying
//! section comes after the one of the death: it finds the object. A set that comes after the clear stays, and the next
//! release looks again. `bifolio-loom` tries both.

use std::sync::PoisonError;

use bifolio_buddy::{Buddy, BuddyBlock, Grant, NewError, Request};
use bifolio_folio::{FreeRange, Order, Pfn, Pool};

use crate::backing::{Backing, range_of};
use crate::counted::Freed;
use crate::objects::{Memory, Objects};
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use crate::{Allocation, Contents, DevicePool, Rmap, Usage};

/// Free device memory. Allocates ranges of an order, and gets each folio back with its order.
#[derive(Debug)]
pub struct BuddyPool {
    pub(crate) buddy: Mutex<Buddy>,
    pub(crate) objects: Mutex<Objects>,
    /// Whether there may be dead objects. If not, a release takes no lock.
    pub(crate) dead: AtomicBool,
}

impl BuddyPool {
    /// Makes a pool of `pages` free pages from page 0.
    ///
    /// # Errors
    /// What the allocator refuses.
    pub fn new(pages: u64) -> Result<BuddyPool, NewError> {
        let buddy = Mutex::new(Buddy::new(pages)?);
        let objects = Mutex::new(Objects::new(pages).ok_or(NewError::OutOfMemory)?);
        Ok(BuddyPool { buddy, objects, dead: AtomicBool::new(false) })
    }

    pub(crate) fn buddy(&self) -> MutexGuard<'_, Buddy> {
        // The allocator changes nothing when it fails, so a panic elsewhere leaves it whole.
        self.buddy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the memory of dead objects to the allocator. The caller holds its lock, so no other allocation is refused
    /// while memory is on its way.
    fn release_to(&self, buddy: &mut Buddy) -> u64 {
        // Cleared before the list is emptied. The load spares the exchange where there is nothing to do.
        if !self.dead.load(Ordering::Relaxed) || !self.dead.swap(false, Ordering::Relaxed) {
            return 0;
        }
        let mut released = 0;
        loop {
            // One by one, so that a put waits for no more than one.
            let Some(memory) = self.objects().take_dead() else { return released };
            let freed = match memory {
                Memory::Folios { backing: Backing { head, order, .. }, cleared } => {
                    let free = if cleared { Buddy::free_cleared } else { Buddy::free };
                    free(buddy, head.get(), u32::from(order.get()))
                }
                Memory::Plain(blocks) => buddy.free_list(&blocks),
            };
            freed.expect("what objects are on was allocated");
            released += 1;
        }
    }

    /// Makes an object of a block that was allocated.
    fn hand_out(&self, grant: Grant, rmap: Rmap) -> Option<Allocation> {
        let (head, order) = range_of(grant.block);
        let inserted = self.objects().insert_folio(Backing { rmap, head, order });
        let Some(data) = inserted else {
            let BuddyBlock { page, order } = grant.block;
            self.buddy().free(page, order).expect("it was allocated just now");
            return None;
        };
        Some(Allocation { range: FreeRange::claim(head, order), data, cleared: grant.cleared })
    }

    /// Sets the flag if an object died, after the objects' lock was released.
    fn note_death(&self, freed: Freed) {
        if freed == Freed::Dies {
            self.dead.store(true, Ordering::Relaxed);
        }
    }

    /// Runs `try_it` on the allocator, and again with the memory of dead objects if that is what it lacks.
    fn try_twice<R>(&self, mut try_it: impl FnMut(&mut Buddy) -> Option<R>) -> Option<R> {
        let mut buddy = self.buddy();
        try_it(&mut buddy).or_else(|| (self.release_to(&mut buddy) > 0).then(|| try_it(&mut buddy))?)
    }
}

impl DevicePool for BuddyPool {
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        let prefer_cleared = contents == Contents::Zeros;
        let grant =
            self.try_twice(|buddy| buddy.allocate_grant(u32::from(order.get()), prefer_cleared).ok())?;
        self.hand_out(grant, rmap)
    }

    fn add_plain(&self, pages: u64, memory: &mut Vec<(FreeRange, u32)>) -> u64 {
        let mut buddy = self.buddy();
        if buddy.free_pages() < pages {
            self.release_to(&mut buddy);
        }
        let blocks = allocate_blocks(&mut buddy, pages);
        let grows = memory.first().map(|(_, number)| *number);
        let added = self.objects().add_blocks(grows, &blocks);
        let Some(number) = added else {
            buddy.free_list(&blocks).expect("they were allocated just now");
            return 0;
        };
        memory.extend(blocks.iter().map(|block| (claim(*block), number)));
        blocks.iter().map(|block| block.pages()).sum()
    }

    fn give_back_cleared(&self, range: FreeRange, data: u32) {
        let (head, order) = range.surrender();
        let freed = self.objects().free_cleared(data, head, order);
        self.note_death(freed);
    }

    fn allocate_dirty(&self, largest: Order) -> Option<Allocation> {
        let block = self.try_twice(|buddy| buddy.take_dirty(0, u32::from(largest.get())))?;
        self.hand_out(Grant { block, cleared: false }, Rmap::NONE)
    }

    fn declare_cleared(&self) {
        let mut buddy = self.buddy();
        self.release_to(&mut buddy);
        let free: Vec<BuddyBlock> = buddy.free_blocks().collect();
        for block in free {
            buddy.declare_cleared(block.range()).expect("free blocks are free");
        }
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        self.objects().rmap_of(page, data)
    }

    fn can_allocate(&self, order: Order, _home: Rmap) -> bool {
        let fits = |buddy: &mut Buddy| {
            let largest = buddy.largest_free_order()?;
            (largest >= u32::from(order.get())).then_some(())
        };
        self.try_twice(fits).is_some()
    }

    /// An object keeps its memory until its last folio has gone, so a larger one goes as a whole.
    fn eviction_range(&self, page: Pfn, data: u32, order: Order) -> (Pfn, Order) {
        let holds = self.objects().order(data);
        let order = holds.map_or(order, |holds| order.max(holds));
        (page.align_down(order), order)
    }

    fn free_pages(&self) -> u64 {
        self.buddy().free_pages()
    }

    fn usage(&self) -> Usage {
        self.objects().usage()
    }

    fn release(&self) -> u64 {
        if !self.dead.load(Ordering::Relaxed) {
            return 0;
        }
        self.release_to(&mut self.buddy())
    }

    fn check_consistency(&self) -> Result<(), String> {
        self.buddy().check_consistency().map_err(|what| what.to_string())?;
        self.objects().check_consistency()
    }
}

impl Pool for BuddyPool {
    fn folio_free(&self, range: FreeRange, data: u32) {
        let (head, order) = range.surrender();
        let freed = self.objects().free(data, head, order);
        self.note_death(freed);
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.objects().split(data, head, from, to);
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.objects().collapse(data, head, from, to);
    }
}

/// Allocates up to `pages` pages, as few blocks as there are.
fn allocate_blocks(buddy: &mut Buddy, pages: u64) -> Vec<BuddyBlock> {
    let pages = pages.min(buddy.free_pages());
    let grants = buddy.allocate_with(&Request::pages(pages)).unwrap_or_default();
    let largest = u32::from(Order::MAX.get());
    grants.iter().flat_map(|grant| cut(buddy, grant.block, largest)).collect()
}

/// Cuts an allocated block into those that a folio's order can tell.
fn cut(buddy: &mut Buddy, block: BuddyBlock, largest: u32) -> impl Iterator<Item = BuddyBlock> + use<> {
    let order = block.order.min(largest);
    buddy.split(block, order).expect("it was allocated just now");
    block.range().step_by(1 << order).map(move |page| BuddyBlock { page, order })
}

fn claim(block: BuddyBlock) -> FreeRange {
    let (head, order) = range_of(block);
    FreeRange::claim(head, order)
}
