//! The least-recently-used order of what may be evicted.
//!
//! A doubly linked list in a slab: every operation is O(1) but [`EvictionOrder::oldest_first`].

use alloc::vec::Vec;

/// A place in an [`EvictionOrder`], valid until it is removed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Handle(pub u32);

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Entry<T> {
    older: u32,
    newer: u32,
    item: Option<T>,
}

/// Items from the least to the most recently used.
#[derive(Clone, Debug)]
pub struct EvictionOrder<T> {
    entries: Vec<Entry<T>>,
    oldest: u32,
    newest: u32,
    free: u32,
    len: usize,
}

impl<T> Default for EvictionOrder<T> {
    fn default() -> Self {
        EvictionOrder { entries: Vec::new(), oldest: NONE, newest: NONE, free: NONE, len: 0 }
    }
}

impl<T> EvictionOrder<T> {
    /// Adds `item` as the most recently used.
    ///
    /// # Panics
    /// If there are 2^32 - 1 items already.
    pub fn push(&mut self, item: T) -> Handle {
        let at = if self.free == NONE {
            let at = u32::try_from(self.entries.len()).ok().filter(|at| *at != NONE);
            self.entries.push(Entry { older: NONE, newer: NONE, item: None });
            at.expect("an eviction order holds fewer than 2^32 items")
        } else {
            let at = self.free;
            self.free = self.entry(at).newer;
            at
        };
        self.entry(at).item = Some(item);
        self.link_newest(at);
        self.len += 1;
        Handle(at)
    }

    /// Removes an item.
    ///
    /// # Panics
    /// If the handle was removed before.
    pub fn remove(&mut self, handle: Handle) -> T {
        self.unlink(handle.0);
        let free = self.free;
        let entry = self.entry(handle.0);
        let item = entry.item.take().expect("a handle is removed once");
        entry.newer = free;
        self.free = handle.0;
        self.len -= 1;
        item
    }

    /// Makes an item the most recently used.
    pub fn touch(&mut self, handle: Handle) {
        self.unlink(handle.0);
        self.link_newest(handle.0);
    }

    /// The item at `handle`, if it is there.
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<&T> {
        self.entries.get(handle.0 as usize)?.item.as_ref()
    }

    /// Changes the item at `handle`, if it is there.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        self.entries.get_mut(handle.0 as usize)?.item.as_mut()
    }

    /// Yields items from the least recently used on.
    pub fn oldest_first(&self) -> impl Iterator<Item = (Handle, &T)> {
        let mut at = self.oldest;
        core::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            let handle = Handle(at);
            at = entry.newer;
            entry.item.as_ref().map(|item| (handle, item))
        })
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
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
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(changes in proptest::collection::vec((0u8..3, any::<u16>()), 1..80)) {
            let mut order = EvictionOrder::default();
            let mut model: Vec<(Handle, u16)> = Vec::new();
            for (what, number) in changes {
                let at = usize::from(number) % model.len().max(1);
                match (what, model.is_empty()) {
                    (1, false) => {
                        let (handle, item) = model.remove(at);
                        prop_assert_eq!(order.remove(handle), item);
                    }
                    (2, false) => {
                        let entry = model.remove(at);
                        order.touch(entry.0);
                        model.push(entry);
                    }
                    _ => model.push((order.push(number), number)),
                }
                let listed: Vec<_> = order.oldest_first().map(|(handle, item)| (handle, *item)).collect();
                prop_assert_eq!(&listed, &model);
                prop_assert_eq!(order.len(), model.len());
            }
        }
    }
}
