//! The device's page table: two levels, an entry for each 4 KiB page.
//!
//! ```text
//!   entry  [ device page number : 59 | WRITTEN | USED | ACCESSED | WRITABLE | PRESENT ]
//! ```
//!
//! `ACCESSED` is cleared by the engine as it looks for victims; `USED` and `WRITTEN` stay until the page is unmapped.

use std::ops::Range;

use bifolio_engine::device::UsedPages;
use bifolio_folio::{BLOCK_PAGES, PageRun, Pfn};
use bifolio_migrate::Rights;
use bifolio_sys::PAGE;

use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU64, Ordering};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const ACCESSED: u64 = 4;
const USED: u64 = 8;
const WRITTEN: u64 = 16;
const FLAG_BITS: u32 = 5;

/// What the table says of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Translation {
    /// It leads to this device page.
    Page(Pfn),
    /// There is no entry.
    Missing,
    /// The entry does not allow it.
    Denied,
}

fn entry_of(to: Pfn, at: u64, rights: Rights) -> u64 {
    let writable = if rights.contains(Rights::WRITE) { WRITABLE } else { 0 };
    (to.get() + at) << FLAG_BITS | writable | PRESENT
}

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
    pub fn map(&self, address: usize, to: Pfn, pages: u64, rights: Rights) {
        for (at, entry) in self.entries(address, pages) {
            // Release: a unit that sees the entry sees the bytes that were copied before.
            entry.store(entry_of(to, at, rights), Ordering::Release);
        }
    }

    /// Enters those of `pages` pages that are not there; the others lead there already. Each page has an entry of its
    /// own, so a change of order changes none.
    pub fn remap(&self, address: usize, to: Pfn, pages: u64, rights: Rights) {
        for (at, entry) in self.entries(address, pages) {
            let value = entry_of(to, at, rights);
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

    /// Translates an access to the page that holds `address`, and marks the page as used by it.
    #[must_use]
    pub fn walk(&self, address: usize, access: Rights) -> Translation {
        if !self.addresses.contains(&address) {
            return Translation::Missing;
        }
        let page = (address - self.addresses.start) / PAGE;
        let entry = &self.leaf(page / LEAF_ENTRIES)[page % LEAF_ENTRIES];
        let value = entry.load(Ordering::Acquire);
        let writes = access.contains(Rights::WRITE);
        if value & PRESENT == 0 {
            return Translation::Missing;
        }
        if writes && value & WRITABLE == 0 {
            return Translation::Denied;
        }
        let marks = if writes { ACCESSED | USED | WRITTEN } else { ACCESSED | USED };
        if value & marks != marks {
            entry.fetch_or(marks, Ordering::Relaxed);
        }
        Translation::Page(Pfn::new(value >> FLAG_BITS))
    }

    /// Whether any of the pages was used since this was last asked.
    #[must_use]
    pub fn test_and_clear_accessed(&self, address: usize, pages: u64) -> bool {
        let clear = |entry: &AtomicU64| entry.fetch_and(!ACCESSED, Ordering::Relaxed) & ACCESSED != 0;
        self.entries(address, pages).fold(false, |any, (_, entry)| clear(entry) | any)
    }

    /// Which of the pages, at most a block, were used since they were mapped.
    #[must_use]
    pub fn used_pages(&self, address: usize, pages: u64) -> UsedPages {
        let mut used = UsedPages::NONE;
        for (at, entry) in self.entries(address, pages.min(u64::from(BLOCK_PAGES))) {
            let value = entry.load(Ordering::Relaxed);
            let page = PageRun::single(u16::try_from(at).expect("pages of a block"));
            if value & USED != 0 {
                used.accessed.insert(page);
            }
            if value & WRITTEN != 0 {
                used.written.insert(page);
            }
        }
        used
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
    const ALL: Rights = Rights::READ.union(Rights::WRITE);

    fn table() -> Table {
        Table::new(BASE..BASE + (8 << 20))
    }

    fn read(table: &Table, page: usize) -> Translation {
        table.walk(BASE + page * PAGE, Rights::READ)
    }

    fn counts(table: &Table, pages: u64) -> (u16, u16) {
        let used = table.used_pages(BASE, pages);
        (used.accessed.count(), used.written.count())
    }

    #[test]
    fn mapped_pages_translate_until_unmapped() {
        let table = table();
        table.map(BASE + 510 * PAGE, Pfn::new(40), 4, ALL);
        assert_eq!(table.walk(BASE + 513 * PAGE + 5, Rights::READ), Translation::Page(Pfn::new(43)));
        assert_eq!(read(&table, 514), Translation::Missing);
        table.unmap(BASE + 510 * PAGE, 2);
        assert_eq!(read(&table, 511), Translation::Missing);
        assert_eq!(read(&table, 512), Translation::Page(Pfn::new(42)));
        assert_eq!(table.walk(BASE - 1, Rights::READ), Translation::Missing);
    }

    #[test]
    fn writes_need_the_right() {
        let table = table();
        table.map(BASE, Pfn::new(8), 1, Rights::READ);
        assert_eq!(table.walk(BASE, Rights::WRITE), Translation::Denied);
        assert_eq!(counts(&table, 1), (0, 0), "what was denied is no use");
        assert_eq!(read(&table, 0), Translation::Page(Pfn::new(8)));
    }

    #[test]
    fn remapped_pages_lead_where_they_led_and_their_use_stays_remembered() {
        let table = table();
        table.map(BASE, Pfn::new(8), 2, ALL);
        assert_eq!(read(&table, 0), Translation::Page(Pfn::new(8)));
        table.remap(BASE, Pfn::new(8), 4, ALL);
        assert_eq!(read(&table, 3), Translation::Page(Pfn::new(11)));
        assert_eq!(counts(&table, 4), (2, 0));
    }

    #[test]
    fn access_is_remembered_until_asked_and_use_until_unmapped() {
        let table = table();
        table.map(BASE, Pfn::new(0), 4, ALL);
        assert!(!table.test_and_clear_accessed(BASE, 4));
        assert_eq!(table.walk(BASE + PAGE, Rights::WRITE), Translation::Page(Pfn::new(1)));
        assert!(table.test_and_clear_accessed(BASE, 4));
        assert!(!table.test_and_clear_accessed(BASE, 4));
        assert_eq!(counts(&table, 4), (1, 1));
        table.unmap(BASE, 4);
        assert_eq!(counts(&table, 4), (0, 0));
    }
}
