//! Which groups of 4096 pages have free dirty pages, how many, and the largest block that may fit into them.
//!
//! Requests that do not ask for cleared pages are to take dirty ones first. The index of free blocks does not tell them
//! apart, so where its best block is cleared, this says in which groups a search for a dirty place can succeed. It is made
//! by the first such search. What a search found out is remembered until dirty pages are added to the group.

use crate::bit_tree::{BitTree, index, zeroed};
use crate::leaf::{GROUP_ORDER, GROUP_PAGES};
use alloc::vec::Vec;
use core::ops::Range;

/// Class of the groups without dirty pages.
const NONE: u8 = u8::MAX;
const CLASSES: usize = GROUP_ORDER as usize + 1;

/// What is known of one group.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Free dirty pages.
    pages: u16,
    /// No block of a larger order fits into them.
    largest: u8,
    /// Blocks of this order or more, all of whose pages are dirty, do not begin before page `from` of the group.
    searched: u8,
    from: u16,
}

/// The free dirty pages of a region, by group.
#[derive(Clone, Debug)]
pub(crate) struct Dirty {
    first: u64,
    groups: Vec<Group>,
    /// The groups by the largest order that may fit.
    by_largest: [BitTree; CLASSES],
    /// The groups that have dirty pages.
    any: BitTree,
    words: Vec<u64>,
    /// Orders that are the largest of some group, as a bit set.
    orders: u16,
}

/// The order of the largest block that so many pages can be.
fn order_of(pages: u16) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "an order is below 16")]
    pages.checked_ilog2().map_or(NONE, |order| order as u8)
}

impl Dirty {
    /// An index without dirty pages; `None` if memory is short.
    pub(crate) fn new(range: &Range<u64>) -> Option<Self> {
        let first = range.start >> GROUP_ORDER;
        let count = ((range.end - 1) >> GROUP_ORDER) - first + 1;
        let (any, mut used) = BitTree::lay_out(count, 0)?;
        let mut by_largest = core::array::from_fn(|_| BitTree::default());
        for tree in &mut by_largest {
            (*tree, used) = BitTree::lay_out(count, used)?;
        }
        let groups = zeroed(count, Group { pages: 0, largest: NONE, searched: 0, from: 0 })?;
        Some(Self { first, groups, by_largest, any, words: zeroed(used, 0)?, orders: 0 })
    }

    /// Numbers of all groups.
    pub(crate) fn numbers(&self) -> Range<u64> {
        self.first..self.first + self.groups.len() as u64
    }

    /// Free dirty pages of a group.
    pub(crate) fn pages(&self, number: u64) -> u64 {
        u64::from(self.groups[index(number - self.first)].pages)
    }

    /// Tells whether all pages of a group are free and dirty.
    pub(crate) fn is_full(&self, number: u64) -> bool {
        self.pages(number) == GROUP_PAGES
    }

    /// Adds dirty pages that begin at `page` to its group.
    #[expect(clippy::cast_possible_truncation, reason = "a group has 4096 pages")]
    pub(crate) fn add(&mut self, page: u64, pages: u64) {
        let cell = (page >> GROUP_ORDER) - self.first;
        let group = &mut self.groups[index(cell)];
        group.pages += pages as u16;
        // A block of the order searched for that has one of these pages begins here or behind.
        let begin = (page % GROUP_PAGES) as u16 >> group.searched << group.searched;
        group.from = group.from.min(begin);
        let largest = order_of(group.pages);
        self.classify(cell, largest);
    }

    /// Takes dirty pages off a group.
    #[expect(clippy::cast_possible_truncation, reason = "a group has 4096 pages")]
    pub(crate) fn sub(&mut self, number: u64, pages: u64) {
        let cell = number - self.first;
        let group = &mut self.groups[index(cell)];
        group.pages -= pages as u16;
        let most = order_of(group.pages);
        if most == NONE || group.largest > most {
            self.classify(cell, most);
        }
    }

    /// Notes how many dirty pages a group has, anywhere.
    pub(crate) fn set(&mut self, number: u64, pages: u64) {
        self.sub(number, self.pages(number));
        self.add(number << GROUP_ORDER, pages);
    }

    /// Notes the largest order that may fit into a group's dirty pages.
    fn classify(&mut self, cell: u64, largest: u8) {
        let before = core::mem::replace(&mut self.groups[index(cell)].largest, largest);
        if before == largest {
            return;
        }
        if let Some(tree) = self.by_largest.get(usize::from(before))
            && tree.remove(&mut self.words, cell)
        {
            self.orders &= !(1 << before);
        }
        if let Some(tree) = self.by_largest.get(usize::from(largest)) {
            tree.insert(&mut self.words, cell);
            self.orders |= 1 << largest;
        }
        match (before, largest) {
            (NONE, _) => drop(self.any.insert(&mut self.words, cell)),
            (_, NONE) => drop(self.any.remove(&mut self.words, cell)),
            _ => {}
        }
    }

    /// Tells whether a block of `2^order` dirty pages may be anywhere.
    #[inline]
    pub(crate) fn may_have_any(&self, order: u32) -> bool {
        order > GROUP_ORDER || self.orders >> order != 0
    }

    /// A group that may have a block of `2^order` dirty pages, up to a group: of those where the least order may fit, the
    /// first.
    pub(crate) fn candidate(&self, order: u32) -> Option<u64> {
        let orders = self.orders.checked_shr(order).filter(|orders| *orders != 0)?;
        let tree = &self.by_largest[(order + orders.trailing_zeros()) as usize];
        Some(tree.first(&self.words) + self.first)
    }

    /// Tells whether a block of `2^order` dirty pages may be in a group.
    pub(crate) fn may_have(&self, number: u64, order: u32) -> bool {
        let largest = self.groups[index(number - self.first)].largest;
        largest != NONE && order <= u32::from(largest)
    }

    /// The page of a group from which on a block of `2^order` dirty pages may begin.
    pub(crate) fn begin(&self, number: u64, order: u32) -> u64 {
        let group = self.groups[index(number - self.first)];
        if order >= u32::from(group.searched) { group.from.into() } else { 0 }
    }

    /// Remembers that the first block of `2^order` dirty pages of its group ends before `page`, and is being taken.
    #[expect(clippy::cast_possible_truncation, reason = "a group has 4096 pages, and its order is 12")]
    pub(crate) fn note_first_taken(&mut self, page: u64, order: u32) {
        let number = (page - 1) >> GROUP_ORDER;
        let group = &mut self.groups[index(number - self.first)];
        (group.searched, group.from) = (order as u8, (page - (number << GROUP_ORDER)) as u16);
    }

    /// Remembers that no block of `2^order` dirty pages is in a group, where some page is dirty.
    #[expect(clippy::cast_possible_truncation, reason = "orders of blocks within a group")]
    pub(crate) fn note_none(&mut self, number: u64, order: u32) {
        let largest = order.saturating_sub(1) as u8;
        self.classify(number - self.first, largest);
    }

    /// The first group that has dirty pages, from group `number` on.
    pub(crate) fn next(&self, number: u64) -> Option<u64> {
        let cell = number.max(self.first) - self.first;
        self.any.next(&self.words, cell).map(|cell| cell + self.first)
    }

    /// The last group that has dirty pages, up to group `number`.
    pub(crate) fn previous(&self, number: u64) -> Option<u64> {
        let cell = number.min(self.numbers().end - 1).checked_sub(self.first)?;
        self.any.previous(&self.words, cell).map(|cell| cell + self.first)
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        (self.groups.len() * size_of::<Group>() + self.words.len() * 8) as u64
    }
}
