//! Device memory for buffer objects: gathered from the pool, entered in the device's page table, given back.

use bifolio_folio::{Order, Pfn};
use bifolio_sys::PAGE;

use super::{BufferError, Memory};
use crate::device::{DeviceError, TableUpdate};
use crate::device_lru::VictimKey;
use crate::engine::{Engine, lock};
use crate::reclaim::{ReclaimResult, Wanted};
use crate::retry::{BUSY_TRIES, Retry};
use crate::view::CpuView;

/// How often one tries again that finds nothing to evict: a folio that is being formed just now is in no order yet.
const NOTHING_TRIES: u32 = 48;

impl<V: CpuView> Engine<V> {
    /// Gathers device memory of `pages` pages, evicting the least recently used until there is enough. What is free
    /// meanwhile is kept, so that others do not take it again.
    pub(super) fn gather(&self, pages: u64) -> Result<Memory, BufferError> {
        let pool = self.pagemap.pool();
        let (mut memory, mut left, mut retry) = (Memory::new(), pages, Retry::new(BUSY_TRIES));
        if self.pagemap.is_dead() {
            return Err(BufferError::Detached);
        }
        if pages > self.pagemap.pages() {
            return Err(BufferError::NoDeviceMemory { pages });
        }
        loop {
            let gained = pool.add_plain(left, &mut memory);
            left -= gained;
            if left == 0 {
                return Ok(memory);
            }
            if gained > 0 {
                retry.reset();
            }
            let failure = match self.reclaim_device(Wanted::PAGES, &mut None) {
                ReclaimResult::Room => continue,
                ReclaimResult::Contended if retry.again() => None,
                ReclaimResult::Contended => Some(BufferError::Busy { pages }),
                ReclaimResult::Nothing if retry.tries() < NOTHING_TRIES && retry.again() => None,
                ReclaimResult::Nothing => Some(BufferError::NoDeviceMemory { pages }),
            };
            if let Some(failure) = failure {
                self.take_back(memory, None);
                return Err(failure);
            }
        }
    }

    /// Gives device memory back to the pool, and takes it out of the order of victims.
    pub(super) fn take_back(&self, memory: Memory, turn: Option<VictimKey>) {
        let mut victims = lock(&self.victims);
        turn.into_iter().for_each(|turn| victims.remove_buffer(turn));
        victims.leave(&memory);
        drop(victims);
        let pool = self.pagemap.pool();
        memory.into_iter().for_each(|(range, data)| pool.give_back(range, data));
        pool.release();
    }

    /// Enters an object in the device's page table. AddressRange by span: when one is refused, those before it are known.
    pub(super) fn map_buffer(&self, address: usize, memory: &Memory) -> Result<(), DeviceError> {
        let mut entered = 0;
        let mapped = spans(address, memory).try_for_each(|(address, to, order)| {
            let point = self.device.update(&[TableUpdate::Map { address, to, order }])?;
            entered += 1;
            self.device.wait(point)
        });
        if mapped.is_err() {
            self.unmap_spans(spans(address, memory).take(entered));
        }
        mapped
    }

    /// Removes an object from the device's page table; on return no unit of the device uses it.
    pub(super) fn unmap_buffer(&self, address: usize, memory: &Memory) {
        self.unmap_spans(spans(address, memory));
    }

    fn unmap_spans(&self, spans: impl Iterator<Item = (usize, Pfn, Order)>) {
        let unmap: Vec<_> = spans.map(|(address, _, order)| TableUpdate::Unmap { address, order }).collect();
        // A device that is lost uses nothing any more.
        let _: Result<(), DeviceError> = self.device.update(&unmap).and_then(|point| self.device.wait(point));
    }
}

/// Cuts the memory of an object that is mapped from `address` on into spans that are aligned in both.
fn spans(address: usize, memory: &Memory) -> impl Iterator<Item = (usize, Pfn, Order)> {
    let mut at = address;
    memory.iter().flat_map(move |(range, _)| {
        let aligned = u8::try_from((at / PAGE).trailing_zeros()).ok().and_then(Order::new);
        let order = range.order().min(aligned.unwrap_or(Order::MAX));
        let step = usize::try_from(order.bytes()).expect("an object has addresses");
        let first = at;
        at += usize::try_from(range.order().bytes()).expect("an object has addresses");
        let count = range.pages() / order.pages();
        let heads = (0..count).map(move |piece| Pfn::new(range.head().get() + piece * order.pages()));
        (first..).step_by(step).zip(heads).map(move |(address, to)| (address, to, order))
    })
}

#[cfg(test)]
mod tests {
    use bifolio_folio::FreeRange;

    use super::*;

    #[test]
    fn spans_are_aligned_in_both() {
        let order = |k| Order::new(k).expect("small");
        let range = |page, k| (FreeRange::claim(Pfn::new(page), order(k)), 0);
        let memory = vec![range(8, 2), range(0, 1), range(5, 0)];
        let spans: Vec<_> = spans(6 * PAGE, &memory).collect();
        let span = |page: usize, to, k| (page * PAGE, Pfn::new(to), order(k));
        assert_eq!(spans, [span(6, 8, 1), span(8, 10, 1), span(10, 0, 1), span(12, 5, 0)]);
    }
}
