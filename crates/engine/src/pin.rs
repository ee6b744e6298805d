//! Pinning: pages come home and stay in system memory for as long as they are needed there, as memory that
//! another device reads and writes by its physical address.
//!
//! A block counts the pins of each of its pages ([`Block::pin`](bifolio_migrate::Block::pin)), so the checks are made
//! under its lock where spans are chosen, and cost nothing where nothing is pinned. While a page is pinned:
//!
//! | request | gets |
//! |---|---|
//! | a CPU access | the page |
//! | a device access | done in system memory, where the device can ([`Capabilities::remote`](crate::device::Capabilities::remote)); otherwise [`DeviceFault::Unanswered`](crate::device::DeviceFault::Unanswered) with [`Failure::Pinned`], at once: a pin may last for ever |
//! | a device access to its neighbour | the page, in a folio small enough to leave the pinned one out |
//! | a prefetch to the device, an unmapping | [`Failure::Pinned`] |
//! | making room in system memory | other pages |

use std::ops::Range;

use bifolio_migrate::{Failure, Transaction};
use bifolio_sys::PAGE;

use crate::blocks::BlockRef;
use crate::engine::Engine;
use crate::event::Cause;
use crate::request::Request;
use crate::view::CpuView;

/// Pages that stay in system memory until this is dropped. Pins nest.
#[must_use = "dropping it unpins the pages"]
pub struct Pinned<'e, V: CpuView> {
    engine: &'e Engine<V>,
    addresses: Range<usize>,
}

impl<V: CpuView> Pinned<'_, V> {
    /// The addresses, whole pages.
    #[must_use]
    pub fn addresses(&self) -> Range<usize> {
        self.addresses.clone()
    }

    /// Leaves the pages pinned, until [`Engine::unpin`].
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl<V: CpuView> Drop for Pinned<'_, V> {
    fn drop(&mut self) {
        self.engine.unpin(self.addresses.clone());
    }
}

impl<V: CpuView> Engine<V> {
    /// Unpins pages that were left pinned by [`Pinned::keep`].
    ///
    /// # Panics
    /// If one of them is not pinned.
    pub fn unpin(&self, addresses: Range<usize>) {
        for (found, run) in self.blocks.parts(addresses) {
            self.lock(&found).block.unpin(run);
        }
    }

    /// Pins the pages of `addresses`: those on the device come home first, folio by folio, and those that were never
    /// touched become zeros. All are in system memory on return, and stay there until the result is dropped.
    ///
    /// # Errors
    /// [`Failure::NotMapped`] if any page belongs to no allocation, or why a page could not come home. Nothing is
    /// pinned then, though some pages may have moved.
    pub fn pin(&self, addresses: Range<usize>) -> Result<Pinned<'_, V>, Failure> {
        let start = addresses.start & !(PAGE - 1);
        let end = addresses.end.checked_next_multiple_of(PAGE).ok_or(Failure::NotMapped)?;
        // Dropped on failure, it unpins what is pinned by then.
        let mut pinned = Pinned { engine: self, addresses: start..start };
        for (found, run) in self.parts(start..end)? {
            let mut page = run.first();
            while page < run.end() {
                let next = self.pin_next(&found, page, run.end())?;
                pinned.addresses.end += usize::from(next - page) * PAGE;
                page = next;
            }
        }
        Ok(pinned)
    }

    /// Pins `page` and the pages after it that are in system memory as well, up to `end`; returns the first that is not
    /// pinned yet.
    fn pin_next(&self, found: &BlockRef<'_>, page: u16, end: u16) -> Result<u16, Failure> {
        self.retrying(|| {
            let mut cell = self.lock(found);
            let request = Request::new(Cause::Pin);
            if cell.block.device().contains(page) {
                self.run(found, &mut cell, Transaction::to_ram(page), request)?;
            } else if !cell.block.ram().contains(page) {
                let touch = Transaction::cpu_fault(&cell.block, page, self.cpu_orders(found.base));
                self.run(found, &mut cell, touch, request)?;
            }
            let (run, _) = cell.block.ram().run_at(page, end).expect("the page is before the end");
            cell.block.pin(run);
            Ok(run.end())
        })
    }
}
