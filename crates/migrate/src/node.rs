//! Names of what is on devices: a node is a device of an engine, with its memory.

use bifolio_folio::{MemoryKind, Order, Pfn};

/// Number of a device in its engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub u8);

/// A page of device memory. Each node numbers its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DevicePage {
    /// The node that has it.
    pub node: NodeId,
    /// Its number there.
    pub pfn: Pfn,
}

impl DevicePage {
    /// Returns the page `pages` pages further on.
    ///
    /// # Panics
    /// If page numbers end before it.
    #[must_use]
    pub fn plus(self, pages: u16) -> DevicePage {
        let pfn = self.pfn.get().checked_add(u64::from(pages)).expect("page numbers of a device are small");
        DevicePage { pfn: Pfn::new(pfn), ..self }
    }
}

/// Key of a folio in its node, as the runner gave it out: valid until the folio is released or becomes part of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FolioId(pub u32);

/// A folio that a block holds one reference of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Folio {
    /// The node whose memory it is.
    pub node: NodeId,
    /// First device page.
    pub pfn: Pfn,
    /// Order.
    pub order: Order,
    /// Its key.
    pub id: FolioId,
}

impl Folio {
    /// Its first page.
    #[must_use]
    pub fn page(&self) -> DevicePage {
        DevicePage { node: self.node, pfn: self.pfn }
    }
}

/// A folio that was just formed, and what is known of its memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Formed {
    /// The folio.
    pub folio: Folio,
    /// How the CPU reaches the memory of its node.
    pub kind: MemoryKind,
    /// Whether all of its bytes are zero already.
    pub cleared: bool,
}

bitflags::bitflags! {
    /// What a device may do with pages by an entry of its page table.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Rights: u8 {
        /// Read them.
        const READ = 1;
        /// Write them.
        const WRITE = 2;
    }
}
