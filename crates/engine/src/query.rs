//! Where the bytes of pages are, and what may be done with them.

use std::ops::Range;

use bifolio_folio::{Order, Pfn};
use bifolio_migrate::{Failure, NodeId, Rights};
use bifolio_sys::PAGE;

use crate::blocks::{BlockRef, BlockState};
use crate::engine::{Engine, address};
use crate::view::CpuView;

/// Where the bytes of a page are, at the time of asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Residence {
    /// Nowhere: the page belongs to no allocation.
    NotMapped,
    /// Nowhere yet: the page was never touched, and reads as zero.
    Empty,
    /// In system memory.
    Ram,
    /// On a device.
    Device {
        /// The device.
        node: NodeId,
        /// First device page of the folio that holds it.
        folio: Pfn,
        /// Order of that folio.
        order: Order,
    },
}

/// Consecutive pages that lie in one place with the same rights: a folio on a device, or pages in system memory, never
/// touched, or of no allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Their addresses. Of a folio, those that were asked for.
    pub addresses: Range<usize>,
    /// Where they are.
    pub residence: Residence,
    /// What accesses may do with them, on either side.
    pub rights: Rights,
    /// What the page table of the device that holds them lets it do; nothing if it has no entry, or no device holds them.
    pub mapped: Rights,
}

impl<V: CpuView> Engine<V> {
    /// Tells where the pages of page-aligned `addresses` are and what may be done with them, in order, without a fault. What
    /// lies in one block of 2 MiB is as it was at one moment; another thread may move it at any time.
    ///
    /// # Errors
    /// [`Failure::NotMapped`] if any address lies in no block.
    pub fn snapshot(&self, addresses: Range<usize>) -> Result<Vec<Extent>, Failure> {
        let mut extents: Vec<Extent> = Vec::new();
        for (found, run) in self.parts(addresses)? {
            let cell = self.lock(&found);
            for page in run {
                let next = extent_of(&found, &cell, page);
                match extents.last_mut().filter(|last| last.is_followed_by(&next)) {
                    Some(last) => last.addresses.end = next.addresses.end,
                    None => extents.push(next),
                }
            }
        }
        Ok(extents)
    }

    /// Tells what accesses to the page that holds `address` may do; nothing if it belongs to no allocation.
    #[must_use]
    pub fn rights_at(&self, address: usize) -> Rights {
        let Some(found) = self.blocks.find(address) else { return Rights::empty() };
        let page = found.page_of(address);
        rights_of(&self.lock(&found), page)
    }

    /// Tells where the page that holds `address` is. Another thread may move it at any time.
    #[must_use]
    pub fn residence(&self, address: usize) -> Residence {
        let Some(found) = self.blocks.find(address) else { return Residence::NotMapped };
        let page = found.page_of(address);
        residence_of(&self.lock(&found), page)
    }
}

impl Extent {
    /// Whether `next` goes on where this ends, in the same place with the same rights.
    fn is_followed_by(&self, next: &Extent) -> bool {
        let same = |extent: &Extent| (extent.residence, extent.rights, extent.mapped);
        self.addresses.end == next.addresses.start && same(self) == same(next)
    }
}

fn extent_of(found: &BlockRef<'_>, cell: &BlockState, page: u16) -> Extent {
    let start = address(found, page);
    let (residence, rights) = (residence_of(cell, page), rights_of(cell, page));
    let mapped = cell.block.piece_of(page).map_or(Rights::empty(), |piece| piece.rights);
    Extent { addresses: start..start + PAGE, residence, rights, mapped }
}

fn rights_of(cell: &BlockState, page: u16) -> Rights {
    if cell.block.live().contains(page) { cell.block.rights_of(page) } else { Rights::empty() }
}

fn residence_of(cell: &BlockState, page: u16) -> Residence {
    match cell.block.piece_of(page) {
        Some(piece) => Residence::Device { node: piece.node, folio: piece.pfn, order: piece.run.order() },
        None if cell.block.ram().contains(page) => Residence::Ram,
        None if cell.block.live().contains(page) => Residence::Empty,
        None => Residence::NotMapped,
    }
}
