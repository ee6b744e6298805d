//! A port's cache of translations.
//!
//! An entry is good in one epoch of the [gate](crate::gate): nothing has to be cleared when the page table changes.

use bifolio_sys::PAGE;

const ENTRIES: usize = 256;
/// No page has this number: addresses have 48 bits.
const NO_PAGE: usize = usize::MAX;

/// One translation: a virtual page, where its bytes begin in device memory, and when and for what it is good.
#[derive(Clone, Copy, Debug)]
struct Entry {
    page: usize,
    offset: usize,
    /// Twice the epoch, and 1 more if it serves writes, which is so once a write was marked in the page table.
    stamp: u64,
}

/// Translations, by page.
#[derive(Debug)]
pub(crate) struct Tlb(Box<[Entry; ENTRIES]>);

impl Tlb {
    pub(crate) fn new() -> Tlb {
        Tlb(Box::new([Entry { page: NO_PAGE, offset: 0, stamp: 0 }; ENTRIES]))
    }

    /// The offset in device memory of `address`.
    #[inline]
    pub(crate) fn find(&self, address: usize, writes: bool, epoch: u64) -> Option<usize> {
        let page = address / PAGE;
        let entry = &self.0[page % ENTRIES];
        let wanted = epoch << 1 | 1;
        let stamp = if writes { entry.stamp } else { entry.stamp | 1 };
        (entry.page == page && stamp == wanted).then_some(entry.offset + address % PAGE)
    }

    /// Remembers that the page of `address` is at `offset` in device memory.
    pub(crate) fn fill(&mut self, address: usize, offset: usize, writes: bool, epoch: u64) {
        let page = address / PAGE;
        self.0[page % ENTRIES] = Entry { page, offset, stamp: epoch << 1 | u64::from(writes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_good_for_their_epoch_and_access() {
        let mut tlb = Tlb::new();
        assert_eq!(tlb.find(0, false, 0), None);
        tlb.fill(5 * PAGE, 64 * PAGE, false, 3);
        assert_eq!(tlb.find(5 * PAGE + 9, false, 3), Some(64 * PAGE + 9));
        assert_eq!(tlb.find(5 * PAGE, true, 3), None, "no write was marked");
        assert_eq!(tlb.find(5 * PAGE, false, 4), None, "another epoch");
        tlb.fill(5 * PAGE, 64 * PAGE, true, 4);
        assert_eq!(tlb.find(5 * PAGE, true, 4), Some(64 * PAGE));
        assert_eq!(tlb.find(5 * PAGE, false, 4), Some(64 * PAGE));
        let same_place = (5 + ENTRIES) * PAGE;
        assert_eq!(tlb.find(same_place, false, 4), None);
    }
}
