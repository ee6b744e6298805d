//! A pool whose calls may be refused or skipped.

use std::fmt;
use std::sync::Arc;

use bifolio_folio::{FreeRange, Order, Pfn, Pool};
use bifolio_pool::{Allocation, Contents, DevicePool, Rmap, Usage};

use super::{Call, FaultKind, Script};

/// A pool that asks its script at each call.
pub struct FaultyPool<P: ?Sized> {
    inner: Arc<P>,
    script: Arc<dyn Script>,
}

impl<P: DevicePool + ?Sized> FaultyPool<P> {
    /// Wraps a pool.
    #[must_use]
    pub fn over(inner: Arc<P>, script: Arc<dyn Script>) -> FaultyPool<P> {
        FaultyPool { inner, script }
    }

    /// Does a call that gives something back, unless it is skipped.
    fn unless_skipped(&self, call: Call, work: impl FnOnce(&P)) {
        match self.script.fault(call) {
            None => work(&self.inner),
            Some(FaultKind::Skip) => {}
            Some(other) => panic!("{other:?} of {call:?} is not for a pool"),
        }
        self.script.ended(call);
    }

    fn asked(&self, call: Call) -> &P {
        let fault = self.script.fault(call);
        assert_eq!(fault, None, "of {call:?}");
        &self.inner
    }
}

impl<P: DevicePool + ?Sized> fmt::Debug for FaultyPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<P: DevicePool + ?Sized> Pool for FaultyPool<P> {
    fn folio_free(&self, range: FreeRange, data: u32) {
        self.unless_skipped(Call::FolioFree, |pool| pool.folio_free(range, data));
    }

    fn folio_split(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.unless_skipped(Call::FolioSplit, |pool| pool.folio_split(head, from, to, data));
    }

    fn folio_collapse(&self, head: Pfn, from: Order, to: Order, data: u32) {
        self.unless_skipped(Call::FolioCollapse, |pool| pool.folio_collapse(head, from, to, data));
    }
}

impl<P: DevicePool + ?Sized> DevicePool for FaultyPool<P> {
    fn allocate(&self, order: Order, rmap: Rmap, contents: Contents) -> Option<Allocation> {
        let fault = self.script.fault(Call::Allocate);
        if fault == Some(FaultKind::Refuse) {
            return None;
        }
        let allocated = self.inner.allocate(order, rmap, contents);
        self.script.ended(Call::Allocate);
        let allocation = allocated?;
        match fault {
            Some(FaultKind::HandOut(head)) => {
                Some(Allocation { range: FreeRange::claim(head, order), ..allocation })
            }
            // The bytes are as the last owner left them.
            Some(FaultKind::Skip) => Some(Allocation { cleared: true, ..allocation }),
            _ => Some(allocation),
        }
    }

    fn add_plain(&self, pages: u64, memory: &mut Vec<(FreeRange, u32)>) -> u64 {
        let added = self.asked(Call::AddPlain).add_plain(pages, memory);
        self.script.ended(Call::AddPlain);
        added
    }

    fn give_back(&self, range: FreeRange, data: u32) {
        self.unless_skipped(Call::GiveBack, |pool| pool.give_back(range, data));
    }

    fn give_back_cleared(&self, range: FreeRange, data: u32) {
        self.unless_skipped(Call::GiveBack, |pool| pool.give_back_cleared(range, data));
    }

    fn allocate_dirty(&self, largest: Order) -> Option<Allocation> {
        let allocated = self.asked(Call::AllocateDirty).allocate_dirty(largest);
        self.script.ended(Call::AllocateDirty);
        allocated
    }

    fn declare_cleared(&self) {
        self.asked(Call::OtherOfPool).declare_cleared();
    }

    fn rmap_of(&self, page: Pfn, data: u32) -> Option<Rmap> {
        match self.script.fault(Call::RmapOf) {
            None => self.inner.rmap_of(page, data),
            Some(_) => None,
        }
    }

    fn can_allocate(&self, order: Order, rmap: Rmap) -> bool {
        self.asked(Call::OtherOfPool).can_allocate(order, rmap)
    }

    fn eviction_range(&self, page: Pfn, data: u32, order: Order) -> (Pfn, Order) {
        self.asked(Call::OtherOfPool).eviction_range(page, data, order)
    }

    fn free_pages(&self) -> u64 {
        self.asked(Call::OtherOfPool).free_pages()
    }

    fn usage(&self) -> Usage {
        self.asked(Call::Usage).usage()
    }

    fn release(&self) -> u64 {
        match self.script.fault(Call::Release) {
            None => self.inner.release(),
            Some(_) => 0,
        }
    }

    fn close(&self) {
        self.asked(Call::OtherOfPool).close();
    }

    fn check_consistency(&self) -> Result<(), String> {
        self.inner.check_consistency()
    }
}
