//! Giving memory back to plain life: to the kernel, bytes and all, and to a child that inherited the engine.

use std::ops::Range;

use bifolio_migrate::{Failure, PageRun};
use bifolio_sys::SharedBytes;

use crate::device::Copy;
use crate::engine::Engine;
use crate::event::Cause;
use crate::request::Request;
use crate::view::CpuView;

impl<V: CpuView> Engine<V> {
    /// Brings the pages of page-aligned `addresses` that are on the device home, folio by folio, within the limit of
    /// system memory as far as possible.
    ///
    /// # Errors
    /// Why a folio cannot come home.
    pub fn bring_home(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.parts(addresses)?.try_for_each(|(found, run)| {
            let home = self.bring_run(found, run, Request::new(Cause::Release));
            let home = home.or_else(|_| self.bring_run(found, run, Request::must_succeed(Cause::Release)));
            home.map_err(|(_, why)| why)
        })
    }

    /// Gives pages up without forgetting their bytes: on return they are in system memory, in view, and the engine knows
    /// nothing of them any more.
    ///
    /// # Errors
    /// Why a folio cannot come home, or [`Failure::Busy`] if the device took one back meanwhile.
    pub fn release_to_kernel(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.bring_home(addresses.clone())?;
        self.parts(addresses)?.try_for_each(|(found, run)| {
            let mut cell = self.lock(&found);
            let resident = cell.block.ram().count_in(run);
            cell.block.release(run).map_err(|_| Failure::Busy)?;
            self.budget.give_back(u64::from(resident));
            self.account(&found, &mut cell);
            Ok(())
        })
    }

    /// Writes every byte that is on the device to memory that `to` finds by the block's address and the pages, for a
    /// child that inherited the engine but not the faults.
    ///
    /// # Panics
    /// If the device cannot be read any more: the child has no other copy.
    pub fn copy_out<'m>(&self, to: impl Fn(usize, PageRun) -> SharedBytes<'m>) {
        for found in self.blocks.made() {
            let cell = self.lock(&found);
            for piece in cell.block.pieces() {
                let copy = Copy::ToRam { from: piece.pfn, to: to(found.base, piece.run.into()) };
                self.node(piece.node).copy(&[copy]).expect("the device is this process's own");
            }
        }
    }
}
