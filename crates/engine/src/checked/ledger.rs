//! The shadow of device memory: who has each page, and what was written there.

use std::collections::{BTreeMap, BTreeSet};

use bifolio_folio::{Order, Pfn};
use bifolio_rules::facts::Stretch;

use super::stretch;

/// What a range that left the free lists is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// Handed out, not formed yet.
    HandedOut,
    /// A live folio.
    Folio,
    /// Memory of a buffer object, which never becomes a folio.
    Plain,
}

/// A range that left the free lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) head: Pfn,
    pub(super) order: Order,
    /// The pool's number for it.
    pub(super) data: u32,
    pub(super) used: Use,
    /// Tells lives of the same pages apart.
    pub(super) birth: u64,
}

impl Held {
    pub(super) fn pages(&self) -> Stretch {
        stretch(self.head, self.order)
    }
}

/// The shadow of device memory.
pub(super) struct Ledger {
    /// By first page.
    held: BTreeMap<u64, Held>,
    /// First pages of the ranges on each object.
    objects: BTreeMap<u32, BTreeSet<u64>>,
    /// Pages in live folios.
    live: u64,
    births: u64,
    /// Pages written since they were handed out.
    written: Bits,
    /// Pages that the device's page table has.
    mapped: Bits,
    /// Digest of each page that only copies can have written; 0: unknown.
    digests: Vec<u64>,
}

impl Ledger {
    pub(super) fn new(pages: u64) -> Ledger {
        Ledger {
            held: BTreeMap::new(),
            objects: BTreeMap::new(),
            live: 0,
            births: 0,
            written: Bits::new(pages),
            mapped: Bits::new(pages),
            digests: vec![0; index(pages)],
        }
    }

    /// Notes a range that left the free lists, and returns the range that it overlaps, if any.
    pub(super) fn hand_out(&mut self, head: Pfn, order: Order, data: u32, used: Use) -> Option<Held> {
        let overlapped = self.overlapping(stretch(head, order));
        self.births += 1;
        self.forget_bytes(stretch(head, order));
        self.insert(Held { head, order, data, used, birth: self.births });
        overlapped
    }

    /// The first range that has any of the pages.
    pub(super) fn overlapping(&self, pages: Stretch) -> Option<Held> {
        let end = pages.first.saturating_add(pages.pages);
        let last = self.held.range(..end).next_back().map(|(_, held)| *held)?;
        (last.head.get() + last.order.pages() > pages.first).then_some(last)
    }

    /// The range that has a page.
    pub(super) fn covering(&self, page: Pfn) -> Option<Held> {
        self.overlapping(Stretch { first: page.get(), pages: 1 })
    }

    /// The folio that has a page.
    pub(super) fn folio(&self, page: Pfn) -> Option<Held> {
        self.covering(page).filter(|held| held.used == Use::Folio)
    }

    /// The range that begins at a page.
    pub(super) fn at(&self, head: Pfn) -> Option<Held> {
        self.held.get(&head.get()).copied()
    }

    /// Makes a range that was handed out a folio.
    pub(super) fn born(&mut self, head: Pfn) {
        if let Some(held) = self.held.get_mut(&head.get()) {
            held.used = Use::Folio;
            self.live += held.order.pages();
        }
    }

    /// Forgets the range that begins at a page.
    pub(super) fn take_back(&mut self, head: Pfn) {
        if let Some(held) = self.remove(head) {
            self.forget_bytes(held.pages());
        }
    }

    /// Replaces the folio at `head` by its pieces of order `to`.
    pub(super) fn split(&mut self, head: Pfn, to: Order) {
        let Some(whole) = self.remove(head) else { return };
        for piece in (0..whole.order.pages()).step_by(index(to.pages())) {
            self.insert(Held { head: Pfn::new(head.get() + piece), order: to, ..whole });
        }
    }

