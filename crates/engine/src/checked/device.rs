//! The device, watched: which of its pages are copied and mapped, and what its page table has.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use bifolio_folio::{Order, Pfn};
use bifolio_rules::facts::{self, HandedOut, Removed, Stretch, Touched, Used};
use bifolio_sys::{PAGE, SharedBytes};

use super::ledger::Held;
use super::{Checker, stretch};
use crate::device::{Capabilities, Copy, Device, DeviceError, FaultHandler, Point, TableUpdate, UsedPages};
use crate::sleep::{Seen, Sleeper};
use crate::sync::{Mutex, MutexGuard};

/// A device whose every copy and table update is judged.
pub(super) struct CheckedDevice {
    inner: Arc<dyn Device>,
    checker: Arc<Checker>,
    table: Mutex<Table>,
}

/// What the device's page table has: by virtual page number, how many pages, and where they are.
#[derive(Default)]
struct Table(BTreeMap<u64, (u64, Pfn)>);

impl CheckedDevice {
    pub(super) fn new(inner: Arc<dyn Device>, checker: Arc<Checker>) -> CheckedDevice {
        CheckedDevice { inner, checker, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge_update(&self, update: &TableUpdate) {
        match *update {
            TableUpdate::Map { to, order, .. } | TableUpdate::Remap { to, order, .. } => {
                self.checker.mapping(stretch(to, order));
            }
            TableUpdate::Unmap { address, order } => self.removing(virtual_pages(address, order)),
        }
    }

    /// Judges whether what is removed was entered (I20), and forgets it.
    fn removing(&self, named: Stretch) {
        let (entered, freed) = self.table().remove(named);
        let mut ledger = self.checker.ledger();
        freed.into_iter().for_each(|pages| ledger.map(pages, false));
        drop(ledger);
        self.checker.judge(20, facts::i20(&Removed { named, entered }), || {
            format!("virtual pages {named:x?} are unmapped, mapped were {entered:x?}")
        });
    }

    fn entered(&self, update: &TableUpdate) {
        if let TableUpdate::Remap { address, order, .. } = *update {
            self.removing(virtual_pages(address, order));
        }
        if let TableUpdate::Map { address, to, order, .. } | TableUpdate::Remap { address, to, order, .. } =
            *update
        {
            self.table().0.insert(virtual_pages(address, order).first, (order.pages(), to));
            let mut ledger = self.checker.ledger();
            ledger.map(stretch(to, order), true);
            ledger.forget_digests(stretch(to, order));
        }
    }
}

impl Table {
    /// Removes pages; returns the pages that the entries there had without a gap, and the device pages removed.
    fn remove(&mut self, named: Stretch) -> (Stretch, Vec<Stretch>) {
        let end = named.first + named.pages;
        let begins = self.0.range(..=named.first).next_back().map_or(named.first, |(first, _)| *first);
        let touched: Vec<_> = self.0.range(begins..end).map(|(first, entry)| (*first, *entry)).collect();
        let (mut entered, mut freed) = (Stretch::NONE, Vec::new());
        for (first, (pages, to)) in touched {
            let overlap = first.max(named.first)..(first + pages).min(end);
            if overlap.is_empty() {
                continue;
            }
            if entered.pages == 0 {
                entered.first = first;
            }
            if entered.first + entered.pages == first {
                entered.pages += pages;
            }
            self.0.remove(&first);
            self.keep(first..overlap.start, first, to);
            self.keep(overlap.end..first + pages, first, to);
            let into = overlap.start - first;
            freed.push(Stretch { first: to.get() + into, pages: overlap.end - overlap.start });
        }
        (entered, freed)
    }

    /// Enters what is left of an entry that began at `first`.
    fn keep(&mut self, left: std::ops::Range<u64>, first: u64, to: Pfn) {
        if !left.is_empty() {
            self.0.insert(left.start, (left.end - left.start, Pfn::new(to.get() + left.start - first)));
        }
    }
}

impl Checker {
    /// Judges the use of device pages: of somebody's (I5), and of one range (I21).
    fn using(&self, pages: Stretch) {
        let held = self.ledger().covering(Pfn::new(pages.first));
        let nobodys = if held.is_some() { Stretch::NONE } else { pages };
        self.judge(5, facts::i5(&Touched { pages, of_others: nobodys }), || {
            format!("device pages {pages:?} are used, but nobody has them")
        });
        let own = held.as_ref().map_or(pages, Held::pages);
        self.judge(21, facts::i21(&Used { pages, own }), || {
            format!("device pages {pages:?} are used in the name of {held:?}")
        });
    }

    /// Judges pages that are about to be shown: their use, their pagemap (I25), and that they hold nothing of former
    /// owners (I22).
    pub(super) fn mapping(&self, pages: Stretch) {
        self.using(pages);
        let own = Stretch { first: 0, pages: self.pages };
        self.judge(25, facts::i25(&Used { pages, own }), || {
            format!("device pages {pages:?} are not all of the pagemap, which has {}", self.pages)
        });
        let holding = self.ledger().unwritten(pages);
        self.judge(22, facts::i22(&HandedOut { said_clear: pages, holding }), || {
            format!("device page {} is shown, but was not written since it was handed out", holding.first)
        });
    }
}

fn virtual_pages(address: usize, order: Order) -> Stretch {
    Stretch { first: (address / PAGE) as u64, pages: order.pages() }
}

fn device_pages(copy: &Copy<'_>) -> (Stretch, bool) {
    let of = |first: Pfn, bytes: SharedBytes<'_>| Stretch {
        first: first.get(),
        pages: (bytes.len() / PAGE) as u64,
    };
    match *copy {
        Copy::ToDevice { from, to } => (of(to, from), true),
        Copy::ToRam { from, to } => (of(from, to), false),
        Copy::Clear { to, pages } => (Stretch { first: to.get(), pages }, true),
    }
}

impl Device for CheckedDevice {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn attach(&self, handler: Arc<dyn FaultHandler>) {
        self.inner.attach(handler);
    }

