//! The floor under an allocator: a bit for each block.
//!
//! An allocator must at least write down that pages are taken, and that they are free again. [`Marks`] does that and no
//! more: it does not search, split, merge or check.

use std::hint::black_box;

use crate::Allocator;

/// A bitmap of one bit a page, and the page where the next block is said to be.
#[derive(Clone, Debug)]
pub struct Marks {
    words: Vec<u64>,
    next: u64,
}

impl Marks {
    /// Makes the marks of `pages` pages, which are at least 64 and a power of two.
    #[must_use]
    pub fn new(pages: u64) -> Self {
        let words = usize::try_from(pages / 64).expect("a bitmap fits memory");
        Self { words: vec![0; words], next: 0 }
    }

    /// Turns the bit of a page over.
    ///
    /// # Panics
    /// If there is no such page.
    pub fn flip(&mut self, page: u64) {
        let word = usize::try_from(page / 64).expect("a bitmap fits memory");
        self.words[word] ^= 1 << (page % 64);
        black_box(&mut self.words[word]);
    }

    /// Returns how many bits are set.
    #[must_use]
    pub fn set(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Takes pages one after the other, begins again at the end, and does not look whether they are taken. It shows what a
/// call costs at least, and is no allocator to use.
impl Allocator for Marks {
    type Handle = u64;

    fn with_pages(pages: u64, _live: u32) -> Self {
        Self::new(pages)
    }

    fn allocate(&mut self, order: u32) -> Option<u64> {
        let page = self.next % (self.words.len() as u64 * 64);
        self.next = page + (1 << order);
        self.flip(page);
        Some(page)
    }

    fn free(&mut self, page: u64, _order: u32) {
        self.flip(page);
    }
}
