//! What is on a device, and the policy that says which object leaves next.
//!
//! Device memory is given back by the object, so it is objects that the policy orders, not folios: all folios that the pool
//! empties together ([`DevicePool::eviction_range`](bifolio_pool::DevicePool::eviction_range)) are one object, however often
//! they are split, and a buffer object is one as well. An object was used when a folio of it was formed, when a buffer was
//! unpinned, or if the device says so when the object's turn comes. Pinned buffers are in no order.
//!
//! ```text
//!   policy       0 -> 2 -> 1                                    the order of its own choice
//!   objects      [folios] [folios] [buffer]                     by number
//!                   ^        ^
//!   folios        |    |     |      one entry each, with the block's reference of the folio
//! ```

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use bifolio_folio::{FreeRange, Live, Order, PAGE_SHIFT, PageRun, PageSet, Pfn, RawFolio};
use bifolio_migrate::{Folio, FolioId};
use bifolio_policy::{Coming, Fact, Leaving, Object, ObjectId, Policy, Removal};
use slab::Slab;

use crate::buffer::Buffer;

/// Everything that is on a device, and the policy of its memory.
pub(crate) struct Residents {
    pub(crate) policy: Box<dyn Policy>,
    /// Whether the policy wants to know what came of what it decided.
    learns: bool,
    folios: Slab<Held>,
    objects: Slab<Resident>,
    /// Objects with folios, by their first page.
    by_first: HashMap<Pfn, ObjectId, BuildHasherDefault<PageHasher>>,
    /// The ranges of buffer objects, by first page, with their lengths in pages.
    buffers: BTreeMap<u64, (u64, Arc<Buffer>)>,
}

/// Spreads page numbers. They come from the pool, so a program cannot choose them to collide.
#[derive(Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Both ends count in a hash table, and aligned numbers differ only in the upper half of the product.
        let product = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A folio on the device, with its block's reference.
#[derive(Debug)]
struct Held {
    object: ObjectId,
    /// Absent while the folio is being split.
    folio: Option<RawFolio<Live>>,
    /// Address of its first page.
    address: usize,
    came: Coming,
    /// What was used of it: known once the device has unmapped it, if the policy learns.
    used: Option<Box<PageSet>>,
    /// Pages whose bytes are in system memory still, as they are here. Nothing was kept if absent.
    kept: Option<Box<PageSet>>,
}

/// What leaves the device at once.
#[derive(Debug)]
enum Resident {
    Folios { range: DeviceRange, folios: u32 },
    Buffer(Arc<Buffer>),
}

/// Device pages that go together, and the number that folios there carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeviceRange {
    pub(crate) first: Pfn,
    pub(crate) order: Order,
    pub(crate) data: u32,
}

/// What may be evicted, as it was when looked at.
#[derive(Clone, Debug)]
pub(crate) enum Candidate {
    /// All folios of a range.
    Folios(DeviceRange),
    /// An object without folios.
    Buffer(Arc<Buffer>),
}

/// What a folio holds, and why it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Address of its first page.
    pub(crate) address: usize,
    pub(crate) order: Order,
    pub(crate) why: Coming,
}

impl Residents {
    /// Nothing is there yet.
    pub(crate) fn new(policy: Box<dyn Policy>) -> Residents {
        let learns = policy.constant().is_none();
        let (folios, objects) = (Slab::new(), Slab::new());
        let (by_first, buffers) = (HashMap::default(), BTreeMap::new());
        Residents { policy, learns, folios, objects, by_first, buffers }
    }

    /// Adds a folio that was formed in `range`. Its object was used just now.
    pub(crate) fn push_folio(
        &mut self,
        range: DeviceRange,
        arrival: Arrival,
        folio: RawFolio<Live>,
    ) -> FolioId {
        let Arrival { address, order, why } = arrival;
        let object = match self.by_first.entry(range.first) {
            Entry::Occupied(known) => {
                self.policy.eviction().touch(*known.get());
                *known.get()
            }
            Entry::Vacant(place) => {
                let id = id_of(self.objects.insert(Resident::Folios { range, folios: 0 }));
                let (name, pages) = (address as u64 >> PAGE_SHIFT, pages_of(range.order));
                self.policy.eviction().insert(id, Object { name, pages });
                *place.insert(id)
            }
        };
        if self.learns {
            self.policy.learn(Fact::Came { address, pages: pages_of(order), why });
        }
        self.add_folio(object, arrival, folio)
    }