    fn copy(&self, batch: &[Copy<'_>]) -> Result<Point, DeviceError> {
        batch.iter().for_each(|copy| self.checker.using(device_pages(copy).0));
        let point = self.inner.copy(batch)?;
        for (pages, _) in batch.iter().map(device_pages).filter(|(_, writes)| *writes) {
            self.checker.ledger().write(pages);
        }
        Ok(point)
    }

    fn update(&self, batch: &[TableUpdate]) -> Result<Point, DeviceError> {
        batch.iter().for_each(|update| self.judge_update(update));
        let point = self.inner.update(batch)?;
        batch.iter().for_each(|update| self.entered(update));
        Ok(point)
    }

    fn wait(&self, point: Point) -> Result<(), DeviceError> {
        self.inner.wait(point)
    }

    fn test_and_clear_accessed(&self, address: usize, order: Order) -> bool {
        self.inner.test_and_clear_accessed(address, order)
    }

    fn used_pages(&self, address: usize, order: Order) -> UsedPages {
        self.inner.used_pages(address, order)
    }

    fn thread_sleeps(&self, sleeper: Sleeper) -> Seen {
        self.inner.thread_sleeps(sleeper)
    }

    fn inspect(&self, first: Pfn, pages: u64) -> Option<SharedBytes<'_>> {
        self.inner.inspect(first, pages)
    }
}

#[cfg(test)]
mod tests {
    use bifolio_rules::facts::PageSet;

    use super::*;

    const fn pages(first: u64, pages: u64) -> Stretch {
        Stretch { first, pages }
    }

    #[test]
    fn part_of_an_entry_can_be_removed_and_the_rest_stays() {
        let mut table = Table::default();
        table.0.insert(512, (512, Pfn::new(0)));
        let (entered, freed) = table.remove(pages(768, 128));
        assert_eq!((entered, &freed[..]), (pages(512, 512), &[pages(256, 128)][..]));
        assert!(pages(768, 128).is_within(entered));
        let (entered, _) = table.remove(pages(768, 128));
        assert_eq!(entered, Stretch::NONE);
        let (entered, freed) = table.remove(pages(896, 128));
        assert_eq!((entered, &freed[..]), (pages(896, 128), &[pages(384, 128)][..]));
    }

    #[test]
    fn neighbouring_entries_are_one_for_who_removes_both() {
        let mut table = Table::default();
        table.0.insert(0, (4, Pfn::new(8)));
        table.0.insert(4, (4, Pfn::new(12)));
        let (entered, _) = table.remove(pages(0, 8));
        assert_eq!(entered, pages(0, 8));
    }
}
