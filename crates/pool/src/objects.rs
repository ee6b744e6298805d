//! The objects of a buddy pool: what device memory was allocated for, its references, and which objects are dead.
//!
//! Nothing here calls the allocator or takes a lock.

use bifolio_buddy::BuddyBlock;
use bifolio_folio::{Order, Pfn};

use crate::backing::{Backing, block_of, range_of};
use crate::counted::{Counted, Covers, Freed};
use crate::{Rmap, Usage};

/// Where an object is.
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    /// One block, which folios are formed from.
    Folios {
        backing: Backing,
        /// Whether it was given back with all bytes zeros.
        cleared: bool,
    },
    /// Any number of blocks by their first pages, which no folio is formed from.
    Plain(Vec<BuddyBlock>),
}

impl Memory {
    fn pages(&self) -> u64 {
        match self {
            Memory::Folios { backing, .. } => backing.order.pages(),
            Memory::Plain(blocks) => pages_of(blocks),
        }
    }
}

impl Covers for Memory {
    fn covers(&self, head: Pfn, order: Order) -> bool {
        match self {
            Memory::Folios { backing, .. } => backing.covers(head, order),
            Memory::Plain(blocks) => blocks.binary_search(&block_of(head, order)).is_ok(),
        }
    }
}

/// All objects that hold memory, by number.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) objects: Counted<Memory>,
    /// Pages of all objects, the dead included: they hold their memory until it is taken.
    pages: u64,
}

impl Objects {
    pub(crate) fn new(pages: u64) -> Option<Objects> {
        Some(Objects { objects: Counted::new(pages)?, pages: 0 })
    }

    /// Adds an object of one block, which is handed out as a whole; `None` if there is no number for it.
    pub(crate) fn insert_folio(&mut self, backing: Backing) -> Option<u32> {
        let Backing { head, order, .. } = backing;
        let number = self.objects.insert(Memory::Folios { backing, cleared: false }, head, order).ok()?;
        self.pages += order.pages();
        Some(number)
    }

    /// Adds blocks to plain object `number`, or to a new one, all of them handed out; `None` if there is no number for
    /// it, or no block.
    pub(crate) fn add_blocks(&mut self, number: Option<u32>, blocks: &[BuddyBlock]) -> Option<u32> {
        let (first, mut others) = blocks.split_first()?;
        let number = match number {
            None => {
                let (head, order) = range_of(*first);
                self.objects.insert(Memory::Plain(sorted(blocks.to_vec())), head, order).ok()?
            }
            Some(number) => {
                let Memory::Plain(held) = self.objects.get_mut(number)? else {
                    unreachable!("only plain objects grow");
                };
                held.extend_from_slice(blocks);
                held.sort_unstable();
                others = blocks;
                number
            }
        };
        for (head, order) in others.iter().copied().map(range_of) {
            self.objects.hand_out(number, head, order);
        }
        self.pages += pages_of(blocks);
        Some(number)
    }

    /// Takes a range of an object back. With the last one the object dies, and holds its memory until
    /// [`Objects::take_dead`].
    pub(crate) fn free(&mut self, number: u32, head: Pfn, order: Order) -> Freed {
        self.objects.free(number, head, order)
    }

    /// Takes a range back as [`Objects::free`] does, all bytes of which are zeros. That is remembered of a whole object.
    pub(crate) fn free_cleared(&mut self, number: u32, head: Pfn, order: Order) -> Freed {
        let freed = self.objects.free(number, head, order);
        if freed == Freed::Dies
            && let Some(Memory::Folios { backing, cleared }) = self.objects.get_mut(number)
        {
            *cleared = backing.order == order;
        }
        freed
    }

    pub(crate) fn split(&mut self, number: u32, head: Pfn, from: Order, to: Order) {
        self.objects.split(number, head, from, to);
    }

    pub(crate) fn collapse(&mut self, number: u32, head: Pfn, from: Order, to: Order) {
        self.objects.collapse(number, head, from, to);
    }

    /// Removes the object that died last and returns where it was.
    pub(crate) fn take_dead(&mut self) -> Option<Memory> {
        let memory = self.objects.take_dead()?;
        self.pages -= memory.pages();
        Some(memory)
    }

    /// The reverse mapping of a page.
    pub(crate) fn rmap_of(&self, page: Pfn, number: u32) -> Option<Rmap> {
        match self.objects.get(number)? {
            Memory::Folios { backing, .. } => backing.rmap_of(page),
            Memory::Plain(_) => None,
        }
    }

    /// The order of an object of one block.
    pub(crate) fn order(&self, number: u32) -> Option<Order> {
        match self.objects.get(number)? {
            Memory::Folios { backing, .. } => Some(backing.order),
            Memory::Plain(_) => None,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let (objects, references) = (self.objects.len(), self.objects.references());
        Usage { objects, references, pages: self.pages, refusals: self.objects.refusals() }
    }

    pub(crate) fn check_consistency(&self) -> Result<(), String> {
        self.objects.check_consistency()
    }
}

fn pages_of(blocks: &[BuddyBlock]) -> u64 {
    blocks.iter().map(|block| block.pages()).sum()
}

fn sorted(mut blocks: Vec<BuddyBlock>) -> Vec<BuddyBlock> {
    blocks.sort_unstable();
    blocks
}
