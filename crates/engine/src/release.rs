//! Giving memory back to plain life: to the kernel, bytes and all, and to a child that inherited the engine.

use std::ops::Range;

use bifolio_migrate::{Failure, PageRun};
use bifolio_sys::SharedBytes;

use crate::device::Copy;
use crate::engine::Engine;
use crate::executor::Priority;
use crate::view::CpuView;

impl<V: CpuView> Engine<V> {
    /// Brings the pages of page-aligned `addresses` that are on the device home, folio by folio, within the limit of
    /// system memory as far as possible.
    ///
    /// # Errors
    /// Why a folio cannot come home.
    pub fn bring_home(&self, addresses: Range<usize>) -> Result<(), Failure> {
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            let home = self.bring_run(found, run, Priority::Fault);
            let home = home.or_else(|_| self.bring_run(found, run, Priority::MustSucceed));
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
        self.blocks.parts(addresses).try_for_each(|(found, run)| {
            let mut cell = found.lock();
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
            let cell = found.lock();
            for piece in cell.block.pieces() {
                let copy = Copy::ToRam { from: piece.pfn, to: to(found.base, piece.run.into()) };
                let copied = self.device.copy(&[copy]).and_then(|point| self.device.wait(point));
                copied.expect("the device is this process's own");
            }
        }
    }
}
