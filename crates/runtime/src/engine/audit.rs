//! Comparing everything with everything when all is quiet, checked or not. What `--checked` judges meanwhile is in
//! [`checked`](crate::engine::checked).

use bifolio_rules::Rule;
use bifolio_rules::facts::{self, Counted, Ended, Finalized, Formed, Stretch};

use crate::blocks::Found;
use crate::cpu::CpuView;
use crate::engine::checked::Violation;
use crate::engine::{Engine, lock};
use crate::statistics::{Counter, Statistics};

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
    fn count(&mut self, number: u8, what: &str, counter: u64, truth: u64) {
        let counted = Counted { counter, truth };
        let kept = match number {
            7 => facts::i7(&counted),
            8 => facts::i8(&counted),
            _ => facts::i13(&counted),
        };
        self.judge(number, kept, || format!("{counter} {what} are counted, {truth} are held"));
    }
}

impl<V: CpuView> Engine<V> {
    /// Walks everything and returns what breaks a rule, now or, in a checked engine, at any time before: the first
    /// [`KEPT`](crate::engine::checked::KEPT) of those. No transaction may be under way.
    ///
    /// What is found is counted as violations too.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        let mut audit =
            Audit { statistics: self.checker.is_some().then_some(&self.statistics), found: Vec::new() };
        let (mut on_device, mut folios, mut in_ram) = (0, 0, 0);
        for found in self.blocks.made() {
            let cell = found.lock();
            self.audit_block(&mut audit, &found, &cell.block);
            on_device += u64::from(cell.block.device().count());
            folios += cell.block.pieces().len() as u64;
            in_ram += u64::from(cell.block.ram().count());
        }
        self.audit_pagemap(&mut audit, on_device);
        self.pagemap.pool().release();
        let usage = self.pagemap.pool().usage();
        let taken = self.pagemap.pages() - self.pagemap.pool().free_pages();
        audit.count(7, "pages taken from the pool", taken, usage.pages);
        let pool = self.pagemap.pool().check_consistency();
        audit.judge(7, pool.is_ok(), || format!("pool: {pool:?}"));
        audit.count(
            7,
            "references of objects",
            usage.references,
            folios + lock(&self.victims).plain_ranges(),
        );
        audit.count(13, "resident pages", self.budget.used_pages(), in_ram + self.plain.pages());
        self.statistics.add(Counter::Violations, audit.found.len() as u64);
        let before = self.checker.as_ref().map(|checker| checker.violations()).unwrap_or_default();
        if let Some(checker) = &self.checker {
            audit.found.iter().cloned().for_each(|violation| checker.keep(violation));
        }
        before.into_iter().chain(audit.found).collect()
    }

    fn audit_pagemap(&self, audit: &mut Audit<'_>, on_device: u64) {
        let words = self.pagemap.check_consistency();
        let facts = Formed {
            range: Stretch { first: 0, pages: self.pagemap.pages() },
            live: Stretch::NONE,
            compound: Stretch::NONE,
            as_from_nothing: words.is_ok(),
            pagemap_right: true,
            references: 1,
            locked: true,
            after_kill: false,
        };
        audit.judge(2, facts::i2(&facts), || format!("pagemap: {words:?}"));
        audit.count(8, "live device pages", self.pagemap.live_pages(), on_device);
        if self.pagemap.is_dead() {
            let live: u64 = self.pagemap.folios().map(|folio| folio.order.pages()).sum();
            let ended = Ended { ends: self.pagemap.is_drained(), live };
            audit.judge(16, facts::i16_ended(&ended), || format!("after the kill: {ended:?}"));
        }
    }

    /// Judges whether a block agrees with itself, and with the words of its folios (I12).
    fn audit_block(&self, audit: &mut Audit<'_>, found: &Found<'_>, block: &bifolio_svm::Block) {
        let itself = block.check_consistency();
        let lost = block
            .pieces()
            .iter()
            .find(|piece| self.pagemap.head_of(piece.pfn) != Some((piece.pfn, piece.span.order())));
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
