//! Transactions, watched: each step before and after it is done, and what is left at the end.

use std::cell::Cell;

use bifolio_folio::{Order, Pfn};
use bifolio_migrate::{
    AlignedRun, DevicePage, Failure, Finished, Folio, Formed, Moved, Outcome, PageRun, PageSet, Step,
};
use bifolio_rules::facts::{self, Counted, Finalized, GaveUp};
use bifolio_sys::SharedBytes;

use super::{Checker, digest, stretch};
use crate::blocks::BlockState;
use crate::executor::StepExecutor;
use crate::sync::thread_local;
use crate::view::{BlockSpan, CpuView};

thread_local! {
    /// Watched transactions that this thread is in; it holds a block meanwhile.
    static WITHIN: Cell<u32> = const { Cell::new(0) };
    /// How often it waited for a block in them.
    static WAITS: Cell<u32> = const { Cell::new(0) };
}

/// Notes that this thread is about to wait for a block (I24).
pub(crate) fn waits_for_a_block() {
    if WITHIN.get() > 0 {
        WAITS.set(WAITS.get() + 1);
    }
}

/// What is remembered of a transaction under way.
pub(crate) struct Watch<'c> {
    checker: &'c Checker,
    /// Where the pages of the block were, before this transaction changed anything.
    before: Option<Places>,
    /// The folio that it formed and did not release.
    formed: Option<Folio>,
    /// Pages taken from the budget of system memory, less those given back.
    budget_pages: i64,
    /// The order that it asked memory for last, above the smallest it may ask for.
    asked: Option<u8>,
    /// Pages of system memory that were copied to the device, with their digests.
    copied: Vec<(PageRun, Vec<u64>)>,
    /// Digests of the device pages that were copied to system memory.
    fetched: Option<(Pfn, Vec<u64>)>,
}

#[derive(Clone, Copy)]
struct Places {
    ram: PageSet,
    device: PageSet,
}

impl Places {
    fn of(cell: &BlockState) -> Places {
        Places { ram: *cell.block.ram(), device: *cell.block.device() }
    }
}

