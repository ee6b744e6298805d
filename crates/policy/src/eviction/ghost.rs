//! What an order of use remembers of objects that it let go: their names, and when they came.

use alloc::collections::{BTreeMap, VecDeque};

/// Names of objects that left, the oldest forgotten first.
#[derive(Clone, Debug, Default)]
pub(super) struct Ghost {
    /// Pages of all names that are known.
    pages: u64,
    limit: u64,
    /// What was remembered, by number; of no account unless `known` has the name under that number.
    order: VecDeque<(u64, u64)>,
    known: BTreeMap<u64, Known>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    number: u64,
    pages: u64,
    came: u64,
}

impl Ghost {
    /// Remembers names of objects that have `limit` pages together.
    pub(super) fn new(limit: u64) -> Ghost {
        Ghost { limit, ..Ghost::default() }
    }

    /// Remembers an object of so many pages that came at `came`, by the caller's count. Returns the pages of what is forgotten for it.
    pub(super) fn remember(&mut self, name: u64, pages: u64, came: u64) -> u64 {
        self.forget(name);
        self.count += 1;
        self.known.insert(name, Known { number: self.count, pages, came });
        self.order.push_back((self.count, name));
        self.pages += pages;
        let before = self.pages;
        while self.pages > self.limit {
            let Some((number, name)) = self.order.pop_front() else { break };
            if self.is_known(number, name) {
                self.forget(name);
            }
        }
        if self.order.len() > 2 * self.known.len() + 8 {
            let order = core::mem::take(&mut self.order);
            self.order = order.into_iter().filter(|(number, name)| self.is_known(*number, *name)).collect();
        }
        before - self.pages
    }

    fn is_known(&self, number: u64, name: u64) -> bool {
        self.known.get(&name).is_some_and(|known| known.number == number)
    }

    /// When the object came that held the page of this name, if it is remembered.
    pub(super) fn holds(&self, name: u64) -> Option<u64> {
        let (first, known) = self.known.range(..=name).next_back()?;
        (name - first < known.pages).then_some(known.came)
    }

    /// When the object of this name came, if it is remembered; it no longer is.
    pub(super) fn forget(&mut self, name: u64) -> Option<u64> {
        let known = self.known.remove(&name)?;
        self.pages -= known.pages;
        Some(known.came)
    }
}
