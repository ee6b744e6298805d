//! Blocks that were freed a moment ago, kept whole for the next one of their length: a program that allocates and frees
//! in turns touches the same pages again, and no fault is paid for it.

use std::collections::BTreeMap;

use bifolio_sys::PAGE;

/// Freed blocks, by their length.
#[derive(Debug)]
pub struct Spare {
    limit_pages: usize,
    pages: usize,
    /// Addresses, the one freed last at the end.
    blocks: BTreeMap<usize, Vec<usize>>,
}

/// A kept block may be so much of all that may be kept.
const SHARE: usize = 4;

impl Spare {
    /// Keeps at most `limit_pages` pages.
    #[must_use]
    pub fn new(limit_pages: usize) -> Spare {
        Spare { limit_pages, pages: 0, blocks: BTreeMap::new() }
    }

    /// Keeps a block of `len` bytes, whole pages; `false` if there is no room for it.
    pub fn keep(&mut self, address: usize, len: usize) -> bool {
        let pages = len / PAGE;
        let fits = pages <= self.limit_pages / SHARE && self.pages + pages <= self.limit_pages;
        if fits {
            self.pages += pages;
            self.blocks.entry(len).or_default().push(address);
        }
        fits
    }

    /// Takes a block of exactly `len` bytes, whole pages, with whatever is in it.
    pub fn take(&mut self, len: usize) -> Option<usize> {
        let of_length = self.blocks.get_mut(&len)?;
        let address = of_length.pop()?;
        if of_length.is_empty() {
            self.blocks.remove(&len);
        }
        self.pages -= len / PAGE;
        Some(address)
    }

    /// Takes any block.
    pub fn take_any(&mut self) -> Option<usize> {
        let len = *self.blocks.keys().next_back()?;
        self.take(len)
    }

    /// Tells whether the block of `len` bytes at `address` is kept here.
    #[must_use]
    pub fn has(&self, address: usize, len: usize) -> bool {
        self.blocks.get(&len).is_some_and(|of_length| of_length.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_freed_last_comes_first() {
        let mut spare = Spare::new(16);
        assert!(spare.keep(PAGE, PAGE) && spare.keep(3 * PAGE, PAGE) && spare.keep(9 * PAGE, 4 * PAGE));
        assert!(spare.has(PAGE, PAGE) && !spare.has(PAGE, 2 * PAGE));
        assert_eq!(
            (spare.take(PAGE), spare.take(PAGE), spare.take(PAGE)),
            (Some(3 * PAGE), Some(PAGE), None)
        );
        assert_eq!((spare.take_any(), spare.take_any()), (Some(9 * PAGE), None));
    }

    #[test]
    fn room_is_limited_for_one_and_for_all() {
        let mut spare = Spare::new(8);
        assert!(!spare.keep(PAGE, 3 * PAGE), "more than its share");
        assert_eq!((1..9).filter(|block| spare.keep(block * 8 * PAGE, 2 * PAGE)).count(), 4);
        assert!(spare.take(2 * PAGE).is_some());
        assert!(spare.keep(PAGE, 2 * PAGE));
    }
}
