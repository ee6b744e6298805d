//! Device memory for buffer objects: gathered from the pool, entered in the device's page table, given back.

use bifolio_folio::{Order, Pfn};
use bifolio_policy::ObjectId;
use bifolio_sys::PAGE;

use super::{BufferError, Memory};
use crate::device::{DeviceError, TableUpdate};
use crate::engine::{Engine, lock};
use crate::node::Node;
use crate::reclaim::{ReclaimResult, Wanted};
use crate::retry::{BUSY_TRIES, Retry};
use crate::view::CpuView;

/// How often one tries again that finds nothing to evict: a folio that is being formed just now is in no order yet.
const NOTHING_TRIES: u32 = 48;

impl<V: CpuView> Engine<V> {
    /// Gathers device memory of `pages` pages, evicting the least recently used until there is enough. What is free
    /// meanwhile is kept, so that others do not take it again.
    pub(super) fn gather(&self, node: &Node, pages: u64) -> Result<Memory, BufferError> {
        let pool = node.pool();
        let (mut memory, mut left, mut retry) = (Memory::new(), pages, Retry::new(BUSY_TRIES));
        if node.pagemap().is_dead() {
            return Err(BufferError::Detached);
        }
        if pages > node.pagemap().pages() {
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
            let failure = match self.reclaim_device(node, Wanted::PAGES, &mut None) {
                ReclaimResult::Room => continue,
                ReclaimResult::Contended if retry.again() => None,
                ReclaimResult::Contended => Some(BufferError::Busy { pages }),
                ReclaimResult::Nothing if retry.tries() < NOTHING_TRIES && retry.again() => None,
                ReclaimResult::Nothing => Some(BufferError::NoDeviceMemory { pages }),
            };
            if let Some(failure) = failure {
                self.take_back(node, memory, None);
                return Err(failure);
            }
        }
    }

    /// Gives device memory back to the pool, and takes it out of the order of victims.
    pub(super) fn take_back(&self, node: &Node, memory: Memory, turn: Option<ObjectId>) {
        let mut victims = lock(&node.residents);
        turn.into_iter().for_each(|turn| victims.remove_buffer(turn));
        victims.leave(&memory);
        drop(victims);
        let pool = node.pool();
        memory.into_iter().for_each(|(range, data)| pool.give_back(range, data));
        pool.release();
    }
}

/// Enters an object in the device's page table, run by run: when one is refused, those before it are known.
pub(super) fn map_buffer(node: &Node, address: usize, memory: &Memory) -> Result<(), DeviceError> {
    let (mut entered, rights) = (0, node.rights());
    let mapped = runs(address, memory).try_for_each(|(address, to, order)| {
        node.update(&[TableUpdate::Map { address, to, order, rights }]).inspect(|()| entered += 1)
    });
    if mapped.is_err() {
        unmap_runs(node, runs(address, memory).take(entered));
    }
    mapped
}

/// Removes an object from the device's page table; on return no unit of the device uses it.
pub(super) fn unmap_buffer(node: &Node, address: usize, memory: &Memory) {
    unmap_runs(node, runs(address, memory));
}

fn unmap_runs(node: &Node, runs: impl Iterator<Item = (usize, Pfn, Order)>) {
    let unmap: Vec<_> = runs.map(|(address, _, order)| TableUpdate::Unmap { address, order }).collect();
    // A device that is lost uses nothing any more.
    let _: Result<(), DeviceError> = node.update(&unmap);
}

/// Cuts the memory of an object that is mapped from `address` on into runs that are aligned in both.
fn runs(address: usize, memory: &Memory) -> impl Iterator<Item = (usize, Pfn, Order)> {
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
        let spans: Vec<_> = runs(6 * PAGE, &memory).collect();
        let span = |page: usize, to, k| (page * PAGE, Pfn::new(to), order(k));
        assert_eq!(spans, [span(6, 8, 1), span(8, 10, 1), span(10, 0, 1), span(12, 5, 0)]);
    }
}
