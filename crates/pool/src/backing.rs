//! A range of device memory with its reverse mapping: [`Backing`].

use bifolio_buddy::BuddyBlock;
use bifolio_folio::{Order, Pfn};

use crate::Rmap;
use crate::counted::Covers;

/// `order.pages()` device pages from `head` on, which hold the pages of one block from `rmap` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backing {
    pub(crate) rmap: Rmap,
    pub(crate) head: Pfn,
    pub(crate) order: Order,
}

impl Backing {
    /// Returns the reverse mapping of a device page; `None` outside, and for memory that has no mapping.
    pub(crate) fn rmap_of(&self, page: Pfn) -> Option<Rmap> {
        let into = page.offset_from(self.head).filter(|into| *into < self.order.pages())?;
        let page = self.rmap.page.checked_add(u16::try_from(into).ok()?)?;
        (self.rmap != Rmap::NONE).then_some(Rmap { page, ..self.rmap })
    }

    /// Returns how far a page of a block lies inside.
    pub(crate) fn offset_of(&self, rmap: Rmap) -> Option<u64> {
        let into = rmap.page.checked_sub(self.rmap.page).map(u64::from)?;
        (rmap.block == self.rmap.block && into < self.order.pages()).then_some(into)
    }
}

impl Covers for Backing {
    fn covers(&self, head: Pfn, order: Order) -> bool {
        // Both are aligned: a range is where it was handed out.
        order <= self.order && head.is_within(self.head, self.order)
    }
}

/// The block of the allocator that a range is.
pub(crate) fn block_of(head: Pfn, order: Order) -> BuddyBlock {
    BuddyBlock { page: head.get(), order: u32::from(order.get()) }
}

/// First page and order of a block that is no larger than a folio can be.
pub(crate) fn range_of(block: BuddyBlock) -> (Pfn, Order) {
    let order = u8::try_from(block.order).ok().and_then(Order::new);
    (Pfn::new(block.page), order.expect("blocks are cut to orders of folios"))
}
