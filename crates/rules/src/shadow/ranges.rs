//! The ranges of a node that left the free lists of its pool.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::index;
use crate::pages::pages_of;
use crate::{PageRange, Purpose};

/// What a range that left the free lists is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Handed out for a folio that was not formed yet.
    HandedOut,
    /// A live folio.
    Folio,
    /// Memory of a buffer.
    Buffer,
}

/// A range that left the free lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// First page.
    pub head: u64,
    /// Order.
    pub order: u8,
    /// The pool's number for its object.
    pub data: u32,
    /// What it is used for.
    pub used: Use,
    /// Tells lives of the same pages apart.
    pub birth: u64,
    /// Whether its block gave it up, though something else still holds it.
    pub retired: bool,
}

impl Held {
    /// Its pages.
    #[must_use]
    pub fn pages(&self) -> PageRange {
        PageRange::of_order(self.head, self.order)
    }
}

/// The ranges of a node that left the free lists. Each page is in one of them at most, unless I1 was broken.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// By first page.
    held: BTreeMap<u64, Held>,
    /// First pages of the ranges on each object; buffers have none.
    objects: BTreeMap<u32, BTreeSet<u64>>,
    /// Pages in live folios.
    live: u64,
    births: u64,
}

impl Ranges {
    /// Notes a range that left the free lists, and returns the range that it overlaps, if any.
    pub(super) fn hand_out(&mut self, (head, order): (u64, u8), data: u32, purpose: Purpose) -> Option<Held> {
        let overlapped = self.overlapping(PageRange::of_order(head, order));
        self.births += 1;
        let used = match purpose {
            Purpose::Folio => Use::HandedOut,
            Purpose::Buffer => Use::Buffer,
        };
        self.insert(Held { head, order, data, used, birth: self.births, retired: false });
        overlapped
    }

    /// The last range that has any of the pages.
    pub(super) fn overlapping(&self, pages: PageRange) -> Option<Held> {
        let last = self.held.range(..pages.end()).next_back().map(|(_, held)| *held)?;
        (last.pages().end() > pages.first).then_some(last)
    }

    /// The range that has a page.
    pub(super) fn covering(&self, page: u64) -> Option<Held> {
        self.overlapping(PageRange::page(page))
    }

    /// The folio that has a page.
    pub(super) fn folio(&self, page: u64) -> Option<Held> {
        self.covering(page).filter(|held| held.used == Use::Folio)
    }

    /// The range that begins at a page.
    pub(super) fn at(&self, head: u64) -> Option<Held> {
        self.held.get(&head).copied()
    }

    /// Makes a range that was handed out a folio.
    pub(super) fn form(&mut self, head: u64) {
        if let Some(held) = self.held.get_mut(&head)
            && held.used != Use::Folio
        {
            held.used = Use::Folio;
            self.live += held.pages().pages;
        }
    }

    /// Notes that the block of the folio that begins at a page gave it up.
    pub(super) fn retire(&mut self, head: u64) {
        if let Some(held) = self.held.get_mut(&head) {
            held.retired = true;
        }
    }

    /// Forgets the range that begins at a page.
    pub(super) fn take_back(&mut self, head: u64) -> Option<Held> {
        let held = self.held.remove(&head)?;
        if held.used == Use::Folio {
            self.live -= held.pages().pages;
        }
        if let Some(heads) = self.objects.get_mut(&held.data) {
            heads.remove(&head);
            if heads.is_empty() {
                self.objects.remove(&held.data);
            }
        }
        Some(held)
    }

    /// Replaces the folio at `head` by its pieces of order `to`.
    pub(super) fn split(&mut self, head: u64, to: u8) {
        let Some(whole) = self.take_back(head) else { return };
        let step = index(pages_of(to)).max(1);
        for piece in (0..whole.pages().pages).step_by(step) {
            self.insert(Held { head: head + piece, order: to, ..whole });
        }
    }

    /// Replaces the folios that make up the block of order `to` at `head` by one folio.
    pub(super) fn collapse(&mut self, head: u64, to: u8) {
        let Some(first) = self.at(head) else { return };
        let whole = PageRange::of_order(head, to);
        let pieces: Vec<u64> = self.held.range(head..whole.end()).map(|(at, _)| *at).collect();
        for piece in pieces {
            self.take_back(piece);
        }
        self.insert(Held { order: to, ..first });
    }

    /// How many folios of order `from` on an object are side by side in the block of order `to` at `head`.
    pub(super) fn pieces(&self, head: u64, (from, to): (u8, u8), data: u32) -> u64 {
        let step = index(pages_of(from)).max(1);
        let heads = (0..pages_of(to)).step_by(step).filter_map(|at| self.at(head + at));
        heads.filter(|held| (held.order, held.data, held.used) == (from, data, Use::Folio)).count() as u64
    }

    /// Pages in live folios.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Some range that an object still has.
    pub(super) fn survivor(&self, data: u32) -> Option<Held> {
        self.at(*self.objects.get(&data)?.first()?)
    }

    fn insert(&mut self, held: Held) {
        self.take_back(held.head);
        self.held.insert(held.head, held);
        match held.used {
            Use::Folio => self.live += held.pages().pages,
            Use::Buffer => return,
            Use::HandedOut => {}
        }
        self.objects.entry(held.data).or_default().insert(held.head);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_folio() -> Ranges {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.hand_out((16, 4), 3, Purpose::Folio), None);
        assert_eq!((ranges.folio(20), ranges.live()), (None, 0));
        ranges.form(16);
        ranges
    }

    #[test]
    fn pieces_of_a_split_are_found_by_any_page_and_counted() {
        let mut ranges = one_folio();
        ranges.split(16, 3);
        ranges.take_back(16);
        let upper = ranges.folio(31).expect("the upper half");
        assert_eq!((upper.head, upper.order, ranges.live()), (24, 3, 8));
        assert_eq!(ranges.survivor(3), Some(upper));
        ranges.take_back(24);
        assert_eq!((ranges.survivor(3), ranges.live(), ranges.covering(24)), (None, 0, None));
    }

    #[test]
    fn collapse_undoes_a_split() {
        let mut ranges = one_folio();
        let whole = ranges.at(16);
        ranges.split(16, 2);
        assert_eq!(ranges.pieces(16, (2, 4), 3), 4);
        assert_eq!(ranges.pieces(16, (2, 5), 3), 4);
        assert_eq!(ranges.pieces(16, (2, 4), 2), 0);
        ranges.collapse(16, 4);
        assert_eq!((ranges.at(16), ranges.live()), (whole, 16));
    }

    #[test]
    fn overlap_is_found_from_either_side() {
        let ranges = one_folio();
        let overlaps = |first, pages| ranges.overlapping(PageRange { first, pages }).is_some();
        assert!(overlaps(31, 4) && overlaps(12, 5));
        assert!(!overlaps(32, 4) && !overlaps(12, 4));
    }

    #[test]
    fn buffers_are_held_and_are_on_no_object() {
        let mut ranges = Ranges::default();
        ranges.hand_out((8, 1), 7, Purpose::Buffer);
        assert_eq!((ranges.survivor(7), ranges.live()), (None, 0));
        assert_eq!(ranges.covering(9).map(|held| held.used), Some(Use::Buffer));
    }
}
