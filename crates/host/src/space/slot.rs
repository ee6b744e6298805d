//! The place of a device in a space.

use std::ops::Range;

use bifolio_engine::device::Copy;
use bifolio_folio::{Order, Pfn};
use bifolio_sys::PAGE;

/// What the maker of a device has to know of the space that it is for.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceSlot {
    /// Number of the device in the space.
    pub node: u8,
    /// Its first page: copies and page-table updates count from there, not from 0.
    pub first: Pfn,
    /// Pages of its memory.
    pub pages: u64,
    /// The addresses that its page table has to cover.
    pub addresses: Range<usize>,
}

impl DeviceSlot {
    /// The slots of `count` devices of `pages` pages each.
    pub(super) fn several(
        count: usize,
        pages: u64,
        addresses: Range<usize>,
    ) -> impl Iterator<Item = DeviceSlot> {
        let stride = pages.next_multiple_of(Order::MAX.pages());
        let nodes = (0..).take(count);
        nodes.map(move |node| DeviceSlot {
            node,
            first: Pfn::new(u64::from(node) * stride),
            pages,
            addresses: addresses.clone(),
        })
    }

    /// Bytes of its memory.
    ///
    /// # Panics
    /// If they are more than this process has addresses.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.pages)
            .ok()
            .and_then(|pages| pages.checked_mul(PAGE))
            .expect("it is in this process")
    }

    /// Where a page of it begins in its memory, in bytes.
    ///
    /// # Panics
    /// If the page is not of this device.
    #[must_use]
    pub fn offset_of(&self, page: Pfn) -> usize {
        let index = page.get().checked_sub(self.first.get()).filter(|index| *index < self.pages);
        usize::try_from(index.expect("a page of this device")).expect("it is in this process") * PAGE
    }

    /// Where the device's side of a copy is in its memory, in bytes.
    ///
    /// # Panics
    /// As [`DeviceSlot::offset_of`].
    #[must_use]
    pub fn range_of(&self, copy: &Copy<'_>) -> Range<usize> {
        let first = self.offset_of(copy.page());
        first..first + usize::try_from(copy.bytes()).expect("it is in this process")
    }
}
