//! Making room: which objects leave the device, and which blocks leave system memory.

use bifolio_folio::{Order, Pfn};
use bifolio_migrate::{AlignedRun, Failure, Moved, OrderRange, Outcome, Piece, Transaction};
use bifolio_pool::Rmap;
use bifolio_sys::PAGE;

use crate::blocks::{BlockId, BlockRef, BlockState};
use crate::engine::{Engine, address, lock};
use crate::event::{Cause, EventKind};
use crate::node::Node;
use crate::request::{Request, Tally};
use crate::residents::{Candidate, DeviceRange};
use crate::sync::atomic::Ordering::Relaxed;
use crate::view::CpuView;

/// An object counts as used if one page in so many of it was.
const USED_PART: u64 = 4;
/// How many victims are looked at before giving up.
const CANDIDATES: usize = 32;

/// What came of making room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReclaimResult {
    /// There was room at some moment.
    Room,
    /// What could go belongs to other transactions just now.
    Contended,
    /// There is nothing that could go.
    Nothing,
}

impl ReclaimResult {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            ReclaimResult::Room => Outcome::Done,
            ReclaimResult::Contended => Outcome::Busy,
            ReclaimResult::Nothing => Outcome::NoMemory,
        }
    }

    fn failed(contended: bool) -> ReclaimResult {
        if contended { ReclaimResult::Contended } else { ReclaimResult::Nothing }
    }
}

/// What came of evicting some objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct EvictionStats {
    /// At least one folio or object was evicted.
    pub(crate) evicted: bool,
    /// At least one belongs to another transaction.
    pub(crate) contended: bool,
    /// At least one cannot go, however long a thread waits.
    pub(crate) refused: bool,
}

impl EvictionStats {
    /// What was looked for has gone.
    pub(crate) const GONE: EvictionStats = EvictionStats { evicted: false, contended: false, refused: false };
    pub(crate) const EVICTED: EvictionStats = EvictionStats { evicted: true, ..EvictionStats::GONE };
    pub(crate) const CONTENDED: EvictionStats = EvictionStats { contended: true, ..EvictionStats::GONE };
    pub(crate) const REFUSED: EvictionStats = EvictionStats { refused: true, ..EvictionStats::GONE };

    fn add(&mut self, other: EvictionStats) {
        self.evicted |= other.evicted;
        self.contended |= other.contended;
        self.refused |= other.refused;
    }
}

/// What room is wanted for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) order: Order,
    pub(crate) rmap: Rmap,
}

impl Wanted {
    /// Pages anywhere, one at least.
    pub(crate) const PAGES: Wanted = Wanted { order: Order::ZERO, rmap: Rmap::NONE };
}

/// The block whose transaction asks for room; its holder may evict from it.
pub(crate) struct Requester<'a, 'b> {
    pub(crate) found: &'a BlockRef<'b>,
    pub(crate) cell: &'a mut BlockState,
    pub(crate) tally: Option<&'a Tally>,
}

/// The tally of a request that asks for room, if it has one.
fn tally_of<'a>(asking: &Option<Requester<'a, '_>>) -> Option<&'a Tally> {
    asking.as_ref().and_then(|asking| asking.tally)
}

impl<V: CpuView> Engine<V> {
    /// Evicts objects from the device until what is wanted fits.
    ///
    /// The victims are the object that the policy chooses and all others that stand in the way of a folio of that order, as
    /// the pool says.
    pub(crate) fn reclaim_device(
        &self,
        node: &Node,
        wanted: Wanted,
        asking: &mut Option<Requester<'_, '_>>,
    ) -> ReclaimResult {
        let pool = node.pool();
        let mut sweep = EvictionStats::default();
        for _ in 0..CANDIDATES {
            let Some(victim) = self.choose_victim(node) else { break };
            let stats = self.evict(node, &victim, wanted, asking);
            sweep.add(stats);
            pool.release();
            if pool.can_allocate(wanted.order, wanted.rmap) {
                return ReclaimResult::Room;
            }
            if !stats.evicted {
                // It would be chosen again.
                break;
            }
        }
        let others = lock(&node.residents).victims(CANDIDATES);
        for victim in others {
            sweep.add(self.evict(node, &victim, wanted, asking));
            pool.release();
            if pool.can_allocate(wanted.order, wanted.rmap) {
                return ReclaimResult::Room;
            }
        }
        // What was evicted made room, which another thread was quick to take.
        if sweep.evicted || pool.can_allocate(wanted.order, wanted.rmap) {
            return ReclaimResult::Room;
        }
        // What a buffer object is being given is in no order yet.
        let given = asking.is_some() && node.buffers.is_given_memory();
        let moving = !sweep.refused && self.is_device_memory_moving(node, wanted);
        ReclaimResult::failed(sweep.contended || given || moving)
    }

