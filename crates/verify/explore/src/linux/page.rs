//! `struct page` as far as the rules need it, with the words that overlap.
//!
//! ```text
//!  word              head, or single page          page 1 of a folio            page 2           other tails
//!  flags, bits 0-7   locked 0, uptodate 3, head 6  order of the folio           -                -
//!  flags, above      active 8, workingset 9        has_hwpoisoned 8,            -                -
//!                                                  large_rmappable 9
//!  compound_info     pagemap                       link to the head, or a mask that leads there
//!  data              zone_device_data              _large_mapcount              _deferred_list   -
//!  mapping           address space                 poison                       _deferred_list   poison
//!  private           private                       _mm_ids                      -                -
//!  memcg             memory cgroup                 _nr_pages                    -                -
//!  refcount          references                    0                            0                0
//! ```
//!
//! | Field | Where Linux 7.3.4 has it |
//! |---|---|
//! | flags and their second meanings | include/linux/page-flags.h (`PG_large_rmappable`, `PG_has_hwpoisoned`) |
//! | order, `_nr_pages`, `_large_mapcount`, `_mm_ids`, `_deferred_list` | include/linux/mm_types.h, `struct folio` |
//! | `compound_info`, pagemap, `zone_device_data` | include/linux/mm_types.h, `struct page` |
//! | what is written when a compound is formed | mm/internal.h, `prep_compound_head` and `prep_compound_tail` |
//! | what is rewritten for a device folio | mm/memremap.c, `zone_device_page_init` |
//! | which flags travel with a page | mm/migrate.c, `folio_migrate_flags` |
//!
//! Forming a compound destroys the pagemap word of its tails; order 9, read as flags when page 1 becomes a head,
//! is "locked and uptodate"; and page 1 keeps the mark `large_rmappable`, which a head reads as `PG_workingset`.
//!
//! Left out: `PG_reserved` (bit 13), which every device page has; `partially_mapped` (bit 16, `PG_reclaim`), which no step
//! here sets; and flags that a page carries along like the two above, such as `PG_swapbacked` and `PG_mappedtodisk`.
//!
//! Worlds are small, so their orders are written as the kernel's large ones: the largest order of the world as
//! 9, the next as 8, and so on; 0 is 0. So the bits that hurt in the kernel hurt here.

use crate::linux::contract::{CompoundInfo, Reset};

/// Lock bit of the flags.
pub const LOCKED: u16 = 1 << 0;
/// Bit that marks the head of a compound.
pub const HEAD: u16 = 1 << 6;
/// The page is on the active list; `has_hwpoisoned` in page 1.
pub const ACTIVE: u16 = 1 << 8;
/// The page belongs to the working set; `large_rmappable` in page 1.
pub const WORKINGSET: u16 = 1 << 9;
/// What a page of a program carries along when it is hot.
pub const HOT: u16 = ACTIVE | WORKINGSET;
/// The flags that an order may be left in.
pub const LOW_BYTE: u16 = 0xff;
/// Order of a huge page, as written for the largest order of a world.
pub const KERNEL_ORDER: u8 = 9;

/// What the word holds that is pagemap or link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Info {
    /// Nothing.
    #[default]
    Null,
    /// The pagemap.
    PageMap,
    /// The page is a tail of the compound at this page.
    Link(u8),
    /// The page is a tail of a compound of this order: its number, rounded down, is the head's.
    Mask(u8),
}

/// What the driver's word holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Data {
    /// Nothing.
    #[default]
    Null,
    /// The driver's object of this number.
    Object(u8),
    /// Count of mappings of a large folio.
    LargeMapcount,
    /// Links of the list of folios that may be split later.
    DeferredList,
}

/// What the mapping word holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mapping {
    /// Nothing.
    #[default]
    Null,
    /// Anonymous memory of a process.
    Anon,
    /// The poison of tails.
    Tail,
    /// Links of the list of folios that may be split later.
    DeferredList,
}

/// What the memory cgroup's word holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Memcg {
    /// Nothing.
    #[default]
    Null,
    /// A memory cgroup: the page is charged.
    Charged,
    /// Number of pages of the folio, here as its logarithm.
    Pages(u8),
}

/// The words of one page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Page {
    /// Flags, by the kernel's numbers.
    pub flags: u16,
    /// Pagemap, or what leads to the head.
    pub info: Info,
    /// The driver's word.
    pub data: Data,
    /// Address space.
    pub mapping: Mapping,
    /// Whether the private word has `_mm_ids`: which processes map the folio.
    pub mm_ids: bool,
    /// Memory cgroup or number of pages.
    pub memcg: Memcg,
    /// References.
    pub references: u8,
}

impl Page {
    /// A page of a fresh pagemap.
    pub const FRESH: Page = Page {
        flags: 0,
        info: Info::PageMap,
        data: Data::Null,
        mapping: Mapping::Null,
        mm_ids: false,
        memcg: Memcg::Null,
        references: 0,
    };

    /// Whether the page looks like part of a compound.
    #[must_use]
    pub fn is_compound(&self) -> bool {
        self.flags & HEAD != 0 || matches!(self.info, Info::Link(_) | Info::Mask(_))
    }

    /// Clears the flags that a reset clears.
    pub fn clear_flags(&mut self, reset: Reset) {
        self.flags &= match reset {
            Reset::LowByte => !LOW_BYTE,
            Reset::AllFlags => 0,
        };
    }

