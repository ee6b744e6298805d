//! Buffer objects: device memory that is used without folios, and evicted like everything else.
//!
//! ```text
//!              validate: memory from the pool, evicting others; copy, or clear
//!    System  ------------------------------------------------------------------>  Device  --pin-->  Device, pinned
//!   (bytes, or  <---------------------------------------------------------------   |      <-unpin-
//!    zeros)            evict: copy, memory back to the pool                     in the order of victims
//! ```
//!
//! Each object has a lock of its own, which ranks with those of blocks: an eviction only tries it. What is being
//! gathered for an object is in no order of use, so a transaction that finds nothing to evict meanwhile waits, without
//! any lock.
//!
//! An object's pages are taken from the budget of system memory for as long as it lives, wherever it is: so evicting it
//! never fails for want of them, and a limit on system memory holds at all times.

use std::sync::{Arc, TryLockError};

use bifolio_folio::{FreeRange, Pfn};
use bifolio_migrate::NodeId;
use bifolio_policy::ObjectId;
use bifolio_sys::{Mapping, PAGE};

use crate::device::DeviceError;
use crate::engine::{Engine, lock};
use crate::event::EventKind;
use crate::reclaim::{EvictionStats, ReclaimResult};
use crate::retry::{BUSY_TRIES, Retry};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::view::CpuView;
use memory::{map_buffer, unmap_buffer};

mod bytes;
mod memory;

/// Why a buffer object was not made or used. Its bytes are where they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BufferError {
    /// No range of addresses is left that is long enough for the device to see it.
    #[error("no addresses for {pages} pages")]
    NoAddresses {
        /// Pages of the object.
        pages: u64,
    },
    /// Everything on the device is in use, or there is less device memory than the object has.
    #[error("no device memory for {pages} pages, and nothing that could be evicted")]
    NoDeviceMemory {
        /// Pages of the object.
        pages: u64,
    },
    /// There is no system memory for its bytes, or the limit leaves no room.
    #[error("no system memory for {pages} pages, which an object needs when it is evicted")]
    NoRam {
        /// Pages of the object.
        pages: u64,
    },
    /// What could be evicted was in use by others, again and again.
    #[error("device memory for {pages} pages is in use by others")]
    Busy {
        /// Pages of the object.
        pages: u64,
    },
    /// The device was taken away: the bytes can be read and written, but not used there.
    #[error("device is being taken away, or gone")]
    Detached,
    /// The device failed.
    #[error("device failed")]
    Device(#[from] DeviceError),
    /// Bytes outside of the object.
    #[error("{len} bytes at offset {offset:#x} are outside of an object of {bytes} bytes")]
    Outside {
        /// Offset.
        offset: usize,
        /// Number of bytes.
        len: usize,
        /// Bytes of the object.
        bytes: usize,
    },
}

/// Device memory of an object: ranges in the order of its bytes, with the pool's numbers.
type Memory = Vec<(FreeRange, u32)>;

/// A buffer object.
#[derive(Debug)]
pub struct Buffer {
    /// The device that uses it.
    node: NodeId,
    /// Where the device sees it while it is pinned.
    address: usize,
    pages: u64,
    /// Changed under the lock of `place` only.
    pins: AtomicU32,
    place: Mutex<BufferLocation>,
}

/// Where the bytes of an object are.
#[derive(Debug)]
enum BufferLocation {
    /// In system memory; without a mapping they are zeros.
    System(Option<Mapping>),
    /// On the device, with its place in the order of victims, which it has unless it is pinned.
    Device { memory: Memory, turn: Option<ObjectId> },
}

impl Buffer {
    /// Where the device sees it while it is pinned.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }

    /// Its size in bytes, a whole number of pages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.pages).expect("an object has addresses") * PAGE
    }

    pub(crate) fn is_pinned(&self) -> bool {
        // Relaxed: a hint for the choice of what to evict; an eviction holds the lock.
        self.pins.load(Ordering::Relaxed) > 0
    }

    /// Whether its bytes are on the device now.
    #[must_use]
    pub fn is_on_device(&self) -> bool {
        matches!(*lock(&self.place), BufferLocation::Device { .. })
    }
}

/// What buffer objects share.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Held while an object is given memory: one at a time, or two could have half each.
    giving: Mutex<()>,
    /// Pages of all objects.
    pages: AtomicU64,
}

