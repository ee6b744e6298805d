//! Memory that stays the kernel's: of such memory the engine knows only the pages that are on the device.
//!
//! ```text
//!   store    pages that the view holds out of sight go to the device; those that do not fit stay the caller's
//!   fetch    a page comes home, with neighbours; the engine knows nothing of them afterwards
//!   forget   pages on the device lose their bytes
//! ```

use std::ops::Range;

use bifolio_folio::{Order, Pfn};
use bifolio_migrate::{CpuFaultOrders, DevicePage, Failure, Finished, Moved, PageRun, PageSet, Transaction};

use crate::blocks::{BlockRef, BlockState};
use crate::engine::Engine;
use crate::event::{Cause, EventKind};
use crate::request::Request;
use crate::view::CpuView;

impl<V: CpuView> Engine<V> {
    /// Moves `pages` of the block at `address`, which the view has isolated already, to the device, in folios up to the order
    /// `largest`. Returns those that are
    /// there now; of the others the engine knows nothing afterwards. What the device had of these pages is forgotten.
    pub fn store(&self, address: usize, pages: &PageSet, largest: Order) -> PageSet {
        let Some(found) = self.blocks.find(address) else { return PageSet::EMPTY };
        let mut cell = self.lock(&found);
        for run in pages.runs(PageRun::BLOCK) {
            if self.forget_run(&found, &mut cell, run).is_err() {
                return PageSet::EMPTY;
            }
        }
        for run in pages.runs(PageRun::BLOCK) {
            cell.block.adopt(run);
        }
        let count = u64::from(pages.count());
        self.budget.take_resident(count);
        self.move_out(&found, &mut cell, (count, largest), None);
        let left = *cell.block.ram();
        for run in left.runs(PageRun::BLOCK) {
            self.let_go(&found, &mut cell, run);
        }
        self.release_dead();
        let mut stored = *pages;
        left.runs(PageRun::BLOCK).for_each(|run| stored.remove(run));
        stored
    }

    /// Brings the page at `address` home, with as many neighbours as `orders` say, if it is on the device; `cause` is what
    /// observers are told. Returns what was done, and the addresses that came; `None` if the page is not on the device.
    ///
    /// # Errors
    /// Why it could not come; it is on the device still.
    pub fn fetch(
        &self,
        address: usize,
        orders: CpuFaultOrders,
        cause: Cause,
    ) -> Result<Option<(Finished, Range<usize>)>, Failure> {
        let Some(found) = self.blocks.find_made(address) else { return Ok(None) };
        let page = found.page_of(address);
        let mut cell = self.lock(&found);
        if !cell.block.device().contains(page) {
            return Ok(None);
        }
        let transaction = Transaction::cpu_fault(&cell.block, page, orders);
        let request = Request::must_succeed(cause);
        // What comes home is let go at once.
        let finished = self.run_unaccounted(&found, &mut cell, transaction, request)?;
        let Moved::ToRam(came) = finished.moved else { unreachable!("a page on the device comes home") };
        self.let_go(&found, &mut cell, came.into());
        Ok(Some((finished, found.addresses_of(came.into()))))
    }

    /// Forgets what the device has of page-aligned `addresses`.
    ///
    /// # Errors
    /// The first folio that is in use; what comes before it is forgotten.
    pub fn forget(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.blocks
            .made_parts(addresses)
            .try_for_each(|(found, run)| self.retrying(|| self.forget_run(&found, &mut found.lock(), run)))
    }

    /// Calls `each` for every folio, or part of one, that holds bytes of page-aligned `addresses`: with the addresses, in
    /// order, and the first device page.
    pub fn for_stored(&self, addresses: Range<usize>, mut each: impl FnMut(Range<usize>, DevicePage)) {
        for (found, run) in self.blocks.made_parts(addresses) {
            for piece in self.lock(&found).block.pieces_in(run) {
                let within = PageRun::from(piece.run);
                let (first, end) = (within.first().max(run.first()), within.end().min(run.end()));
                let part = PageRun::between(first, end).expect("the piece holds pages of the run");
                let skipped = u64::from(first - within.first());
                let pfn = Pfn::new(piece.pfn.get() + skipped);
                each(found.addresses_of(part), DevicePage { node: piece.node, pfn });
            }
        }
    }

    /// Tells whether the device has the page at `address`.
    #[must_use]
    pub fn is_stored(&self, address: usize) -> bool {
        let found = self.blocks.find_made(address);
        found.is_some_and(|found| self.lock(&found).block.device().contains(found.page_of(address)))
    }

    /// Tells the observers of a fault of the CPU that the host has answered, with or without [`Engine::fetch`].
    pub fn tell_cpu_fault(&self, address: usize, result: &Result<Finished, Failure>, wait_ns: u64) {
        self.observers.tell(None, || EventKind::CpuFault { address, result, wait_ns });
    }

    /// Tells the observers of a page that the host is about to poison, with or without [`Engine::fetch`].
    pub fn tell_poisoned(&self, address: usize, why: Failure) {
        self.observers.tell(None, || EventKind::Poisoned { address, why });
    }

    /// Tells the observers that a thread of the host has read so many messages of the kernel at once.
    pub fn tell_messages_read(&self, messages: usize) {
        self.observers.tell(None, || EventKind::MessagesRead { messages });
    }

    fn forget_run(&self, found: &BlockRef<'_>, cell: &mut BlockState, run: PageRun) -> Result<(), Failure> {
        if !cell.block.live().intersects(run) {
            return Ok(());
        }
        self.run(found, cell, Transaction::unmap(run), Request::new(Cause::Unmap)).map(drop)
    }

    /// Gives pages that are in system memory up to the kernel.
    fn let_go(&self, found: &BlockRef<'_>, cell: &mut BlockState, run: PageRun) {
        let released = cell.block.release(run);
        debug_assert!(released.is_ok(), "pages in system memory that are not pinned");
        self.budget.give_back(u64::from(run.pages()));
        self.account(found, cell);
    }
}