    /// Rewrites the page as `zone_device_page_init` does: not its private word, nor the driver's.
    pub fn rewrite(&mut self, reset: Reset) {
        self.clear_flags(reset);
        (self.info, self.mapping, self.memcg) = (Info::PageMap, Mapping::Null, Memcg::Null);
    }
}

/// How orders of the world are written into pages, and how tails lead to their heads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// Largest order of the world.
    pub largest: u8,
    /// What leads from a tail to its head.
    pub info: CompoundInfo,
}

impl Scale {
    /// The number that the kernel would write.
    #[must_use]
    pub fn written(self, order: u8) -> u8 {
        if order == 0 { 0 } else { KERNEL_ORDER - (self.largest - order) }
    }

    /// The order of the world that was written so, if any.
    #[must_use]
    pub fn read(self, written: u8) -> Option<u8> {
        (0..=self.largest).find(|&order| self.written(order) == written)
    }
}

/// The head of the compound that `page` seems to belong to, as `page_folio` finds it.
#[must_use]
pub fn head_of(pages: &[Page], page: u8) -> u8 {
    match pages[usize::from(page)].info {
        Info::Link(head) => head,
        Info::Mask(order) => page & !((1 << order) - 1),
        Info::Null | Info::PageMap => page,
    }
}

/// The order of the folio at `head`, as `folio_order` reads it: from the flags of the page after the head.
#[must_use]
pub fn folio_order(pages: &[Page], head: u8, scale: Scale) -> u8 {
    if pages[usize::from(head)].flags & HEAD == 0 {
        return 0;
    }
    let low = |page: &Page| u8::try_from(page.flags & LOW_BYTE).unwrap_or(u8::MAX);
    pages.get(usize::from(head) + 1).and_then(|page| scale.read(low(page))).unwrap_or(0)
}

/// Joins pages to a compound, as `prep_compound_page` does, and marks it as one that rmap knows. It assumes pages that are
/// in no compound.
pub fn prep_compound(pages: &mut [Page], head: u8, order: u8, scale: Scale) {
    pages[usize::from(head)].flags |= HEAD;
    for page in head + 1..head + (1 << order) {
        let tail = &mut pages[usize::from(page)];
        tail.info = match scale.info {
            CompoundInfo::Link => Info::Link(head),
            CompoundInfo::Mask => Info::Mask(order),
        };
        tail.mapping = Mapping::Tail;
        tail.references = 0;
    }
    let first = &mut pages[usize::from(head) + 1];
    first.flags = first.flags & !LOW_BYTE | u16::from(scale.written(order)) | WORKINGSET;
    (first.memcg, first.data) = (Memcg::Pages(order), Data::LargeMapcount);
    if order > 1 {
        let second = &mut pages[usize::from(head) + 2];
        (second.data, second.mapping) = (Data::DeferredList, Mapping::DeferredList);
    }
}

/// Undoes a compound: no head bit, no order, no link; `info` is left in every page.
pub fn undo_compound(pages: &mut [Page], head: u8, order: u8, reset: Reset, info: Info) {
    (head..head + (1 << order)).for_each(|page| undo_page(pages, page, (head, order), reset, info));
}

/// Undoes what one page has of the compound at `head`.
pub fn undo_page(pages: &mut [Page], page: u8, (head, order): (u8, u8), reset: Reset, info: Info) {
    let it = &mut pages[usize::from(page)];
    if page == head {
        it.flags &= !HEAD;
    } else if order > 0 && page == head + 1 {
        it.flags &= !LOW_BYTE;
        it.memcg = Memcg::Null;
    }
    if reset == Reset::AllFlags {
        it.clear_flags(reset);
    }
    (it.info, it.mapping) = (info, Mapping::Null);
}

/// What the words of a new folio are if nothing but page, order and pagemap decides: the driver's word aside.
#[must_use]
pub fn from_nothing(pages: usize, head: u8, order: u8, scale: Scale) -> Vec<Page> {
    let mut fresh = vec![Page::FRESH; pages];
    fresh[usize::from(head)].references = 1;
    fresh[usize::from(head)].flags = LOCKED;
    if order > 0 {
        prep_compound(&mut fresh, head, order, scale);
    }
    fresh
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refs {} flags {:#05x} ", self.references, self.flags)?;
        match self.info {
            Info::Null => f.write_str("info -")?,
            Info::PageMap => f.write_str("info pgmap")?,
            Info::Link(head) => write!(f, "info head={head}")?,
            Info::Mask(order) => write!(f, "info mask={}", u8::MAX << order)?,
        }
        match self.memcg {
            Memcg::Null => f.write_str(" memcg -")?,
            Memcg::Charged => f.write_str(" memcg charged")?,
            Memcg::Pages(order) => write!(f, " memcg nr={}", 1u32 << order)?,
        }
        f.write_str(match self.mapping {
            Mapping::Null => " mapping -",
            Mapping::Anon => " mapping anon",
            Mapping::Tail => " mapping poison",
            Mapping::DeferredList => " mapping list",
        })?;
        f.write_str(if self.mm_ids { " private mm_ids" } else { "" })?;
        match self.data {
            Data::Null => f.write_str(" data -"),
            Data::Object(object) => write!(f, " data obj{object}"),
            Data::LargeMapcount => f.write_str(" data mapcount"),
            Data::DeferredList => f.write_str(" data list"),
        }
    }
}
