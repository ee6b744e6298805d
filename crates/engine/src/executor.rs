//! One transaction being run: its steps, done on the CPU's view, the devices and their pools.

use bifolio_folio::{CollapseErrorKind, FormErrorKind, Order, Pfn};
use bifolio_migrate::{
    AlignedRun, Block, DevicePage, Failure, Finished, Folio, FolioId, Formed, NodeId, Outcome, PageRun,
    PageSet, Piece, Rights, Step,
};
use bifolio_pool::{Allocation, Contents};
use bifolio_sys::SharedBytes;

use crate::blocks::{BlockRef, BlockState};
use crate::device::{Copy, DeviceError, TableUpdate, UsedPages};
use crate::engine::{Engine, lock, rmap_for};
use crate::event::{EventKind, StepContext, TransactionId};
use crate::node::Node;
use crate::reclaim::{ReclaimResult, Requester, Wanted};
use crate::request::{Priority, Request};
use crate::residents::{Arrival, DeviceRange};
use crate::view::{BlockSpan, CpuView, Refused};

/// A transaction that is being run.
pub(crate) struct StepExecutor<'e, V: CpuView> {
    pub(super) engine: &'e Engine<V>,
    pub(super) found: BlockRef<'e>,
    request: Request<'e>,
    /// Its number, if there is an observer.
    id: Option<TransactionId>,
    /// Whether an observer wants details.
    detailed: bool,
    /// Whether it may use the reserve of system memory.
    making_room: bool,
    pub(super) staged: Option<V::Staged>,
    /// The folio that is being filled, and its first page.
    filling: Option<(FolioId, u16)>,
}

/// What observers may look at while a step is done.
struct Context<'c, 'e, V: CpuView> {
    executor: &'c StepExecutor<'e, V>,
    block: &'c Block,
    step: Option<&'c Step>,
}

impl<V: CpuView> StepContext for Context<'_, '_, V> {
    fn base(&self) -> usize {
        self.executor.found.base
    }

    fn block(&self) -> &Block {
        self.block
    }

    fn is_staged(&self) -> bool {
        self.executor.staged.is_some()
    }

    fn smallest_order(&self) -> Order {
        self.step.map_or(Order::ZERO, |step| self.executor.smallest_order(step))
    }

    fn ram_bytes(&self, run: PageRun) -> Option<SharedBytes<'_>> {
        let staged = self.executor.staged.as_ref()?;
        let place = self.executor.place(AlignedRun::around(run.first(), Order::ZERO));
        Some(self.executor.engine.view.bytes(place, staged, run))
    }

    fn device_bytes(&self, node: NodeId, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.executor.engine.node(node).inspect(first, pages)
    }
}

impl<'e, V: CpuView> StepExecutor<'e, V> {
    /// Makes what runs a transaction on a block that the caller has locked.
    pub(crate) fn new(engine: &'e Engine<V>, found: BlockRef<'e>, request: Request<'e>) -> Self {
        let making_room = request.priority != Priority::Fault;
        let (id, detailed) = (engine.observers.next_transaction(), engine.observers.want_details());
        StepExecutor { engine, found, request, id, detailed, making_room, staged: None, filling: None }
    }

    /// Begins the transaction: observers see where it starts from.
    pub(crate) fn begin(&self, cell: &BlockState) {
        if self.detailed {
            self.tell_begin(cell);
        }
    }

    #[inline(never)]
    fn tell_begin(&self, cell: &BlockState) {
        let context = Context { executor: self, block: &cell.block, step: None };
        self.tell_detail(|| EventKind::Begin { cause: self.request.cause, context: &context });
    }

    /// Does one step, and tells observers of it.
    pub(crate) fn perform(&mut self, step: &Step, cell: &mut BlockState) -> Outcome {
        if self.detailed {
            return self.perform_observed(step, cell);
        }
        self.execute(step, cell)
    }