impl<'c> Watch<'c> {
    /// Begins to watch a transaction on a block that the caller holds.
    pub(crate) fn begin(checker: &'c Checker) -> Watch<'c> {
        WITHIN.set(WITHIN.get() + 1);
        Watch {
            checker,
            before: None,
            formed: None,
            budget_pages: 0,
            asked: None,
            copied: Vec::new(),
            fetched: None,
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        WITHIN.set(WITHIN.get() - 1);
    }
}

impl<V: CpuView> StepExecutor<'_, V> {
    /// Does one step, judged.
    pub(crate) fn perform_watched(
        &mut self,
        watch: &mut Watch<'_>,
        step: Step,
        cell: &mut BlockState,
    ) -> Outcome {
        watch.before.get_or_insert_with(|| Places::of(cell));
        self.judge_names(watch.checker, step, cell);
        self.look_before(watch, step);
        let outcome = self.execute(step, cell);
        watch.note(step, outcome, cell, self.smallest(step));
        if outcome == Outcome::Done {
            self.look_after(watch, step);
        }
        outcome
    }

    /// The smallest order that a transaction may go down to where it asks for memory by this step.
    fn smallest(&self, step: Step) -> Order {
        match step {
            Step::FormFolio { node, .. } => self.engine.node(node).orders().smallest,
            _ => Order::ZERO,
        }
    }

    /// Judges what a step names: a folio that lives (I17), of the order of the span (I14), and the one that the block
    /// has there now (I26), which is so of a source above all (I28).
    fn judge_names(&self, checker: &Checker, step: Step, cell: &BlockState) {
        match step {
            Step::ReleaseFolio { folio } | Step::SplitFolio { folio } => {
                checker.named(folio.pfn, Some(folio.order));
            }
            Step::CollapseFolio { lower, upper } => {
                [lower, upper].iter().for_each(|half| checker.named(half.pfn, Some(half.order)));
            }
            Step::CopyToDevice { to, .. } | Step::ClearDevice { to, .. } => checker.named(to.pfn, None),
            Step::CopyToRam { run, from: DevicePage { pfn, .. } }
            | Step::MapDevice { run, to: DevicePage { pfn, .. }, .. }
            | Step::RemapDevice { run, to: DevicePage { pfn, .. }, .. }
            | Step::MapCoherent { run, to: DevicePage { pfn, .. } } => {
                checker.named(pfn, Some(run.order()));
                let found = cell.block.piece_of(run.first()).map(|piece| piece.pfn);
                checker.judge(26, facts::i26(pfn, found), || {
                    format!("{step:?}, but the block has {found:?} there")
                });
                if matches!(step, Step::CopyToRam { .. }) {
                    checker.judge(28, facts::i28(found == Some(pfn)), || {
                        format!("{step:?}, but the block has gone from this folio to {found:?}")
                    });
                }
            }
            _ => {}
        }
        if let Step::MapCoherent { run, to } = step {
            checker.mapping(stretch(to.pfn, run.order()));
        }
    }

    /// Looks at bytes that are about to be copied, released or shown again. Nobody can write them.
    fn look_before(&self, watch: &mut Watch<'_>, step: Step) {
        match step {
            Step::CopyToDevice { run, .. } => {
                let digests = digest::digests(self.ram(run));
                watch.copied.push((run, digests));
            }
            Step::CopyToRam { run, from } => {
                let bytes = self.device(from.pfn, run.pages());
                watch.fetched = bytes.map(|bytes| (from.pfn, digest::digests(bytes)));
            }
            Step::ReleaseRam { .. } | Step::Remap { .. } if self.staged.is_some() => {
                for (run, copied) in std::mem::take(&mut watch.copied) {
                    let now = digest::digests(self.ram(run));
                    watch.checker.same_bytes(&now, &copied, || {
                        format!("{run:?} of block {:#x} was written while out of view", self.found.base)
                    });
                }
            }
            Step::ReleaseFolio { folio } => self.judge_fetched(watch, folio),
            _ => {}
        }
    }

    /// Judges whether a folio that came home was written after it was copied.
    fn judge_fetched(&self, watch: &mut Watch<'_>, folio: Folio) {
        let Some((pfn, fetched)) = watch.fetched.take().filter(|(pfn, _)| *pfn == folio.pfn) else {
            return;
        };
        if let Some(bytes) = self.device(pfn, 1 << folio.order.get()) {
            watch.checker.same_bytes(&digest::digests(bytes), &fetched, || {
                format!("device page {pfn} was written after it was unmapped and copied")
            });
        }
    }

    /// Compares bytes that were copied with those they were copied from (I27).
    fn look_after(&self, watch: &Watch<'_>, step: Step) {
        match step {
            Step::CopyToDevice { run, to } => {
                let Some((_, copied)) = watch.copied.last() else { return };
                self.judge_arrived(watch.checker, to.pfn, copied, || {
                    format!("{run:?} was copied to device page {}", to.pfn)
                });
                watch.checker.ledger().set_digests(to.pfn, copied);
            }
            Step::ClearDevice { run, to } => {
                let zeros = vec![digest::of_zeros(); usize::from(run.pages())];
                self.judge_arrived(watch.checker, to.pfn, &zeros, || {
                    format!("{run:?} was cleared at device page {}", to.pfn)
                });
                watch.checker.ledger().set_digests(to.pfn, &zeros);
            }
            Step::CopyToRam { run, from } => self.judge_came_home(watch, run, from.pfn),
            Step::MapCoherent { run, to } => {
                watch.checker.ledger().forget_digests(stretch(to.pfn, run.order()));
            }
            _ => {}
        }
    }

    fn judge_arrived(&self, checker: &Checker, to: Pfn, sent: &[u64], what: impl FnOnce() -> String) {
        let pages = u16::try_from(sent.len()).expect("pages of one block");
        if let Some(bytes) = self.device(to, pages) {
            checker.same_bytes(&digest::digests(bytes), sent, what);
        }
    }

    /// Judges the bytes of a folio in system memory: those on the device, and those that were sent there if nobody
    /// could write them since.
    fn judge_came_home(&self, watch: &Watch<'_>, span: AlignedRun, from: Pfn) {
        let home = digest::digests(self.ram(span));
        let what = || format!("{span:?} was copied from device page {from}");
        if let Some((_, fetched)) = watch.fetched.as_ref() {
            watch.checker.same_bytes(&home, fetched, what);
        }
        let pages = (from.get()..).map(Pfn::new).zip(&home);
        let (sent, home): (Vec<u64>, Vec<u64>) = {
            let ledger = watch.checker.ledger();
            pages.filter_map(|(page, home)| Some((ledger.digest(page)?, *home))).unzip()
        };
        watch
            .checker
            .same_bytes(&home, &sent, || format!("{}, where nobody wrote since it was filled", what()));
    }

    /// Pages of system memory that are out of view.
    fn ram(&self, run: impl Into<PageRun>) -> SharedBytes<'_> {
        let run = run.into();
        let staged = self.staged.as_ref().expect("bytes are copied while they are out of view");
        let place = BlockSpan { base: self.found.base, span: AlignedRun::around(run.first(), Order::ZERO) };
        self.engine.view.bytes(place, staged, run)
    }

