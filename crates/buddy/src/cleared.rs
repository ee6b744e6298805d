//! Which free pages are known to be cleared.
//!
//! Cleared and dirty pages are told apart beside the blocks, never by them: a cleared block merges with a dirty
//! buddy at once, and the extents of cleared pages stay what they were. An extent may begin and end anywhere.
//!
//! Extents are kept as one entry per group of 4096 pages: all dirty, all cleared, or a bitmap of its own. A tree of
//! extents would need up to 16 times as much memory for alternating pages, and a walk for every change.
//!
//! It fails safe (I22): what is not recorded is dirty. A group for which no bitmap can be had becomes dirty as a
//! whole; nothing ever becomes cleared but by [`Cleared::insert`].

use crate::bit_tree::{BitTree, index, zeroed};
use crate::leaf::{GROUP_ORDER, GROUP_PAGES, Leaf};
use alloc::vec::Vec;
use core::ops::Range;

/// No page of the group is known to be cleared.
const DIRTY: u32 = 0;
/// All pages of the group are cleared.
const CLEARED: u32 = 1;
/// Entries from here on name the bitmap `entry - FIRST_LEAF`.
const FIRST_LEAF: u32 = 2;
const TREES: usize = GROUP_ORDER as usize + 1;

/// The cleared pages of one region.
#[derive(Clone, Debug)]
pub(crate) struct Cleared {
    range: Range<u64>,
    tables: Option<Tables>,
    leaves: Vec<Leaf>,
    /// The first of the bitmaps not in use, which are linked; [`DIRTY`] if there is none. A list of its own would need
    /// memory when a bitmap is given back, and that must not fail.
    free_leaf: u32,
    pages: u64,
    /// Bitmaps that may be made, for tests of what becomes of a shortage.
    #[cfg(test)]
    leaf_limit: usize,
}

/// What is only made once a page has been declared cleared.
#[derive(Clone, Debug)]
struct Tables {
    groups: Vec<u32>,
    /// Orders of the aligned cleared runs in each group, as bit sets.
    orders: Vec<u16>,
    /// For each order: the groups that have such a run.
    trees: [BitTree; TREES],
    words: Vec<u64>,
}

impl Tables {
    fn new(groups: u64) -> Option<Self> {
        let (mut trees, mut used) = (core::array::from_fn(|_| BitTree::default()), 0);
        for tree in &mut trees {
            (*tree, used) = BitTree::lay_out(groups, used)?;
        }
        Some(Self {
            groups: zeroed(groups, DIRTY)?,
            orders: zeroed(groups, 0)?,
            trees,
            words: zeroed(used, 0)?,
        })
    }

    #[inline]
    fn note_orders(&mut self, group: u64, now: u16) {
        if self.orders[index(group)] != now {
            self.change_orders(group, now);
        }
    }

    fn change_orders(&mut self, group: u64, now: u16) {
        let mut changed = core::mem::replace(&mut self.orders[index(group)], now) ^ now;
        while changed != 0 {
            let tree = &self.trees[changed.trailing_zeros() as usize];
            if now & changed & changed.wrapping_neg() != 0 {
                tree.insert(&mut self.words, group);
            } else {
                tree.remove(&mut self.words, group);
            }
            changed &= changed - 1;
        }
    }
}

/// The part of a group, as page offsets, that a range covers.
#[expect(clippy::cast_possible_truncation, reason = "offsets within a group are at most 4096")]
fn part_of(range: &Range<u64>, start: u64) -> (u32, u32) {
    let from = range.start.saturating_sub(start) as u32;
    (from, (range.end - start).min(GROUP_PAGES) as u32)
}

impl Cleared {
    pub(crate) fn new(range: Range<u64>) -> Self {
        Self {
            range,
            tables: None,
            leaves: Vec::new(),
            free_leaf: DIRTY,
            pages: 0,
            #[cfg(test)]
            leaf_limit: usize::MAX,
        }
    }