    /// Tells whether memory for the smallest folio is with other transactions, though nothing refused to go: they have
    /// allocated and not yet formed it, or free it just now, and no victim shows it. What is free may be too scattered.
    fn is_device_memory_moving(&self, node: &Node, wanted: Wanted) -> bool {
        let pool = node.pool();
        let smallest = node.orders().smallest;
        let settled = pool.free_pages() + lock(&node.residents).buffer_pages();
        settled < node.pagemap().pages() && !pool.can_allocate(smallest, wanted.rmap)
    }

    /// Evicts buffer objects alone, for a transaction that makes room in system memory: they have theirs already.
    pub(crate) fn reclaim_buffers(&self, node: &Node, wanted: Wanted) -> ReclaimResult {
        let mut sweep = EvictionStats::default();
        let victims = lock(&node.residents).victim_buffers(CANDIDATES);
        for object in victims {
            sweep.add(self.evict_buffer(&object).0);
            node.pool().release();
            if sweep.evicted && node.pool().can_allocate(wanted.order, wanted.rmap) {
                return ReclaimResult::Room;
            }
        }
        ReclaimResult::failed(sweep.contended)
    }

    /// The object that the policy lets go next, in sight of what the device used. After some it is told that nothing
    /// was used, since a device may use objects faster than they are looked at.
    fn choose_victim(&self, node: &Node) -> Option<Candidate> {
        let mut left = CANDIDATES;
        lock(&node.residents).victim(|range| {
            left = left.saturating_sub(1);
            left > 0 && self.was_used(node, range)
        })
    }

    /// Tells whether the device used enough of a range since this was last asked. A few pages that are used again and again do
    /// not keep the rest of a large folio there: they come back alone.
    fn was_used(&self, node: &Node, range: DeviceRange) -> bool {
        let mut used = 0;
        for_folios(node, range.first, range.order, |head, order, data| {
            if let Some((found, page)) = self.block_of(node, head, data) {
                let first = address(&found, page);
                // All are asked, so that each use counts once.
                let pages = (first..).step_by(PAGE).take(1 << order.get());
                used +=
                    pages.filter(|at| node.device().test_and_clear_accessed(*at, Order::ZERO)).count() as u64;
            }
        });
        used > 0 && used * USED_PART >= range.order.pages()
    }

    /// Evicts an object, and whatever else is where a folio of the wanted order is to be.
    fn evict(
        &self,
        node: &Node,
        candidate: &Candidate,
        wanted: Wanted,
        asking: &mut Option<Requester<'_, '_>>,
    ) -> EvictionStats {
        let (pool, order) = (node.pool(), wanted.order);
        match candidate {
            Candidate::Folios(range) => {
                let (first, size) = pool.eviction_range(range.first, range.data, order);
                if size >= range.order {
                    self.evict_range(node, first, size, asking)
                } else {
                    self.evict_range(node, range.first, range.order, asking)
                }
            }
            Candidate::Buffer(object) => {
                let (mut sweep, around) = self.evict_buffer(object);
                pool.release();
                if let Some(first) = around.filter(|_| !pool.can_allocate(order, wanted.rmap)) {
                    sweep.add(self.evict_range(node, first.align_down(order), order, asking));
                }
                sweep
            }
        }
    }

    /// Evicts every object in the `2^order` device pages from `first`, as far as they are free. None if one is pinned:
    /// the others would go for nothing.
    fn evict_range(
        &self,
        node: &Node,
        first: Pfn,
        order: Order,
        asking: &mut Option<Requester<'_, '_>>,
    ) -> EvictionStats {
        let mut sweep = EvictionStats::default();
        let buffers = lock(&node.residents).buffers_within(first, order);
        if buffers.iter().any(|object| object.is_pinned()) {
            return EvictionStats::REFUSED;
        }
        buffers.iter().for_each(|object| sweep.add(self.evict_buffer(object).0));
        for_folios(node, first, order, |head, _, data| sweep.add(self.evict_folio(node, head, data, asking)));
        sweep
    }

