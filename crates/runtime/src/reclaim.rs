//! Making room: which folios leave the device, and which blocks leave system memory.

use bifolio_folio::{Order, Pfn};
use bifolio_svm::to_device::ToDevice;
use bifolio_svm::{Moved, Outcome, Span, Transaction};

use crate::blocks::{BlockCell, BlockId, Found};
use crate::cpu::CpuView;
use crate::engine::{Engine, address, lock};
use crate::statistics::Counter;

/// How many of the oldest are looked at before giving up.
const CANDIDATES: usize = 32;

/// What came of making room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reclaimed {
    /// There was room at some moment.
    Room,
    /// What could go belongs to other transactions just now.
    Contended,
    /// There is nothing that could go.
    Nothing,
}

impl Reclaimed {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Reclaimed::Room => Outcome::Done,
            Reclaimed::Contended => Outcome::Busy,
            Reclaimed::Nothing => Outcome::NoMemory,
        }
    }

    fn failed(contended: bool) -> Reclaimed {
        if contended { Reclaimed::Contended } else { Reclaimed::Nothing }
    }
}

/// A folio that may be evicted, as it was when looked at.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    handle: bifolio_svm::Handle,
    block: BlockId,
    page: u16,
    head: Pfn,
    order: Order,
}

impl<V: CpuView> Engine<V> {
    /// Evicts folios from the device until one of `order` fits. `held` is the block whose transaction asks.
    ///
    /// The victims are all folios in the aligned range of `order` around the least recently used one, so that
    /// what is freed is one block of that order. A folio that the device used since it was last looked at
    /// gets a second chance.
    pub(crate) fn reclaim_device(&self, order: Order, held: &Found<'_>, cell: &mut BlockCell) -> Reclaimed {
        let mut contended = false;
        for second_chance in [true, false] {
            for candidate in self.candidates() {
                if second_chance && self.was_used(&candidate) {
                    continue;
                }
                contended |= !self.evict_range(candidate.head.align_down(order), order, held, cell);
                if self.pagemap.pool().has(order) {
                    return Reclaimed::Room;
                }
            }
        }
        Reclaimed::failed(contended)
    }

    fn candidates(&self) -> Vec<Candidate> {
        let evictable = lock(&self.evictable);
        let known = |(handle, entry): (_, &crate::engine::Evictable)| {
            let folio = entry.folio.as_ref()?;
            let (head, order) = (folio.head(), folio.order());
            Some(Candidate { handle, block: entry.block, page: entry.page, head, order })
        };
        evictable.oldest_first().filter_map(known).take(CANDIDATES).collect()
    }

    fn was_used(&self, candidate: &Candidate) -> bool {
        let Some(found) = self.blocks.get(candidate.block) else { return false };
        let at = address(&found, candidate.page);
        let used = self.device.test_and_clear_accessed(at, candidate.order);
        if used {
            let mut evictable = lock(&self.evictable);
            // It may have been released since; then somebody else's folio moves up, which harms nobody.
            if evictable.get(candidate.handle).is_some() {
                evictable.touch(candidate.handle);
            }
        }
        used
    }

    /// Evicts every folio in the `2^order` device pages from `first`, as far as their blocks are free; tells whether
    /// all were.
    fn evict_range(&self, first: Pfn, order: Order, held: &Found<'_>, cell: &mut BlockCell) -> bool {
        let mut all = true;
        let end = first.get() + order.pages();
        let mut at = first.get();
        while at < end {
            at += match self.pagemap.try_get(Pfn::new(at)) {
                Ok(folio) => {
                    let (head, pages) = (folio.head(), folio.pages());
                    let data = folio.data();
                    drop(folio);
                    all &= self.evict_folio(head, data, held, cell);
                    head.get() + pages - at
                }
                Err(_) => 1,
            };
        }
        all
    }

    /// Evicts one folio; `false` if somebody else has its block.
    fn evict_folio(&self, head: Pfn, data: u32, held: &Found<'_>, cell: &mut BlockCell) -> bool {
        let backing = self.pagemap.pool().backing(data);
        // Without a backing, or with another at the same number, the folio has just been freed.
        let Some((backing, into)) = backing.and_then(|b| Some((b, head.offset_from(b.head)?))) else {
            return true;
        };
        let Ok(into) = u16::try_from(into) else { return true };
        let Some(found) = self.blocks.get(backing.block) else { return true };
        if found.id == held.id {
            self.evict_page(head, backing.page + into, held, cell);
            return true;
        }
        match found.try_lock() {
            Some(mut other) => {
                self.evict_page(head, backing.page + into, &found, &mut other);
                true
            }
            None => false,
        }
    }

    fn evict_page(&self, head: Pfn, page: u16, found: &Found<'_>, cell: &mut BlockCell) {
        // The folio may have gone since; whatever holds the page now is not what was looked for.
        if cell.block.piece_of(page).is_some_and(|piece| piece.pfn == head) {
            let evicted = self.run(found, cell, Transaction::to_ram(page), 1);
            self.statistics.add(Counter::Evictions, u64::from(evicted.is_ok()));
        }
    }

    /// Moves pages of other blocks, or else of this one, to the device until `pages` pages of system memory are
    /// free. `held` is the block whose transaction asks.
    pub(crate) fn reclaim_ram(&self, pages: u64, held: &Found<'_>, cell: &mut BlockCell) -> Reclaimed {
        let oldest: Vec<BlockId> =
            lock(&self.resident).oldest_first().map(|(_, id)| *id).take(CANDIDATES).collect();
        let (mut freed, mut contended) = (0, false);
        for found in oldest.into_iter().filter(|id| *id != held.id).filter_map(|id| self.blocks.get(id)) {
            match found.try_lock() {
                Some(mut other) => freed += self.move_out(&found, &mut other, pages - freed),
                None => contended = true,
            }
            if freed >= pages {
                return Reclaimed::Room;
            }
        }
        freed += self.move_out(held, cell, pages - freed);
        if freed >= pages { Reclaimed::Room } else { Reclaimed::failed(contended) }
    }

    /// Moves spans of a block, the largest first, to the device until `pages` pages are free; returns how many.
    fn move_out(&self, found: &Found<'_>, cell: &mut BlockCell, pages: u64) -> u64 {
        let mut spans: Vec<Span> = cell.block.ram().spans().collect();
        spans.sort_by_key(|span| std::cmp::Reverse(span.order()));
        let mut freed = 0;
        for span in spans {
            if freed >= pages {
                break;
            }
            let (_, smallest) = self.policy.to_device_orders();
            let out = ToDevice::new(span.first(), span.order(), smallest.min(span.order()), false);
            match self.run(found, cell, Transaction::ToDevice(out), 1).map(|finished| finished.moved) {
                Ok(Moved::ToDevice(moved)) => {
                    freed += u64::from(moved.pages());
                    self.statistics.add(Counter::Reclaims, 1);
                }
                Ok(_) => {}
                Err(_) => self.statistics.add(Counter::Busy, 1),
            }
        }
        freed
    }
}
