//! One transaction being run: its steps, done for real.

use std::sync::Arc;
use std::time::Instant;

use bifolio_folio::{CollapseErrorKind, FormErrorKind, Order, Pfn};
use bifolio_migrate::{AlignedRun, Failure, Finished, Folio, Formed, Outcome, PageRun, PageSet, Step};
use bifolio_pool::{Allocation, Contents, DevicePool};

use crate::blocks::{BlockRef, BlockState};
use crate::checked::Watch;
use crate::device::{Copy, DeviceError, TableUpdate};
use crate::device_lru::DeviceRange;
use crate::engine::{Engine, NODE, lock, rmap_for};
use crate::reclaim::{ReclaimResult, Requester, Wanted};
use crate::statistics::Counter;
use crate::view::{BlockSpan, CpuView, Refused};

/// For what a transaction is run, and so what it may take and evict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Priority {
    /// A request: it may evict.
    Fault,
    /// An eviction on behalf of a request: it may use the reserve of system memory, and evicts buffer objects only.
    Reclaim,
    /// A request that must not fail for want of system memory: it may take memory beyond the limit.
    MustSucceed,
}

/// A transaction that is being run.
pub(crate) struct StepExecutor<'e, V: CpuView> {
    pub(super) engine: &'e Engine<V>,
    pub(super) found: BlockRef<'e>,
    priority: Priority,
    /// Whether it may use the reserve of system memory.
    making_room: bool,
    pub(super) staged: Option<V::Staged>,
    /// Judges what it does, in a checked engine.
    watch: Option<Watch<'e>>,
}

impl<'e, V: CpuView> StepExecutor<'e, V> {
    pub(crate) fn new(engine: &'e Engine<V>, found: BlockRef<'e>, priority: Priority) -> Self {
        let watch = engine.checker.as_deref().map(Watch::begin);
        let making_room = priority != Priority::Fault;
        StepExecutor { engine, found, priority, making_room, staged: None, watch }
    }

    /// Does one step.
    pub(crate) fn perform(&mut self, step: Step, cell: &mut BlockState) -> Outcome {
        let Some(mut watch) = self.watch.take() else { return self.act(step, cell) };
        let outcome = self.perform_watched(&mut watch, step, cell);
        self.watch = Some(watch);
        outcome
    }

    /// Ends the transaction: what it left behind is judged, in a checked engine.
    pub(super) fn end(mut self, result: &Result<Finished, Failure>, cell: &BlockState) {
        if let Some(watch) = self.watch.take() {
            self.judge_end(&watch, result, cell);
        }
    }

    /// Does one step, without looking.
    pub(super) fn act(&mut self, step: Step, cell: &mut BlockState) -> Outcome {
        match step {
            Step::FormFolio { run, .. } => self.form(run, cell.block.ram()),
            Step::ReclaimDevice { run, .. } => self.reclaim_device(run, cell),
            Step::ReleaseFolio { folio } => self.release_folio(folio),
            Step::SplitFolio { folio } => self.split(folio),
            Step::CollapseFolio { lower, upper } => self.collapse(lower, upper),
            Step::ReserveRam { run } => self.reserve(run),
            Step::ReclaimRam { pages } => self.reclaim_ram(pages, cell),
            Step::ReleaseRam { run, pages } => self.release_ram(run, pages),
            Step::Isolate { run } => self.isolate(run, cell.block.ram()),
            Step::Remap { run } => self.remap(run, cell),
            Step::Install { run, wanted: None } if self.priority != Priority::Fault => {
                self.install(run, V::park)
            }
            Step::Install { run, wanted } => {
                self.install(run, |view, place, staged| view.install(place, staged, wanted))
            }
            Step::InstallZero { run } => self.install(run, V::install_zero),
            Step::CopyToDevice { run, to } => self.copy_to_device(run, to.pfn),
            Step::ClearDevice { run, to } => self.clear_device(run, to.pfn),
            Step::CopyToRam { run, from } => self.copy_to_ram(run, from.pfn),
            Step::MapDevice { run, to, .. } => self.map_device(run, to.pfn),
            Step::UnmapDevice { run, .. } => self.unmap_device(run),
            Step::RemapDevice { run, to, .. } => self.remap_device(run, to.pfn),
            Step::MapCoherent { run, to } => self.view().map_coherent(self.place(run), to.pfn).outcome(),
            Step::UnmapCoherent { run } => self.view().unmap_coherent(self.place(run)).outcome(),
            Step::Discard { run } => self.discard(run, cell),
            Step::Finish(_) => unreachable!("the end of a transaction is not a step to do"),
        }
    }

