//! Who has each page at some moment of a trace: folios on devices, and pages in system memory.

use std::collections::BTreeMap;
use std::ops::Range;

use bifolio_folio::PAGE_SIZE;

use crate::event::Kind;

/// Largest order of what a block holds.
const ORDER_MAX: u8 = 9;

/// Where a folio, or a run of pages, is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In system memory.
    Ram,
    /// On a device.
    Device {
        /// The device.
        node: u8,
        /// First page of device memory.
        pfn: u64,
    },
}

/// Where each page is: naturally aligned runs of pages, by the number of their first page.
///
/// Feed it events in order with [`apply`](Residency::apply). Pages that were not heard of yet are nowhere.
#[derive(Clone, Debug, Default)]
pub struct Residency {
    folios: BTreeMap<u64, (u8, Place)>,
}

impl Residency {
    /// No page is anywhere yet.
    #[must_use]
    pub fn new() -> Residency {
        Residency::default()
    }

    /// Takes note of what happened.
    pub fn apply(&mut self, kind: &Kind) {
        match *kind {
            Kind::ToDevice { address, order, node, pfn, .. }
            | Kind::Reshaped { address, order, node, pfn } => {
                self.put(address / PAGE_SIZE, order, Place::Device { node, pfn });
            }
            Kind::ToRam { address, order, .. } | Kind::Populated { address, order } => {
                self.put(address / PAGE_SIZE, order, Place::Ram);
            }
            Kind::Filled { address, pages } => {
                let first = address / PAGE_SIZE;
                let pages = first..first.saturating_add(u64::from(pages));
                pages.for_each(|page| self.put(page, 0, Place::Ram));
            }
            Kind::Unmapped { address, pages } => {
                let first = address / PAGE_SIZE;
                self.clear(first..first.saturating_add(u64::from(pages)));
            }
            _ => {}
        }
    }

    /// The folio that holds a page: its first page, its order, and where it is.
    #[must_use]
    pub fn find(&self, page: u64) -> Option<(u64, u8, Place)> {
        let (&first, &(order, place)) = self.folios.range(..=page).next_back()?;
        (page < first + (1 << order)).then_some((first, order, place))
    }

    /// All folios, by their first pages.
    pub fn folios(&self) -> impl Iterator<Item = (u64, u8, Place)> + '_ {
        self.folios.iter().map(|(&first, &(order, place))| (first, order, place))
    }

    /// Folios that hold any of these pages.
    pub fn within(&self, pages: Range<u64>) -> impl Iterator<Item = (u64, u8, Place)> + '_ {
        let first = self.find(pages.start).map_or(pages.start, |(first, ..)| first);
        self.folios.range(first..pages.end.max(first)).map(|(&first, &(order, place))| (first, order, place))
    }

    fn put(&mut self, first: u64, order: u8, place: Place) {
        // A damaged trace may name any order.
        let order = order.min(ORDER_MAX);
        self.clear(first..first.saturating_add(1 << order));
        self.folios.insert(first, (order, place));
    }

    /// Takes pages out; what is left of folios on the border stays, in halves as large as they can be.
    fn clear(&mut self, pages: Range<u64>) {
        for border in [pages.start, pages.end] {
            self.split_at(border);
        }
        let gone: Vec<u64> = self.folios.range(pages).map(|(&first, _)| first).collect();
        for first in gone {
            self.folios.remove(&first);
        }
    }

    /// Splits the folio that `border` lies inside of, in halves and halves of halves.
    fn split_at(&mut self, border: u64) {
        while let Some((first, order, place)) = self.find(border).filter(|(first, ..)| *first != border) {
            self.halve(first, order, place);
        }
    }

    fn halve(&mut self, first: u64, order: u8, place: Place) {
        let half = 1 << (order - 1);
        let upper = match place {
            Place::Ram => Place::Ram,
            Place::Device { node, pfn } => Place::Device { node, pfn: pfn.wrapping_add(half) },
        };
        self.folios.insert(first, (order - 1, place));
        self.folios.insert(first + half, (order - 1, upper));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Trigger;

    const TRIGGER: Trigger = Trigger::DeviceFault;

    fn to_device(page: u64, order: u8, pfn: u64) -> Kind {
        Kind::ToDevice { trigger: TRIGGER, address: page * PAGE_SIZE, order, node: 0, pfn }
    }

    fn device(pfn: u64) -> Place {
        Place::Device { node: 0, pfn }
    }

    #[test]
    fn what_leaves_a_folio_leaves_halves_behind() {
        let mut residency = Residency::new();
        residency.apply(&to_device(16, 4, 64));
        residency.apply(&Kind::ToRam { trigger: TRIGGER, address: 18 * PAGE_SIZE, order: 0 });
        let folios: Vec<_> = residency.folios().collect();
        let expected = [
            (16, 1, device(64)),
            (18, 0, Place::Ram),
            (19, 0, device(67)),
            (20, 2, device(68)),
            (24, 3, device(72)),
        ];
        assert_eq!(folios, expected);
        assert_eq!(residency.find(27), Some((24, 3, device(72))));
    }

    #[test]
    fn unmapped_pages_are_nowhere() {
        let mut residency = Residency::new();
        residency.apply(&to_device(0, 3, 8));
        residency.apply(&Kind::Unmapped { address: 0, pages: 6 });
        assert_eq!(residency.folios().collect::<Vec<_>>(), [(6, 1, device(14))]);
        assert_eq!(residency.find(5), None);
    }

    #[test]
    fn folio_that_was_reshaped_replaces_its_pieces() {
        let mut residency = Residency::new();
        (0..4).for_each(|page| residency.apply(&to_device(page, 0, 32 + page)));
        residency.apply(&Kind::Reshaped { address: 0, order: 2, node: 0, pfn: 32 });
        assert_eq!(residency.folios().collect::<Vec<_>>(), [(0, 2, device(32))]);
        assert_eq!(residency.within(2..9).collect::<Vec<_>>(), [(0, 2, device(32))]);
    }
}
