//! What is known of the bytes of a node's pages, and which of them a device has mapped.

use alloc::vec;
use alloc::vec::Vec;

use super::bits::Bits;
use super::index;
use crate::PageRange;
use crate::digest::OF_ZEROS;

/// What is known of the bytes of a node's pages. Pages that the node does not have are passed over.
#[derive(Debug)]
pub(super) struct Contents {
    pagemap: PageRange,
    /// Pages written since they were handed out.
    written: Bits,
    /// Pages that may hold something else than zeros, of this owner or of a former one.
    dirty: Bits,
    /// Pages that the device's page table has.
    mapped: Bits,
    /// Digest of each page that only copies can have written; 0: unknown.
    digests: Vec<u64>,
}

impl Contents {
    pub(super) fn new(pagemap: PageRange) -> Contents {
        let pages = pagemap.pages;
        let [written, dirty, mapped] = [pages; 3].map(Bits::new);
        Contents { pagemap, written, dirty, mapped, digests: vec![0; index(pages)] }
    }

    /// Those of the pages that the node has, counted from its first one; none if they begin before it.
    fn local(&self, pages: PageRange) -> PageRange {
        let Some(first) = pages.first.checked_sub(self.pagemap.first) else { return PageRange::NONE };
        PageRange { first, pages: pages.pages.min(self.pagemap.pages.saturating_sub(first)) }
    }

    fn global(&self, pages: PageRange) -> PageRange {
        PageRange { first: pages.first + self.pagemap.first, ..pages }
    }

    /// Notes that a range has a new owner, or none.
    pub(super) fn reset(&mut self, pages: PageRange) {
        let local = self.local(pages);
        self.written.set(local, false);
        self.forget(pages);
    }

    /// Notes that pages were written.
    pub(super) fn write(&mut self, pages: PageRange) {
        let local = self.local(pages);
        self.written.set(local, true);
        self.expose(pages);
    }

    /// Notes that pages hold zeros.
    pub(super) fn clear(&mut self, pages: PageRange) {
        let local = self.local(pages);
        self.written.set(local, true);
        self.dirty.set(local, false);
        self.set_all_digests(pages, OF_ZEROS);
    }

    /// Notes that pages may be written from here on.
    pub(super) fn expose(&mut self, pages: PageRange) {
        let local = self.local(pages);
        self.dirty.set(local, true);
        self.forget(pages);
    }

    /// The first page of the range that was not written since it was handed out, as a range of one page, or of none.
    pub(super) fn unwritten(&self, pages: PageRange) -> PageRange {
        self.global(self.written.first(self.local(pages), false))
    }

    /// The first page of the range that may hold something else than zeros, as a range of one page, or of none.
    pub(super) fn dirty(&self, pages: PageRange) -> PageRange {
        self.global(self.dirty.first(self.local(pages), true))
    }

    /// Notes that the device's page table has pages, or has them no more.
    pub(super) fn map(&mut self, pages: PageRange, mapped: bool) {
        let local = self.local(pages);
        self.mapped.set(local, mapped);
    }

    /// How many pages of the range the device's page table has, and the first of them.
    pub(super) fn mapped(&self, pages: PageRange) -> (u64, u64) {
        let local = self.local(pages);
        let first = self.global(self.mapped.first(local, true)).first;
        (self.mapped.count(local), first)
    }

    /// What pages hold: their digests, 0 where that is not known. Shorter if the node has not all of the pages.
    pub(super) fn digests(&self, pages: PageRange) -> &[u64] {
        let local = self.local(pages);
        self.digests.get(index(local.first)..index(local.end())).unwrap_or_default()
    }

    /// Notes what pages hold.
    pub(super) fn set_digests(&mut self, first: u64, digests: &[u64]) {
        let local = self.local(PageRange { first, pages: digests.len() as u64 });
        let known = self.digests.iter_mut().skip(index(local.first)).take(index(local.pages));
        known.zip(digests).for_each(|(known, digest)| *known = *digest);
    }

    fn set_all_digests(&mut self, pages: PageRange, digest: u64) {
        let local = self.local(pages);
        let known = self.digests.iter_mut().skip(index(local.first)).take(index(local.pages));
        known.for_each(|known| *known = digest);
    }

    fn forget(&mut self, pages: PageRange) {
        self.set_all_digests(pages, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_those_of_the_node_and_others_are_passed_over() {
        let mut contents = Contents::new(PageRange { first: 100, pages: 28 });
        let range = PageRange { first: 120, pages: 16 };
        contents.write(range);
        contents.set_digests(120, &[7; 16]);
        contents.map(range, true);
        assert_eq!(contents.digests(range), [7; 8]);
        assert_eq!(contents.mapped(range), (8, 120));
        assert_eq!(contents.unwritten(PageRange { first: 118, pages: 4 }).first, 118);
        contents.write(PageRange { first: 99, pages: 3 });
        assert_eq!(contents.unwritten(PageRange { first: 100, pages: 1 }), PageRange::page(100));
        assert!(contents.digests(PageRange { first: 0, pages: 4 }).is_empty());
    }

    #[test]
    fn new_owner_finds_pages_unwritten_and_unknown() {
        let mut contents = Contents::new(PageRange { first: 0, pages: 8 });
        let range = PageRange { first: 0, pages: 4 };
        contents.write(range);
        contents.set_digests(0, &[1, 2, 3, 4]);
        assert_eq!(contents.unwritten(range), PageRange::NONE);
        contents.reset(range);
        assert_eq!(contents.unwritten(range), PageRange::page(0));
        assert_eq!(contents.digests(range), [0; 4]);
    }

    #[test]
    fn pages_are_dirty_until_they_are_cleared_also_under_a_new_owner() {
        let mut contents = Contents::new(PageRange { first: 0, pages: 8 });
        let range = PageRange { first: 0, pages: 4 };
        assert_eq!(contents.dirty(range), PageRange::NONE);
        contents.write(PageRange { first: 2, pages: 1 });
        contents.reset(range);
        assert_eq!(contents.dirty(range), PageRange::page(2));
        contents.clear(range);
        assert_eq!((contents.dirty(range), contents.digests(range)), (PageRange::NONE, &[OF_ZEROS; 4][..]));
        contents.expose(PageRange::page(1));
        assert_eq!(contents.dirty(range), PageRange::page(1));
    }
}
