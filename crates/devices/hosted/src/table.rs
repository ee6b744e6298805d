//! The device's page table: three levels, an entry for each 4 KiB page.
//!
//! ```text
//!   directory (8 GiB a slot) -> middle (2 MiB a slot) -> leaf of 512 entries
//!   entry  [ uses left : 16 | page number : 42 | REMOTE | WRITTEN | USED | ACCESSED | WRITABLE | PRESENT ]
//! ```
//!
//! Levels are made as they are needed, so a table for all addresses of a process costs 256 KiB, most of it untouched.
//! `ACCESSED` is cleared by the engine as it looks for victims. `USED` and `WRITTEN` outlive the mapping, until the page is
//! mapped again: once a removed entry is out of use, they tell all that was done by it. An entry that is `REMOTE` leads to system
//! memory, until its uses have run out.

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
const REMOTE: u64 = 32;
const FLAG_BITS: u32 = 6;
const USES_SHIFT: u32 = 48;
const USES_MAX: u32 = 0xffff;
/// The number of the page, after a shift by the flags.
const PFN_MASK: u64 = (1 << (USES_SHIFT - FLAG_BITS)) - 1;

/// What the table says of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Walk {
    /// It leads to this device page.
    Page(Pfn),
    /// It leads to this page of system memory, and one use less is left.
    Remote(Pfn),
    /// There is no entry.
    Missing,
    /// The entry does not allow it.
    Denied,
}

fn entry_of(to: Pfn, at: u64, rights: Rights) -> u64 {
    let writable = if rights.contains(Rights::WRITE) { WRITABLE } else { 0 };
    (to.get() + at) << FLAG_BITS | writable | PRESENT
}

/// Takes one use of a remote entry, unless it has gone meanwhile or none is left.
fn use_remote(entry: &AtomicU64, marks: u64) -> Walk {
    let take = |value: u64| {
        let left = value & PRESENT != 0 && value & REMOTE != 0 && value >> USES_SHIFT > 0;
        left.then(|| (value | marks) - (1 << USES_SHIFT))
    };
    match entry.fetch_update(Ordering::Acquire, Ordering::Relaxed, take) {
        Ok(value) => Walk::Remote(Pfn::new(value >> FLAG_BITS & PFN_MASK)),
        Err(_) => Walk::Missing,
    }
}

const LEAF_ENTRIES: usize = BLOCK_PAGES as usize;
const MIDDLE_ENTRIES: usize = 4096;
/// Pages of one slot of the directory.
const SLOT_PAGES: usize = LEAF_ENTRIES * MIDDLE_ENTRIES;

type Leaf = [AtomicU64; LEAF_ENTRIES];
type Middle = Box<[OnceLock<Box<Leaf>>]>;

/// Translations of one range of addresses. Entries may be added and removed at any time; who removes one waits until it
/// is out of use ([`Gate::settle`](crate::gate::Gate::settle)).
#[derive(Debug)]
pub(crate) struct Table {
    addresses: Range<usize>,
    directory: Box<[OnceLock<Middle>]>,
}

impl Table {
    /// Makes an empty table for page-aligned `addresses`.
    #[must_use]
    pub(crate) fn new(addresses: Range<usize>) -> Table {
        let slots = addresses.len().div_ceil(PAGE * SLOT_PAGES);
        Table { addresses, directory: std::iter::repeat_with(OnceLock::new).take(slots).collect() }
    }

    /// The addresses that it covers.
    pub(crate) fn addresses(&self) -> &Range<usize> {
        &self.addresses
    }

    /// Whether the table covers these addresses.
    #[must_use]
    pub(crate) fn covers(&self, address: usize, pages: u64) -> bool {
        let end = usize::try_from(pages).ok().and_then(|pages| address.checked_add(pages * PAGE));
        self.addresses.start <= address && end.is_some_and(|end| end <= self.addresses.end)
    }

    /// Enters `pages` pages. The caller checked that the table covers them.
    pub(crate) fn map(&self, address: usize, to: Pfn, pages: u64, rights: Rights) {
        for (at, entry) in self.entries(address, pages) {
            // Release: a unit that sees the entry sees the bytes that were copied before.
            entry.store(entry_of(to, at, rights), Ordering::Release);
        }
    }