    /// Number of cleared pages.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Bytes of memory held.
    pub(crate) fn bytes(&self) -> u64 {
        let tables =
            self.tables.as_ref().map_or(0, |t| t.groups.len() * 6 + t.words.len() * 8 + size_of::<Tables>());
        (tables + self.leaves.len() * size_of::<Leaf>()) as u64
    }

    fn first_group(&self) -> u64 {
        self.range.start >> GROUP_ORDER
    }

    /// Records the pages as cleared, as far as there is memory to do so.
    pub(crate) fn insert(&mut self, range: &Range<u64>) {
        if self.tables.is_none() {
            let groups = ((self.range.end - 1) >> GROUP_ORDER) - self.first_group() + 1;
            self.tables = Tables::new(groups);
        }
        self.update(range, true);
    }

    /// Records the pages as dirty. Cannot fail.
    pub(crate) fn remove(&mut self, range: &Range<u64>) {
        if self.pages > 0 {
            self.update(range, false);
        }
    }

    fn update(&mut self, range: &Range<u64>, cleared: bool) {
        if self.tables.is_none() {
            return;
        }
        for number in range.start >> GROUP_ORDER..range.end.div_ceil(GROUP_PAGES) {
            let (group, (from, to)) = (number - self.first_group(), part_of(range, number << GROUP_ORDER));
            if u64::from(to - from) == GROUP_PAGES {
                self.set_group(group, if cleared { CLEARED } else { DIRTY });
            } else {
                let _: (u64, bool) = self.edit_group(group, from, to, cleared);
            }
        }
    }

    /// Records pages of one group as dirty; returns how many were cleared, and whether other pages of the group became
    /// dirty for want of memory.
    pub(crate) fn remove_in_group(&mut self, part: &Range<u64>) -> (u64, bool) {
        if self.pages == 0 {
            return (0, false);
        }
        let number = part.start >> GROUP_ORDER;
        let (group, (from, to)) = (number - self.first_group(), part_of(part, number << GROUP_ORDER));
        if u64::from(to - from) == GROUP_PAGES {
            let before = self.pages;
            self.set_group(group, DIRTY);
            return (before - self.pages, false);
        }
        self.edit_group(group, from, to, false)
    }

    fn entry(&mut self, group: u64) -> &mut u32 {
        let tables = self.tables.as_mut().expect("the tables exist once a page has been recorded");
        &mut tables.groups[index(group)]
    }

    fn pages_of(&self, entry: u32) -> u64 {
        match entry {
            DIRTY => 0,
            CLEARED => GROUP_PAGES,
            leaf => self.leaves[(leaf - FIRST_LEAF) as usize].count(),
        }
    }

    /// Makes all pages of a group cleared or dirty.
    fn set_group(&mut self, group: u64, now: u32) {
        let before = core::mem::replace(self.entry(group), now);
        self.pages = self.pages - self.pages_of(before) + self.pages_of(now);
        self.drop_leaf(before);
        self.note_orders(group);
    }

    /// Changes pages of a group; returns how many changed, and whether the whole group became dirty for want of memory.
    fn edit_group(&mut self, group: u64, from: u32, to: u32, cleared: bool) -> (u64, bool) {
        let before = *self.entry(group);
        if before == if cleared { CLEARED } else { DIRTY } {
            return (0, false);
        }
        let leaf = if before >= FIRST_LEAF { Some(before) } else { self.new_leaf(before == CLEARED) };
        let Some(leaf) = leaf else {
            self.set_group(group, DIRTY);
            return ((to - from).into(), true);
        };
        *self.entry(group) = leaf;
        let bits = &mut self.leaves[(leaf - FIRST_LEAF) as usize];
        let changed = u64::from(bits.set(from, to, cleared));
        let uniform = if bits.is_full() { Some(CLEARED) } else { bits.is_empty().then_some(DIRTY) };
        self.pages = if cleared { self.pages + changed } else { self.pages - changed };
        if changed == 0 {
            return (0, false);
        }
        if let Some(entry) = uniform {
            *self.entry(group) = entry;
            self.drop_leaf(leaf);
        }
        self.note_orders(group);
        (changed, false)
    }

