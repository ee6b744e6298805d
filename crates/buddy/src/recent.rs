//! Blocks freed a moment ago, kept whole for the next request of their order.
//!
//! Merging a block that is about to be cut again is the main cost of a buddy allocator. So the blocks freed last
//! wait here, a few of each small order, and merge only when there are more of them, when a request cannot be met
//! otherwise, or when a caller asks for more than a plain block. The bitmaps still show them as used; everything
//! that is told to callers counts them as free and merged.

use crate::block::BuddyBlock;

/// Blocks that can wait of each order.
pub(crate) const DEPTH: u32 = 32;
const PLACES: usize = DEPTH as usize;
/// Orders of which blocks wait: 0..=10.
pub(crate) const RECENT_ORDERS: u32 = 11;
/// Blocks that can wait in all.
pub(crate) const CAPACITY: usize = PLACES * RECENT_ORDERS as usize;

/// The waiting blocks of one order, a stack.
#[derive(Clone, Debug)]
struct Stack {
    pages: [u64; PLACES],
    /// Low bits of `pages`, and 0 in unused places: a lookup that the compiler turns into a few vector compares.
    tags: [u16; PLACES],
    length: u32,
}

/// The waiting blocks of all small orders.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    stacks: [Stack; RECENT_ORDERS as usize],
    pages: u64,
    /// Blocks that may wait of each order.
    depth: u32,
}

/// A tag that is never 0.
#[expect(clippy::cast_possible_truncation, reason = "a tag is the low bits of the block number")]
const fn tag(page: u64, order: u32) -> u16 {
    (page >> order) as u16 | 1 << 15
}

impl Stack {
    const EMPTY: Self = Self { pages: [0; PLACES], tags: [0; PLACES], length: 0 };

    fn pages(&self) -> &[u64] {
        &self.pages[..self.length as usize]
    }

    #[inline]
    fn contains(&self, page: u64, order: u32) -> bool {
        let wanted = tag(page, order);
        let maybe = self.tags.iter().fold(false, |any, &tag| any | (tag == wanted));
        maybe && self.pages().contains(&page)
    }
}

impl Recent {
    /// No block waits.
    pub(crate) const fn new(depth: u32) -> Self {
        Self { stacks: [Stack::EMPTY; RECENT_ORDERS as usize], pages: 0, depth }
    }

    /// Takes the block of the order that was freed last.
    #[inline]
    pub(crate) fn pop(&mut self, order: u32) -> Option<u64> {
        let stack = self.stacks.get_mut(order as usize)?;
        let last = stack.length.checked_sub(1)?;
        stack.length = last;
        stack.tags[last as usize] = 0;
        self.pages -= 1 << order;
        Some(stack.pages[last as usize])
    }

    /// Adds a freed block; `false` if there is no room for it.
    #[inline]
    pub(crate) fn push(&mut self, block: BuddyBlock) -> bool {
        let Some(stack) = self.stacks.get_mut(block.order as usize) else { return false };
        if stack.length >= self.depth {
            return false;
        }
        let at = stack.length as usize % PLACES;
        stack.pages[at] = block.page;
        stack.tags[at] = tag(block.page, block.order);
        stack.length += 1;
        self.pages += block.pages();
        true
    }

    /// Tells whether blocks of the order ever wait.
    pub(crate) fn takes(&self, order: u32) -> bool {
        self.depth > 0 && order < RECENT_ORDERS
    }

    /// Tells whether exactly this block waits here.
    #[inline]
    pub(crate) fn contains(&self, block: BuddyBlock) -> bool {
        self.stacks.get(block.order as usize).is_some_and(|stack| stack.contains(block.page, block.order))
    }

    /// Hands the blocks of an order that wait longest, up to `count`, to `release`.
    pub(crate) fn drain(&mut self, order: u32, count: u32, mut release: impl FnMut(BuddyBlock)) {
        let Some(stack) = self.stacks.get_mut(order as usize) else { return };
        let (length, drained) = (stack.length as usize, count.min(stack.length) as usize);
        for &page in &stack.pages[..drained] {
            self.pages -= 1 << order;
            release(BuddyBlock { page, order });
        }
        stack.pages.copy_within(drained..length, 0);
        stack.tags.copy_within(drained..length, 0);
        stack.tags[length - drained..].fill(0);
        stack.length = stack.length.saturating_sub(count);
    }

    /// Number of waiting pages.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// All waiting blocks, by order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = BuddyBlock> {
        (0..)
            .zip(&self.stacks)
            .flat_map(|(order, stack)| stack.pages().iter().map(move |&page| BuddyBlock { page, order }))
    }

    /// Pages of the waiting blocks of one order.
    pub(crate) fn of_order(&self, order: u32) -> &[u64] {
        self.stacks.get(order as usize).map_or(&[], Stack::pages)
    }
}
