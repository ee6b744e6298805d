//! Buffer objects are made, brought to their device, pinned there, evicted and freed.

use std::sync::Arc;

use bifolio_folio::Pfn;
use bifolio_migrate::NodeId;

use super::memory::{map_buffer, unmap_buffer};
use super::{Buffer, BufferError, BufferLocation};
use crate::engine::{Engine, lock};
use crate::event::EventKind;
use crate::reclaim::{EvictionStats, ReclaimResult};
use crate::retry::{BUSY_TRIES, Retry};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::view::CpuView;

impl<V: CpuView> Engine<V> {
    /// Makes an object of zeros, which has no device memory yet. The device is to see it at `address`.
    ///
    /// # Errors
    /// [`BufferError::NoRam`] if the limit of system memory leaves no room for it.
    pub fn make_buffer(&self, node: NodeId, address: usize, pages: u64) -> Result<Arc<Buffer>, BufferError> {
        let (_change, mut retry) = (self.node(node).buffers.change(), Retry::new(BUSY_TRIES));
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
        let _change = self.node(object.node).buffers.change();
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
        let (_change, _giving) = (node.buffers.change(), lock(&node.buffers.giving));
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