    /// Returns the pages whose bytes a folio holds. Without them, or with others at the same number, it has just been
    /// freed.
    fn block_of(&self, node: &Node, head: Pfn, data: u32) -> Option<(BlockRef<'_>, u16)> {
        let rmap = node.pool().rmap_of(head, data)?;
        Some((self.blocks.get(BlockId(rmap.block))?, rmap.page))
    }

    /// Evicts one folio, unless another transaction has its block.
    fn evict_folio(
        &self,
        node: &Node,
        head: Pfn,
        data: u32,
        asking: &mut Option<Requester<'_, '_>>,
    ) -> EvictionStats {
        let tally = tally_of(asking);
        match (self.block_of(node, head, data), asking) {
            (None, _) => EvictionStats::GONE,
            (Some((found, page)), Some(held)) if found.id == held.found.id => {
                self.evict_page((node, head), page, (held.found, held.cell), tally)
            }
            (Some((found, page)), _) => match found.try_lock() {
                Some(mut other) => self.evict_page((node, head), page, (&found, &mut other), tally),
                None => EvictionStats::CONTENDED,
            },
        }
    }

    fn evict_page(
        &self,
        (node, head): (&Node, Pfn),
        page: u16,
        (found, cell): (&BlockRef<'_>, &mut BlockState),
        tally: Option<&Tally>,
    ) -> EvictionStats {
        // The folio may have gone since; whatever holds the page now is not what was looked for.
        let there = |piece: &&Piece| piece.node == node.id() && piece.pfn == head;
        let Some(piece) = cell.block.piece_of(page).filter(there) else { return EvictionStats::GONE };
        let (wanted, is_there) = (head, Some(piece.pfn));
        self.observers.tell_detail(None, || EventKind::Victim { node: node.id(), wanted, found: is_there });
        match self.run(found, cell, Transaction::to_ram(page), Request::within(Cause::Eviction, tally)) {
            Ok(_) => {
                if let Some(tally) = tally {
                    tally.evicted.set(tally.evicted.get() + 1);
                }
                let address = address(found, page);
                self.observers.tell(None, || EventKind::Evicted { node: node.id(), address });
                EvictionStats::EVICTED
            }
            Err(Failure::Busy) => EvictionStats::CONTENDED,
            Err(_) => EvictionStats::REFUSED,
        }
    }

    /// Moves pages of other blocks, or else of the one that asks, to the device until `pages` pages of system memory are
    /// free.
    pub(crate) fn reclaim_ram(&self, pages: u64, asking: &mut Option<Requester<'_, '_>>) -> ReclaimResult {
        let (held, tally) = (asking.as_ref().map(|asking| asking.found.id), tally_of(asking));
        let victims = lock(&self.ram).victims(CANDIDATES);
        let all = victims.len() < CANDIDATES;
        let (mut freed, mut left, mut contended) = (0, self.buffer_pages(), false);
        for found in victims.into_iter().filter(|id| Some(*id) != held).filter_map(|id| self.blocks.get(id)) {
            match found.try_lock() {
                Some(mut other) => {
                    freed += self.move_out(&found, &mut other, (pages - freed, Order::MAX), tally);
                    left += u64::from(other.block.ram().count());
                }
                None => contended = true,
            }
            if freed >= pages {
                return ReclaimResult::Room;
            }
        }
        if let Some(Requester { found, cell, .. }) = asking {
            freed += self.move_out(found, cell, (pages - freed, Order::MAX), tally);
            left += u64::from(cell.block.ram().count());
        }
        // Memory that is in use and in no block is with transactions that took it just now.
        contended |= all && self.budget.used_pages() > left;
        if freed >= pages { ReclaimResult::Room } else { ReclaimResult::failed(contended) }
    }

    /// Pages of all buffer objects.
    pub(crate) fn buffer_pages(&self) -> u64 {
        self.nodes.iter().map(|node| node.buffers.pages()).sum()
    }

    /// Moves pages of a block, the largest runs first, to the devices in turn until `pages` pages are free, in folios up to the
    /// order `largest`; returns how many.
    pub(crate) fn move_out(
        &self,
        found: &BlockRef<'_>,
        cell: &mut BlockState,
        (pages, largest): (u64, Order),
        tally: Option<&Tally>,
    ) -> u64 {
        let mut freed = 0;
        for node in self.nodes.iter().filter(|node| !node.pagemap().is_dead()) {
            if freed < pages {
                freed += self.move_out_to(node, (found, cell), (pages - freed, largest), tally);
            }
        }
        freed
    }

    /// Moves pages of a block to one device.
    ///
    /// Folios are no larger than the policy's: a larger one would be split when a part of it comes home, and its
    /// backing would keep all of the memory until the last part has gone.
    fn move_out_to(
        &self,
        node: &Node,
        (found, cell): (&BlockRef<'_>, &mut BlockState),
        (pages, largest): (u64, Order),
        tally: Option<&Tally>,
    ) -> u64 {
        let orders = node.orders();
        let (largest, smallest) = (orders.largest.min(largest.max(orders.smallest)), orders.smallest);
        let least = node.capabilities().smallest_order;
        let runs = cell.block.movable().aligned_runs(largest);
        let mut runs: Vec<AlignedRun> = runs.filter(|run| run.order() >= least).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.order()));
        let mut freed = 0;
        for run in runs {
            if freed >= pages {
                break;
            }
            let orders = OrderRange { largest: run.order(), smallest: smallest.min(run.order()) };
            let out = Transaction::to_device(node.id(), run.first(), orders);
            let request = Request::within(Cause::Reclaim, tally);
            match self.run(found, cell, out, request).map(|finished| finished.moved) {
                Ok(Moved::ToDevice(moved)) => {
                    freed += u64::from(moved.pages());
                    let (address, pages) = (address(found, moved.first()), moved.pages());
                    self.observers.tell(None, || EventKind::Reclaimed { address, pages });
                }
                Ok(_) => {}
                Err(_) => self.observers.tell(None, || EventKind::Busy),
            }
        }
        freed
    }
}