    /// Enters `pages` pages of system memory, good for `uses` accesses each.
    pub(crate) fn map_remote(&self, address: usize, to: Pfn, pages: u64, rights: Rights, uses: u32) {
        let uses = u64::from(uses.min(USES_MAX)) << USES_SHIFT;
        for (at, entry) in self.entries(address, pages) {
            entry.store(entry_of(to, at, rights) | REMOTE | uses, Ordering::Release);
        }
    }

    /// Enters those of `pages` pages that are not there; the others lead there already, and get the rights. Each page has
    /// an entry of its own, so a change of order changes none.
    pub(crate) fn remap(&self, address: usize, to: Pfn, pages: u64, rights: Rights) {
        for (at, entry) in self.entries(address, pages) {
            let value = entry_of(to, at, rights);
            // Relaxed: a port may mark an entry meanwhile, but the engine alone makes and removes one.
            let found = entry.load(Ordering::Relaxed);
            if found & PRESENT == 0 {
                entry.store(value, Ordering::Release);
            } else {
                debug_assert_eq!(found >> FLAG_BITS, value >> FLAG_BITS, "entry {at} from {address:#x}");
                entry.fetch_or(value & WRITABLE, Ordering::Relaxed);
            }
        }
    }

    /// Removes `pages` pages. What was done by them is remembered.
    pub(crate) fn unmap(&self, address: usize, pages: u64) {
        for (_, entry) in self.entries(address, pages) {
            // An access that is under way marks the entry still.
            entry.fetch_and(USED | WRITTEN, Ordering::Relaxed);
        }
    }

    /// Translates an access to the page that holds `address`, and marks the page as used by it.
    #[must_use]
    pub(crate) fn walk(&self, address: usize, access: Rights) -> Walk {
        if !self.addresses.contains(&address) {
            return Walk::Missing;
        }
        let page = (address - self.addresses.start) / PAGE;
        let middle = self.directory[page / SLOT_PAGES].get();
        let leaf = middle.and_then(|middle| middle[page / LEAF_ENTRIES % MIDDLE_ENTRIES].get());
        let Some(leaf) = leaf else { return Walk::Missing };
        let entry = &leaf[page % LEAF_ENTRIES];
        let value = entry.load(Ordering::Acquire);
        let writes = access.contains(Rights::WRITE);
        if value & PRESENT == 0 {
            return Walk::Missing;
        }
        if writes && value & WRITABLE == 0 {
            return Walk::Denied;
        }
        let marks = if writes { ACCESSED | USED | WRITTEN } else { ACCESSED | USED };
        if value & REMOTE != 0 {
            return use_remote(entry, marks);
        }
        if value & marks != marks {
            entry.fetch_or(marks, Ordering::Relaxed);
        }
        Walk::Page(Pfn::new(value >> FLAG_BITS & PFN_MASK))
    }

    /// Whether any of the pages was used since this was last asked.
    #[must_use]
    pub(crate) fn test_and_clear_accessed(&self, address: usize, pages: u64) -> bool {
        let clear = |entry: &AtomicU64| entry.fetch_and(!ACCESSED, Ordering::Relaxed) & ACCESSED != 0;
        self.entries(address, pages).fold(false, |any, (_, entry)| clear(entry) | any)
    }

    /// Which of the pages, at most a block, were used since they were mapped.
    #[must_use]
    pub(crate) fn used_pages(&self, address: usize, pages: u64) -> UsedPages {
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
        (0..pages).zip(first..).map(move |(at, page)| (at, &self.leaf(page)[page % LEAF_ENTRIES]))
    }

