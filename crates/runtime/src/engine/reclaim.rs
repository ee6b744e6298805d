//! Making room: which folios leave the device, and which blocks leave system memory.

use bifolio_folio::{Order, Pfn};
use bifolio_svm::to_device::ToDevice;
use bifolio_svm::{Failure, Moved, Outcome, Span, Transaction};

use crate::blocks::{BlockCell, BlockId, Found};
use crate::cpu::CpuView;
use crate::engine::{Engine, address, home_of, lock};
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

/// What came of evicting some folios.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sweep {
    /// At least one was evicted.
    evicted: bool,
    /// At least one belongs to another transaction.
    contended: bool,
}

impl Sweep {
    fn add(&mut self, other: Sweep) {
        self.evicted |= other.evicted;
        self.contended |= other.contended;
    }
}

/// A folio that may be evicted, as it was when looked at.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    handle: bifolio_svm::Handle,
    block: BlockId,
    page: u16,
    head: Pfn,
    data: u32,
    order: Order,
}

impl<V: CpuView> Engine<V> {
    /// Evicts folios from the device until one of `order` fits. `held` is the block whose transaction asks.
    ///
    /// The victims are all folios around the least recently used one that stand in the way of a folio of that order,
    /// as the pool says. A folio that the device used since it was last looked at
    /// gets a second chance.
    pub(crate) fn reclaim_device(&self, span: Span, held: &Found<'_>, cell: &mut BlockCell) -> Reclaimed {
        let (pool, order) = (self.pagemap.pool(), span.order());
        let mut sweep = Sweep::default();
        for second_chance in [true, false] {
            for candidate in self.candidates() {
                if second_chance && self.was_used(&candidate) {
                    continue;
                }
                let (first, size) = pool.to_empty(candidate.head, candidate.data, order);
                sweep.add(self.evict_range(first, size, held, cell));
                pool.release();
                if pool.has(order, home_of(held, span)) {
                    return Reclaimed::Room;
                }
            }
        }
        // What was evicted made room, which somebody else was quick to take.
        if sweep.evicted { Reclaimed::Room } else { Reclaimed::failed(sweep.contended) }
    }

    fn candidates(&self) -> Vec<Candidate> {
        let evictable = lock(&self.evictable);
        let known = |(handle, entry): (_, &crate::engine::Evictable)| {
            let folio = entry.folio.as_ref()?;
            let (head, order, data) = (folio.head(), folio.order(), entry.data);
            Some(Candidate { handle, block: entry.block, page: entry.page, head, data, order })
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

    /// Evicts every folio in the `2^order` device pages from `first`, as far as their blocks are free.
    fn evict_range(&self, first: Pfn, order: Order, held: &Found<'_>, cell: &mut BlockCell) -> Sweep {
        let mut sweep = Sweep::default();
        let end = first.get() + order.pages();
        let mut at = first.get();
        while at < end {
            at += match self.pagemap.try_get(Pfn::new(at)) {
                Ok(folio) => {
                    let (head, pages) = (folio.head(), folio.pages());
                    let data = folio.data();
                    drop(folio);
                    sweep.add(self.evict_folio(head, data, held, cell));
                    head.get() + pages - at
                }
                Err(_) => 1,
            };
        }
        sweep
    }

    /// Evicts one folio, unless somebody else has its block.
    fn evict_folio(&self, head: Pfn, data: u32, held: &Found<'_>, cell: &mut BlockCell) -> Sweep {
        // Without a home, or with another at the same number, the folio has just been freed.
        let home = self.pagemap.pool().home(head, data);
        let place = home.and_then(|home| Some((self.blocks.get(BlockId(home.block))?, home.page)));
        match place {
            None => Sweep::default(),
            Some((found, page)) if found.id == held.id => self.evict_page(head, page, held, cell),
            Some((found, page)) => match found.try_lock() {
                Some(mut other) => self.evict_page(head, page, &found, &mut other),
                None => Sweep { evicted: false, contended: true },
            },
        }
    }

    fn evict_page(&self, head: Pfn, page: u16, found: &Found<'_>, cell: &mut BlockCell) -> Sweep {
        // The folio may have gone since; whatever holds the page now is not what was looked for.
        if cell.block.piece_of(page).is_none_or(|piece| piece.pfn != head) {
            return Sweep::default();
        }
        match self.run(found, cell, Transaction::to_ram(page), 1) {
            Ok(_) => {
                self.statistics.add(Counter::Evictions, 1);
                Sweep { evicted: true, contended: false }
            }
            Err(why) => Sweep { evicted: false, contended: why == Failure::Busy },
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
    ///
    /// Folios are no larger than the policy's: a larger one would be split when a part of it comes home, and its
    /// backing would keep all of the memory until the last part has gone.
    pub(crate) fn move_out(&self, found: &Found<'_>, cell: &mut BlockCell, pages: u64) -> u64 {
        let (largest, smallest) = self.policy.to_device_orders();
        let mut spans: Vec<Span> = cell.block.movable().spans(largest).collect();
        spans.sort_by_key(|span| std::cmp::Reverse(span.order()));
        let mut freed = 0;
        for span in spans {
            if freed >= pages {
                break;
            }
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