/// Calls `each` with head, order and data of every live folio in the `2^order` device pages from `first`.
fn for_folios(node: &Node, first: Pfn, order: Order, mut each: impl FnMut(Pfn, Order, u32)) {
    let end = first.get() + order.pages();
    let mut at = first.get();
    while at < end {
        at += match node.pagemap().try_get(Pfn::new(at)) {
            Ok(folio) => {
                let (head, order, data) = (folio.head(), folio.order(), folio.data());
                // Not held while a thread works on it: a reference would keep it from being freed.
                drop(folio);
                each(head, order, data);
                head.get() + order.pages() - at
            }
            Err(_) => 1,
        };
    }
}

/// Once nothing can go to the device, so many faults take memory beyond the limit without asking again.
const STUCK_FAULTS: u32 = 256;

impl<V: CpuView> Engine<V> {
    /// Whether system memory is within its limit, or can be brought there. While nothing can go, this is found out only
    /// now and then.
    pub(crate) fn keeps_limit(&self) -> bool {
        if !self.is_over_limit() {
            return true;
        }
        // Relaxed: a hint that is right sooner or later.
        if self.stuck.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return false;
        }
        let kept = self.shrink();
        if !kept {
            self.stuck.store(STUCK_FAULTS, Relaxed);
        }
        kept
    }

    fn is_over_limit(&self) -> bool {
        self.budget.used_pages() > self.budget.limit_pages()
    }

    /// Moves the blocks that the policy chooses to the device until the limit is kept again; `false` if nothing more can
    /// go.
    fn shrink(&self) -> bool {
        while self.is_over_limit() {
            let victims = lock(&self.ram).victims(CANDIDATES);
            let blocks = victims.into_iter().filter_map(|id| self.blocks.get(id));
            let moved: u64 = blocks.map(|found| self.move_excess_out(&found)).sum();
            if moved == 0 {
                return false;
            }
        }
        true
    }

    /// Moves what is too much out of a block, if no other transaction has it; returns how many pages went.
    fn move_excess_out(&self, found: &BlockRef<'_>) -> u64 {
        let over = self.budget.used_pages().saturating_sub(self.budget.limit_pages());
        let cell = found.try_lock().filter(|_| over > 0);
        cell.map_or(0, |mut cell| self.move_out(found, &mut cell, (over, Order::MAX), None))
    }
}
