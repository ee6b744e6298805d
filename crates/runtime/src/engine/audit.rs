//! Checking the rules on the running system: after each transaction if asked for, and as a whole when all is quiet.

use bifolio_folio::{Order, Pfn};
use bifolio_svm::Piece;

use crate::blocks::{BlockCell, Found};
use crate::cpu::CpuView;
use crate::engine::{Engine, lock};
use crate::statistics::Counter;

/// Something that is not as the rules say.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// A block contradicts itself.
    #[error("block at {base:#x}: {what}")]
    Block {
        /// Address of the block.
        base: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A block counts on a folio that is not there, or is another (I1, I4).
    #[error("block at {base:#x}: no live folio of order {} at device page {pfn}", order.get())]
    Folio {
        /// Address of the block.
        base: usize,
        /// First device page.
        pfn: Pfn,
        /// Order that the block knows.
        order: Order,
    },
    /// The words of the pagemap contradict each other (I2, I8, I11).
    #[error("pagemap: {0}")]
    PageMap(String),
    /// Live pages and pages that blocks hold differ: a leak or a double free (I7, I8).
    #[error("{counted} {what} are counted, {held} are held")]
    Count {
        /// What was counted.
        what: &'static str,
        /// The counter.
        counted: u64,
        /// What a walk over all blocks finds.
        held: u64,
    },
}

impl<V: CpuView> Engine<V> {
    /// Walks everything and returns what breaks a rule. No transaction may be under way.
    ///
    /// What is found is counted as violations too.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let (mut on_device, mut folios, mut in_ram) = (0, 0, 0);
        for block in self.blocks.made() {
            let cell = block.lock();
            found.extend(self.block_violations(&block, &cell));
            on_device += u64::from(cell.block.device().count());
            folios += cell.block.pieces().len() as u64;
            in_ram += u64::from(cell.block.ram().count());
        }
        if let Err(what) = self.pagemap.check_consistency() {
            found.push(Violation::PageMap(what.to_string()));
        }
        let mut expect = |what, counted, held| {
            if counted != held {
                found.push(Violation::Count { what, counted, held });
            }
        };
        expect("live device pages", self.pagemap.live_pages(), on_device);
        self.pagemap.pool().release();
        let usage = self.pagemap.pool().usage();
        let taken = self.pagemap.pages() - self.pagemap.pool().free_pages();
        expect("pages taken from the pool", taken, usage.pages);
        expect("references of objects", usage.references, folios + lock(&self.victims).plain_ranges());
        expect("resident pages", self.budget.used_pages(), in_ram + self.plain.pages());
        self.statistics.add(Counter::Violations, found.len() as u64);
        found
    }

    /// Checks one block after a transaction, and counts what breaks a rule.
    pub(crate) fn check_block(&self, found: &Found<'_>, cell: &BlockCell) {
        let violations = self.block_violations(found, cell).len();
        self.statistics.add(Counter::Violations, violations as u64);
    }

    fn block_violations(&self, found: &Found<'_>, cell: &BlockCell) -> Vec<Violation> {
        let base = found.base;
        let itself = cell.block.check_consistency().err().map(|what| Violation::Block { base, what });
        let missing =
            |piece: &&Piece| self.pagemap.head_of(piece.pfn) != Some((piece.pfn, piece.span.order()));
        let folios = cell.block.pieces().iter().filter(missing).map(|piece| Violation::Folio {
            base,
            pfn: piece.pfn,
            order: piece.span.order(),
        });
        itself.into_iter().chain(folios).collect()
    }
}
