//! Pools small enough to be explored, copied and compared, for checkers that run the shipped code in every state.
//!
//! Only with the feature `snapshot`. A [`SmallPool`] is a shipped pool of a few pages whose slots, or objects, are as
//! small as the largest folio of its world, so that a world of 8 pages has several of them. [`SmallPool::view`] tells all
//! that later answers depend on: two pools with equal views answer every call alike, but for the numbers of objects, which
//! are names: a pool looks them up and does nothing else with them.
//!
//! ```
//! use bifolio_folio::Order;
//! use bifolio_pool::snapshot::SmallPool;
//! use bifolio_pool::{Allocation, Contents, PoolName, Rmap};
//!
//! let pool = SmallPool::new(PoolName::FreeList, 4, Order::ZERO)?;
//! let copy = pool.duplicate();
//! let allocation = copy.pool().allocate(Order::ZERO, Rmap { block: 0, page: 0 }, Contents::Any);
//! let Allocation { range, data, .. } = allocation.expect("all is free");
//! assert_ne!(copy.view().0, pool.view().0);
//! copy.pool().give_back(range, data);
//! assert_eq!(copy.pool().free_pages(), 4);
//! # Ok::<(), bifolio_pool::NewError>(())
//! ```

use bifolio_buddy::{Buddy, BuddyBlock};
use bifolio_folio::Order;

use crate::backing::Backing;

use crate::chunks::{Chunks, Empty};
use crate::counted::{Counted, Covers};
use crate::mirror::FailureMode;
use crate::objects::Memory;
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::{BuddyPool, CoherentPool, DevicePool, FreeListPool, MirrorPool, NewError, PoolName, Rmap};

#[cfg(feature = "mutate")]
mod mutation;

#[cfg(feature = "mutate")]
pub use mutation::Mutation;

/// First page and order of a block.
pub type HeadOrder = (u64, u8);

/// A shipped pool of a few pages.
#[derive(Debug)]
pub struct SmallPool(Kind);

#[derive(Debug)]
enum Kind {
    Buddy(BuddyPool),
    FreeList(FreeListPool),
    Coherent(CoherentPool),
    Mirror(MirrorPool),
}

/// What an allocation is known by in its pool.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectView {
    /// Where its memory is, or was when it was handed out. No two objects have the same place.
    pub place: HeadOrder,
    /// The reverse mapping of its first page.
    pub rmap: Rmap,
    /// References; 0 if it is dead and not yet released.
    pub references: u32,
    /// Where folios share it: a bit for each of its first 64 pages that is handed out.
    pub used: u64,
    /// A bit for each of its first 64 pages that is not handed out and known to be cleared.
    pub cleared: u64,
    /// Where folios share it: whether allocations for its addresses find it.
    pub serves: bool,
}

/// All that the answers of a pool depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct View {
    /// The objects, by place.
    pub objects: Vec<ObjectView>,
    /// Ranges that are handed out, as the pool knows them.
    pub handed_out: Vec<HeadOrder>,
    /// Places of dead objects, the last one first.
    pub dead: Vec<HeadOrder>,
    /// Free folios: the lists from the largest order down, each from its front; or the blocks of the allocator.
    pub free: Vec<HeadOrder>,
    /// Blocks that were freed and wait to be merged, as they were freed.
    pub waiting: Vec<HeadOrder>,
    /// Chunks that are not made, the next one last.
    pub unmade: Vec<usize>,
    /// The empty chunk that is kept.
    pub cached: Option<usize>,
    /// Pages that can be handed out at once or after a chunk is made, a bit for each of the first 64.
    pub free_pages: u64,
    /// Pages that the allocator takes for cleared, likewise.
    pub cleared_pages: u64,
    /// Whether a call was refused.
    pub refused: bool,
    /// Whether the next release looks for dead objects.
    pub dead_noted: bool,
    /// Whether the next allocation was told to fail.
    pub fails_next: bool,
    /// Whether the pool refuses because it was closed.
    pub closed: bool,
}

