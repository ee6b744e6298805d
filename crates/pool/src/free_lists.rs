//! Lists of free folios, one for each order, threaded through a table beside the memory: [`FreeLists`].
//!
//! ```text
//!   heads     order 0: 6 -> 17        order 2: 8         ...  order 9
//!   table     [ . . . . . . F0 . F2 . . . . . . . . F0 . . ]     one entry a page, F = first page of a free folio
//! ```
//!
//! Entry, 64 bits: order and 1 (4 bits, 0: no free folio begins here), next (30), previous (30). The memory itself
//! is never touched. Taking, giving and removing a folio from the middle are O(1) at every order, and whether the
//! other half of a folio is free is one look. The table exists only for parts of the memory that are in use.

use bifolio_folio::{Order, Pfn};

/// How many orders there are lists for: 0 to 9.
const ORDERS: usize = Order::PMD.index() + 1;
/// Bits of a page number in an entry.
const PAGE_BITS: u32 = 30;
/// No page: the end of a list.
const NONE: u64 = (1 << PAGE_BITS) - 1;

/// Most pages that can be listed: almost 4 TiB.
pub(crate) const PAGES_MAX: u64 = NONE;

/// What the table says of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    const NOT_LISTED: Entry = Entry(0);

    fn new(order: Order, next: u64, previous: u64) -> Entry {
        Entry((u64::from(order.get()) + 1) << (2 * PAGE_BITS) | next << PAGE_BITS | previous)
    }

    fn order(self) -> Option<Order> {
        let above = u8::try_from(self.0 >> (2 * PAGE_BITS)).ok()?;
        Order::new(above.checked_sub(1)?)
    }

    fn next(self) -> u64 {
        self.0 >> PAGE_BITS & NONE
    }

    fn previous(self) -> u64 {
        self.0 & NONE
    }

    fn with_next(self, next: u64) -> Entry {
        Entry(self.0 & !(NONE << PAGE_BITS) | next << PAGE_BITS)
    }

    fn with_previous(self, previous: u64) -> Entry {
        Entry(self.0 & !NONE | previous)
    }
}

/// Free folios by order. The last one given is the first one taken: its memory is the warmest.
#[derive(Clone, Debug)]
pub(crate) struct FreeLists {
    /// The table, in parts of `1 << part_log` pages.
    parts: Vec<Option<Box<[Entry]>>>,
    part_log: u32,
    heads: [u64; ORDERS],
}

impl FreeLists {
    /// Makes empty lists over `parts` parts of `1 << part_log` pages, none of which has a table yet.
    pub(crate) fn new(parts: usize, part_log: u32) -> FreeLists {
        FreeLists { parts: vec![None; parts], part_log, heads: [NONE; ORDERS] }
    }

    /// Makes the table of a part that has `pages` pages; `false` if there is no memory for it.
    pub(crate) fn add_part(&mut self, part: usize, pages: u64) -> bool {
        let Ok(pages) = usize::try_from(pages) else { return false };
        let mut entries = Vec::new();
        if entries.try_reserve_exact(pages).is_err() {
            return false;
        }
        entries.resize(pages, Entry::NOT_LISTED);
        self.parts[part] = Some(entries.into_boxed_slice());
        true
    }

    /// Gives back the table of a part of which nothing is listed any more.
    pub(crate) fn remove_part(&mut self, part: usize) {
        let removed = self.parts[part].take();
        debug_assert!(removed.is_none_or(|entries| entries.iter().all(|entry| entry.order().is_none())));
    }

    pub(crate) fn has_part(&self, part: usize) -> bool {
        self.parts[part].is_some()
    }

    /// Puts a free folio at the front of its list.
    pub(crate) fn push(&mut self, page: Pfn, order: Order) {
        debug_assert_eq!(self.order_at(page), None, "page {page} is free already");
        let next = std::mem::replace(&mut self.heads[order.index()], page.get());
        *self.entry(page.get()) = Entry::new(order, next, NONE);
        if next != NONE {
            let entry = self.entry(next);
            *entry = entry.with_previous(page.get());
        }
    }

    /// Takes the folio at the front of a list.
    pub(crate) fn pop(&mut self, order: Order) -> Option<Pfn> {
        let head = *self.heads.get(order.index()).filter(|head| **head != NONE)?;
        self.remove(Pfn::new(head), order);
        Some(Pfn::new(head))
    }

    /// Takes a folio out of the middle of its list.
    pub(crate) fn remove(&mut self, page: Pfn, order: Order) {
        debug_assert_eq!(self.order_at(page), Some(order), "page {page} is on another list");
        let entry = std::mem::take(self.entry(page.get()));
        let (next, previous) = (entry.next(), entry.previous());
        match previous {
            NONE => self.heads[order.index()] = next,
            previous => {
                let entry = self.entry(previous);
                *entry = entry.with_next(next);
            }
        }
        if next != NONE {
            let entry = self.entry(next);
            *entry = entry.with_previous(previous);
        }
    }

    /// Returns the order of the free folio that begins at a page.
    pub(crate) fn order_at(&self, page: Pfn) -> Option<Order> {
        let (part, within) = self.place(page.get());
        self.parts.get(part)?.as_ref()?.get(within)?.order()
    }

    /// Returns the smallest order, `order` or larger, of which a folio is free.
    pub(crate) fn smallest_from(&self, order: Order) -> Option<Order> {
        let from = order.index();
        let above = self.heads.get(from..)?.iter().position(|head| *head != NONE)?;
        u8::try_from(from + above).ok().and_then(Order::new)
    }

    /// Iterates over all free folios, list by list.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pfn, Order)> {
        let listed = |page: u64| Some(page).filter(|page| *page != NONE);
        Order::PMD.descending().flat_map(move |order| {
            let after = move |page: &u64| {
                let (part, within) = self.place(*page);
                listed(self.parts[part].as_ref()?[within].next())
            };
            std::iter::successors(listed(self.heads[order.index()]), after)
                .map(move |page| (Pfn::new(page), order))
        })
    }

    fn place(&self, page: u64) -> (usize, usize) {
        let place = |number: u64| usize::try_from(number).expect("fewer pages than addresses");
        (place(page >> self.part_log), place(page & ((1 << self.part_log) - 1)))
    }

    fn entry(&mut self, page: u64) -> &mut Entry {
        let (part, within) = self.place(page);
        &mut self.parts[part].as_mut().expect("only pages of parts with a table are listed")[within]
    }
}