    #[inline(never)]
    fn perform_observed(&mut self, step: &Step, cell: &mut BlockState) -> Outcome {
        let context = Context { executor: self, block: &cell.block, step: Some(step) };
        self.tell_detail(|| EventKind::Step { step, context: &context });
        let outcome = self.execute(step, cell);
        let context = Context { executor: self, block: &cell.block, step: Some(step) };
        self.tell_detail(|| EventKind::Done { step, outcome, context: &context });
        outcome
    }

    /// Ends the transaction: observers see what it left behind.
    pub(crate) fn end(&self, result: &Result<Finished, Failure>, cell: &BlockState) {
        if self.id.is_some() {
            self.tell_end(result, cell);
        }
    }

    #[inline(never)]
    fn tell_end(&self, result: &Result<Finished, Failure>, cell: &BlockState) {
        let context = Context { executor: self, block: &cell.block, step: None };
        let cause = self.request.cause;
        self.tell(|| EventKind::End { cause, result, context: &context });
    }

    fn tell<'x>(&self, kind: impl FnOnce() -> EventKind<'x>) {
        if self.id.is_some() {
            self.engine.observers.tell(self.id, kind);
        }
    }

    fn tell_detail<'x>(&self, kind: impl FnOnce() -> EventKind<'x>) {
        if self.detailed {
            self.engine.observers.tell_detail(self.id, kind);
        }
    }

    /// Does one step.
    fn execute(&mut self, step: &Step, cell: &mut BlockState) -> Outcome {
        match *step {
            Step::FormFolio { node, run } => self.form(node, run, cell.block.ram()),
            Step::ReclaimDevice { node, run } => self.reclaim_device(node, run, cell),
            Step::ReleaseFolio { folio } => self.release_folio(folio),
            Step::SplitFolio { folio } => self.split(folio),
            Step::CollapseFolio { lower, upper } => self.collapse(lower, upper),
            Step::ReserveRam { run } => self.reserve(run),
            Step::ReclaimRam { pages } => self.reclaim_ram(pages, cell),
            Step::ReleaseRam { run, pages } => self.release_ram(run, pages),
            Step::Isolate { run } => {
                self.engine.revoke_remote(&self.found, cell, run.into());
                self.isolate(run, cell.block.ram())
            }
            Step::Remap { run } => self.remap(run, cell),
            Step::Install { run, wanted } => self.install_filled(run, wanted),
            Step::InstallZero { run } => self.install(run, V::install_zero),
            Step::CopyToDevice { run, to } => self.copy_to_device(run, to),
            Step::ClearDevice { run, to } => self.clear_device(run, to),
            Step::CopyToRam { run, from } => self.copy_to_ram(run, from, &cell.block),
            Step::MapDevice { run, to, rights } => self.map_device(run, to, rights),
            Step::UnmapDevice { node, run } => {
                cell.end_exclusive(run);
                self.unmap_device(node, run, cell)
            }
            Step::RemapDevice { run, to, rights } => self.remap_device(run, to, rights),
            Step::MapCoherent { run, to } => outcome_of(&self.view().map_coherent(self.place(run), to)),
            Step::UnmapCoherent { run } => outcome_of(&self.view().unmap_coherent(self.place(run))),
            Step::Discard { run } => {
                self.engine.revoke_remote(&self.found, cell, run);
                self.discard(run, cell)
            }
            Step::Protect { run, rights } => {
                self.engine.revoke_remote(&self.found, cell, run);
                outcome_of(&self.view().protect(self.found.base, run, rights))
            }
            Step::Finish(_) => unreachable!("the end of a transaction is not a step to do"),
        }
    }

    fn view(&self) -> &'e V {
        &self.engine.view
    }

    fn node(&self, id: NodeId) -> &'e Node {
        self.engine.node(id)
    }

    fn place(&self, span: AlignedRun) -> BlockSpan {
        BlockSpan { base: self.found.base, span }
    }

    /// The smallest order that the transaction may go down to where it asks for memory by this step.
    pub(super) fn smallest_order(&self, step: &Step) -> Order {
        match *step {
            Step::FormFolio { node, .. } => self.node(node).orders().smallest,
            _ => Order::ZERO,
        }
    }

    fn form(&mut self, id: NodeId, run: AlignedRun, ram: &PageSet) -> Outcome {
        let node = self.node(id);
        let (pagemap, pool) = (node.pagemap(), node.pool());
        if pagemap.is_dead() {
            return Outcome::Detached;
        }
        // Pages that are not in system memory are zeros.
        let contents = if ram.contains_all(run) { Contents::Any } else { Contents::Zeros };
        let rmap = rmap_for(&self.found, run.first());
        let Some(allocated) = pool.allocate(run.order(), rmap, contents) else { return Outcome::NoMemory };
        let Allocation { range, data, cleared } = allocated;
        self.tell_detail(|| EventKind::Forming { node, range: &range, data });
        let formed = if self.detailed && self.engine.observers.check_every_page() {
            pagemap.form_checked(range, data)
        } else {
            pagemap.form(range, data)
        };
        match formed {
            Ok(folio) => {
                self.tell_detail(|| EventKind::Formed { node, folio: &folio, data });
                let (pfn, order) = (folio.head(), folio.order());
                let (first, whole) = pool.eviction_range(pfn, data, order);
                let range = DeviceRange { first, order: whole, data };
                let address = self.place(run).address();
                let arrival = Arrival { address, order, why: self.request.cause.coming() };
                let key = lock(&node.residents).push_folio(range, arrival, folio.unlock().into_raw());
                self.filling = Some((key, run.first()));
                let folio = Folio { node: id, pfn, order, id: key };
                Outcome::Formed(Formed { folio, kind: node.kind(), cleared })
            }
            Err(refused) => {
                if let FormErrorKind::Busy { pfn } = refused.kind {
                    self.tell_detail(|| EventKind::FormRefused { node, range: &refused.range, page: pfn });
                }
                pool.give_back(refused.range, data);
                if refused.kind == FormErrorKind::Dead { Outcome::Detached } else { Outcome::NoMemory }
            }
        }
    }

    fn release_folio(&self, folio: Folio) -> Outcome {
        let node = self.node(folio.node);
        let raw = lock(&node.residents).remove_folio(folio, self.request.cause.leaving());
        drop(node.pagemap().from_raw(raw));
        Outcome::Done
    }

    fn split(&self, folio: Folio) -> Outcome {
        let node = self.node(folio.node);
        let mut residents = lock(&node.residents);
        let raw = residents.lend(folio.id);
        let half = folio.order.smaller().expect("only orders of 1 and more are split");
        let split = match node.pagemap().from_raw(raw).try_lock() {
            Ok(locked) => locked.split(half).map_err(|refused| refused.folio.unlock()),
            Err(live) => Err(live),
        };
        match split {
            Ok(mut pieces) => {
                let mut piece = || pieces.next().expect("a folio has two halves").unlock().into_raw();
                residents.put_back(folio.id, piece());
                let upper = residents.push_upper(folio, piece());
                drop(residents);
                self.tell(|| EventKind::Split { node: folio.node });
                Outcome::Split { upper }
            }
            Err(live) => {
                residents.put_back(folio.id, live.into_raw());
                Outcome::Busy
            }
        }
    }

    fn collapse(&self, lower: Folio, upper: Folio) -> Outcome {
        let node = self.node(lower.node);
        let mut residents = lock(&node.residents);
        if !residents.are_siblings(lower.id, upper.id) {
            return Outcome::Failed;
        }
        let [one, other] = [lower, upper].map(|folio| node.pagemap().from_raw(residents.lend(folio.id)));
        match join(one, other) {
            Ok(whole) => {
                residents.join(lower.id, upper.id, whole.into_raw());
                drop(residents);
                self.tell(|| EventKind::Collapsed { node: lower.node });
                Outcome::Done
            }
            Err((outcome, [one, other])) => {
                residents.put_back(lower.id, one.into_raw());
                residents.put_back(upper.id, other.into_raw());
                outcome
            }
        }
    }

    fn reserve(&mut self, run: AlignedRun) -> Outcome {
        let pages = u64::from(run.pages());
        if !self.engine.budget.take(pages, self.making_room) {
            // Without a device there is no other place for bytes.
            let elsewhere = self.engine.nodes.iter().any(|node| !node.pagemap().is_dead());
            if self.request.priority != Priority::MustSucceed && elsewhere {
                return Outcome::NoMemory;
            }
            self.engine.budget.take_resident(pages);
            self.tell(|| EventKind::BeyondLimit { pages });
        }
        match self.view().reserve(self.place(run)) {
            Ok(staged) => {
                self.staged = Some(staged);
                Outcome::Done
            }
            Err(_) => {
                self.engine.budget.give_back(pages);
                Outcome::NoMemory
            }
        }
    }

    fn release_ram(&mut self, run: AlignedRun, pages: u16) -> Outcome {
        let staged = self.staged.take().expect(STAGED);
        self.view().release(self.place(run), staged);
        self.engine.budget.give_back(u64::from(pages));
        Outcome::Done
    }

    fn reclaim_device(&self, node: NodeId, run: AlignedRun, cell: &mut BlockState) -> Outcome {
        let node = self.node(node);
        let wanted = Wanted { order: run.order(), rmap: rmap_for(&self.found, run.first()) };
        if self.request.priority != Priority::Fault {
            return self.engine.reclaim_buffers(node, wanted).outcome();
        }
        let requester = Requester { found: &self.found, cell, tally: self.request.tally };
        self.engine.reclaim_device(node, wanted, &mut Some(requester)).outcome()
    }

    fn reclaim_ram(&mut self, pages: u16, cell: &mut BlockState) -> Outcome {
        if self.request.priority != Priority::Fault {
            return Outcome::NoMemory;
        }
        let requester = Requester { found: &self.found, cell, tally: self.request.tally };
        match self.engine.reclaim_ram(u64::from(pages), &mut Some(requester)) {
            // The device may be full just because this very folio is there: the reserve breaks the circle.
            ReclaimResult::Nothing if !self.making_room => {
                self.making_room = true;
                Outcome::Done
            }
            reclaimed => reclaimed.outcome(),
        }
    }

    fn isolate(&mut self, run: AlignedRun, ram: &PageSet) -> Outcome {
        match self.view().isolate(self.place(run), ram) {
            Ok(staged) => {
                self.staged = Some(staged);
                Outcome::Done
            }
            Err(_) => Outcome::Busy,
        }
    }

    /// Maps pages that are in system memory. Without anything staged this answers a fault on a page whose
    /// mapping alone is gone; its neighbours' are likely gone too.
    fn remap(&mut self, run: AlignedRun, cell: &BlockState) -> Outcome {
        let staged = self.staged.take();
        let run = match staged {
            Some(_) => run,
            None => Order::K64
                .descending()
                .map(|order| AlignedRun::around(run.first(), order))
                .find(|wider| cell.block.ram().contains_all(*wider))
                .unwrap_or(run),
        };
        self.view().remap(self.place(run), cell.block.ram(), staged);
        Outcome::Done
    }

    /// Maps pages that were filled, or leaves them to their next touch where no thread waits and there is no hurry.
    fn install_filled(&mut self, run: AlignedRun, wanted: Option<u16>) -> Outcome {
        if wanted.is_none() && self.request.priority != Priority::Fault {
            return self.install(run, V::park);
        }
        self.install(run, |view, place, staged| view.install(place, staged, wanted))
    }

    fn install(
        &mut self,
        run: AlignedRun,
        install: impl FnOnce(&V, BlockSpan, V::Staged) -> Result<(), (Refused, V::Staged)>,
    ) -> Outcome {
        let staged = self.staged.take().expect(STAGED);
        match install(self.view(), self.place(run), staged) {
            Ok(()) => Outcome::Done,
            Err((_, staged)) => {
                self.staged = Some(staged);
                Outcome::Failed
            }
        }
    }

    fn copy_to_device(&self, run: PageRun, to: DevicePage) -> Outcome {
        let staged = self.staged.as_ref().expect(STAGED);
        let from = self.view().bytes(self.place(AlignedRun::around(run.first(), Order::ZERO)), staged, run);
        let outcome = self.copy(to.node, true, &[Copy::ToDevice { from, to: to.pfn }], run.pages());
        if outcome == Outcome::Done && self.view().keeps_bytes() {
            let (folio, first) =
                self.filling.expect("what is copied to a device goes to a folio that was formed");
            let pages = PageRun::between(run.first() - first, run.end() - first).expect("as many pages");
            lock(&self.node(to.node).residents).note_kept(folio, pages);
        }
        outcome
    }

    /// Copies a folio home: only what system memory does not have still, where the CPU had no way to write to the folio.
    fn copy_to_ram(&mut self, run: AlignedRun, from: DevicePage, block: &Block) -> Outcome {
        let node = self.node(from.node);
        if self.engine.view.shows_device(self.staged.as_mut().expect(STAGED), from) {
            // The install copies, and the time that it takes is part of the answer to the fault.
            self.count_copy((from.node, false), (run.order().bytes(), run.pages()), 0);
            return Outcome::Done;
        }
        let keeps = |piece: &&Piece| piece.run == run && !piece.is_coherent();
        let piece = if self.view().keeps_bytes() { block.piece_of(run.first()).filter(keeps) } else { None };
        let kept = piece.and_then(|piece| lock(&node.residents).kept(piece.id)).unwrap_or(PageSet::EMPTY);
        let staged = self.staged.as_ref().expect(STAGED);
        if kept.is_empty() {
            let to = self.view().bytes(self.place(run), staged, run.into());
            return self.copy(from.node, false, &[Copy::ToRam { from: from.pfn, to }], run.pages());
        }
        let (mut copies, mut at) = (Vec::new(), 0);
        while let Some((part, is_kept)) = kept.run_at(at, run.pages()) {
            at = part.end();
            if !is_kept {
                let first = run.first() + part.first();
                let here = PageRun::new(first, part.pages()).expect("pages of the run");
                let to = self.view().bytes(self.place(AlignedRun::around(first, Order::ZERO)), staged, here);
                copies.push(Copy::ToRam { from: from.plus(part.first()).pfn, to });
            }
        }
        self.copy(from.node, false, &copies, run.pages())
    }

    /// Copies parts of a folio, so that all of its `pages` pages are there.
    #[inline]
    fn copy(&self, node: NodeId, to_device: bool, copies: &[Copy<'_>], pages: u16) -> Outcome {
        let start = self.engine.now_ns();
        let result = if copies.is_empty() { Ok(()) } else { self.node(node).copy(copies) };
        self.note_lost(node, &result);
        let moved = if result.is_ok() { (copies.iter().map(Copy::bytes).sum(), pages) } else { (0, 0) };
        self.count_copy((node, to_device), moved, self.engine.now_ns().saturating_sub(start));
        outcome_of(&result)
    }

    /// Counts bytes, and the pages that are there now.
    #[inline]
    fn count_copy(&self, (node, to_device): (NodeId, bool), (bytes, pages): (u64, u16), time_ns: u64) {
        if let Some(tally) = self.request.tally {
            let moved = if to_device { &tally.moved_in } else { &tally.moved_out };
            moved.set(moved.get() + bytes);
        }
        if self.id.is_some() {
            self.tell_copied(EventKind::Copied { node, to_device, bytes, pages, time_ns });
        }
    }

    #[inline(never)]
    fn tell_copied(&self, copied: EventKind<'_>) {
        self.tell(|| copied);
    }

    fn clear_device(&self, run: PageRun, to: DevicePage) -> Outcome {
        let clear = Copy::Clear { to: to.pfn, pages: u64::from(run.pages()) };
        outcome_of(&self.node(to.node).copy(&[clear]))
    }

    fn map_device(&self, run: AlignedRun, to: DevicePage, rights: Rights) -> Outcome {
        let (address, node) = (self.place(run).address(), self.node(to.node));
        let rights = rights & node.rights();
        let map = TableUpdate::Map { address, to: to.pfn, order: run.order(), rights };
        let mapped = node.update(&[map]);
        self.note_lost(to.node, &mapped);
        outcome_of(&mapped)
    }

    fn remap_device(&self, run: AlignedRun, to: DevicePage, rights: Rights) -> Outcome {
        let (address, node) = (self.place(run).address(), self.node(to.node));
        let rights = rights & node.rights();
        let remap = TableUpdate::Remap { address, to: to.pfn, order: run.order(), rights };
        outcome_of(&node.update(&[remap]))
    }

    fn unmap_device(&self, id: NodeId, run: AlignedRun, cell: &BlockState) -> Outcome {
        let (address, node) = (self.place(run).address(), self.node(id));
        let unmapped = node.update(&[TableUpdate::Unmap { address, order: run.order() }]);
        // A device that is lost uses nothing any more, so the pages are as good as unmapped.
        self.note_lost(id, &unmapped.map_err(|_| DeviceError::Lost));
        // Only now is it all that was done with them.
        let piece = cell.block.piece_of(run.first()).filter(|piece| piece.run == run);
        let keeps =
            self.view().keeps_bytes() && piece.is_some_and(|piece| lock(&node.residents).keeps_any(piece.id));
        if self.engine.observers.listen() || node.learns() || keeps {
            self.tell_used(node, address, run.order(), piece);
        }
        Outcome::Done
    }

    fn tell_used(&self, node: &Node, address: usize, order: Order, piece: Option<&Piece>) {
        let used: UsedPages = node.device().used_pages(address, order);
        self.tell(|| EventKind::Used { node: node.id(), address, used: &used });
        if let Some(piece) = piece {
            let mut residents = lock(&node.residents);
            residents.note_written(piece.id, &used.written);
            if node.learns() {
                residents.note_used(piece.id, &used.accessed);
            }
        }
    }

    /// Tells observers, once, that a device is lost.
    fn note_lost(&self, node: NodeId, result: &Result<(), DeviceError>) {
        if *result == Err(DeviceError::Lost) && self.node(node).is_newly_lost() {
            self.tell(|| EventKind::DeviceLost { node, block: self.found.base });
        }
    }

    fn discard(&self, run: PageRun, cell: &BlockState) -> Outcome {
        // An allocation that begins there may be read and written.
        if cell.block.rights_in(run) != Rights::all()
            && self.view().protect(self.found.base, run, Rights::all()).is_err()
        {
            return Outcome::Failed;
        }
        let result = self.view().discard(self.found.base, run, &cell.block.coherent_in(run));
        if result.is_ok() {
            self.engine.budget.give_back(u64::from(cell.block.ram().count_in(run)));
        }
        outcome_of(&result)
    }
}