    fn new_leaf(&mut self, cleared: bool) -> Option<u32> {
        if self.free_leaf >= FIRST_LEAF {
            let leaf = &mut self.leaves[(self.free_leaf - FIRST_LEAF) as usize];
            let next = leaf.link()?;
            *leaf = Leaf::uniform(cleared);
            return Some(core::mem::replace(&mut self.free_leaf, next));
        }
        #[cfg(test)]
        if self.leaves.len() >= self.leaf_limit {
            return None;
        }
        let leaf = u32::try_from(self.leaves.len()).ok()?.checked_add(FIRST_LEAF)?;
        self.leaves.try_reserve(1).ok()?;
        self.leaves.push(Leaf::uniform(cleared));
        Some(leaf)
    }

    fn drop_leaf(&mut self, entry: u32) {
        if entry >= FIRST_LEAF {
            self.leaves[(entry - FIRST_LEAF) as usize].set_link(self.free_leaf);
            self.free_leaf = entry;
        }
    }

    fn note_orders(&mut self, group: u64) {
        let now = match *self.entry(group) {
            DIRTY => 0,
            CLEARED => u16::MAX >> (15 - GROUP_ORDER),
            leaf => self.leaves[(leaf - FIRST_LEAF) as usize].orders(),
        };
        if let Some(tables) = &mut self.tables {
            tables.note_orders(group, now);
        }
    }

    /// The first naturally aligned block of `2^order` cleared pages at or behind page `from`.
    pub(crate) fn next(&self, order: u32, from: u64) -> Option<u64> {
        let tables = self.tables.as_ref().filter(|_| self.pages >> order != 0)?;
        let from = from.max(self.range.start).checked_next_multiple_of(1 << order)?;
        if order > GROUP_ORDER {
            return self.next_groups(tables, order, from);
        }
        let mut group = (from >> GROUP_ORDER) - self.first_group();
        if let Some(&entry) = tables.groups.get(index(group))
            && let Some(page) = self.next_in_group(group, entry, order, from)
        {
            return Some(page);
        }
        group = tables.trees[order as usize].next(&tables.words, group + 1)?;
        self.next_in_group(group, tables.groups[index(group)], order, 0)
    }

    fn next_in_group(&self, group: u64, entry: u32, order: u32, from: u64) -> Option<u64> {
        let start = (group + self.first_group()) << GROUP_ORDER;
        let (from, _) = part_of(&(from..u64::MAX), start);
        match entry {
            DIRTY => None,
            CLEARED => Some(start + u64::from(from)),
            leaf => self.leaves[(leaf - FIRST_LEAF) as usize]
                .next(order, from)
                .map(|page| start + u64::from(page)),
        }
    }

    /// The last naturally aligned block of `2^order` cleared pages that ends at or before page `to`.
    pub(crate) fn previous(&self, order: u32, to: u64) -> Option<u64> {
        let tables = self.tables.as_ref().filter(|_| self.pages >> order != 0)?;
        let to = to.min(self.range.end);
        let last = to.checked_sub(1).filter(|last| *last >= self.range.start)?;
        if order > GROUP_ORDER {
            return self.previous_groups(tables, order, to);
        }
        let group = (last >> GROUP_ORDER) - self.first_group();
        if let Some(page) = self.previous_in_group(group, tables.groups[index(group)], order, to) {
            return Some(page);
        }
        let group = tables.trees[order as usize].previous(&tables.words, group.checked_sub(1)?)?;
        self.previous_in_group(group, tables.groups[index(group)], order, u64::MAX)
    }

    fn previous_in_group(&self, group: u64, entry: u32, order: u32, to: u64) -> Option<u64> {
        let start = (group + self.first_group()) << GROUP_ORDER;
        let (_, to) = part_of(&(start..to), start);
        let last = match entry {
            DIRTY => None,
            CLEARED => to.checked_sub(1 << order).map(|last| last >> order << order),
            leaf => self.leaves[(leaf - FIRST_LEAF) as usize].previous(order, to),
        };
        last.map(|page| start + u64::from(page))
    }

