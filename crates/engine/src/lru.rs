//! Items from the least to the most recently used: what would be evicted, in that order.
//!
//! A doubly linked list in a slab: every operation is O(1) but [`LruList::oldest_first`].

use std::fmt;
use std::marker::PhantomData;

/// A place in an [`LruList`] of `T`, valid until it is removed. Lists of other items have keys of another type.
pub struct LruKey<T> {
    at: u32,
    list_of: PhantomData<fn() -> T>,
}

impl<T> LruKey<T> {
    const fn new(at: u32) -> LruKey<T> {
        LruKey { at, list_of: PhantomData }
    }
}

// Derived, these would ask the same of `T`.
impl<T> Clone for LruKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for LruKey<T> {}

impl<T> PartialEq for LruKey<T> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<T> Eq for LruKey<T> {}

impl<T> fmt::Debug for LruKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LruKey({})", self.at)
    }
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Entry<T> {
    older: u32,
    newer: u32,
    item: Option<T>,
}

/// Items from the least to the most recently used.
#[derive(Clone, Debug)]
pub struct LruList<T> {
    entries: Vec<Entry<T>>,
    oldest: u32,
    newest: u32,
    free: u32,
}

impl<T> Default for LruList<T> {
    fn default() -> Self {
        LruList { entries: Vec::new(), oldest: NONE, newest: NONE, free: NONE }
    }
}

impl<T> LruList<T> {
    /// Adds `item` as the most recently used.
    ///
    /// # Panics
    /// If there are 2^32 - 1 items already.
    pub fn push(&mut self, item: T) -> LruKey<T> {
        let at = if self.free == NONE {
            let at = u32::try_from(self.entries.len()).ok().filter(|at| *at != NONE);
            self.entries.push(Entry { older: NONE, newer: NONE, item: None });
            at.expect("a list holds fewer than 2^32 items")
        } else {
            let at = self.free;
            self.free = self.entry(at).newer;
            at
        };
        self.entry(at).item = Some(item);
        self.link_newest(at);
        LruKey::new(at)
    }

    /// Removes an item.
    ///
    /// # Panics
    /// If the key was removed before.
    pub fn remove(&mut self, key: LruKey<T>) -> T {
        self.unlink(key.at);
        let free = self.free;
        let entry = self.entry(key.at);
        let item = entry.item.take().expect("a key is removed once");
        entry.newer = free;
        self.free = key.at;
        item
    }

    /// Makes an item the most recently used.
    pub fn touch(&mut self, key: LruKey<T>) {
        self.unlink(key.at);
        self.link_newest(key.at);
    }

    /// The item at `key`, if it is there.
    #[must_use]
    pub fn get(&self, key: LruKey<T>) -> Option<&T> {
        self.entries.get(key.at as usize)?.item.as_ref()
    }

    /// Changes the item at `key`, if it is there.
    pub fn get_mut(&mut self, key: LruKey<T>) -> Option<&mut T> {
        self.entries.get_mut(key.at as usize)?.item.as_mut()
    }

    /// Yields items from the least recently used on.
    pub fn oldest_first(&self) -> impl Iterator<Item = (LruKey<T>, &T)> {
        let mut at = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            let key = LruKey::new(at);
            at = entry.newer;
            entry.item.as_ref().map(|item| (key, item))
        })
    }

    fn entry(&mut self, at: u32) -> &mut Entry<T> {
        &mut self.entries[at as usize]
    }

    fn unlink(&mut self, at: u32) {
        let (older, newer) = (self.entry(at).older, self.entry(at).newer);
        match older {
            NONE => self.oldest = newer,
            older => self.entry(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entry(newer).older = older,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let newest = self.newest;
        self.entry(at).older = newest;
        self.entry(at).newer = NONE;
        match newest {
            NONE => self.oldest = at,
            newest => self.entry(newest).newer = at,
        }
        self.newest = at;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(changes in proptest::collection::vec((0u8..3, any::<u16>()), 1..80)) {
            let mut list = LruList::default();
            let mut model: Vec<(LruKey<u16>, u16)> = Vec::new();
            for (what, number) in changes {
                let at = usize::from(number) % model.len().max(1);
                match (what, model.is_empty()) {
                    (1, false) => {
                        let (key, item) = model.remove(at);
                        prop_assert_eq!(list.remove(key), item);
                    }
                    (2, false) => {
                        let entry = model.remove(at);
                        list.touch(entry.0);
                        model.push(entry);
                    }
                    _ => model.push((list.push(number), number)),
                }
                let listed: Vec<_> = list.oldest_first().map(|(key, item)| (key, *item)).collect();
                prop_assert_eq!(&listed, &model);
                prop_assert_eq!(list.oldest_first().count(), model.len());
            }
        }
    }
}
