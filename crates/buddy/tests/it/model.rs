//! A naive allocator: one entry per page, every question answered by looking at all pages.

use bifolio_buddy::{BuddyBlock, PageState};
use std::ops::Range;

/// What is known of one page.
#[derive(Clone, Copy, Default)]
struct Page {
    owner: Option<BuddyBlock>,
    cleared: bool,
}

/// The naive allocator.
pub struct Model {
    pub regions: Vec<Range<u64>>,
    pages: Vec<Page>,
}

impl Model {
    pub fn new(regions: &[Range<u64>]) -> Self {
        let pages = regions.last().expect("a region").end;
        Self { regions: regions.to_vec(), pages: vec![Page::default(); pages as usize] }
    }

    pub fn all_pages(&self) -> impl Iterator<Item = u64> + '_ {
        self.regions.iter().cloned().flatten()
    }

    pub fn owner(&self, page: u64) -> Option<BuddyBlock> {
        self.pages[page as usize].owner
    }

    pub fn state(&self, page: u64) -> PageState {
        match self.in_one_region(&(page..page + 1)) {
            false => PageState::Outside,
            true => self.owner(page).map_or(PageState::Free, PageState::Allocated),
        }
    }

    pub fn in_one_region(&self, range: &Range<u64>) -> bool {
        self.regions.iter().any(|r| r.start <= range.start && range.start < range.end && range.end <= r.end)
    }

    pub fn is_free(&self, range: Range<u64>) -> bool {
        self.in_one_region(&range) && range.clone().all(|page| self.owner(page).is_none())
    }

    pub fn is_cleared(&self, mut range: Range<u64>) -> bool {
        range.all(|page| self.pages[page as usize].cleared)
    }

    pub fn is_dirty(&self, mut range: Range<u64>) -> bool {
        range.all(|page| !self.pages[page as usize].cleared)
    }

    pub fn cleared_pages(&self) -> u64 {
        self.pages.iter().filter(|page| page.cleared).count() as u64
    }

    pub fn set_cleared(&mut self, range: Range<u64>, cleared: bool) {
        range.for_each(|page| self.pages[page as usize].cleared = cleared);
    }

    pub fn take(&mut self, block: BuddyBlock) {
        assert!(self.is_free(block.range()), "{block:?} is not free");
        self.own(block);
        self.set_cleared(block.range(), false);
    }

    /// Makes the block the owner of its pages, whatever block owned them.
    pub fn own(&mut self, block: BuddyBlock) {
        assert_eq!(block.page % block.pages(), 0, "{block:?} is not aligned");
        block.range().for_each(|page| self.pages[page as usize].owner = Some(block));
    }

    pub fn give(&mut self, range: Range<u64>) {
        assert!(range.clone().all(|page| self.owner(page).is_some()), "{range:?} freed twice");
        range.for_each(|page| self.pages[page as usize].owner = None);
    }

    /// All allocated blocks, in address order.
    pub fn used(&self) -> Vec<BuddyBlock> {
        self.all_pages().filter_map(|page| self.owner(page).filter(|block| block.page == page)).collect()
    }

    /// Pages at which `pages` free pages start, at a multiple of `align`, within a range.
    pub fn places(&self, pages: u64, align: u64, within: &Range<u64>) -> impl Iterator<Item = u64> + '_ {
        let within = within.clone();
        self.all_pages().filter(move |page| {
            let inside = within.start <= *page && page + pages <= within.end;
            inside && page % align == 0 && self.is_free(*page..page + pages)
        })
    }

    /// Free blocks: maximal aligned free ranges.
    pub fn free_blocks(&self) -> Vec<BuddyBlock> {
        let mut blocks: Vec<BuddyBlock> = Vec::new();
        for page in self.all_pages().filter(|page| self.owner(*page).is_none()) {
            if blocks.last().is_some_and(|last| page < last.end()) {
                continue;
            }
            let fits = |order: &u32| page % (1 << order) == 0 && self.is_free(page..page + (1 << order));
            let order = (0..39).take_while(fits).last().expect("a free page is a free block");
            blocks.push(BuddyBlock { page, order });
        }
        blocks
    }

    pub fn free_by_order(&self) -> [u64; 39] {
        let mut counts = [0; 39];
        self.free_blocks().iter().for_each(|block| counts[block.order as usize] += 1);
        counts
    }
}
