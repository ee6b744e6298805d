//! Device-exclusive access: pages that one device alone reads and writes, for atomic operations that hold on both sides.
//!
//! Made for what `make_device_exclusive` is for in Linux (mm/rmap.c of 7.3). There the page stays in system memory and its
//! entry in the CPU's page table is replaced; here it goes to the device, and out of the CPU's view if it is coherent.
//! What the device does to the pages while the region lasts, no access of the CPU comes between.
//!
//! | what happens | the region | the pages |
//! |---|---|---|
//! | the CPU touches one of them, or a page of the same folio | ends | come home |
//! | they are evicted, prefetched, pinned, or another device wants them | ends | leave |
//! | they are unmapped, or the device is taken away | ends | are gone, or come home |
//! | it is dropped | ends | stay; the CPU reaches coherent ones again |
//!
//! It ends before the device loses the pages. So accesses after which it [is still held](Exclusive::is_held) were not
//! interrupted.

use std::ops::Range;
use std::sync::Arc;

use bifolio_migrate::{Failure, NodeId, PageRun, Piece, Rights, Transaction};
use bifolio_sys::PAGE;

use crate::blocks::{BlockRef, BlockState, ExclusivePages};
use crate::engine::Engine;
use crate::event::Cause;
use crate::request::Request;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::view::{BlockSpan, CpuView};

/// Pages that a device alone accesses, until something ends it: see the [module](self).
#[must_use = "dropping it ends the region"]
pub struct Exclusive<'e, V: CpuView> {
    engine: &'e Engine<V>,
    addresses: Range<usize>,
    ended: Arc<AtomicBool>,
}

impl<V: CpuView> Exclusive<'_, V> {
    /// The addresses, whole pages.
    #[must_use]
    pub fn addresses(&self) -> Range<usize> {
        self.addresses.clone()
    }

    /// Whether the device had the pages for itself from the beginning until now. Once `false`, it stays so.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }
}

impl<V: CpuView> Drop for Exclusive<'_, V> {
    fn drop(&mut self) {
        for (found, run) in self.engine.blocks.parts(self.addresses.clone()) {
            let mut cell = self.engine.lock(&found);
            let before = cell.exclusive.len();
            cell.exclusive.retain(|region| !Arc::ptr_eq(&region.ended, &self.ended));
            if cell.exclusive.len() < before {
                self.engine.show_coherent(&found, &cell, run);
            }
        }
    }
}

impl<V: CpuView> Engine<V> {
    /// Brings the pages of `addresses` to a device and into its page table, and gives it to them alone: see the
    /// [module](crate::exclusive). The device may read and write them from here on; something may have ended the region
    /// by the time that this returns.
    ///
    /// # Errors
    /// [`Failure::NotMapped`] if any page belongs to no allocation, [`Failure::Denied`] if one may not be written,
    /// [`Failure::Pinned`] if one must stay in system memory, [`Failure::NoDeviceMemory`] if not all fit at once, and what
    /// else a device fault may fail by. There is no region then, though some pages may have moved.
    pub fn make_device_exclusive(
        &self,
        node: NodeId,
        addresses: Range<usize>,
    ) -> Result<Exclusive<'_, V>, Failure> {
        let start = addresses.start & !(PAGE - 1);
        let end = addresses.end.checked_next_multiple_of(PAGE).ok_or(Failure::NotMapped)?;
        // Dropped on failure, it ends what is held by then.
        let mut exclusive = Exclusive { engine: self, addresses: start..start, ended: Arc::default() };
        for (found, run) in self.parts(start..end)? {
            self.retrying(|| self.take_exclusive(node, &found, run, &exclusive.ended))?;
            exclusive.addresses.end = found.addresses_of(run).end;
        }
        Ok(exclusive)
    }

    fn take_exclusive(
        &self,
        node: NodeId,
        found: &BlockRef<'_>,
        run: PageRun,
        ended: &Arc<AtomicBool>,
    ) -> Result<(), Failure> {
        let mut cell = self.lock(found);
        let orders = self.node(node).orders();
        let is_there = |piece: &Piece| piece.node == node && piece.rights.contains(Rights::all());
        for page in run {
            if !cell.block.piece_of(page).is_some_and(is_there) {
                let fault = Transaction::device_fault(node, page, orders, Rights::all());
                self.run(found, &mut cell, fault, Request::new(Cause::Prefetch))?;
            }
        }
        // Room for the later ones may have been made by the earlier ones.
        let all = run.into_iter().all(|page| cell.block.piece_of(page).is_some_and(is_there));
        if !all {
            return Err(Failure::NoDeviceMemory);
        }
        for piece in cell.block.pieces_in(run).filter(|piece| piece.is_coherent()) {
            let place = BlockSpan { base: found.base, span: piece.run };
            self.view.unmap_coherent(place).map_err(|_| Failure::MapFailed)?;
        }
        cell.exclusive.push(ExclusivePages { pages: run, ended: Arc::clone(ended) });
        Ok(())
    }

    /// Lets the CPU reach coherent pages that no region holds any more.
    fn show_coherent(&self, found: &BlockRef<'_>, cell: &BlockState, run: PageRun) {
        let is_held = |piece: &Piece| {
            cell.exclusive.iter().any(|region| region.pages.intersection(piece.run).is_some())
        };
        for piece in cell.block.pieces_in(run).filter(|piece| piece.is_coherent() && !is_held(piece)) {
            let place = BlockSpan { base: found.base, span: piece.run };
            // Without a mapping the CPU faults, and they come home.
            let _: Result<(), _> = self.view.map_coherent(place, piece.page());
        }
    }
}
