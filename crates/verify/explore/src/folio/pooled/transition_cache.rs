//! [`TransitionCache`]: states of a shipped pool by number, and what each call led to.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::BuildHasherDefault;
use std::iter::StepBy;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bifolio_folio::{FreeRange, Order, Pfn};
use bifolio_pool::snapshot::{ObjectView, SmallPool, View};
use bifolio_pool::{Allocation, Contents, DevicePool, PoolName, Rmap};

use crate::design::Bounds;
use crate::folio::packed_words::PAGES;
use crate::folio::pooled::call::{Call, RmapCode, code, rmap};
use crate::folio::pooled::mutate::Mutate;
use crate::folio::state::{block, name};
use crate::mutate::NoMutation;
use crate::set::WordHasher;

type Map<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// First page of what was handed out, and the name of the object it is on; 0 if it is on none.
pub type Granted = Option<(u8, u8)>;

/// A state of the pool.
#[derive(Debug)]
pub struct Entry {
    pool: SmallPool,
    numbers: Vec<u32>,
    /// What its answers depend on.
    pub view: View,
    /// For each object the home that the pool tells of each page, as a code.
    pub rmaps: Vec<[RmapCode; PAGES]>,
    /// Whether the pool agrees with itself, and has what it says it has.
    pub consistent: bool,
    /// Whether all of the memory can be had at the largest order, if no page is in use.
    pub whole: bool,
    /// Pages that are handed out, or that objects have.
    pub held: u64,
    /// Chunks that are made, if the pool has chunks.
    pub chunks: u64,
}

impl Entry {
    /// The object of a name.
    pub fn object(&self, of: u8) -> Option<(usize, &ObjectView)> {
        self.view.objects.iter().enumerate().find(|(_, object)| name_of(object) == of)
    }

    fn number(&self, of: u8) -> Option<u32> {
        self.object(of).map(|(at, _)| self.numbers[at])
    }

    /// Pages of the objects that live.
    pub fn living(&self) -> u8 {
        let living = self.view.objects.iter().filter(|object| object.references > 0);
        living.fold(0, |pages, object| pages | block(page_of(object), object.place.1))
    }
}

fn page_of(object: &ObjectView) -> u8 {
    u8::try_from(object.place.0).unwrap_or(u8::MAX)
}

/// The name of an object.
pub fn name_of(object: &ObjectView) -> u8 {
    name(page_of(object), object.place.1)
}

/// All states of the pool that were met, and what each call led to.
#[derive(Debug)]
pub struct TransitionCache<M = NoMutation> {
    pool: PoolName,
    bounds: Bounds,
    mutation: M,
    met: Mutex<Met>,
}

#[derive(Debug, Default)]
struct Met {
    numbers: Map<View, u32>,
    entries: Vec<Arc<Entry>>,
    calls: Map<(u32, Call), (u32, Granted)>,
}

/// A cache, whatever its mutation.
pub trait Transitions: Debug + Send + Sync {
    /// Which pool it is.
    fn pool(&self) -> PoolName;

    /// Pages and largest order of the world.
    fn bounds(&self) -> Bounds;

    /// The state of a number.
    fn entry(&self, number: u32) -> Arc<Entry>;

    /// Does a call in a state, or looks up what came of it before; returns the state after it.
    fn call(&self, number: u32, call: Call) -> (u32, Granted);

    /// Whether a folio's memory stays with an object until that is released.
    fn has_objects(&self) -> bool {
        matches!(self.pool(), PoolName::Buddy | PoolName::Coherent)
    }

    /// Homes that are asked for at an order. Only one of the pools chooses pages by them, so the others get one each; it
    /// gets those of one largest folio, which is enough for neighbours on one object, and for places that are taken.
    fn home_pages(&self, order: u8) -> StepBy<Range<u8>> {
        let end = if self.pool() == PoolName::Coherent { 1 << self.bounds().order } else { 1 };
        (0..end).step_by(1 << order)
    }

    /// The code of the home that is asked for.
    fn rmap_code(&self, order: u8, page: u8) -> RmapCode {
        let block = if self.pool() == PoolName::Coherent { 0 } else { u32::from(order) };
        code(Rmap { block, page: u16::from(page) })
    }
}

impl<M: Mutate + Debug> TransitionCache<M> {
    /// Makes a cache in which state 0 is that of a new pool.
    pub fn new(pool: PoolName, bounds: Bounds, mutation: M) -> TransitionCache<M> {
        let largest = Order::new(bounds.order).unwrap_or_default();
        let new = SmallPool::new(pool, u64::from(bounds.pages), largest);
        let cache = TransitionCache { pool, bounds, mutation, met: Mutex::default() };
        let new = new.expect("bounds were checked: 1 to 8 pages");
        let (view, numbers) = new.view();
        cache.number(new, view, numbers);
        cache
    }

    fn met(&self) -> MutexGuard<'_, Met> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a pool's state.
    fn number(&self, pool: SmallPool, view: View, numbers: Vec<u32>) -> u32 {
        let known = self.met().numbers.get(&view).copied();
        if let Some(known) = known {
            let compares = cfg!(test) && M::IS_NONE;
            assert!(!compares || self.answer_alike(&pool, &self.entry(known).pool), "{view:?}");
            return known;
        }
        let entry = Arc::new(self.look_at(pool, view, numbers));
        let mut met = self.met();
        let number = u32::try_from(met.entries.len()).expect("states of a small pool are few");
        let known = *met.numbers.entry(entry.view.clone()).or_insert(number);
        if known == number {
            met.entries.push(entry);
        }
        known
    }

