//! `struct page` as far as the rules need it, with the words that overlap.
//!
//! ```text
//!  word            head page (or single page)      page 1 of a folio           other tails
//!  flags, low 8    lock bit 0, uptodate bit 3,     order of the folio          unused
//!                  head bit 6
//!  word 1          pagemap                         link to the head            link to the head
//!  word 2          memory cgroup                   number of pages             unused
//!  mapping         address space                   poison                      poison
//!  refcount        references                      0                           0
//!  driver's word   zone_device_data                -                           -
//! ```
//!
//! Forming a compound destroys the pagemap word of its tails; order 9, read as flags when page 1 becomes a head,
//! is "locked and uptodate".
//!
//! Worlds are small, so their orders are written as the kernel's large ones: the largest order of the world as
//! 9, the next as 8, and so on; 0 is 0. So the bits that hurt in the kernel hurt here.

/// Lock bit of the flags.
pub const LOCKED: u8 = 1 << 0;
/// Bit that marks the head of a compound.
pub const HEAD: u8 = 1 << 6;
/// Order of a huge page, as written for the largest order of a world.
pub const KERNEL_ORDER: u8 = 9;

/// What word 1 holds: a pagemap or a link to the head of a compound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Word1 {
    /// Nothing.
    #[default]
    Null,
    /// The pagemap.
    PageMap,
    /// The page is a tail of the compound at this page.
    Link(u8),
}

/// What word 2 holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Word2 {
    /// Nothing.
    #[default]
    Null,
    /// A memory cgroup: the page is charged.
    Memcg,
    /// Number of pages of the folio, here as its logarithm.
    Pages(u8),
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
}

/// The words of one page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Page {
    /// Low 8 bits of the flags.
    pub flags: u8,
    /// Pagemap or link to the head.
    pub word1: Word1,
    /// Memory cgroup or number of pages.
    pub word2: Word2,
    /// Address space.
    pub mapping: Mapping,
    /// References.
    pub references: u8,
    /// The driver's word: 1 + the number of its object.
    pub data: u8,
}

impl Page {
    /// A page of a fresh pagemap.
    pub const FRESH: Page = Page {
        flags: 0,
        word1: Word1::PageMap,
        word2: Word2::Null,
        mapping: Mapping::Null,
        references: 0,
        data: 0,
    };

    /// Whether the page looks like part of a compound.
    #[must_use]
    pub fn is_compound(&self) -> bool {
        self.flags & HEAD != 0 || matches!(self.word1, Word1::Link(_))
    }
}

/// How orders of the world are written into pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// Largest order of the world.
    pub largest: u8,
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
    match pages[usize::from(page)].word1 {
        Word1::Link(head) => head,
        _ => page,
    }
}

/// The order of the folio at `head`, as `folio_order` reads it: from the flags of the page after the head.
#[must_use]
pub fn folio_order(pages: &[Page], head: u8, scale: Scale) -> u8 {
    if pages[usize::from(head)].flags & HEAD == 0 {
        return 0;
    }
    pages.get(usize::from(head) + 1).and_then(|page| scale.read(page.flags)).unwrap_or(0)
}

/// Joins pages to a compound, as `prep_compound_page` does. It assumes pages that are in none.
pub fn prep_compound(pages: &mut [Page], head: u8, order: u8, scale: Scale) {
    pages[usize::from(head)].flags |= HEAD;
    for page in head + 1..head + (1 << order) {
        let tail = &mut pages[usize::from(page)];
        tail.word1 = Word1::Link(head);
        tail.mapping = Mapping::Tail;
        tail.references = 0;
    }
    let first_tail = &mut pages[usize::from(head) + 1];
    first_tail.flags = scale.written(order);
    first_tail.word2 = Word2::Pages(order);
}

/// Undoes a compound: no head bit, no order, no link, the pagemap back in every page.
pub fn undo_compound(pages: &mut [Page], head: u8, order: u8) {
    if order > 0 {
        let first_tail = &mut pages[usize::from(head) + 1];
        first_tail.flags = 0;
        first_tail.word2 = Word2::Null;
    }
    pages[usize::from(head)].flags &= !HEAD;
    for page in head..head + (1 << order) {
        let page = &mut pages[usize::from(page)];
        page.word1 = Word1::PageMap;
        page.mapping = Mapping::Null;
    }
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
        write!(f, "refs {} flags {:#04x} ", self.references, self.flags)?;
        match self.word1 {
            Word1::Null => f.write_str("word1 -")?,
            Word1::PageMap => f.write_str("word1 pgmap")?,
            Word1::Link(head) => write!(f, "word1 head={head}")?,
        }
        match self.word2 {
            Word2::Null => f.write_str(" word2 -")?,
            Word2::Memcg => f.write_str(" word2 memcg")?,
            Word2::Pages(order) => write!(f, " word2 nr={}", 1u32 << order)?,
        }
        match self.mapping {
            Mapping::Null => f.write_str(" mapping -"),
            Mapping::Anon => f.write_str(" mapping anon"),
            Mapping::Tail => f.write_str(" mapping poison"),
        }?;
        match self.data {
            0 => f.write_str(" data -"),
            object => write!(f, " data obj{}", object - 1),
        }
    }
}
