//! An optional layer for many threads: one allocator behind a lock, and for each thread a front that rarely takes it.
//!
//! ```text
//!   thread: Front   stacks of blocks, one for each order up to 9      no lock
//!              | 16 blocks at a time
//!   Shared: Mutex<Buddy>
//! ```
//!
//! Blocks are owned by tokens: an [`Owned`] cannot be copied, so that it cannot be freed twice, and knows its
//! allocator. Blocks that wait in a front are allocated as far as the allocator below knows.
//!
//! ```
//! use bifolio_buddy::Buddy;
//! use bifolio_buddy::front::Shared;
//!
//! let shared = Shared::new(Buddy::new(1 << 16).unwrap());
//! std::thread::scope(|scope| {
//!     for _ in 0..4 {
//!         scope.spawn(|| {
//!             let mut front = shared.front();
//!             let block = front.allocate(4).unwrap();
//!             front.free(block).unwrap();
//!         });
//!     }
//! });
//! assert_eq!(shared.with(|buddy| buddy.free_pages()), 1 << 16);
//! ```

use crate::block::BuddyBlock;
use crate::buddy::Buddy;
use crate::error::AllocateError;
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

/// Orders of which fronts keep blocks.
const FRONT_ORDERS: u32 = 10;
/// Blocks that a front keeps of each order.
const PLACES: usize = 32;
/// Blocks fetched or given back at a time.
const BATCH: usize = 16;

/// An allocator that threads share.
#[derive(Debug)]
pub struct Shared {
    buddy: Mutex<Buddy>,
}

/// An allocated block, owned. Dropping it leaves the block allocated; [`Front::free`] frees it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a block that is dropped stays allocated"]
pub struct Owned {
    block: BuddyBlock,
    /// Address of the allocator it comes from.
    shared: usize,
}

impl Owned {
    /// The block.
    #[must_use]
    pub fn block(&self) -> BuddyBlock {
        self.block
    }

    /// Gives up the token; the block can be freed through [`Shared::with`].
    #[must_use = "a block that is dropped stays allocated"]
    pub fn into_block(self) -> BuddyBlock {
        self.block
    }
}

impl Shared {
    /// Shares an allocator.
    #[must_use]
    pub fn new(buddy: Buddy) -> Self {
        Self { buddy: Mutex::new(buddy) }
    }

    /// Calls a function with the allocator, under the lock.
    pub fn with<R>(&self, call: impl FnOnce(&mut Buddy) -> R) -> R {
        call(&mut self.lock())
    }

    /// A front for one thread. What it keeps is given back when it is dropped.
    #[must_use]
    pub fn front(&self) -> Front<'_> {
        Front {
            shared: self,
            stacks: [const { Stack { pages: [0; PLACES], length: 0 } }; FRONT_ORDERS as usize],
        }
    }

    /// No call of the allocator panics half-way, so a poisoned lock still guards a sound allocator.
    fn lock(&self) -> MutexGuard<'_, Buddy> {
        self.buddy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

#[derive(Debug)]
struct Stack {
    pages: [u64; PLACES],
    length: usize,
}

/// One thread's blocks at hand.
#[derive(Debug)]
pub struct Front<'a> {
    shared: &'a Shared,
    stacks: [Stack; FRONT_ORDERS as usize],
}

impl Front<'_> {
    /// Allocates a block of `2^order` pages. O(1) without a lock as long as there is one at hand.
    ///
    /// If no block is left, what this front keeps is given back and the request tried again; what other fronts keep
    /// is out of reach.
    ///
    /// # Errors
    ///
    /// [`AllocateError`] if no free block is large enough.
    pub fn allocate(&mut self, order: u32) -> Result<Owned, AllocateError> {
        let page = match self.stacks.get_mut(order as usize).and_then(Stack::pop) {
            Some(page) => page,
            None => self.fetch(order)?,
        };
        Ok(Owned { block: BuddyBlock { page, order }, shared: self.shared.address() })
    }

    /// Fetches a batch, or at least one block.
    fn fetch(&mut self, order: u32) -> Result<u64, AllocateError> {
        if let Some(stack) = self.stacks.get_mut(order as usize) {
            let batch = &mut stack.pages[..BATCH];
            if self.shared.lock().allocate_many(order, batch).is_ok() {
                stack.length = BATCH - 1;
                return Ok(stack.pages[BATCH - 1]);
            }
        }
        let first_try = self.shared.lock().allocate(order);
        first_try.or_else(|_| {
            self.give_back();
            self.shared.lock().allocate(order)
        })
    }

    /// Frees a block. O(1) without a lock as long as there is room for it in this front.
    ///
    /// # Errors
    ///
    /// The token itself, if it belongs to another allocator or its block has been freed behind its back.
    pub fn free(&mut self, owned: Owned) -> Result<(), Owned> {
        if owned.shared != self.shared.address() {
            return Err(owned);
        }
        let BuddyBlock { page, order } = owned.block;
        let Some(stack) = self.stacks.get_mut(order as usize) else {
            return self.shared.lock().free(page, order).map_err(|_| owned);
        };
        if stack.length == PLACES {
            stack.give_back(self.shared, order, BATCH);
        }
        stack.push(page);
        Ok(())
    }

    /// Gives all blocks at hand back to the allocator. O(blocks * order).
    pub fn give_back(&mut self) {
        for (order, stack) in (0..).zip(&mut self.stacks) {
            stack.give_back(self.shared, order, PLACES);
        }
    }
}

impl Drop for Front<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Stack {
    fn pop(&mut self) -> Option<u64> {
        self.length = self.length.checked_sub(1)?;
        Some(self.pages[self.length])
    }

    fn push(&mut self, page: u64) {
        self.pages[self.length] = page;
        self.length += 1;
    }

    /// Gives back the blocks that have been here longest, up to `count`.
    fn give_back(&mut self, shared: &Shared, order: u32, count: usize) {
        let count = count.min(self.length);
        if count == 0 {
            return;
        }
        // Only a caller who freed a token's block behind its back can make this fail; it is not freed again then.
        let mut buddy = shared.lock();
        if buddy.free_many(order, &self.pages[..count]).is_err() {
            self.pages[..count].iter().for_each(|page| drop(buddy.free(*page, order)));
        }
        drop(buddy);
        self.pages.copy_within(count..self.length, 0);
        self.length -= count;
    }
}