    /// [`Cleared::previous`] for blocks of several groups.
    fn previous_groups(&self, tables: &Tables, order: u32, to: u64) -> Option<u64> {
        let (groups, first) = (1u64 << (order - GROUP_ORDER), self.first_group());
        let mut end = (to >> GROUP_ORDER) / groups * groups;
        loop {
            let start = end.checked_sub(groups).filter(|start| *start >= first)?;
            let run = &tables.groups[index(start - first)..index(end - first)];
            match run.iter().position(|&entry| entry != CLEARED) {
                None => return Some(start << GROUP_ORDER),
                Some(gap) => end = (start + gap as u64) / groups * groups,
            }
        }
    }

    /// [`Cleared::next`] for blocks of several groups.
    fn next_groups(&self, tables: &Tables, order: u32, from: u64) -> Option<u64> {
        let (groups, first) = (1u64 << (order - GROUP_ORDER), self.first_group());
        let mut at = (from >> GROUP_ORDER) - first;
        loop {
            let cleared = tables.trees[GROUP_ORDER as usize].next(&tables.words, at)?;
            let start = (cleared + first).checked_next_multiple_of(groups)? - first;
            let run = tables.groups.get(index(start)..index(start + groups))?;
            match run.iter().rposition(|&entry| entry != CLEARED) {
                None => return Some((start + first) << GROUP_ORDER),
                Some(gap) => at = start + gap as u64 + 1,
            }
        }
    }

    /// The first page at or behind `from` that is not known to be cleared; the region's end if there is none.
    pub(crate) fn next_dirty(&self, from: u64) -> u64 {
        let Some(tables) = &self.tables else { return from };
        let mut at = from;
        while at < self.range.end {
            let start = at >> GROUP_ORDER << GROUP_ORDER;
            let (from, _) = part_of(&(at..u64::MAX), start);
            let dirty = match tables.groups[index((at >> GROUP_ORDER) - self.first_group())] {
                DIRTY => Some(from),
                CLEARED => None,
                leaf => self.leaves[(leaf - FIRST_LEAF) as usize].next_dirty(from),
            };
            if let Some(dirty) = dirty {
                return start + u64::from(dirty);
            }
            at = start + GROUP_PAGES;
        }
        self.range.end
    }

    /// Tells whether all pages of the range are known to be cleared.
    pub(crate) fn contains(&self, range: &Range<u64>) -> bool {
        self.pages >= range.end - range.start && self.next_dirty(range.start) >= range.end
    }

    /// The first naturally aligned block of `2^order` pages, none of them cleared, in a range within one group.
    pub(crate) fn next_dirty_run(&self, order: u32, range: &Range<u64>) -> Option<u64> {
        let Some(tables) = &self.tables else { return None };
        let start = range.start >> GROUP_ORDER << GROUP_ORDER;
        let (from, to) = part_of(range, start);
        let first = match tables.groups[index((start >> GROUP_ORDER) - self.first_group())] {
            DIRTY => Some(from.next_multiple_of(1 << order)).filter(|from| from + (1 << order) <= to),
            CLEARED => None,
            leaf => self.leaves[(leaf - FIRST_LEAF) as usize].next_dirty_run(order, from, to),
        };
        first.map(|page| start + u64::from(page))
    }

    /// Number of cleared pages in a range within one group.
    pub(crate) fn count_in(&self, range: &Range<u64>) -> u64 {
        let Some(tables) = self.tables.as_ref().filter(|_| self.pages > 0) else { return 0 };
        let number = range.start >> GROUP_ORDER;
        let (from, to) = part_of(range, number << GROUP_ORDER);
        match tables.groups[index(number - self.first_group())] {
            DIRTY => 0,
            CLEARED => u64::from(to - from),
            leaf => u64::from(self.leaves[(leaf - FIRST_LEAF) as usize].count_in(from, to)),
        }
    }

