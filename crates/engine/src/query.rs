//! Where the bytes of a page are.

use bifolio_folio::{Order, Pfn};
use bifolio_migrate::{NodeId, Rights};

use crate::engine::Engine;
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

impl<V: CpuView> Engine<V> {
    /// Tells what accesses to the page that holds `address` may do; nothing if it belongs to no allocation.
    #[must_use]
    pub fn rights_at(&self, address: usize) -> Rights {
        let Some(found) = self.blocks.find(address) else { return Rights::empty() };
        let page = found.page_of(address);
        let cell = self.lock(&found);
        if cell.block.live().contains(page) { cell.block.rights_of(page) } else { Rights::empty() }
    }

    /// Tells where the page that holds `address` is. Another thread may move it at any time.
    #[must_use]
    pub fn residence(&self, address: usize) -> Residence {
        let Some(found) = self.blocks.find(address) else { return Residence::NotMapped };
        let page = found.page_of(address);
        let cell = self.lock(&found);
        match cell.block.piece_of(page) {
            Some(piece) => Residence::Device { node: piece.node, folio: piece.pfn, order: piece.run.order() },
            None if cell.block.ram().contains(page) => Residence::Ram,
            None if cell.block.live().contains(page) => Residence::Empty,
            None => Residence::NotMapped,
        }
    }
}