impl SmallPool {
    /// Makes a pool of up to 64 pages. `largest` is the order of its slots, or of shared objects: those are one order
    /// smaller if `largest` is 2 or more, so that some folios are larger than an object.
    ///
    /// # Errors
    /// What the pool refuses.
    pub fn new(name: PoolName, pages: u64, largest: Order) -> Result<SmallPool, NewError> {
        Ok(SmallPool(match name {
            PoolName::Buddy => Kind::Buddy(BuddyPool::new(pages)?),
            PoolName::FreeList => {
                Kind::FreeList(FreeListPool::over(Chunks::of_slots(largest, pages, Empty::GivenBack)?)?)
            }
            PoolName::Coherent => {
                let order = largest.smaller().filter(|smaller| *smaller > Order::ZERO).unwrap_or(largest);
                Kind::Coherent(CoherentPool::of_objects(order, pages)?)
            }
            PoolName::Mirror => {
                Kind::Mirror(MirrorPool::over(Chunks::of_slots(largest, pages, Empty::Kept)?)?)
            }
        }))
    }

    /// Returns the pool.
    #[must_use]
    pub fn pool(&self) -> &dyn DevicePool {
        match &self.0 {
            Kind::Buddy(pool) => pool,
            Kind::FreeList(pool) => pool,
            Kind::Coherent(pool) => pool,
            Kind::Mirror(pool) => pool,
        }
    }

    /// Makes the next allocation fail, if the pool is one that can be told so.
    pub fn fail_next(&self) {
        if let Kind::Mirror(pool) = &self.0 {
            pool.fail_next();
        }
    }

    /// Returns how many chunks are made, if the pool has chunks.
    #[must_use]
    pub fn chunks(&self) -> Option<usize> {
        match &self.0 {
            Kind::FreeList(pool) => Some(pool.chunks()),
            Kind::Mirror(pool) => Some(pool.chunks()),
            Kind::Buddy(_) | Kind::Coherent(_) => None,
        }
    }

    /// Makes a pool that is in the same state and shares nothing with this one.
    #[must_use]
    pub fn duplicate(&self) -> SmallPool {
        SmallPool(match &self.0 {
            Kind::Buddy(pool) => {
                let (buddy, objects) = (pool.buddy().clone(), pool.objects().clone());
                let dead = AtomicBool::new(pool.dead.load(Ordering::Relaxed));
                Kind::Buddy(BuddyPool { buddy: Mutex::new(buddy), objects: Mutex::new(objects), dead })
            }
            Kind::FreeList(pool) => Kind::FreeList(duplicate_lists(pool)),
            Kind::Coherent(pool) => Kind::Coherent(CoherentPool { inner: Mutex::new(pool.lock().clone()) }),
            Kind::Mirror(pool) => {
                let mode = pool.change_mode(|mode| mode);
                Kind::Mirror(MirrorPool { lists: duplicate_lists(&pool.lists), mode: Mutex::new(mode) })
            }
        })
    }

    /// Returns all that answers depend on, and the numbers of the objects in its order.
    #[must_use]
    pub fn view(&self) -> (View, Vec<u32>) {
        match &self.0 {
            Kind::Buddy(pool) => {
                let (buddy, objects) = (pool.buddy(), pool.objects());
                let (mut view, numbers) = View::of(&objects.objects, |_, memory| {
                    let Memory::Folios { backing, cleared } = memory else { return Seen::of(NOWHERE) };
                    let place = (backing.head.get() % 64, backing.order.get());
                    Seen { cleared: if *cleared { bits(place) } else { 0 }, ..Seen::of(*backing) }
                });
                view.add_allocator(&buddy);
                view.dead_noted = pool.dead.load(Ordering::Relaxed);
                (view, numbers)
            }
            Kind::FreeList(pool) => view_of_lists(pool),
            Kind::Coherent(pool) => {
                let inner = pool.lock();
                let (mut view, numbers) = View::of(&inner.objects, |number, object| {
                    let serves = inner.serving.get(&object.at.rmap) == Some(&number);
                    let (used, cleared) = (object.used.words()[0], object.cleared.words()[0]);
                    Seen { at: object.at, used, cleared, serves }
                });
                view.add_allocator(&inner.memory);
                view.dead_noted = true;
                (view, numbers)
            }
            Kind::Mirror(pool) => {
                let (mut view, numbers) = view_of_lists(&pool.lists);
                let mode = pool.change_mode(|mode| mode);
                (view.fails_next, view.closed) = (mode == FailureMode::FailNext, mode == FailureMode::Closed);
                (view, numbers)
            }
        }
    }
}