    /// Adds the upper half of a folio that was split: of the same object, which is no newer for that.
    pub(crate) fn push_upper(&mut self, whole: Folio, upper: RawFolio<Live>) -> FolioId {
        let Held { object, address, came: why, ref kept, .. } = *self.held(whole.id);
        let kept = kept.as_deref().map(|kept| Box::new(upper_half(kept, whole.order)));
        let bytes = usize::try_from(whole.order.bytes() / 2).expect("a folio has addresses");
        let order = whole.order.smaller().expect("only orders of 1 and more are split");
        let id = self.add_folio(object, Arrival { address: address + bytes, order, why }, upper);
        self.held(id).kept = kept;
        id
    }

    fn add_folio(&mut self, object: ObjectId, arrival: Arrival, folio: RawFolio<Live>) -> FolioId {
        let Arrival { address, why: came, .. } = arrival;
        if let Some(Resident::Folios { folios, .. }) = self.objects.get_mut(index_of(object)) {
            *folios += 1;
        }
        let key =
            self.folios.insert(Held { object, folio: Some(folio), address, came, used: None, kept: None });
        FolioId(u32::try_from(key).expect("device memory has fewer than 2^32 folios"))
    }

    fn remove_object(&mut self, id: ObjectId, why: Removal) {
        self.policy.eviction().remove(id, why);
        self.objects.remove(index_of(id));
    }

    /// Removes a folio, and its object if it was the last one there.
    pub(crate) fn remove_folio(&mut self, leaving: Folio, why: Leaving) -> RawFolio<Live> {
        let Held { object, folio, address, came, used, .. } = self.folios.remove(leaving.id.0 as usize);
        if self.learns {
            let pages = pages_of(leaving.order);
            self.policy.learn(Fact::Left { address, pages, came, used: used.as_deref(), why });
        }
        if let Some(Resident::Folios { range, folios }) = self.objects.get_mut(index_of(object)) {
            *folios -= 1;
            if *folios == 0 {
                self.by_first.remove(&range.first);
                let evicted = why == Leaving::Evicted;
                self.remove_object(object, if evicted { Removal::Evicted } else { Removal::Left });
            }
        }
        folio.expect(LENT)
    }

    /// Remembers what a device used of a folio by the mapping that just ended, for the time when it leaves.
    pub(crate) fn note_used(&mut self, at: FolioId, used: &PageSet) {
        let known = self.held(at).used.get_or_insert_default();
        used.runs(PageRun::BLOCK).for_each(|run| known.insert(run));
    }

    /// Remembers that system memory keeps the bytes of pages of a folio, counted from its first page.
    pub(crate) fn note_kept(&mut self, at: FolioId, pages: PageRun) {
        self.held(at).kept.get_or_insert_default().insert(pages);
    }

    /// Whether system memory keeps any bytes of a folio.
    pub(crate) fn keeps_any(&self, at: FolioId) -> bool {
        self.folios[at.0 as usize].kept.is_some()
    }

    /// Pages of a folio whose bytes system memory has as they are here.
    pub(crate) fn kept(&self, at: FolioId) -> Option<PageSet> {
        self.folios[at.0 as usize].kept.as_deref().copied()
    }

    /// Notes that a device wrote pages of a folio by the mapping that just ended.
    pub(crate) fn note_written(&mut self, at: FolioId, written: &PageSet) {
        if let Some(kept) = &mut self.held(at).kept {
            written.runs(PageRun::BLOCK).for_each(|run| kept.remove(run));
        }
    }

    /// Takes the reference of a folio for a moment, to split or to join it.
    pub(crate) fn lend(&mut self, at: FolioId) -> RawFolio<Live> {
        self.held(at).folio.take().expect(LENT)
    }

    /// Puts back what [`Residents::lend`] gave, or the part of it that is left.
    pub(crate) fn put_back(&mut self, at: FolioId, folio: RawFolio<Live>) {
        self.held(at).folio = Some(folio);
    }

    /// Tells whether two folios are of one object.
    pub(crate) fn are_siblings(&self, one: FolioId, other: FolioId) -> bool {
        self.folios[one.0 as usize].object == self.folios[other.0 as usize].object
    }

    /// Makes one folio of two that were lent, in the place of the lower one.
    pub(crate) fn join(&mut self, lower: FolioId, upper: FolioId, whole: RawFolio<Live>) {
        let Held { object, .. } = self.folios.remove(upper.0 as usize);
        // Which bytes of the upper half were kept is not worth joining.
        self.held(lower).kept = None;
        if let Some(Resident::Folios { folios, .. }) = self.objects.get_mut(index_of(object)) {
            *folios -= 1;
        }
        self.put_back(lower, whole);
    }

    fn held(&mut self, at: FolioId) -> &mut Held {
        &mut self.folios[at.0 as usize]
    }

    /// Adds the ranges of a buffer object, which is in no order until it is pushed.
    pub(crate) fn enter(&mut self, object: &Arc<Buffer>, memory: &[(FreeRange, u32)]) {
        for (range, _) in memory {
            self.buffers.insert(range.head().get(), (range.pages(), Arc::clone(object)));
        }
    }