    fn device(&self, first: Pfn, pages: u16) -> Option<SharedBytes<'_>> {
        self.engine.nodes[0].inspect(first, u64::from(pages))
    }

    /// Judges what a transaction left behind.
    pub(crate) fn judge_end(&self, watch: &Watch<'_>, result: &Result<Finished, Failure>, cell: &BlockState) {
        let (checker, base) = (watch.checker, self.found.base);
        let now = Places::of(cell);
        let before = watch.before.unwrap_or(now);
        let leaked = watch.formed.filter(|formed| !watch.is_piece(formed, cell));
        let finalized = Finalized {
            out_of_view: u8::from(self.staged.is_some()),
            leaked: u8::from(leaked.is_some()),
            folios_hold_pages: checker.pieces_live(cell, watch.concerned(result))
                && watch.moved_only_by(result, &before, &now, cell),
        };
        let ram = i64::from(now.ram.count()) - i64::from(before.ram.count());
        let device = i64::from(now.device.count()) - i64::from(before.device.count());
        let what = || {
            format!(
                "block at {base:#x}, after {result:?}: {finalized:?}, formed {:?}, {ram:+} pages in system memory, {device:+} on the device",
                watch.formed
            )
        };
        checker.judge(12, facts::i12(&finalized), what);
        checker.judge(23, facts::i23(&finalized), what);
        let consistent = cell.block.check_consistency();
        let out_of_view = u8::from(consistent.is_err());
        checker.judge(12, facts::i12(&Finalized { out_of_view, ..finalized }), || {
            format!("block at {base:#x}: {consistent:?}")
        });
        let counted = Counted { counter: watch.budget_pages, truth: ram };
        checker.judge(13, facts::i13(&counted), || {
            format!("block at {base:#x}: {counted:?} pages more in system memory, after {result:?}")
        });
        let kept = u64::from(self.staged.is_some()) + u64::from(leaked.is_some());
        checker.judge(18, facts::i18(kept + watch.budget_pages.abs_diff(ram)), || {
            format!("block at {base:#x}, after {result:?}: kept {leaked:?} and {counted:?}")
        });
        checker.judge_failure(watch, result, base);
        let waits = WAITS.replace(0);
        checker.judge(24, facts::i24_holding(waits), || {
            format!("a transaction waited {waits} times for a block while it held that at {base:#x}")
        });
    }
}