type LiveFolio<'m> = bifolio_folio::Folio<'m, std::sync::Arc<dyn bifolio_pool::DevicePool>>;

/// Makes one folio of two, or gives them back as they came.
fn join<'m>(
    lower: LiveFolio<'m>,
    upper: LiveFolio<'m>,
) -> Result<LiveFolio<'m>, (Outcome, [LiveFolio<'m>; 2])> {
    let lower = match lower.try_lock() {
        Ok(locked) => locked,
        Err(lower) => return Err((Outcome::Busy, [lower, upper])),
    };
    let upper = match upper.try_lock() {
        Ok(locked) => locked,
        Err(upper) => return Err((Outcome::Busy, [lower.unlock(), upper])),
    };
    lower.collapse(upper).map(bifolio_folio::Folio::unlock).map_err(|refused| {
        let shared = matches!(refused.kind, CollapseErrorKind::Shared { .. });
        let outcome = if shared { Outcome::Busy } else { Outcome::Failed };
        // Sorted by page, as they were given.
        (outcome, refused.pieces.map(bifolio_folio::Folio::unlock))
    })
}

const STAGED: &str = "reserving or isolating comes first";

fn outcome_of<E>(result: &Result<(), E>) -> Outcome {
    if result.is_ok() { Outcome::Done } else { Outcome::Failed }
}