    /// Tells whether any page of the range is known to be cleared.
    pub(crate) fn touches(&self, range: &Range<u64>) -> bool {
        let Some(tables) = self.tables.as_ref().filter(|_| self.pages > 0) else { return false };
        let number = range.start >> GROUP_ORDER;
        if range.end > (number + 1) << GROUP_ORDER {
            return self.next(0, range.start).is_some_and(|page| page < range.end);
        }
        let (from, to) = part_of(range, number << GROUP_ORDER);
        match tables.groups[index(number - self.first_group())] {
            DIRTY => false,
            CLEARED => true,
            leaf => self.leaves[(leaf - FIRST_LEAF) as usize].touches(from, to),
        }
    }

    /// The maximal runs of cleared pages, in address order.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Range<u64>> {
        let mut at = self.range.start;
        core::iter::from_fn(move || {
            let start = self.next(0, at)?;
            at = self.next_dirty(start);
            Some(start..at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const PAGES: u64 = 5 << 13;

    fn edits() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
        let length = prop_oneof![1u64..100, 1u64..20_000];
        prop::collection::vec((0..PAGES, length, any::<bool>()), 0..16)
    }

    fn runs_of(model: &[bool], base: u64) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (page, _) in (base..).zip(model).filter(|(_, cleared)| **cleared) {
            match runs.last_mut() {
                Some(run) if run.end == page => run.end += 1,
                _ => runs.push(page..page + 1),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn cleared_pages_are_a_set_of_extents(edits in edits(), base in 0u64..9000, from in 0..PAGES) {
            let (mut cleared, mut model) = (Cleared::new(base..base + PAGES), vec![false; index(PAGES)]);
            for (start, length, value) in edits {
                let end = (start + length).min(PAGES);
                let range = base + start..base + end;
                if value { cleared.insert(&range) } else { cleared.remove(&range) }
                model[index(start)..index(end)].fill(value);
                prop_assert_eq!(cleared.extents().collect::<Vec<_>>(), runs_of(&model, base));
                prop_assert_eq!(cleared.pages(), model.iter().filter(|&&c| c).count() as u64);
            }
            for pages in [1, 5, 64, 100, 5000] {
                let end = (from + pages).min(PAGES);
                let (range, part) = (base + from..base + end, &model[index(from)..index(end)]);
                prop_assert_eq!(cleared.touches(&range), part.contains(&true));
                prop_assert_eq!(cleared.contains(&range), !part.contains(&false));
                let in_group = range.start..range.end.min((range.start / GROUP_PAGES + 1) * GROUP_PAGES);
                let counted = part[..index(in_group.end - in_group.start)].iter().filter(|&&c| c).count();
                prop_assert_eq!(cleared.count_in(&in_group), counted as u64);
            }
            let runs = runs_of(&model, base);
            let from = base + from;
            for order in 0..16 {
                let fits = |run: &Range<u64>| {
                    let start = run.start.max(from).next_multiple_of(1 << order);
                    (start + (1 << order) <= run.end).then_some(start)
                };
                prop_assert_eq!(cleared.next(order, from), runs.iter().find_map(fits), "order {}", order);
                let fits = |run: &Range<u64>| {
                    let start = run.end.min(from).checked_sub(1 << order)? >> order << order;
                    (start >= run.start).then_some(start)
                };
                let last = runs.iter().rev().find_map(fits);
                prop_assert_eq!(cleared.previous(order, from), last, "order {}", order);
            }
        }

        #[test]
        fn without_memory_pages_become_dirty_never_cleared(edits in edits(), limit in 0usize..3) {
            let (mut cleared, mut model) = (Cleared::new(0..PAGES), vec![false; index(PAGES)]);
            cleared.leaf_limit = limit;
            for (start, length, value) in edits {
                let end = (start + length).min(PAGES);
                if value { cleared.insert(&(start..end)) } else { cleared.remove(&(start..end)) }
                model[index(start)..index(end)].fill(value);
                let mut pages = 0;
                for run in cleared.extents() {
                    pages += run.end - run.start;
                    prop_assert!(run.clone().all(|page| model[index(page)]), "{run:?} is not cleared");
                }
                prop_assert_eq!(pages, cleared.pages());
            }
        }
    }
}
