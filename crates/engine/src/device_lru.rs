//! Who leaves the device next: the order of objects by their last use.
//!
//! Device memory is given back by the object, so it is objects that age, not folios: all folios that the pool empties
//! together ([`DevicePool::eviction_range`](bifolio_pool::DevicePool::eviction_range)) have one place in the order, however often
//! they are split, and a buffer object has one as well. What was used last stands last: a folio's forming, a buffer
//! object's last unpinning, or an access of the device that is seen when the object's turn comes. Pinned objects are in
//! no order.
//!
//! ```text
//!   objects      oldest [folios] -> [buffer] -> [folios] newest
//!                          ^                      ^
//!   folios               |    |                 |    one entry each, with the block's reference of the folio
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bifolio_folio::{FreeRange, Live, Order, Pfn, RawFolio};
use bifolio_migrate::FolioId;
use slab::Slab;

use crate::buffer::Buffer;
use crate::lru::{LruKey, LruList};

/// The place of an object in the order.
pub(crate) type VictimKey = LruKey<LruEntry>;

/// Everything that is on the device, and the order in which it would have to go.
#[derive(Debug, Default)]
pub(crate) struct DeviceLru {
    folios: Slab<Held>,
    objects: LruList<LruEntry>,
    /// Objects with folios, by their first page.
    by_first: HashMap<Pfn, VictimKey>,
    /// The ranges of buffer objects, by first page, with their lengths in pages.
    buffers: BTreeMap<u64, (u64, Arc<Buffer>)>,
}

/// A folio on the device, with its block's reference.
#[derive(Debug)]
struct Held {
    object: VictimKey,
    /// Absent while the folio is being split.
    folio: Option<RawFolio<Live>>,
}

/// What leaves the device at once.
#[derive(Debug)]
pub(crate) enum LruEntry {
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
    Folios { place: VictimKey, range: DeviceRange },
    /// An object without folios.
    Buffer(Arc<Buffer>),
}

impl DeviceLru {
    /// Adds a folio that was formed in `range`, which now is the most recently used.
    pub(crate) fn push_folio(&mut self, range: DeviceRange, folio: RawFolio<Live>) -> FolioId {
        let object = match self.by_first.get(&range.first) {
            Some(&object) => {
                self.objects.touch(object);
                object
            }
            None => {
                let object = self.objects.push(LruEntry::Folios { range, folios: 0 });
                self.by_first.insert(range.first, object);
                object
            }
        };
        self.add_folio(object, folio)
    }

    /// Adds a folio that was split off the one at `sibling`: of the same object, as old as that.
    pub(crate) fn push_piece(&mut self, sibling: FolioId, folio: RawFolio<Live>) -> FolioId {
        let object = self.held(sibling).object;
        self.add_folio(object, folio)
    }

    fn add_folio(&mut self, object: VictimKey, folio: RawFolio<Live>) -> FolioId {
        if let Some(LruEntry::Folios { folios, .. }) = self.objects.get_mut(object) {
            *folios += 1;
        }
        let key = self.folios.insert(Held { object, folio: Some(folio) });
        FolioId(u32::try_from(key).expect("device memory has fewer than 2^32 folios"))
    }

    /// Removes a folio, and its object if it was the last one there.
    pub(crate) fn remove_folio(&mut self, at: FolioId) -> RawFolio<Live> {
        let Held { object, folio } = self.folios.remove(at.0 as usize);
        if let Some(LruEntry::Folios { range, folios }) = self.objects.get_mut(object) {
            *folios -= 1;
            if *folios == 0 {
                self.by_first.remove(&range.first);
                self.objects.remove(object);
            }
        }
        folio.expect(LENT)
    }

    /// Takes the reference of a folio for a moment, to split or to join it.
    pub(crate) fn lend(&mut self, at: FolioId) -> RawFolio<Live> {
        self.held(at).folio.take().expect(LENT)
    }

    /// Puts back what [`DeviceLru::lend`] gave, or the part of it that is left.
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
        if let Some(LruEntry::Folios { folios, .. }) = self.objects.get_mut(object) {
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

    /// Makes a buffer object the most recently used that may be evicted.
    pub(crate) fn push_buffer(&mut self, object: &Arc<Buffer>) -> VictimKey {
        self.objects.push(LruEntry::Buffer(Arc::clone(object)))
    }

    /// Makes a buffer object in the order the most recently used.
    pub(crate) fn touch_buffer(&mut self, turn: VictimKey) {
        self.objects.touch(turn);
    }

    /// Takes a buffer object out of the order.
    pub(crate) fn remove_buffer(&mut self, turn: VictimKey) {
        self.objects.remove(turn);
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

    /// The least recently used objects, the oldest first.
    pub(crate) fn oldest(&self, count: usize) -> Vec<Candidate> {
        let candidate = |(place, victim): (VictimKey, &LruEntry)| match victim {
            LruEntry::Folios { range, .. } => Candidate::Folios { place, range: *range },
            LruEntry::Buffer(object) => Candidate::Buffer(Arc::clone(object)),
        };
        self.objects.oldest_first().take(count).map(candidate).collect()
    }

    /// The least recently used buffer objects, the oldest first.
    pub(crate) fn oldest_buffers(&self, count: usize) -> Vec<Arc<Buffer>> {
        if self.buffers.is_empty() {
            return Vec::new();
        }
        let buffers = |(_, victim): (VictimKey, &LruEntry)| match victim {
            LruEntry::Folios { .. } => None,
            LruEntry::Buffer(object) => Some(Arc::clone(object)),
        };
        self.objects.oldest_first().filter_map(buffers).take(count).collect()
    }

    /// Makes the folios of a range the most recently used, if they are still there.
    pub(crate) fn touch(&mut self, place: VictimKey, range: DeviceRange) {
        let same = |victim: &LruEntry| matches!(victim, LruEntry::Folios { range: now, .. } if *now == range);
        if self.objects.get(place).is_some_and(same) {
            self.objects.touch(place);
        }
    }
}

const LENT: &str = "only a split takes the reference, and puts it back";
