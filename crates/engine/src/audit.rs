//! Comparing everything with everything, whether the engine is checked or not. A checker judges transitions meanwhile.
//!
//! It cannot be told that no fault is under way: a thread that touches memory is awake once its page is in view, while a
//! handler may still finish that fault, or have another one of the same page in hand, which brings the page home once more
//! if it left since. So an audit takes every block before it looks at the first, and keeps them all until the last sum is
//! compared.

use bifolio_folio::Pfn;
use bifolio_migrate::{Block, NodeId};
use bifolio_rules::{AuditEvent, Counter, Structure, Violation};

use crate::blocks::{BlockRef, BlockState};
use crate::engine::{Engine, lock};
use crate::event::{EventKind, Observers};
use crate::node::Node;
use crate::sync::MutexGuard;
use crate::view::CpuView;

/// An audit under way.
struct Audit<'e> {
    observers: &'e Observers,
    found: Vec<Violation>,
}

impl Audit<'_> {
    /// Tells observers what was seen, and keeps it if it breaks a rule.
    fn see(&mut self, event: &AuditEvent<'_>) {
        self.observers.tell(None, || EventKind::Audit(event));
        self.found.extend(event.judgement().violation());
    }

    fn count(&mut self, counter: Counter, counted: u64, found: u64) {
        self.see(&AuditEvent::Counted { counter, counted, found });
    }

    fn walk(&mut self, structure: Structure, fault: Option<&str>) {
        self.see(&AuditEvent::Walked { structure, fault });
    }
}

/// What all blocks, and all buffers on a device, add up to.
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
    /// Walks everything and returns what breaks a rule. Transactions, and so faults, wait meanwhile, and so does what makes
    /// buffers, gives them memory or frees them. No addresses may be mapped that lie in blocks which were never used.
    ///
    /// Observers are told of each comparison.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        let mut audit = Audit { observers: &self.observers, found: Vec::new() };
        let _settled: Vec<_> = self.nodes.iter().map(|node| node.buffers.settle()).collect();
        // A thread that holds one of these only tries others, so this waits for no thread that waits for it.
        let blocks: Vec<_> = self.blocks.made().map(|found| (found, self.lock(&found))).collect();
        for (found, cell) in &blocks {
            let fault = self.fault_of(found, &cell.block);
            audit.walk(Structure::Block, fault.as_deref());
        }
        for node in self.nodes.iter() {
            let sums = Sums::of(node, &blocks);
            audit_pagemap(&mut audit, node, &sums);
            audit_pool(&mut audit, node, &sums);
        }
        let ram: u64 = blocks.iter().map(|(_, cell)| u64::from(cell.block.ram().count())).sum();
        audit.count(Counter::ResidentPages, self.budget.used_pages(), ram + self.buffer_pages());
        audit.found
    }

    /// Where a block does not agree with itself, or with the words of its folios.
    fn fault_of(&self, found: &BlockRef<'_>, block: &Block) -> Option<String> {
        if let Err(fault) = block.check_consistency() {
            return Some(format!("block at {:#x}: {fault:?}", found.base));
        }
        let head_of = |node: NodeId, pfn: Pfn| self.node(node).pagemap().head_of(pfn);
        let mut pieces = block.pieces().iter();
        let lost =
            pieces.find(|piece| head_of(piece.node, piece.pfn) != Some((piece.pfn, piece.run.order())))?;
        Some(format!("block at {:#x}: no live folio for {lost:?}", found.base))
    }
}

fn audit_pool(audit: &mut Audit<'_>, node: &Node, sums: &Sums) {
    let pool = node.pool();
    pool.release();
    let (usage, free) = (pool.usage(), pool.free_pages());
    audit.see(&AuditEvent::Refusals { node: node.id().0, refusals: usage.refusals });
    audit.count(Counter::PoolPages, node.pagemap().pages() - free, usage.pages);
    audit.walk(Structure::Pool, pool.check_consistency().err().as_deref());
    audit.count(Counter::ObjectReferences, usage.references, sums.folios + sums.buffer_ranges);
}

fn audit_pagemap(audit: &mut Audit<'_>, node: &Node, sums: &Sums) {
    let pagemap = node.pagemap();
    let fault = pagemap.check_consistency().err().map(|fault| format!("{fault:?}"));
    audit.walk(Structure::Pagemap, fault.as_deref());
    audit.count(Counter::LivePages, pagemap.live_pages(), sums.device);
    if pagemap.is_dead() {
        let live_pages = pagemap.folios().map(|folio| folio.order.pages()).sum();
        audit.see(&AuditEvent::Teardown { node: node.id().0, ends: pagemap.is_drained(), live_pages });
    }
}