impl Buffers {
    /// Whether an object is being given memory.
    pub(crate) fn is_given_memory(&self) -> bool {
        matches!(self.giving.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Waits while an object is being given memory. To be called without any lock.
    pub(crate) fn wait_for_memory(&self) {
        if self.is_given_memory() {
            drop(lock(&self.giving));
        }
    }

    /// Pages of all objects, which are taken from the budget of system memory.
    pub(crate) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }
}

impl<V: CpuView> Engine<V> {
    /// Makes an object of zeros, which has no device memory yet. The device is to see it at `address`.
    ///
    /// # Errors
    /// [`BufferError::NoRam`] if the limit of system memory leaves no room for it.
    pub fn make_buffer(&self, node: NodeId, address: usize, pages: u64) -> Result<Arc<Buffer>, BufferError> {
        let mut retry = Retry::new(BUSY_TRIES);
        while !self.budget.take(pages, false) {
            // Other objects keep their pages, so waiting would be for nothing.
            let possible = self.buffer_pages() + pages <= self.budget.unreserved_pages();
            // Nothing to move out may mean that it is just being moved, here or on the device.
            let room = self.reclaim_ram(pages, &mut None) == ReclaimResult::Room;
            if !possible || (!room && !retry.again()) {
                return Err(BufferError::NoRam { pages });
            }
        }
        self.node(node).buffers.pages.fetch_add(pages, Ordering::Relaxed);
        let place = Mutex::new(BufferLocation::System(None));
        Ok(Arc::new(Buffer { node, address, pages, pins: AtomicU32::new(0), place }))
    }

    /// Frees an object's memory, wherever it is. No thread uses it any more.
    pub fn free_buffer(&self, object: &Buffer) {
        let place = std::mem::replace(&mut *lock(&object.place), BufferLocation::System(None));
        if let BufferLocation::Device { memory, turn } = place {
            self.take_back(self.node(object.node), memory, turn);
        }
        self.node(object.node).buffers.pages.fetch_sub(object.pages, Ordering::Relaxed);
        self.budget.give_back(object.pages);
    }

    /// Brings an object to the device, evicting others if need be, and makes it the most recently used.
    ///
    /// # Errors
    /// If there is no device memory since all of it is pinned or in use; the bytes are where they were.
    pub fn validate_buffer(&self, object: &Arc<Buffer>) -> Result<(), BufferError> {
        self.validate(object, &mut lock(&object.place))
    }

    fn validate(&self, object: &Arc<Buffer>, place: &mut BufferLocation) -> Result<(), BufferError> {
        let node = self.node(object.node);
        let system = match place {
            BufferLocation::System(system) => system,
            BufferLocation::Device { turn, .. } => {
                turn.iter().for_each(|turn| lock(&node.residents).touch_buffer(*turn));
                return Ok(());
            }
        };
        let _giving = lock(&node.buffers.giving);
        let memory = self.gather(node, object.pages)?;
        let filled = self.fill(node, &memory, system.as_ref());
        if let Err(why) = filled {
            self.take_back(node, memory, None);
            return Err(why.into());
        }
        if system.is_some() {
            self.observers.tell(None, || EventKind::BufferReturned { node: object.node });
        }
        let mut victims = lock(&node.residents);
        victims.enter(object, &memory);
        *place = BufferLocation::Device { memory, turn: Some(victims.push_buffer(object)) };
        Ok(())
    }

    /// Brings an object to the device and into its page table, where it stays until it is unpinned as often.
    ///
    /// # Errors
    /// As [`Engine::validate_buffer`], or if the device's page table refuses it.
    pub fn pin_buffer(&self, object: &Arc<Buffer>) -> Result<(), BufferError> {
        let mut place = lock(&object.place);
        self.validate(object, &mut place)?;
        if let BufferLocation::Device { memory, turn: turn @ Some(_) } = &mut *place {
            let node = self.node(object.node);
            map_buffer(node, object.address, memory)?;
            turn.take().into_iter().for_each(|turn| lock(&node.residents).remove_buffer(turn));
        }
        object.pins.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes one pin off. With the last one the object leaves the device's page table, and may be evicted again.
    pub fn unpin_buffer(&self, object: &Arc<Buffer>) {
        let mut place = lock(&object.place);
        let before = object.pins.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "unpinned more often than pinned");
        if let (1, BufferLocation::Device { memory, turn }) = (before, &mut *place) {
            let node = self.node(object.node);
            unmap_buffer(node, object.address, memory);
            *turn = Some(lock(&node.residents).push_buffer(object));
        }
    }

    /// Brings an object to system memory, unless it is in use. Returns also where it began on the device.
    pub(crate) fn evict_buffer(&self, object: &Buffer) -> (EvictionStats, Option<Pfn>) {
        let Ok(mut place) = object.place.try_lock() else { return (EvictionStats::CONTENDED, None) };
        let BufferLocation::Device { memory, turn: Some(_) } = &*place else {
            return (EvictionStats::GONE, None);
        };
        let first = memory.first().map(|(range, _)| range.head());
        // Without system memory, or a device that answers, it stays where it is.
        let node = self.node(object.node);
        let Some(system) = self.save(node, memory, object.bytes()) else {
            return (EvictionStats::REFUSED, None);
        };
        let before = std::mem::replace(&mut *place, BufferLocation::System(Some(system)));
        if let BufferLocation::Device { memory, turn } = before {
            self.take_back(node, memory, turn);
        }
        self.observers.tell(None, || EventKind::BufferEvicted { node: object.node });
        (EvictionStats::EVICTED, first)
    }
}