impl Watch<'_> {
    /// Notes what a step did.
    fn note(&mut self, step: Step, outcome: Outcome, cell: &BlockState, smallest: Order) {
        match (step, outcome) {
            (Step::FormFolio { run, .. }, _) => {
                self.ask(run, smallest);
                if let Outcome::Formed(Formed { folio, .. }) = outcome {
                    self.formed = Some(folio);
                }
            }
            (Step::ReserveRam { run }, _) => {
                self.ask(run, smallest);
                if outcome == Outcome::Done {
                    self.budget_pages += i64::from(run.pages());
                }
            }
            (Step::ReleaseRam { pages, .. }, _) => self.budget_pages -= i64::from(pages),
            (Step::Discard { run }, Outcome::Done) => {
                self.budget_pages -= i64::from(cell.block.ram().count_in(run));
            }
            (Step::ReleaseFolio { folio }, _) => {
                self.formed = self.formed.filter(|formed| formed.id != folio.id);
            }
            // Transactions within this one may have moved other pages of the block. It has moved none itself yet.
            (Step::ReclaimDevice { .. } | Step::ReclaimRam { .. }, _) => self.before = Some(Places::of(cell)),
            _ => {}
        }
    }

    fn ask(&mut self, span: AlignedRun, smallest: Order) {
        self.asked = Some(span.order().get().saturating_sub(smallest.get()));
    }

    /// The pages that it was about, in the end.
    fn concerned(&self, result: &Result<Finished, Failure>) -> PageRun {
        match result.map(|finished| finished.moved) {
            Ok(Moved::Unmapped(run) | Moved::Protected(run) | Moved::Split(run) | Moved::Collapsed(run)) => {
                run
            }
            Ok(
                Moved::AlreadyThere(span)
                | Moved::ToDevice(span)
                | Moved::ToRam(span)
                | Moved::Populated(span),
            ) => span.into(),
            // It may have been about any.
            Err(_) => PageRun::BLOCK,
        }
    }

    fn is_piece(&self, formed: &Folio, cell: &BlockState) -> bool {
        cell.block.pieces().iter().any(|piece| piece.id == formed.id)
    }

    /// After a failure, whether the pages that moved all the same are those of the folio that was formed: what was
    /// committed stays, nothing else changed.
    fn moved_only_by(
        &self,
        result: &Result<Finished, Failure>,
        before: &Places,
        now: &Places,
        cell: &BlockState,
    ) -> bool {
        if result.is_ok() {
            return true;
        }
        let committed = |formed: Folio| {
            cell.block.pieces().iter().find(|piece| piece.id == formed.id).map(|piece| piece.run)
        };
        let (mut ram, mut device) = (before.ram, before.device);
        if let Some(span) = self.formed.and_then(committed) {
            ram.remove(span);
            device.insert(span);
        }
        ram == now.ram && device == now.device
    }
}

impl Checker {
    /// Judges the naming of a folio by one of its pages (I17), or by its head and its order (I14).
    fn named(&self, pfn: Pfn, order: Option<Order>) {
        let folio = self.ledger().folio(pfn);
        self.judge(17, facts::i17(u64::from(folio.is_some())), || {
            format!("a step names device page {pfn}, where no folio lives")
        });
        if let Some(order) = order {
            let at_head = folio.filter(|folio| folio.head == pfn).map(|folio| folio.order.get());
            self.judge(14, facts::i14(at_head, order.get()), || {
                format!("a step names order {order} at device page {pfn}, where there is {folio:?}")
            });
        }
    }

    /// Judges whether bytes are those they should be (I27).
    fn same_bytes(&self, are: &[u64], should: &[u64], what: impl FnOnce() -> String) {
        self.judge(27, facts::i27(are, should), || {
            let differ: Vec<_> =
                are.iter().zip(should).enumerate().filter(|(_, (are, should))| are != should).collect();
            let first = differ.first().map(|(page, _)| *page);
            format!("{}: {} of {} pages differ, page {first:?} first", what(), differ.len(), should.len())
        });
    }

    /// Whether the folios of the pieces in `run` live, with the order that the block knows.
    fn pieces_live(&self, cell: &BlockState, run: PageRun) -> bool {
        let ledger = self.ledger();
        cell.block.pieces_in(run).all(|piece| {
            ledger
                .folio(piece.pfn)
                .is_some_and(|folio| folio.pages() == stretch(piece.pfn, piece.run.order()))
        })
    }

    /// Judges whether a transaction that failed for want of memory had asked for the smallest order (I19).
    fn judge_failure(&self, watch: &Watch<'_>, result: &Result<Finished, Failure>, base: usize) {
        let Some(order) = watch.asked else { return };
        let for_memory = matches!(result, Err(Failure::NoDeviceMemory | Failure::NoRam));
        self.judge(19, facts::i19(&GaveUp { for_memory, order }), || {
            format!(
                "block at {base:#x}: {result:?}, though the last order asked for was {order} above the smallest"
            )
        });
    }

    /// Judges whether a victim is what was chosen, now that its block is held (I26).
    pub(crate) fn victim(&self, head: Pfn, found: Option<Pfn>) {
        self.judge(26, facts::i26(head, found), || {
            format!("the folio at device page {head} was to be evicted, but its block has {found:?}")
        });
    }
}
