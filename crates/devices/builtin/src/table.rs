//! The device's page table: two levels, an entry for each 4 KiB page.
//!
//! ```text
//!   entry  [ device page number : 61 | TOUCHED | ACCESSED | PRESENT ]
//! ```
//!
//! `ACCESSED` is cleared by whoever looks for victims, `TOUCHED` when the page is unmapped.

use std::ops::Range;

use bifolio_folio::Pfn;
use bifolio_migrate::BLOCK_PAGES;
use bifolio_sys::PAGE;

use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU64, Ordering};

const PRESENT: u64 = 1;
const ACCESSED: u64 = 2;
const TOUCHED: u64 = 4;
const FLAG_BITS: u32 = 3;

const LEAF_ENTRIES: usize = BLOCK_PAGES as usize;
type Leaf = [AtomicU64; LEAF_ENTRIES];

/// Translations of one range of addresses. Entries are added at any time, but removed only while no unit runs.
#[derive(Debug)]
pub struct Table {
    addresses: Range<usize>,
    leaves: Box<[OnceLock<Box<Leaf>>]>,
}

impl Table {
    /// Makes an empty table for page-aligned `addresses`.
    #[must_use]
    pub fn new(addresses: Range<usize>) -> Table {
        let leaves = addresses.len().div_ceil(PAGE * LEAF_ENTRIES);
        Table { addresses, leaves: std::iter::repeat_with(OnceLock::new).take(leaves).collect() }
    }

    /// Whether the table covers these addresses.
    #[must_use]
    pub fn covers(&self, address: usize, pages: u64) -> bool {
        let end = usize::try_from(pages).ok().and_then(|pages| address.checked_add(pages * PAGE));
        self.addresses.start <= address && end.is_some_and(|end| end <= self.addresses.end)
    }

    /// Enters `pages` pages. The caller checked that the table covers them.
    pub fn map(&self, address: usize, to: Pfn, pages: u64) {
        for (at, entry) in self.entries(address, pages) {
            // Release: a unit that sees the entry sees the bytes that were copied before.
            entry.store((to.get() + at) << FLAG_BITS | PRESENT, Ordering::Release);
        }
    }

    /// Enters those of `pages` pages that are not there; the others lead there already. Each page has an entry of its
    /// own, so a change of order changes none.
    pub fn remap(&self, address: usize, to: Pfn, pages: u64) {
        for (at, entry) in self.entries(address, pages) {
            let value = (to.get() + at) << FLAG_BITS | PRESENT;
            // Release as in `map`. A unit may mark an entry meanwhile, but never makes one.
            let entered = entry.compare_exchange(0, value, Ordering::Release, Ordering::Relaxed);
            let leads_there = entered.map_or_else(|found| found >> FLAG_BITS == value >> FLAG_BITS, |_| true);
            debug_assert!(leads_there, "entry {at} from {address:#x} leads elsewhere");
        }
    }

    /// Removes `pages` pages.
    pub fn unmap(&self, address: usize, pages: u64) {
        self.entries(address, pages).for_each(|(_, entry)| entry.store(0, Ordering::Relaxed));
    }

    /// Translates the page that holds `address`, and marks it used.
    #[must_use]
    pub fn walk(&self, address: usize) -> Option<Pfn> {
        if !self.addresses.contains(&address) {
            return None;
        }
        let (_, entry) = self.entries(address & !(PAGE - 1), 1).next()?;
        let value = entry.load(Ordering::Acquire);
        if value & PRESENT == 0 {
            return None;
        }
        if value & (ACCESSED | TOUCHED) != ACCESSED | TOUCHED {
            entry.fetch_or(ACCESSED | TOUCHED, Ordering::Relaxed);
        }
        Some(Pfn::new(value >> FLAG_BITS))
    }

    /// Whether any of the pages was used since this was last asked.
    #[must_use]
    pub fn test_and_clear_accessed(&self, address: usize, pages: u64) -> bool {
        let clear = |entry: &AtomicU64| entry.fetch_and(!ACCESSED, Ordering::Relaxed) & ACCESSED != 0;
        self.entries(address, pages).fold(false, |any, (_, entry)| clear(entry) | any)
    }

    /// Number of the pages that were used since they were mapped.
    #[must_use]
    pub fn touched(&self, address: usize, pages: u64) -> u64 {
        self.entries(address, pages).filter(|(_, e)| e.load(Ordering::Relaxed) & TOUCHED != 0).count() as u64
    }

    /// The entries of `pages` pages from `address`, numbered from 0.
    fn entries(&self, address: usize, pages: u64) -> impl Iterator<Item = (u64, &AtomicU64)> {
        debug_assert!(self.covers(address, pages), "{address:#x} is outside of the table");
        let first = (address - self.addresses.start) / PAGE;
        (0..pages)
            .zip(first..)
            .map(move |(at, index)| (at, &self.leaf(index / LEAF_ENTRIES)[index % LEAF_ENTRIES]))
    }

    fn leaf(&self, index: usize) -> &Leaf {
        self.leaves[index].get_or_init(|| Box::new([const { AtomicU64::new(0) }; LEAF_ENTRIES]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: usize = 16 << 20;

    fn table() -> Table {
        Table::new(BASE..BASE + (8 << 20))
    }

    #[test]
    fn mapped_pages_translate_until_unmapped() {
        let table = table();
        table.map(BASE + 510 * PAGE, Pfn::new(40), 4);
        assert_eq!(table.walk(BASE + 513 * PAGE + 5), Some(Pfn::new(43)));
        assert_eq!(table.walk(BASE + 514 * PAGE), None);
        table.unmap(BASE + 510 * PAGE, 2);
        assert_eq!(table.walk(BASE + 511 * PAGE), None);
        assert_eq!(table.walk(BASE + 512 * PAGE), Some(Pfn::new(42)));
        assert_eq!(table.walk(BASE - 1), None);
    }

    #[test]
    fn remapped_pages_lead_where_they_led_and_their_use_stays_remembered() {
        let table = table();
        table.map(BASE, Pfn::new(8), 2);
        assert_eq!(table.walk(BASE), Some(Pfn::new(8)));
        table.remap(BASE, Pfn::new(8), 4);
        assert_eq!(table.walk(BASE + 3 * PAGE), Some(Pfn::new(11)));
        assert_eq!(table.touched(BASE, 4), 2);
    }

    #[test]
    fn use_is_remembered_until_asked_and_touch_until_unmapped() {
        let table = table();
        table.map(BASE, Pfn::new(0), 4);
        assert!(!table.test_and_clear_accessed(BASE, 4));
        assert!(table.walk(BASE + PAGE).is_some());
        assert!(table.test_and_clear_accessed(BASE, 4));
        assert!(!table.test_and_clear_accessed(BASE, 4));
        assert_eq!(table.touched(BASE, 4), 1);
        table.unmap(BASE, 4);
        assert_eq!(table.touched(BASE, 4), 0);
    }
}