    fn view(&self) -> &'e V {
        &self.engine.view
    }

    fn place(&self, span: AlignedRun) -> BlockSpan {
        BlockSpan { base: self.found.base, span }
    }

    fn form(&self, span: AlignedRun, ram: &PageSet) -> Outcome {
        let Engine { pagemap, victims, .. } = self.engine;
        if pagemap.is_dead() {
            return Outcome::Detached;
        }
        let rmap = rmap_for(&self.found, span);
        // Pages that are not in system memory are zeros.
        let contents = if ram.contains_all(span) { Contents::Any } else { Contents::Zeros };
        let Some(allocated) = pagemap.pool().allocate(span.order(), rmap, contents) else {
            return Outcome::NoMemory;
        };
        let Allocation { range, data, cleared } = allocated;
        let formed = match &self.engine.checker {
            None => pagemap.form(range, data),
            Some(checker) => checker.form(pagemap, range, data),
        };
        match formed {
            Ok(folio) => {
                let (pfn, order) = (folio.head(), folio.order());
                let (first, whole) = pagemap.pool().eviction_range(pfn, data, order);
                let range = DeviceRange { first, order: whole, data };
                let id = lock(victims).push_folio(range, folio.unlock().into_raw());
                let folio = Folio { node: NODE, pfn, order, id };
                Outcome::Formed(Formed { folio, kind: pagemap.kind(), cleared })
            }
            Err(refused) => {
                pagemap.pool().give_back(refused.range, data);
                if refused.kind == FormErrorKind::Dead { Outcome::Detached } else { Outcome::NoMemory }
            }
        }
    }

    fn release_folio(&self, folio: Folio) -> Outcome {
        let raw = lock(&self.engine.victims).remove_folio(folio.id);
        drop(self.engine.pagemap.from_raw(raw));
        Outcome::Done
    }

    fn split(&self, folio: Folio) -> Outcome {
        let mut victims = lock(&self.engine.victims);
        let raw = victims.lend(folio.id);
        let half = folio.order.smaller().expect("only orders of 1 and more are split");
        let split = match self.engine.pagemap.from_raw(raw).try_lock() {
            Ok(locked) => locked.split(half).map_err(|refused| refused.folio.unlock()),
            Err(live) => Err(live),
        };
        match split {
            Ok(mut pieces) => {
                let mut piece = || pieces.next().expect("a folio has two halves").unlock().into_raw();
                victims.put_back(folio.id, piece());
                self.engine.statistics.add(Counter::Splits, 1);
                Outcome::Split { upper: victims.push_piece(folio.id, piece()) }
            }
            Err(live) => {
                victims.put_back(folio.id, live.into_raw());
                Outcome::Busy
            }
        }
    }

    fn collapse(&self, lower: Folio, upper: Folio) -> Outcome {
        let mut victims = lock(&self.engine.victims);
        if !victims.are_siblings(lower.id, upper.id) {
            return Outcome::Failed;
        }
        let [one, other] = [lower, upper].map(|folio| self.engine.pagemap.from_raw(victims.lend(folio.id)));
        match join(one, other) {
            Ok(whole) => {
                victims.join(lower.id, upper.id, whole.into_raw());
                self.engine.statistics.add(Counter::Collapses, 1);
                Outcome::Done
            }
            Err((outcome, [one, other])) => {
                victims.put_back(lower.id, one.into_raw());
                victims.put_back(upper.id, other.into_raw());
                outcome
            }
        }
    }

    fn reserve(&mut self, span: AlignedRun) -> Outcome {
        let pages = u64::from(span.pages());
        if !self.engine.budget.take(pages, self.making_room) {
            // Without a device there is no other place for bytes.
            if self.priority != Priority::MustSucceed && !self.engine.pagemap.is_dead() {
                return Outcome::NoMemory;
            }
            self.engine.budget.take_resident(pages);
            self.engine.statistics.add(Counter::BeyondRam, pages);
        }
        match self.view().reserve(self.place(span)) {
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

    fn release_ram(&mut self, span: AlignedRun, pages: u16) -> Outcome {
        let staged = self.staged.take().expect(STAGED);
        self.view().release(self.place(span), staged);
        self.engine.budget.give_back(u64::from(pages));
        Outcome::Done
    }

    fn reclaim_device(&self, span: AlignedRun, cell: &mut BlockState) -> Outcome {
        let wanted = Wanted { order: span.order(), rmap: rmap_for(&self.found, span) };
        if self.priority != Priority::Fault {
            return self.engine.reclaim_buffer(wanted).outcome();
        }
        self.engine.reclaim_device(wanted, &mut Some(Requester { found: &self.found, cell })).outcome()
    }

    fn reclaim_ram(&mut self, pages: u16, cell: &mut BlockState) -> Outcome {
        if self.priority != Priority::Fault {
            return Outcome::NoMemory;
        }
        match self.engine.reclaim_ram(u64::from(pages), &mut Some(Requester { found: &self.found, cell })) {
            // The device may be full just because this very folio is there: the reserve breaks the circle.
            ReclaimResult::Nothing if !self.making_room => {
                self.making_room = true;
                Outcome::Done
            }
            reclaimed => reclaimed.outcome(),
        }
    }

    fn isolate(&mut self, span: AlignedRun, ram: &PageSet) -> Outcome {
        match self.view().isolate(self.place(span), ram) {
            Ok(staged) => {
                self.staged = Some(staged);
                Outcome::Done
            }
            Err(_) => Outcome::Busy,
        }
    }

    /// Shows pages that are in system memory. Without anything staged this answers a fault on a page whose
    /// mapping alone is gone; its neighbours' are likely gone too.
    fn remap(&mut self, span: AlignedRun, cell: &BlockState) -> Outcome {
        let staged = self.staged.take();
        let span = match staged {
            Some(_) => span,
            None => Order::K64
                .descending()
                .map(|order| AlignedRun::around(span.first(), order))
                .find(|wider| cell.block.ram().contains_all(*wider))
                .unwrap_or(span),
        };
        self.view().remap(self.place(span), cell.block.ram(), staged);
        Outcome::Done
    }

    fn install(
        &mut self,
        span: AlignedRun,
        install: impl FnOnce(&V, BlockSpan, V::Staged) -> Result<(), (Refused, V::Staged)>,
    ) -> Outcome {
        let staged = self.staged.take().expect(STAGED);
        match install(self.view(), self.place(span), staged) {
            Ok(()) => Outcome::Done,
            Err((_, staged)) => {
                self.staged = Some(staged);
                Outcome::Failed
            }
        }
    }

    fn copy_to_device(&self, run: PageRun, to: Pfn) -> Outcome {
        let staged = self.staged.as_ref().expect(STAGED);
        let from = self.view().bytes(self.place(AlignedRun::around(run.first(), Order::ZERO)), staged, run);
        self.copy(Copy::ToDevice { from, to }, Counter::BytesToDevice, run.pages())
    }

    fn copy_to_ram(&self, span: AlignedRun, from: Pfn) -> Outcome {
        let to = self.view().bytes(self.place(span), self.staged.as_ref().expect(STAGED), span.into());
        self.copy(Copy::ToRam { from, to }, Counter::BytesToRam, span.pages())
    }

    fn copy(&self, copy: Copy<'_>, counter: Counter, pages: u16) -> Outcome {
        let Engine { device, statistics, .. } = self.engine;
        let start = Instant::now();
        let result = device.copy(&[copy]).and_then(|point| device.wait(point));
        statistics.add_time(Counter::CopyNs, start.elapsed());
        if result.is_ok() {
            statistics.add(counter, u64::from(pages) * bifolio_folio::PAGE_SIZE);
        }
        result.outcome()
    }

    fn clear_device(&self, run: PageRun, to: Pfn) -> Outcome {
        let clear = Copy::Clear { to, pages: u64::from(run.pages()) };
        self.engine.device.copy(&[clear]).and_then(|point| self.engine.device.wait(point)).outcome()
    }

    fn map_device(&self, span: AlignedRun, to: Pfn) -> Outcome {
        let address = self.place(span).address();
        self.update(TableUpdate::Map { address, to, order: span.order() }).outcome()
    }

    fn remap_device(&self, span: AlignedRun, to: Pfn) -> Outcome {
        let address = self.place(span).address();
        self.update(TableUpdate::Remap { address, to, order: span.order() }).outcome()
    }

    fn unmap_device(&self, span: AlignedRun) -> Outcome {
        let address = self.place(span).address();
        let touched = self.engine.device.touched_pages(address, span.order());
        self.engine.statistics.add(Counter::BytesUseful, touched * bifolio_folio::PAGE_SIZE);
        // A device that is lost uses nothing any more, so the span is as good as unmapped.
        let _: Result<(), DeviceError> = self.update(TableUpdate::Unmap { address, order: span.order() });
        Outcome::Done
    }

    fn update(&self, update: TableUpdate) -> Result<(), DeviceError> {
        let device = &self.engine.device;
        device.update(&[update]).and_then(|point| device.wait(point))
    }

    fn discard(&self, run: PageRun, cell: &BlockState) -> Outcome {
        let result = self.view().discard(self.found.base, run, &cell.block.coherent());
        if result.is_ok() {
            self.engine.budget.give_back(u64::from(cell.block.ram().count_in(run)));
        }
        result.outcome()
    }
}

type LiveFolio<'m> = bifolio_folio::Folio<'m, Arc<dyn DevicePool>>;

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

const STAGED: &str = "reserving or taking out comes first";

trait IntoOutcome {
    fn outcome(self) -> Outcome;
}

impl<E> IntoOutcome for Result<(), E> {
    fn outcome(self) -> Outcome {
        match self {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Failed,
        }
    }
}