    /// Removes the ranges of a buffer object.
    pub(crate) fn leave(&mut self, memory: &[(FreeRange, u32)]) {
        for (range, _) in memory {
            self.buffers.remove(&range.head().get());
        }
    }

    /// Adds a buffer object that may be evicted, and was used just now.
    pub(crate) fn push_buffer(&mut self, object: &Arc<Buffer>) -> ObjectId {
        let id = id_of(self.objects.insert(Resident::Buffer(Arc::clone(object))));
        let pages = u32::try_from(object.bytes() >> PAGE_SHIFT).unwrap_or(u32::MAX);
        let name = object.address() as u64 >> PAGE_SHIFT;
        self.policy.eviction().insert(id, Object { name, pages });
        id
    }

    /// Says that a buffer object was used.
    pub(crate) fn touch_buffer(&mut self, id: ObjectId) {
        self.policy.eviction().touch(id);
    }

    /// Takes a buffer object out of the order.
    pub(crate) fn remove_buffer(&mut self, id: ObjectId) {
        self.remove_object(id, Removal::Left);
    }

    /// The buffer objects that have pages in the `2^order` from `first`, each as often as it has ranges there.
    pub(crate) fn buffers_within(&self, first: Pfn, order: Order) -> Vec<Arc<Buffer>> {
        let end = first.get() + order.pages();
        let below = self.buffers.range(..end).rev();
        // The ranges do not overlap, so those further down end further down.
        let within = below.take_while(|(start, (pages, _))| *start + pages > first.get());
        within.map(|(_, (_, object))| Arc::clone(object)).collect()
    }

    /// All ranges of buffer objects on the device: how many pages, and whose.
    pub(crate) fn all_buffers(&self) -> Vec<(u64, Arc<Buffer>)> {
        self.buffers.values().cloned().collect()
    }

    /// Number of ranges of buffer objects.
    pub(crate) fn buffer_ranges(&self) -> u64 {
        self.buffers.len() as u64
    }

    /// Pages of buffer objects.
    pub(crate) fn buffer_pages(&self) -> u64 {
        self.buffers.values().map(|(pages, _)| pages).sum()
    }

    /// The object that leaves next. `was_used` says whether the device used a range since it was last asked.
    pub(crate) fn victim(&mut self, mut was_used: impl FnMut(DeviceRange) -> bool) -> Option<Candidate> {
        let objects = &self.objects;
        let mut was_used = |id: ObjectId| match objects[index_of(id)] {
            Resident::Folios { range, .. } => was_used(range),
            Resident::Buffer(_) => false,
        };
        let mut victims = Vec::new();
        self.policy.eviction().victims(1, &mut was_used, &mut victims);
        victims.first().map(|id| candidate(&self.objects[index_of(*id)]))
    }

    /// The next `count` objects that would leave if none of them was used.
    pub(crate) fn victims(&mut self, count: usize) -> Vec<Candidate> {
        let mut victims = Vec::new();
        self.policy.eviction().victims(count, &mut |_| false, &mut victims);
        victims.into_iter().map(|id| candidate(&self.objects[index_of(id)])).collect()
    }

    /// The buffer objects among the next victims.
    pub(crate) fn victim_buffers(&mut self, count: usize) -> Vec<Arc<Buffer>> {
        if self.buffers.is_empty() {
            return Vec::new();
        }
        let buffers = |victim| match victim {
            Candidate::Folios(_) => None,
            Candidate::Buffer(object) => Some(object),
        };
        self.victims(self.objects.len()).into_iter().filter_map(buffers).take(count).collect()
    }
}

/// The pages of the upper half of a folio of `order`, counted from there. Those of the lower half that are left over do not
/// matter: no page of it has such a number.
fn upper_half(pages: &PageSet, order: Order) -> PageSet {
    let half = u16::try_from(order.pages() / 2).expect("folios of a block are small");
    let mut upper = PageSet::EMPTY;
    for run in pages.runs(PageRun::between(half, half * 2).expect("half a folio has pages")) {
        upper.insert(PageRun::between(run.first() - half, run.end() - half).expect("as long as before"));
    }
    upper
}

fn pages_of(order: Order) -> u32 {
    1 << order.get()
}

fn id_of(key: usize) -> ObjectId {
    ObjectId(u32::try_from(key).expect("device memory has fewer than 2^32 objects"))
}

fn index_of(id: ObjectId) -> usize {
    id.0 as usize
}

fn candidate(resident: &Resident) -> Candidate {
    match resident {
        Resident::Folios { range, .. } => Candidate::Folios(*range),
        Resident::Buffer(object) => Candidate::Buffer(Arc::clone(object)),
    }
}

const LENT: &str = "only a split takes the reference, and puts it back";