    /// The leaf of a page, made if it is not there.
    fn leaf(&self, page: usize) -> &Leaf {
        let make_middle = || std::iter::repeat_with(OnceLock::new).take(MIDDLE_ENTRIES).collect();
        let middle: &Middle = self.directory[page / SLOT_PAGES].get_or_init(make_middle);
        let make_leaf = || Box::new([const { AtomicU64::new(0) }; LEAF_ENTRIES]);
        middle[page / LEAF_ENTRIES % MIDDLE_ENTRIES].get_or_init(make_leaf)
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

    fn read(table: &Table, page: usize) -> Walk {
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
        assert_eq!(table.walk(BASE + 513 * PAGE + 5, Rights::READ), Walk::Page(Pfn::new(43)));
        assert_eq!(read(&table, 514), Walk::Missing);
        table.unmap(BASE + 510 * PAGE, 2);
        assert_eq!(read(&table, 511), Walk::Missing);
        assert_eq!(read(&table, 512), Walk::Page(Pfn::new(42)));
        assert_eq!(table.walk(BASE - 1, Rights::READ), Walk::Missing);
    }

    #[test]
    fn writes_need_the_right() {
        let table = table();
        table.map(BASE, Pfn::new(8), 1, Rights::READ);
        assert_eq!(table.walk(BASE, Rights::WRITE), Walk::Denied);
        assert_eq!(counts(&table, 1), (0, 0), "what was denied is no use");
        assert_eq!(read(&table, 0), Walk::Page(Pfn::new(8)));
    }

    #[test]
    fn remapped_pages_lead_where_they_led_and_their_use_stays_remembered() {
        let table = table();
        table.map(BASE, Pfn::new(8), 2, ALL);
        assert_eq!(read(&table, 0), Walk::Page(Pfn::new(8)));
        table.remap(BASE, Pfn::new(8), 4, ALL);
        assert_eq!(read(&table, 3), Walk::Page(Pfn::new(11)));
        assert_eq!(counts(&table, 4), (2, 0));
        table.map(BASE, Pfn::new(8), 4, Rights::READ);
        table.remap(BASE, Pfn::new(8), 4, ALL);
        assert_eq!(table.walk(BASE, Rights::WRITE), Walk::Page(Pfn::new(8)), "more rights");
    }

    #[test]
    fn access_is_remembered_until_asked_and_use_until_mapped_again() {
        let table = table();
        table.map(BASE, Pfn::new(0), 4, ALL);
        assert!(!table.test_and_clear_accessed(BASE, 4));
        assert_eq!(table.walk(BASE + PAGE, Rights::WRITE), Walk::Page(Pfn::new(1)));
        assert!(table.test_and_clear_accessed(BASE, 4));
        assert!(!table.test_and_clear_accessed(BASE, 4));
        assert_eq!(counts(&table, 4), (1, 1));
        table.unmap(BASE, 4);
        assert_eq!(counts(&table, 4), (1, 1), "use is told after the entry has gone");
        table.map(BASE, Pfn::new(0), 4, ALL);
        assert_eq!(counts(&table, 4), (0, 0));
    }

    #[test]
    fn remote_pages_are_good_for_so_many_accesses() {
        let table = table();
        table.map_remote(BASE, Pfn::new(1 << 30), 2, Rights::READ, 2);
        assert_eq!(table.walk(BASE, Rights::WRITE), Walk::Denied, "what was denied is no use");
        assert_eq!(read(&table, 0), Walk::Remote(Pfn::new(1 << 30)));
        assert_eq!(read(&table, 0), Walk::Remote(Pfn::new(1 << 30)));
        assert_eq!(read(&table, 0), Walk::Missing, "both uses were made");
        assert_eq!(read(&table, 1), Walk::Remote(Pfn::new((1 << 30) + 1)), "each page has its own");
        table.unmap(BASE, 2);
        assert_eq!(read(&table, 1), Walk::Missing);
        table.map(BASE, Pfn::new(8), 1, ALL);
        assert_eq!(read(&table, 0), Walk::Page(Pfn::new(8)));
    }

    #[test]
    fn all_addresses_of_a_process_have_a_table() {
        let table = Table::new(0..1 << 47);
        for page in [0, (1 << 35) - 2] {
            table.map(page * PAGE, Pfn::new(page as u64), 2, ALL);
            assert_eq!(table.walk((page + 1) * PAGE, Rights::READ), Walk::Page(Pfn::new(page as u64 + 1)));
        }
        assert_eq!(table.walk(1 << 46, Rights::READ), Walk::Missing);
    }
}