    /// Replaces the folios that make up the block of order `to` at `head` by one folio.
    pub(super) fn collapse(&mut self, head: Pfn, to: Order) {
        let Some(first) = self.at(head) else { return };
        let pieces: Vec<u64> =
            self.held.range(head.get()..head.get() + to.pages()).map(|(at, _)| *at).collect();
        for piece in pieces {
            self.remove(Pfn::new(piece));
        }
        self.insert(Held { order: to, ..first });
    }

    /// Whether the block of order `to` at `head` is all folios of order `from` on one object.
    pub(super) fn is_tiled(&self, head: Pfn, from: Order, to: Order, data: u32) -> bool {
        let folios =
            (0..to.pages()).step_by(index(from.pages())).map(|at| self.at(Pfn::new(head.get() + at)));
        folios.flatten().filter(|held| (held.order, held.data, held.used) == (from, data, Use::Folio)).count()
            == index(to.pages() / from.pages())
    }

    /// Pages in live folios.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Some range that an object still has.
    pub(super) fn survivor(&self, data: u32) -> Option<Held> {
        self.at(Pfn::new(*self.objects.get(&data)?.first()?))
    }

    /// Notes that pages were written.
    pub(super) fn write(&mut self, pages: Stretch) {
        self.written.set(pages, true);
        self.forget_digests(pages);
    }

    /// The first pages of the range that were not written since it was handed out.
    pub(super) fn unwritten(&self, pages: Stretch) -> Stretch {
        self.written.first(pages, false)
    }

    /// Notes that the device's page table has pages, or has them no more.
    pub(super) fn map(&mut self, pages: Stretch, mapped: bool) {
        self.mapped.set(pages, mapped);
    }

    /// The first pages of the range that the device's page table has.
    pub(super) fn mapped(&self, pages: Stretch) -> Stretch {
        self.mapped.first(pages, true)
    }

    /// Notes what pages hold.
    pub(super) fn set_digests(&mut self, first: Pfn, digests: &[u64]) {
        let first = index(first.get());
        if let Some(known) = self.digests.get_mut(first..first + digests.len()) {
            known.copy_from_slice(digests);
        }
    }

    /// What a page holds, if only copies can have written it.
    pub(super) fn digest(&self, page: Pfn) -> Option<u64> {
        self.digests.get(index(page.get())).copied().filter(|digest| *digest != 0)
    }

    /// Forgets what pages hold: somebody may write them from here on.
    pub(super) fn forget_digests(&mut self, pages: Stretch) {
        let first = index(pages.first);
        if let Some(known) = self.digests.get_mut(first..first + index(pages.pages)) {
            known.fill(0);
        }
    }

    fn forget_bytes(&mut self, pages: Stretch) {
        self.written.set(pages, false);
        self.forget_digests(pages);
    }

    fn insert(&mut self, held: Held) {
        self.remove(held.head);
        self.held.insert(held.head.get(), held);
        match held.used {
            Use::Folio => self.live += held.order.pages(),
            Use::Plain => return,
            Use::HandedOut => {}
        }
        self.objects.entry(held.data).or_default().insert(held.head.get());
    }

    fn remove(&mut self, head: Pfn) -> Option<Held> {
        let held = self.held.remove(&head.get())?;
        if held.used == Use::Folio {
            self.live -= held.order.pages();
        }
        if let Some(heads) = self.objects.get_mut(&held.data) {
            heads.remove(&head.get());
            if heads.is_empty() {
                self.objects.remove(&held.data);
            }
        }
        Some(held)
    }
}

/// A bit for each page.
struct Bits(Vec<u64>);

impl Bits {
    fn new(pages: u64) -> Bits {
        Bits(vec![0; index(pages.div_ceil(64))])
    }

    /// The words that hold the pages, each with the mask of those.
    fn masks(pages: Stretch) -> impl Iterator<Item = (usize, u64)> {
        let end = pages.first.saturating_add(pages.pages);
        (pages.first / 64..end.div_ceil(64)).filter(move |_| pages.pages > 0).map(move |word| {
            let low = pages.first.saturating_sub(word * 64).min(63);
            let high = (end - word * 64).min(64);
            (index(word), (u64::MAX >> (64 - (high - low))) << low)
        })
    }