    fn look_at(&self, pool: SmallPool, view: View, numbers: Vec<u32>) -> Entry {
        let told = |object: usize| {
            std::array::from_fn(|page| {
                let home = pool.pool().rmap_of(Pfn::new(page as u64), numbers[object]);
                home.map_or(0, code)
            })
        };
        let rmaps = (0..numbers.len()).map(told).collect();
        let idle = view.objects.iter().all(|object| object.references == 0) && !view.closed;
        Entry {
            consistent: self.is_consistent(&pool, &view),
            whole: !idle || self.is_whole(&pool.duplicate()),
            held: pool.pool().usage().pages,
            chunks: pool.chunks().unwrap_or(0) as u64,
            rmaps,
            view,
            numbers,
            pool,
        }
    }

    /// Whether two pools of equal views answer alike, and have equal views afterwards.
    fn answer_alike(&self, one: &SmallPool, other: &SmallPool) -> bool {
        let asked =
            (0..=self.bounds.order).flat_map(|order| self.home_pages(order).map(move |page| (order, page)));
        asked.into_iter().all(|(order, page)| {
            let (rmap, order) = (rmap(self.rmap_code(order, page)), Order::new(order).unwrap_or_default());
            let answer = |pool: &SmallPool| {
                let pool = pool.duplicate();
                let granted = pool.pool().allocate(order, rmap, Contents::Any);
                let granted = granted.map(|granted| granted.range.surrender());
                let allocated = pool.view().0;
                pool.pool().release();
                (granted, allocated, pool.view().0)
            };
            answer(one) == answer(other)
        })
    }

    /// Whether the pool's own walk finds nothing, its counts go together, and it has what it says it has.
    fn is_consistent(&self, pool: &SmallPool, view: &View) -> bool {
        let (free, usage) = (pool.pool().free_pages(), pool.pool().usage());
        let references: u64 = view.objects.iter().map(|object| u64::from(object.references)).sum();
        let counted = free + usage.pages == u64::from(self.bounds.pages)
            && free == u64::from(view.free_pages.count_ones())
            && references == usage.references;
        let mut asked =
            (0..=self.bounds.order).flat_map(|order| self.home_pages(order).map(move |page| (order, page)));
        let honest = asked.all(|(order, page)| {
            let (rmap, order) = (rmap(self.rmap_code(order, page)), Order::new(order).unwrap_or_default());
            let said = pool.duplicate().pool().can_allocate(order, rmap);
            said == pool.duplicate().pool().allocate(order, rmap, Contents::Any).is_some() || view.fails_next
        });
        pool.pool().check_consistency().is_ok() && counted && honest
    }

    /// Whether all pages can be had at the largest order. Changes the pool.
    fn is_whole(&self, pool: &SmallPool) -> bool {
        let (largest, code) =
            (Order::new(self.bounds.order).unwrap_or_default(), self.rmap_code(self.bounds.order, 0));
        if pool.view().0.fails_next {
            let _: Option<Allocation> = pool.pool().allocate(largest, rmap(code), Contents::Any);
        }
        let mut left = usize::from(self.bounds.pages >> self.bounds.order);
        pool.pool().release();
        while left > 0 && pool.pool().allocate(largest, rmap(code), Contents::Any).is_some() {
            left -= 1;
        }
        left == 0 && pool.pool().free_pages() == 0
    }
}

impl<M: Mutate + Debug> Transitions for TransitionCache<M> {
    fn pool(&self) -> PoolName {
        self.pool
    }

    fn bounds(&self) -> Bounds {
        self.bounds
    }

    fn entry(&self, number: u32) -> Arc<Entry> {
        Arc::clone(&self.met().entries[number as usize])
    }

    fn call(&self, number: u32, call: Call) -> (u32, Granted) {
        if let Some(known) = self.met().calls.get(&(number, call)) {
            return *known;
        }
        let entry = self.entry(number);
        let pool = entry.pool.duplicate();
        let granted = self.mutation.instead(call).and_then(|call| perform(&pool, &entry, call));
        self.mutation.afterwards(&pool, call, entry.view.fails_next);
        // By the numbers of this time: a state that was met before has those of the first time.
        let (view, numbers) = pool.view();
        let named = granted.map(|(page, number)| {
            let at = numbers.iter().position(|other| *other == number);
            (page, at.map_or(0, |at| name_of(&view.objects[at])))
        });
        let after = self.number(pool, view, numbers);
        self.met().calls.insert((number, call), (after, named));
        (after, named)
    }
}

/// Does a call; returns first page and number of what was handed out.
fn perform(pool: &SmallPool, entry: &Entry, call: Call) -> Option<(u8, u32)> {
    let device: &dyn DevicePool = pool.pool();
    let order = |order| Order::new(order).unwrap_or_default();
    let head = |page: u8| Pfn::new(u64::from(page));
    match call {
        Call::Allocate { order: wanted, home } => {
            let granted = device.allocate(order(wanted), rmap(home), Contents::Any)?;
            return Some((u8::try_from(granted.range.surrender().0.get()).ok()?, granted.data));
        }
        Call::Free { page, order: freed, name } => {
            device.folio_free(FreeRange::claim(head(page), order(freed)), entry.number(name)?);
        }
        Call::GiveBack { page, order: freed, name } => {
            device.give_back(FreeRange::claim(head(page), order(freed)), entry.number(name)?);
        }
        Call::Split { page, from, to, name } => {
            device.folio_split(head(page), order(from), order(to), entry.number(name)?);
        }
        Call::Collapse { page, from, to, name } => {
            device.folio_collapse(head(page), order(from), order(to), entry.number(name)?);
        }
        Call::FailNext => pool.fail_next(),
        Call::Release => {
            device.release();
        }
        Call::Close => device.close(),
    }
    None
}
