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

use std::sync::{PoisonError, TryLockError};

use bifolio_folio::FreeRange;
use bifolio_migrate::NodeId;
use bifolio_policy::ObjectId;
use bifolio_sys::{Mapping, PAGE};

use crate::device::DeviceError;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

mod bytes;
mod memory;
mod validate;

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
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*place, BufferLocation::Device { .. })
    }
}

/// What buffer objects share.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Held while an object is given memory: one at a time, or two could have half each.
    giving: Mutex<()>,
    /// Pages of all objects.
    pages: AtomicU64,
    /// Held for reading while an object is made, given memory or freed, for writing while sums are compared. Evictions in
    /// transactions need it not, since an audit holds every block.
    changing: RwLock<()>,
}

impl Buffers {
    /// Whether an object is being given memory.
    pub(crate) fn is_given_memory(&self) -> bool {
        matches!(self.giving.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Keeps audits away while an object changes. To be called without any lock but that of the object.
    pub(crate) fn change(&self) -> RwLockReadGuard<'_, ()> {
        self.changing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no object is changing, and keeps all of them as they are. To be called without any lock.
    pub(crate) fn settle(&self) -> RwLockWriteGuard<'_, ()> {
        self.changing.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while an object is being given memory. To be called without any lock.
    pub(crate) fn wait_for_memory(&self) {
        if self.is_given_memory() {
            drop(self.giving.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Pages of all objects, which are taken from the budget of system memory.
    pub(crate) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }
}
