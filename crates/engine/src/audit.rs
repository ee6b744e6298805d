//! Comparing everything with everything, checked or not. What `--checked` judges meanwhile is in
//! [`checked`](crate::checked).
//!
//! Nobody can tell that no fault is under way: who touches memory is awake once his page is in view, while a handler may
//! still finish that fault, or have another one of the same page in hand, which brings the page home once more if it left
//! since. So an audit takes every block before it looks at the first, and keeps them all until the last sum is compared.

use bifolio_rules::Rule;
use bifolio_rules::facts::{self, Counted, Ended, Finalized, Formed, Stretch};

use crate::blocks::{BlockRef, BlockState};
use crate::checked::Violation;
use crate::engine::{Engine, lock};
use crate::event::EventKind;
use crate::node::Node;
use crate::statistics::Statistics;
use crate::sync::MutexGuard;
use crate::view::CpuView;

/// What an audit found.
struct Audit<'s> {
    /// Where judgements are counted, in a checked engine.
    statistics: Option<&'s Statistics>,
    found: Vec<Violation>,
}

impl Audit<'_> {
    fn judge(&mut self, number: u8, kept: bool, what: impl FnOnce() -> String) {
        let rule = Rule::known(number);
        if let Some(statistics) = self.statistics {
            statistics.add_judged(rule, 1);
        }
        if !kept {
            self.found.push(Violation { rule, what: what() });
        }
    }

    /// Judges a counter against what a walk finds, by one of the rules that are about counters.
    fn count(&mut self, number: u8, what: impl FnOnce() -> String, counter: u64, truth: u64) {
        let counted = Counted { counter, truth };
        let kept = match number {
            7 => facts::i7(&counted),
            8 => facts::i8(&counted),
            _ => facts::i13(&counted),
        };
        self.judge(number, kept, || format!("{counter} are counted, {truth} are held: {}", what()));
    }
}

/// What all blocks, and all buffer objects on a device, add up to.
#[derive(Default)]
struct Sums {
    /// Pages on the device.
    device: u64,
    folios: u64,
    buffer_ranges: u64,
}

impl Sums {
    fn of(node: &Node, blocks: &[(BlockRef<'_>, MutexGuard<'_, BlockState>)]) -> Sums {
        let mut sums = Sums { buffer_ranges: lock(&node.residents).buffer_ranges(), ..Sums::default() };
        let pieces = blocks.iter().flat_map(|(_, cell)| cell.block.pieces());
        for piece in pieces.filter(|piece| piece.node == node.id()) {
            sums.device += u64::from(piece.run.pages());
            sums.folios += 1;
        }
        sums
    }
}

impl<V: CpuView> Engine<V> {
    /// Walks everything and returns what breaks a rule, now or, in a checked engine, at any time before: the first
    /// [`KEPT`](crate::checked::KEPT) of those. Transactions, and so faults, wait meanwhile. Nothing may be
    /// allocated, and no buffer object made, used or dropped.
    ///
    /// What is found is counted as violations too.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        let statistics = self.checker.as_ref().map(|checker| checker.statistics());
        let mut audit = Audit { statistics, found: Vec::new() };
        // A thread that holds one of these only tries others, so this waits for no thread that waits for it.
        let blocks: Vec<_> = self.blocks.made().map(|found| (found, self.lock(&found))).collect();
        for (found, cell) in &blocks {
            self.audit_block(&mut audit, found, &cell.block);
        }
        for node in &self.nodes {
            let sums = Sums::of(node, &blocks);
            audit_pagemap(&mut audit, node, &sums);
            audit_pool(&mut audit, node, &sums);
        }
        let ram: u64 = blocks.iter().map(|(_, cell)| u64::from(cell.block.ram().count())).sum();
        let (used, buffers) = (self.budget.used_pages(), self.buffer_pages());
        let resident =
            || format!("resident pages, {ram} in {} blocks, {buffers} of buffer objects", blocks.len());
        audit.count(13, resident, used, ram + buffers);
        drop(blocks);
        let count = audit.found.len() as u64;
        self.observers.tell(None, || EventKind::Violations { count });
        let before = self.checker.as_ref().map(|checker| checker.violations()).unwrap_or_default();
        if let Some(checker) = &self.checker {
            audit.found.iter().cloned().for_each(|violation| checker.keep(violation));
        }
        before.into_iter().chain(audit.found).collect()
    }

    /// Judges whether a block agrees with itself, and with the words of its folios (I12).
    fn audit_block(&self, audit: &mut Audit<'_>, found: &BlockRef<'_>, block: &bifolio_migrate::Block) {
        let itself = block.check_consistency();
        let lost = block.pieces().iter().find(|piece| {
            let head = self.node(piece.node).pagemap().head_of(piece.pfn);
            head != Some((piece.pfn, piece.run.order()))
        });
        let finalized = Finalized {
            out_of_view: u8::from(itself.is_err()),
            leaked: u8::from(lost.is_some()),
            folios_hold_pages: lost.is_none(),
        };
        audit.judge(12, facts::i12(&finalized), || {
            format!("block at {:#x}: {itself:?}, no live folio for {lost:?}", found.base)
        });
    }
}

fn audit_pool(audit: &mut Audit<'_>, node: &Node, sums: &Sums) {
    let pool = node.pool();
    pool.release();
    let (usage, free) = (pool.usage(), pool.free_pages());
    let what = || format!("pages taken from the pool, which has {free} free and {} objects", usage.objects);
    audit.count(7, what, node.pagemap().pages() - free, usage.pages);
    let consistent = pool.check_consistency();
    audit.judge(7, consistent.is_ok(), || format!("pool: {consistent:?}"));
    let Sums { folios, buffer_ranges, .. } = *sums;
    let what =
        || format!("references of objects, {folios} by folios, {buffer_ranges} by ranges of buffer objects");
    audit.count(7, what, usage.references, folios + buffer_ranges);
}

fn audit_pagemap(audit: &mut Audit<'_>, node: &Node, sums: &Sums) {
    let pagemap = node.pagemap();
    let words = pagemap.check_consistency();
    let facts = Formed {
        range: Stretch { first: 0, pages: pagemap.pages() },
        live: Stretch::NONE,
        compound: Stretch::NONE,
        as_from_nothing: words.is_ok(),
        pagemap_right: true,
        references: 1,
        locked: true,
        after_kill: false,
    };
    audit.judge(2, facts::i2(&facts), || format!("pagemap: {words:?}"));
    let what = || format!("live device pages, in {} folios of blocks", sums.folios);
    audit.count(8, what, pagemap.live_pages(), sums.device);
    if pagemap.is_dead() {
        let live: u64 = pagemap.folios().map(|folio| folio.order.pages()).sum();
        let ended = Ended { ends: pagemap.is_drained(), live };
        audit.judge(16, facts::i16_ended(&ended), || format!("after the kill: {ended:?}"));
    }
}