/// Stands for the place of a plain object, which worlds of folios do not have.
const NOWHERE: Backing = Backing { rmap: Rmap::NONE, head: bifolio_folio::Pfn::ZERO, order: Order::ZERO };

/// What is seen of an object.
struct Seen {
    at: Backing,
    used: u64,
    cleared: u64,
    serves: bool,
}

impl Seen {
    /// An object of which only the place is of interest.
    fn of(at: Backing) -> Seen {
        Seen { at, used: 0, cleared: 0, serves: false }
    }
}

impl View {
    /// Tells of the things in a table, of each of which `see` says what is seen.
    fn of<T: Covers>(things: &Counted<T>, see: impl Fn(u32, &T) -> Seen) -> (View, Vec<u32>) {
        let place = |backing: Backing| (backing.head.get(), backing.order.get());
        let mut all: Vec<(ObjectView, u32)> = Vec::new();
        for (number, thing) in &things.things {
            let number = u32::try_from(number).expect("numbers are those of folios");
            let Seen { at, used, cleared, serves } = see(number, &thing.what);
            let (place, rmap, references) = (place(at), at.rmap, thing.references);
            all.push((ObjectView { place, rmap, references, used, cleared, serves }, number));
        }
        all.sort();
        let before = |number: &u32| things.things.get(*number as usize)?.died_before;
        let dead = std::iter::successors(things.last_dead, before);
        let dead =
            dead.filter_map(|number| Some(place(see(number, &things.things.get(number as usize)?.what).at)));
        let dead = dead.collect();
        let handed_out = things.handed_out.ranges().map(|(head, order)| (head.get(), order.get())).collect();
        let (objects, numbers) = all.into_iter().unzip();
        let refused = things.refusals() > 0;
        (View { objects, handed_out, dead, refused, ..View::default() }, numbers)
    }

    fn add_allocator(&mut self, buddy: &Buddy) {
        let place = |block: BuddyBlock| (block.page, u8::try_from(block.order).expect("orders are small"));
        self.free = buddy.free_blocks().map(place).collect();
        self.waiting = buddy.waiting_blocks().map(place).collect();
        self.free_pages = self.free.iter().fold(0, |pages, place| pages | bits(*place));
        for cleared in buddy.cleared_extents() {
            self.cleared_pages |= cleared.fold(0, |pages, page| pages | bits((page, 0)));
        }
    }

    fn add_chunks(&mut self, chunks: &Chunks) {
        self.free = chunks.lists.iter().map(|(page, order)| (page.get(), order.get())).collect();
        self.free_pages = self.free.iter().fold(0, |pages, place| pages | bits(*place));
        for chunk in &chunks.unmade {
            let first = (*chunk as u64) << chunks.log;
            let pages = first..first + chunks.pages_of(*chunk);
            self.free_pages |= pages.fold(0, |pages, page| pages | bits((page, 0)));
        }
        (self.unmade, self.cached) = (chunks.unmade.clone(), chunks.cached);
    }
}

fn duplicate_lists(pool: &FreeListPool) -> FreeListPool {
    FreeListPool { inner: Mutex::new(pool.lock().clone()) }
}

fn view_of_lists(pool: &FreeListPool) -> (View, Vec<u32>) {
    let inner = pool.lock();
    let (mut view, numbers) = View::of(&inner.backings, |_, backing| Seen::of(*backing));
    view.add_chunks(&inner.chunks);
    (view, numbers)
}

/// A bit for each page of a block, of those below 64.
fn bits((page, order): HeadOrder) -> u64 {
    let ones = if order < 6 { (1 << (1 << order)) - 1 } else { u64::MAX };
    if page < 64 { ones << page } else { 0 }
}
