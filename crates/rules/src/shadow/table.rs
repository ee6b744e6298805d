//! What the page table of a device has.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use crate::PageRange;

/// The entries, by first virtual page: how many pages, and the first device page.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<u64, (u64, u64)>);

impl Table {
    pub(super) fn enter(&mut self, at: PageRange, head: u64) {
        self.0.insert(at.first, (at.pages, head));
    }

    /// Removes virtual pages. Returns the virtual pages that the entries there had without a gap, and the device pages
    /// removed.
    pub(super) fn remove(&mut self, named: PageRange) -> (PageRange, Vec<PageRange>) {
        let begins = self.0.range(..=named.first).next_back().map_or(named.first, |(first, _)| *first);
        let entries = self.0.range(begins..named.end()).map(|(first, entry)| (*first, *entry));
        let touched: Vec<_> = entries.collect();
        let (mut entered, mut removed) = (PageRange::NONE, Vec::new());
        for (first, (pages, head)) in touched {
            let overlap = first.max(named.first)..(first + pages).min(named.end());
            if overlap.is_empty() {
                continue;
            }
            if entered.pages == 0 {
                entered.first = first;
            }
            if entered.end() == first {
                entered.pages += pages;
            }
            self.0.remove(&first);
            self.keep(first..overlap.start, first, head);
            self.keep(overlap.end..first + pages, first, head);
            removed.push(PageRange {
                first: head + (overlap.start - first),
                pages: overlap.end - overlap.start,
            });
        }
        (entered, removed)
    }

    /// Enters what is left of an entry that began at `first`.
    fn keep(&mut self, left: Range<u64>, first: u64, head: u64) {
        if !left.is_empty() {
            self.0.insert(left.start, (left.end - left.start, head + left.start - first));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pages;

    const fn pages(first: u64, pages: u64) -> PageRange {
        PageRange { first, pages }
    }

    #[test]
    fn part_of_an_entry_can_be_removed_and_the_rest_stays() {
        let mut table = Table::default();
        table.enter(pages(512, 512), 0);
        let (entered, removed) = table.remove(pages(768, 128));
        assert_eq!((entered, &removed[..]), (pages(512, 512), &[pages(256, 128)][..]));
        assert!(pages(768, 128).is_within(entered));
        let (entered, _) = table.remove(pages(768, 128));
        assert_eq!(entered, PageRange::NONE);
        let (entered, removed) = table.remove(pages(896, 128));
        assert_eq!((entered, &removed[..]), (pages(896, 128), &[pages(384, 128)][..]));
    }

    #[test]
    fn neighbouring_entries_count_as_one_when_both_are_removed() {
        let mut table = Table::default();
        table.enter(pages(0, 4), 8);
        table.enter(pages(4, 4), 12);
        let (entered, _) = table.remove(pages(0, 8));
        assert_eq!(entered, pages(0, 8));
    }

    #[test]
    fn gap_between_entries_ends_what_was_entered() {
        let mut table = Table::default();
        table.enter(pages(0, 4), 8);
        table.enter(pages(6, 2), 14);
        let (entered, removed) = table.remove(pages(0, 8));
        assert_eq!(entered, pages(0, 4));
        assert_eq!(removed, [pages(8, 4), pages(14, 2)]);
    }
}