    fn set(&mut self, pages: Stretch, to: bool) {
        for (word, mask) in Self::masks(pages) {
            if let Some(bits) = self.0.get_mut(word) {
                *bits = if to { *bits | mask } else { *bits & !mask };
            }
        }
    }

    /// The first of the pages whose bit is `wanted`, as a stretch of one page, or of none.
    fn first(&self, pages: Stretch, wanted: bool) -> Stretch {
        let found = Self::masks(pages).find_map(|(word, mask)| {
            let bits = self.0.get(word)?;
            let found = (if wanted { *bits } else { !*bits }) & mask;
            (found != 0).then(|| word as u64 * 64 + u64::from(found.trailing_zeros()))
        });
        found.map_or(Stretch::NONE, |first| Stretch { first, pages: 1 })
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("pages of device memory are counted in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(k: u8) -> Order {
        Order::new(k).expect("orders in tests are small")
    }

    const fn pages(first: u64, pages: u64) -> Stretch {
        Stretch { first, pages }
    }

    #[test]
    fn pieces_of_a_split_are_found_by_any_page_and_counted() {
        let mut ledger = Ledger::new(64);
        assert_eq!(ledger.hand_out(Pfn::new(16), order(4), 3, Use::HandedOut), None);
        assert_eq!((ledger.folio(Pfn::new(20)), ledger.live()), (None, 0));
        ledger.born(Pfn::new(16));
        ledger.split(Pfn::new(16), order(3));
        ledger.take_back(Pfn::new(16));
        let upper = ledger.folio(Pfn::new(31)).expect("the upper half");
        assert_eq!((upper.head, upper.order, ledger.live()), (Pfn::new(24), order(3), 8));
        assert_eq!(ledger.survivor(3), Some(upper));
        ledger.take_back(Pfn::new(24));
        assert_eq!((ledger.survivor(3), ledger.live(), ledger.covering(Pfn::new(24))), (None, 0, None));
    }

    #[test]
    fn collapse_undoes_a_split() {
        let mut ledger = Ledger::new(64);
        ledger.hand_out(Pfn::new(16), order(4), 3, Use::HandedOut);
        ledger.born(Pfn::new(16));
        let whole = ledger.at(Pfn::new(16));
        ledger.split(Pfn::new(16), order(2));
        assert!(ledger.is_tiled(Pfn::new(16), order(2), order(4), 3));
        assert!(!ledger.is_tiled(Pfn::new(16), order(2), order(5), 3));
        ledger.collapse(Pfn::new(16), order(4));
        assert_eq!((ledger.at(Pfn::new(16)), ledger.live()), (whole, 16));
    }

    #[test]
    fn overlap_is_found_from_either_side() {
        let mut ledger = Ledger::new(64);
        assert_eq!(ledger.hand_out(Pfn::new(16), order(4), 1, Use::HandedOut), None);
        assert!(ledger.overlapping(pages(31, 4)).is_some() && ledger.overlapping(pages(12, 5)).is_some());
        assert!(ledger.overlapping(pages(32, 4)).is_none() && ledger.overlapping(pages(12, 4)).is_none());
    }

    #[test]
    fn bits_agree_with_pages_one_by_one() {
        for (first, count) in [(0, 1), (0, 64), (63, 2), (60, 140), (128, 64), (5, 0)] {
            let mut bits = Bits::new(256);
            bits.set(pages(first, count), true);
            for page in 0..256 {
                let set = (first..first + count).contains(&page);
                assert_eq!(bits.first(pages(page, 1), true) != Stretch::NONE, set, "{first} {count} {page}");
            }
            assert_eq!(bits.first(pages(first, count), false), Stretch::NONE);
        }
    }
}
